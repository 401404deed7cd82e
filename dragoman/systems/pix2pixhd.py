"""pix2pixHD: pictures from label maps, coarse to fine, judged at several scales."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.controls import Controls
from dragoman.errors import SettingsError
from dragoman.losses.adversarial import Adversarial, discriminator_terms, generator_term
from dragoman.losses.distances import feature_distance
from dragoman.losses.perceptual import RISING_LAYERS, Perceptual, PerceptualSettings
from dragoman.networks.blocks import (
    Border,
    Norm,
    Start,
    Upsample,
    halve,
    initialise,
    set_border,
)
from dragoman.networks.boundaries import Instances, with_boundaries
from dragoman.networks.instance_features import FeatureBank, connected, numbered, pool
from dragoman.networks.multiscale import MultiscaleDiscriminator, check_scales
from dragoman.networks.pix2pixhd import CoarseToFine, Encoder
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, System, Terms, Turn

DEPTH = 4  # halvings of the global generator and of the encoder, where pictures allow it


@dataclass(frozen=True)
class Pix2PixHDSettings(PerceptualSettings):
    """Knobs of pix2pixHD; the defaults are the official implementation's at 1024p (netG local)."""

    width: int = knob(64, "channels of the global generator's first layer", 1, 4096)
    depth: int | None = knob(
        None, "times the global generator halves its picture; default 4, fewer for small ones", 1, 8
    )
    blocks: int = knob(9, "residual blocks of the global generator", 1, 64)
    enhancers: int = knob(
        1, "enhancers, each of which doubles the side of the global generator's picture", 0, 3
    )
    enhancer_blocks: int = knob(3, "residual blocks of an enhancer", 1, 64)
    share_global: float = knob(
        0.67, "share of the steps in which the global generator learns alone, at reduced size", 0, 1
    )
    share_enhancer: float = knob(
        0.03, "share of the steps after that in which the enhancers learn alone", 0, 1
    )
    norm: Norm = knob("instance", "normalisation in generator, encoder and discriminator")
    upsample: Upsample = knob("transposed", "how the generator enlarges: resizing avoids grids")
    border: Border = knob(
        "zeros", "what the generator sees beyond the border; zeros, as officially, draw lines there"
    )
    start: Start = knob("normal", "starting weights of all networks; normal: N(0, 0.02)")
    instances: Instances = knob(
        "regions",
        "whose boundaries G and D see: none, connected regions of the input, or the data's "
        "instance maps (regions stand in for a picture that comes without)",
    )
    boundaries: bool = knob(
        True, "show G and D the boundaries of instances; false with features only is --no_instance"
    )
    features: int = knob(
        0, "features of each instance's look, for many answers; officially 3; 0: none", 0, 16
    )
    features_of: Literal["instances", "classes"] = knob(
        "instances", "what features are means over; classes is the reference code's --label_feat"
    )
    encoder_width: int = knob(16, "channels of the feature encoder's first layer", 1, 4096)
    encoder_depth: int | None = knob(
        None, "times the feature encoder halves; default 4, fewer for small pictures", 1, 8
    )
    scales: int = knob(3, "scales at which pictures are judged; officially 2 up to 512p", 1, 6)
    discriminator_layers: int = knob(3, "halvings of the discriminator of each scale", 1, 6)
    discriminator_width: int = knob(64, "channels of the discriminator's first layer", 1, 4096)
    discriminator_norm: Norm | None = knob(None, "the discriminator's norm, where it differs")
    adversarial: Adversarial = knob("least_squares", "the adversarial objective")
    lambda_adversarial: float = knob(1.0, "weight of the generator's adversarial term", 0)
    lambda_feature: float = knob(
        10.0, "weight of feature matching in the discriminator; 0: none", 0
    )
    lambda_perceptual: float = knob(10.0, "weight of the perceptual term; 0: none", 0)
    lr: float = knob(2e-4, "learning rate of Adam", 0)
    lr_discriminator: float | None = knob(None, "the discriminator's, where it differs", 0)
    beta1: float = knob(0.5, "Adam's decay of the mean gradient", 0, 0.9999)
    beta2: float = knob(0.999, "Adam's decay of the mean squared gradient", 0, 0.999999)

    def __post_init__(self) -> None:
        if self.share_global + self.share_enhancer >= 1:
            raise SettingsError(
                f"--share_global {self.share_global:g} and --share_enhancer "
                f"{self.share_enhancer:g} leave no steps in which all learn together; let their "
                "sum be below 1"
            )
        if self.width % 2**self.enhancers:
            raise SettingsError(
                f"--width {self.width} cannot be halved for each of {self.enhancers} enhancers; "
                f"use a multiple of {2**self.enhancers}"
            )
        if self.features and self.features_of == "instances" and self.instances == "none":
            raise SettingsError(
                f"--features {self.features} are means over instances, which --instances none has "
                "not; use --instances regions or --features_of classes"
            )
        if self.adversarial == "wasserstein":
            raise SettingsError(
                "--adversarial wasserstein needs a gradient penalty, which pix2pixHD has not; use "
                "least_squares or hinge"
            )
        if self.lambda_adversarial == 0 and self.lambda_feature == 0:
            raise SettingsError(
                "--lambda_adversarial 0 with --lambda_feature 0 leaves the discriminator without "
                "a say; use a weight above 0, or the system regression"
            )

    @property
    def edges(self) -> Instances:
        """Whose boundaries G and D see."""
        return self.instances if self.boundaries else "none"


