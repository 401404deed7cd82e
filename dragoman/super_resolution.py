"""What SRGAN and ESRGAN share: larger pictures in two stages, first near, then sharp."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from dragoman.controls import Controls
from dragoman.errors import SettingsError
from dragoman.losses.adversarial import Adversarial
from dragoman.losses.distances import l1, l2
from dragoman.losses.penalties import gradient_penalty
from dragoman.losses.perceptual import Layers, Perceptual, PerceptualSettings
from dragoman.networks.blocks import Border, Norm, Start, initialise, set_border
from dragoman.networks.spectral import settle
from dragoman.networks.unet_discriminator import UNetDiscriminator
from dragoman.networks.vgg_discriminator import VGGDiscriminator
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, System, Terms, Turn

if TYPE_CHECKING:
    from dragoman.metrics import Metric

Discriminator = Literal["srgan", "vgg", "unet"]
Skip = Literal["none", "bilinear", "bicubic"]
PAPER = {"kernel": 3, "hidden": 1024}  # of the discriminator of Ledig et al. 2017, figure 4
BASICSR = {"kernel": 4, "hidden": 100}


@dataclass(frozen=True)
class SuperResolutionSettings(PerceptualSettings):
    """Knobs of a generator that enlarges and of the two stages in which it learns."""

    width: int = knob(64, "channels of the generator's layers", 1, 4096)
    blocks: int = knob(16, "residual blocks of the generator", 1, 256)
    norm: Norm = knob("batch", "normalisation in generator and discriminator, where they have any")
    start: Start = knob("kaiming", "starting weights of all networks; normal: N(0, 0.02)")
    skip: Skip = knob(
        "none", "what the generator adds to: nothing, as officially, or the picture enlarged so"
    )
    border: Border = knob(
        "zeros", "what the generator sees beyond the border; zeros, as officially, draw lines there"
    )
    psnr_share: float = knob(
        0.5, "share of the steps in which the generator learns pixels alone; 1: all, 0: none", 0, 1
    )
    distance: Literal["l1", "l2"] = knob(
        "l1", "of pictures in the first stage, and of the classifier's activations"
    )
    discriminator: Discriminator = knob(
        "vgg", "srgan: the SRGAN paper's; vgg: BasicSR's; unet: Real-ESRGAN's, for any size"
    )
    discriminator_width: int = knob(64, "channels of the discriminator's first layer", 1, 4096)
    discriminator_norm: Norm | None = knob(None, "the discriminator's norm, where it differs")
    halvings: int | None = knob(
        None, "how often srgan and vgg halve the picture; default: down to 4 px", 1, 16
    )
    adversarial: Adversarial = knob("nonsaturating", "the adversarial objective")
    lambda_adversarial: float = knob(5e-3, "weight of the generator's adversarial term", 0)
    lambda_penalty: float = knob(
        10.0, "weight of the gradient penalty that the wasserstein objective has", 0
    )
    lambda_perceptual: float = knob(1.0, "weight of the distance of activations", 0)
    lambda_l1: float = knob(1e-2, "weight of the mean absolute difference, of [0, 1]", 0)
    lambda_l2: float = knob(0.0, "weight of the mean squared difference, of [0, 1]", 0)
    lr: float = knob(1e-4, "learning rate of Adam", 0)
    lr_psnr: float | None = knob(None, "the first stage's, where it differs", 0)
    lr_discriminator: float | None = knob(None, "the discriminator's, where it differs", 0)
    beta1: float = knob(0.9, "Adam's decay of the mean gradient", 0, 0.9999)
    beta2: float = knob(0.99, "Adam's decay of the mean squared gradient", 0, 0.99999)

    def __post_init__(self) -> None:
        perceptual = self.perceptual != "none" and self.lambda_perceptual
        if self.psnr_share < 1 and not (perceptual or self.lambda_l1 or self.lambda_l2):
            raise SettingsError(
                "nothing holds the second stage to the true pictures; use --perceptual alex, or "
                "give --lambda_l1 or --lambda_l2 a weight above 0"
            )
        norm = self.discriminator_norm or self.norm
        penalised = self.adversarial == "wasserstein" and self.lambda_penalty > 0
        if penalised and norm == "batch" and self.discriminator != "unet":
            raise SettingsError(
                "--adversarial wasserstein has a penalty for each picture, which batch norm mixes; "
                "use --discriminator_norm instance or none"
            )


class SuperResolution(System):
    """A generator of [0, 1] to [0, 1], in two stages: "psnr", pixels alone, then "gan".

    Networks see pictures in [0, 1], as those of BasicSR do, and pixel terms are measured there;
    the system's own are in [-1, 1]. In training nothing is clamped.
    """

    needs = ("low", "high")
    source, target = "low", "high"
    defaults: ClassVar[dict[str, Any]] = {"scale": 4, "batch": 16}
    # A deep network sees hundreds of px, of which the farther ones hardly count.
    context = 32
    layers: ClassVar[Layers]  # of the perceptual term
    settings: Any  # SuperResolutionSettings of the paper
    generator: Any
    refining: Tensor

    def __init__(self, settings: SuperResolutionSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        if facts.scale == 1:
            raise SettingsError(
                "pictures cannot be enlarged 1 time; choose --scale 2, 4 or 8 (or 3 with SRGAN)"
            )
        self.generator = initialise(self.make_generator(), settings.start)
        self.generator.begin(settings.start)
        set_border(self.generator, settings.border)
        if settings.skip != "none":  # begin with just what is added to
            for parameter in self.generator.last.parameters():
                nn.init.zeros_(parameter)
        self.perceptual = Perceptual(settings, self.layers, settings.distance)
        if settings.psnr_share < 1:
            self.check_size()
            self.discriminator = settle(initialise(self.make_discriminator(), settings.start))
        # Whether the second stage has begun, in a buffer: rates differ, also in a resumed run.
        self.register_buffer("refining", torch.tensor(False))

    def make_generator(self) -> nn.Module:
        """The paper's generator; `begin` is called once its starting weights are drawn."""
        raise NotImplementedError

    @property
    def high(self) -> tuple[int, int]:
        """Height and width of the pictures made in training."""
        height, width = self.facts.size
        return height * self.facts.scale, width * self.facts.scale

    def check_size(self) -> None:
        """Raise SettingsError if the discriminator cannot take the pictures."""
        stride = UNetDiscriminator.stride
        if self.settings.discriminator == "unet" and any(side % stride for side in self.high):
            raise SettingsError(
                f"--discriminator unet needs sides divisible by {stride}, the pictures have "
                f"{self.high[0]} x {self.high[1]}; choose another --size"
            )

    def make_discriminator(self) -> nn.Module:
        """The discriminator for pictures of the data's size; raises SettingsError."""
        settings, channels = self.settings, self.facts.channels["high"]
        if settings.discriminator == "unet":
            return UNetDiscriminator(channels, settings.discriminator_width)
        return VGGDiscriminator(
            channels,
            self.high,
            width=settings.discriminator_width,
            halvings=settings.halvings,
            norm=settings.discriminator_norm or settings.norm,
            **(PAPER if settings.discriminator == "srgan" else BASICSR),
        )

    def check(self) -> None:
        if self.settings.psnr_share < 1 and self.settings.lambda_perceptual:
            self.perceptual.check()

    def stages(self, steps: int) -> list[Stage]:
        first = round(self.settings.psnr_share * steps)
        stages = []
        if first:
            turns = [Turn(self.pixels_loss, [self.generator])]
            stages.append(Stage("psnr", first, turns, lambda: self.refine(False)))
        if first < steps:
            # The discriminator learns last, from the pictures made before the generator's update.
            turns = [
                Turn(self.generator_loss, [self.generator]),
                Turn(self.discriminator_loss, [self.discriminator]),
            ]
            stages.append(Stage("gan", steps - first, turns, lambda: self.refine(True)))
        return stages

    def refine(self, begun: bool) -> None:
        """Note which stage begins."""
        self.refining.fill_(begun)

    def optimizer(self, network: nn.Module) -> Optimizer:
        optimizer, first = super().optimizer(network), self.settings.lr_psnr
        if network is self.generator and first is not None and not self.refining:
            for group in optimizer.param_groups:
                group["lr"] = first
        return optimizer

    def generate(self, batch: Batch, controls: Controls | None = None) -> Tensor:
        made = 2 * self.enlarge(batch) - 1
        return made if self.training else made.clamp(-1, 1)

    def enlarge(self, batch: Batch) -> Tensor:
        """What the generator makes of batch["low"]: [B, C, H, W], about in [0, 1]."""
        low, skip = unit(batch["low"]), self.settings.skip
        made = self.generator(low)
        if skip == "none":
            return made
        return made + functional.interpolate(low, scale_factor=self.facts.scale, mode=skip)

    def share(self, batch: Batch, progress: Progress) -> Tensor:
        return self.enlarge(batch)

    def pixels_loss(self, batch: Batch, fake: Tensor) -> Terms:
        distance = {"l1": l1, "l2": l2}[self.settings.distance]
        return {self.settings.distance: distance(fake, unit(batch["high"]))}

    def generator_loss(self, batch: Batch, fake: Tensor) -> Terms:
        settings, real = self.settings, unit(batch["high"])
        fooled = self.fooled(real, fake)
        terms = {name: settings.lambda_adversarial * term for name, term in fooled.items()}
        if self.perceptual and settings.lambda_perceptual:
            distance = self.perceptual(2 * fake - 1, batch["high"])
            terms["perceptual"] = settings.lambda_perceptual * distance
        if settings.lambda_l1:
            terms["l1"] = settings.lambda_l1 * l1(fake, real)
        if settings.lambda_l2:
            terms["l2"] = settings.lambda_l2 * l2(fake, real)
        return terms

    def fooled(self, real: Tensor, fake: Tensor) -> Terms:
        """The generator's adversarial terms, not yet weighted."""
        raise NotImplementedError

    def discriminator_loss(self, batch: Batch, fake: Tensor) -> Terms:
        raise NotImplementedError

    def penalty(self, real: Tensor, fake: Tensor) -> Terms:
        """The weighted gradient penalty, where the objective has one."""
        weight = self.settings.lambda_penalty
        if self.settings.adversarial != "wasserstein" or not weight:
            return {}
        return {"penalty": weight * gradient_penalty(self.discriminator, real, fake)}

    def measures(self) -> "list[Metric]":
        from dragoman.metrics.luminance import psnr_y, ssim_y

        return [psnr_y(self.facts.scale), ssim_y(self.facts.scale)]


def unit(pictures: Tensor) -> Tensor:
    """Pictures from [-1, 1] to [0, 1]."""
    return pictures * 0.5 + 0.5
