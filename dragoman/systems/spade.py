"""SPADE: a map drawn as a picture by a generator that reads the map in every norm."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from dragoman.controls import Controls
from dragoman.errors import SettingsError
from dragoman.losses.adversarial import Adversarial, discriminator_terms, generator_term
from dragoman.losses.distances import feature_distance, full, kl_normal
from dragoman.losses.perceptual import RISING_LAYERS, Perceptual, PerceptualSettings
from dragoman.networks.blocks import Border, Norm, Resize, Start, initialise, set_border
from dragoman.networks.boundaries import Instances, with_boundaries
from dragoman.networks.multiscale import MultiscaleDiscriminator, check_scales
from dragoman.networks.spade import DEEPEST, ImageEncoder, SPADEGenerator
from dragoman.networks.spatial_norm import HIDDEN, Base
from dragoman.networks.spectral import settle
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, System, Terms, Turn

BASES: dict[str, Base] = {"spade": "batch", "batch": "batch", "adain": "instance"}
DEPTH = 5  # doublings of the reference code at 256 px
BOTTOM = 2  # px of the bottom, at least, where depth is not set


@dataclass(frozen=True)
class SPADESettings(PerceptualSettings):
    """Knobs of SPADE; the defaults are the official implementation's but for these.

    `kl` follows the paper: the expectation over pictures, where the code sums over the batch of
    each GPU, so that the weight of the term would depend on the batch. `instances` makes do with
    the map, which all data have. `perceptual` is the classifier that comes along. The batch is
    the package's, since the code's single picture would be its own batch statistics. With several
    processes each goes by the statistics of its own pictures, where the code joins them.
    """

    width: int = knob(64, "channels of the generator's last block", 1, 4096)
    depth: int | None = knob(
        None, "times the generator doubles the sides; default 5, less below 64 px", 1, DEEPEST
    )
    modulation: Literal["spade", "batch", "adain"] = knob(
        "spade",
        "what the norms see: spade, the map; batch and adain, only the share of each class (and "
        "z), as conditional batch norm or AdaIN",
    )
    norm: Base | None = knob(
        None, "the norm that is modulated; default: batch, with adain instance"
    )
    kernel: Literal[3, 5] = knob(3, "side of the convolutions that make scale and shift of a map")
    hidden: int = knob(HIDDEN, "channels between the map and scale and shift", 1, 4096)
    upsample: Resize = knob("nearest", "how the generator doubles the sides")
    border: Border = knob(
        "zeros", "what the generator sees beyond the border; zeros, as officially, draw lines there"
    )
    spectral: bool = knob(True, "normalise convolutions by their largest singular value")
    start: Start = knob("xavier", "starting weights of all networks, of gain 0.02")
    instances: Instances = knob(
        "regions",
        "whose boundaries G and D see: none, regions of the input's classes, or the data's "
        "instance maps (regions stand in for a picture that comes without)",
    )
    multimodal: bool = knob(False, "many pictures for a map, by a vector z in place of the bottom")
    latent: int = knob(256, "length of z", 1, 4096)
    lambda_kl: float = knob(0.05, "weight of the divergence of z from N(0, 1)", 0)
    kl: Literal["mean", "sum"] = knob(
        "mean", "the divergence over a batch: mean, as in the paper, or sum, as in the code"
    )
    discriminator_width: int = knob(64, "channels of the discriminator's first layer", 1, 4096)
    discriminator_norm: Norm = knob("instance", "the discriminator's norm")
    discriminator_layers: int = knob(3, "halvings in the discriminator of each scale", 1, 8)
    scales: int = knob(2, "discriminators, each at half the size of the one before", 1, 8)
    adversarial: Adversarial = knob("hinge", "the adversarial objective")
    lambda_adversarial: float = knob(1.0, "weight of the generator's adversarial term", 0)
    lambda_feature: float = knob(10.0, "weight of feature matching", 0)
    lambda_perceptual: float = knob(10.0, "weight of the perceptual term", 0)
    lr: float = knob(1e-4, "learning rate of generator and encoder: half of the paper's 2e-4", 0)
    lr_discriminator: float = knob(4e-4, "the discriminator's: twice the paper's 2e-4", 0)
    beta1: float = knob(0.0, "Adam's decay of the mean gradient", 0, 0.9999)
    beta2: float = knob(0.9, "Adam's decay of the mean squared gradient", 0, 0.9999)

    def __post_init__(self) -> None:
        if self.modulation != "spade" and self.norm not in (None, BASES[self.modulation]):
            raise SettingsError(
                f"--modulation {self.modulation} modulates a norm of its own, which --norm "
                f"{self.norm} is not; leave --norm out"
            )
        if self.depth == DEEPEST and self.width == 1:
            raise SettingsError(
                f"--depth {DEEPEST} halves --width 1 in its last block; use --width 2 or more"
            )
        if self.adversarial == "wasserstein" and not self.spectral:
            raise SettingsError(
                "--adversarial wasserstein with --spectral false lets the critic's slope grow "
                "without end; leave --spectral true"
            )
        if self.lambda_adversarial == 0 and self.lambda_feature == 0:
            raise SettingsError(
                "--lambda_adversarial 0 with --lambda_feature 0 leaves the discriminator without "
                "a say; use a weight above 0, or the system regression"
            )


class SPADE(System):
    """Semantic image synthesis with spatially-adaptive normalisation (Park et al. 2019).

    min_G max_D of the hinge objective, averaged over the discriminator's scales, plus feature
    matching, a perceptual term and, if multimodal, the divergence of the encoder's z from N(0, I)
    (section 3.2, appendix A). D sees fake and real pictures, each with its map, in one batch. G
    steps first, and D learns from the pictures made before it; the reference code makes them anew.

    Source is any picture in [-1, 1]. Networks see it in [0, 1], so that a label map of -1 and 1
    is one-hot, as in the reference code.
    """

    Settings = SPADESettings
    settings: SPADESettings
    remedies: ClassVar[dict[str, str]] = {"instance": "use --instances regions"}

    def __init__(self, settings: SPADESettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        a, b = facts.channels["a"], facts.channels["b"]
        check_scales(settings.scales, min(facts.size))
        seen = a + (settings.instances != "none")
        self.generator = self._generator(seen, b)
        set_border(self.generator, settings.border)
        self.discriminator = MultiscaleDiscriminator(
            seen + b,
            width=settings.discriminator_width,
            layers=settings.discriminator_layers,
            scales=settings.scales,
            norm=settings.discriminator_norm,
            spectral=settings.spectral,
        )
        networks: list[nn.Module] = [self.generator, self.discriminator]
        if settings.multimodal:
            self.encoder = ImageEncoder(
                b, settings.latent, settings.width, facts.size, spectral=settings.spectral
            )
            networks.append(self.encoder)
        for network in networks:
            settle(initialise(network, settings.start))
        scaling = "imagenet" if settings.perceptual == "alex" else "signed"
        self.perceptual = Perceptual(settings, RISING_LAYERS, scaling=scaling)

    def _generator(self, seen: int, outputs: int) -> SPADEGenerator:
        settings, (height, width) = self.settings, self.facts.size
        depth = settings.depth or default_depth(height, width)
        return SPADEGenerator(
            seen,
            outputs,
            width=settings.width,
            depth=depth,
            condition="map" if settings.modulation == "spade" else "vector",
            base=settings.norm or BASES[settings.modulation],
            kernel=settings.kernel,
            hidden=settings.hidden,
            spectral=settings.spectral,
            upsample=settings.upsample,
            latent=settings.latent if settings.multimodal else 0,
            bottom=(max(height >> depth, 1), max(width >> depth, 1)),
        )

    @classmethod
    def needed(cls, settings: SPADESettings) -> tuple[str, ...]:
        return (*cls.needs, "instance") if settings.instances == "map" else cls.needs

    def check(self) -> None:
        if self.settings.lambda_perceptual:
            self.perceptual.check()

    def stages(self, steps: int) -> list[Stage]:
        learners = [self.generator, self.encoder] if self.settings.multimodal else [self.generator]
        turns = [
            Turn(self.generator_loss, learners),
            Turn(self.discriminator_loss, [self.discriminator]),
        ]
        return [Stage("train", steps, turns)]

    def condition(self, batch: Batch) -> Tensor:
        """The map that the networks see: the source in [0, 1], and the boundaries if wanted."""
        a = batch["a"]
        return with_boundaries((a + 1) / 2, self.settings.instances, a, batch.get("instance"))

    def generate(self, batch: Batch, controls: Controls | None = None) -> Tensor:
        source, z = batch["a"], None
        if self.settings.multimodal:
            sides = (len(source), self.settings.latent)
            z = torch.randn(sides, device=source.device, dtype=source.dtype)
        return self.generator(self.condition(batch), z)

    @property
    def answers(self) -> int | None:
        return None if self.settings.multimodal else 1

    def share(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The fake pictures and, if multimodal, mean and log variance of z for the true ones."""
        segments = self.condition(batch)
        if not self.settings.multimodal:
            return {"fake": self.generator(segments)}
        mean, log_variance = map(full, self.encoder(batch["b"]))
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return {"fake": self.generator(segments, z), "mean": mean, "log_variance": log_variance}

    def judged(self, batch: Batch, fake: Tensor) -> list[list[tuple[Tensor, Tensor]]]:
        """D's activations for fake and real pictures: by scale and layer, logits last."""
        segments = self.condition(batch)
        pictures = torch.cat([fake.to(batch["b"].dtype), batch["b"]])
        heard = self.discriminator(torch.cat([torch.cat([segments, segments]), pictures], 1))
        count = len(fake)
        return [[(layer[:count], layer[count:]) for layer in scale] for scale in heard]

    def generator_loss(self, batch: Batch, shared: dict[str, Tensor]) -> Terms:
        settings, terms = self.settings, {}
        scales = self.judged(batch, shared["fake"])
        if settings.lambda_adversarial:
            told = [generator_term(settings.adversarial, *scale[-1]) for scale in scales]
            terms["adversarial"] = settings.lambda_adversarial * torch.stack(told).mean()
        if settings.lambda_feature:
            near = [feature_distance(*zip(*scale[:-1], strict=True)) for scale in scales]
            terms["feature"] = settings.lambda_feature * torch.stack(near).mean()
        if self.perceptual and settings.lambda_perceptual:
            apart = self.perceptual(shared["fake"], batch["b"])
            terms["perceptual"] = settings.lambda_perceptual * apart
        if settings.multimodal:
            apart = kl_normal(shared["mean"], shared["log_variance"])
            count = len(shared["mean"]) if settings.kl == "sum" else 1
            terms["kl"] = settings.lambda_kl * count * apart
        return terms

    def discriminator_loss(self, batch: Batch, shared: dict[str, Tensor]) -> Terms:
        scales = self.judged(batch, shared["fake"])
        told = [
            discriminator_terms(self.settings.adversarial, real, fake)
            for fake, real in (scale[-1] for scale in scales)
        ]
        return {name: torch.stack([t[name] for t in told]).mean() for name in ("real", "fake")}


def default_depth(height: int, width: int) -> int:
    """Doublings for pictures of those sides: 5, or as many as leave a whole bottom of 2 px."""
    depth = DEPTH
    while depth > 1 and (
        height % 2**depth or width % 2**depth or min(height, width) < BOTTOM << depth
    ):
        depth -= 1
    return depth