class Made(NamedTuple):
    """What the turns of a step share: the pictures, and the features that they were made with."""

    pictures: Tensor
    features: Tensor | None  # of the true pictures, averaged over each instance


class Level(nn.Module):
    """Whether the enhancers are in use yet: saved with the translator, known without waiting.

    A plain value, as training must not wait for a GPU's; its state is a tensor.
    """

    def __init__(self, enhanced: bool) -> None:
        super().__init__()
        self.enhanced = enhanced

    def set(self, enhanced: bool) -> None:
        """Use the enhancers from now on, or not."""
        self.enhanced = enhanced

    def get_extra_state(self) -> Tensor:
        """The value as a tensor."""
        return torch.tensor(self.enhanced)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the value from a tensor."""
        self.enhanced = bool(state)


class Pix2PixHD(System):
    """min_G max_D1..Dk sum_k L_GAN + lambda_FM sum_k L_FM, and a perceptual term.

    Wang et al. 2018, equation 5, with the reference code's perceptual term, which it weighs as
    feature matching. Both turns of a step go by the networks before it, as in that code. Label
    maps are shown to the networks as 0 and 1, pictures as they are.
    """

    Settings = Pix2PixHDSettings
    settings: Pix2PixHDSettings
    defaults: ClassVar[dict[str, Any]] = {"batch": 1, "schedule": "linear"}
    remedies: ClassVar[dict[str, str]] = {"instance": "use --instances regions"}

    def __init__(self, settings: Pix2PixHDSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        a, b = facts.channels["a"], facts.channels["b"]
        reduced = settings.enhancers and settings.share_global
        norm, start = settings.norm, settings.start
        seen = a + (settings.edges != "none")
        sides = [side >> settings.enhancers for side in facts.size]
        least = sides if reduced else list(facts.size)  # the smallest pictures of any stage
        most = halvings("depth", settings.depth, sides, "the global generator's pictures")
        self.generator = CoarseToFine(
            seen + settings.features,
            b,
            settings.width,
            most,
            settings.blocks,
            settings.enhancers,
            settings.enhancer_blocks,
            norm,
            upsample=settings.upsample,
            alone=settings.share_global > 0,
        )
        set_border(self.generator, settings.border)
        self.level = Level(enhanced=not reduced)
        check_scales(settings.scales, min(least))
        self.discriminator = MultiscaleDiscriminator(
            seen + b,
            settings.discriminator_width,
            settings.discriminator_layers,
            settings.scales,
            settings.discriminator_norm or norm,
        )
        if settings.features:
            wanted = settings.encoder_depth
            depth = halvings("encoder_depth", wanted, least, "the feature encoder's pictures")
            self.encoder = Encoder(
                b, settings.features, settings.encoder_width, depth, norm, settings.upsample
            )
            self.bank = FeatureBank(a + 1, settings.features)
        for network in self.children():
            initialise(network, start)
        scaling = "imagenet" if settings.perceptual == "alex" else "signed"  # as officially
        self.perceptual = Perceptual(settings, RISING_LAYERS, scaling=scaling)

    @classmethod
    def needed(cls, settings: Pix2PixHDSettings) -> tuple[str, ...]:
        pooled = settings.features and settings.features_of == "instances"
        used = settings.instances == "map" and (settings.boundaries or pooled)
        return (*cls.needs, "instance") if used else cls.needs

    def check(self) -> None:
        if self.settings.lambda_perceptual:
            self.perceptual.check()

    def stages(self, steps: int) -> list[Stage]:
        judge = Turn(self.discriminator_loss, [self.discriminator])
        own = [self.encoder] if self.settings.features else []

        def turns(network: nn.Module) -> list[Turn]:
            # The generator first: so both go by the discriminator before the step.
            return [Turn(self.generator_loss, [network, *own]), judge]

        if not self.settings.enhancers:
            return [Stage("train", steps, turns(self.generator))]
        coarse, enhancer, joint = self.divided(steps)
        generator, use = self.generator, partial(self.level.set, True)
        reduced = {"size": min(self.facts.size) >> self.settings.enhancers}
        alone = partial(self.level.set, False)
        # One run of the reference code, whose rate begins to fall long after both learn together.
        met = enhancer / (enhancer + joint)
        stages = [
            Stage("global", coarse, turns(generator.coarse), alone, reduced),
            Stage("enhancer", enhancer, turns(generator.enhancers), use, course=(0.0, met)),
            Stage("joint", joint, turns(generator), use, course=(met, 1.0)),
        ]
        return [stage for stage in stages if stage.steps]

    def divided(self, steps: int) -> tuple[int, int, int]:
        """Steps of the stages; at least one of the last, whatever the shares."""
        enhancer = min(round(steps * self.settings.share_enhancer), steps - 1)
        if self.settings.share_enhancer and steps > 2:
            enhancer = max(1, enhancer)
        coarse = min(round(steps * self.settings.share_global), steps - enhancer - 1)
        return coarse, enhancer, steps - coarse - enhancer

    def generates(self) -> list[nn.Module]:
        return [self.generator, self.level, *([self.bank] if self.settings.features else [])]

    @property
    def answers(self) -> int | None:
        return None if self.settings.features else 1

    def generate(self, batch: Batch, controls: Controls | None = None) -> Tensor:
        features = None
        if self.settings.features:
            features = self.bank.draw(classes(batch["a"]), self.instances(batch))
        x = self.given_to_generator(batch, features)
        if self.level.enhanced:
            return self.generator(x)
        for _ in range(self.settings.enhancers):
            x = halve(x)
        picture = self.generator(x, enhanced=False)
        scale = 2.0**self.settings.enhancers
        return functional.interpolate(picture, scale_factor=scale, mode="bilinear")

    def share(self, batch: Batch, progress: Progress) -> Made:
        features = None
        if self.settings.features:
            features = pool(self.encoder(batch["b"]), self.instances(batch))
        x = self.given_to_generator(batch, features)
        return Made(self.generator(x, enhanced=self.level.enhanced), features)

    def instances(self, batch: Batch) -> Tensor:
        """Numbers from 0 of what features are means over, int64 [B, H * W]."""
        if self.settings.features_of == "classes":
            return numbered(classes(batch["a"]))
        if self.settings.instances == "map" and "instance" in batch:
            return numbered(batch["instance"])
        return numbered(connected(batch["a"]))

    def condition(self, batch: Batch) -> Tensor:
        """What generator and discriminator go by: the input, and the boundaries of instances."""
        a = batch["a"]
        seen = (a + 1) / 2 if "a" in self.facts.maps else a
        return with_boundaries(seen, self.settings.edges, a, batch.get("instance"))

    def given_to_generator(self, batch: Batch, features: Tensor | None) -> Tensor:
        """The condition and, if there are any, the features: [B, ..., H, W]."""
        x = self.condition(batch)
        return x if features is None else torch.cat([x, features.to(x.dtype)], 1)

    def judged(self, batch: Batch, pictures: Tensor) -> list[list[Tensor]]:
        """The discriminator's activations for pictures, by scale and layer; logits last."""
        return self.discriminator(torch.cat([self.condition(batch), pictures], 1))

    def generator_loss(self, batch: Batch, made: Made) -> Terms:
        settings, kind = self.settings, self.settings.adversarial
        if made.features is not None:
            self.bank.remember(made.features, classes(batch["a"]))
        fake = self.judged(batch, made.pictures)
        real = None
        if settings.lambda_feature or kind == "relativistic":
            with torch.no_grad():  # spares memory: only the discriminator learns from it
                real = self.judged(batch, batch["b"])
        partners = real or [[None]] * len(fake)
        terms = [generator_term(kind, f[-1], r[-1]) for f, r in zip(fake, partners, strict=True)]
        total = {"adversarial": settings.lambda_adversarial * torch.stack(terms).sum()}
        if settings.lambda_feature and real is not None:
            total["feature"] = settings.lambda_feature * matching(fake, real)
        if settings.lambda_perceptual and self.perceptual:
            apart = self.perceptual(made.pictures, batch["b"])
            total["perceptual"] = settings.lambda_perceptual * apart
        return total

    def discriminator_loss(self, batch: Batch, made: Made) -> Terms:
        fake, real = self.judged(batch, made.pictures), self.judged(batch, batch["b"])
        kind = self.settings.adversarial
        scales = [discriminator_terms(kind, r[-1], f[-1]) for r, f in zip(real, fake, strict=True)]
        # Summed over scales, and halved: D learns slower than G.
        return {name: torch.stack([s[name] for s in scales]).sum() / 2 for name in scales[0]}

    @property
    def stride(self) -> int:
        own = self.generator.stride
        if not self.settings.features:
            return own
        reduced = self.settings.enhancers if self.settings.share_global else 0
        return max(own, 2 ** len(self.encoder.down) * 2**reduced)


def halvings(name: str, wanted: int | None, sides: list[int], whose: str) -> int:
    """How often a network halves pictures of these sides, of which 2 px must be left.

    Raises SettingsError, which says of `whose` pictures and by which setting, if it cannot be so
    often.
    """
    most = 0
    while all(side % 2 ** (most + 1) == 0 and side >> (most + 1) >= 2 for side in sides):
        most += 1
    depth = min(DEPTH, max(most, 1)) if wanted is None else wanted
    if depth > most:
        told = f"{sides[1]} x {sides[0]}"
        raise SettingsError(
            f"{whose} of {told} px cannot be halved {depth} times so that "
            "2 px are left; "
            + (f"use --{name} {most} or less, or " if most else "use ")
            + "another --size or fewer --enhancers"
        )
    return depth


def classes(pictures: Tensor) -> Tensor:
    """The greatest channel of each pixel, which is the class in a label map: int64 [B, H, W].

    Pixels of -1 in all channels are without a class, which is one more.
    """
    return torch.where((pictures == -1).all(1), pictures.shape[1], pictures.argmax(1))


def matching(fake: list[list[Tensor]], real: list[list[Tensor]]) -> Tensor:
    """Feature matching, logits left out (Wang et al. 2018, equation 4).

    Weighed as in the reference code, by 4 / layers and averaged over scales.
    """
    scales = [
        feature_distance(f[:-1], r[:-1], [4 / len(f[:-1])] * len(f[:-1]))
        for f, r in zip(fake, real, strict=True)
    ]
    return torch.stack(scales).mean()
