"""SRGAN: a residual network enlarges, a classifier's activations and a discriminator judge."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from dragoman.errors import SettingsError
from dragoman.losses.adversarial import discriminator_terms, generator_term
from dragoman.losses.perceptual import Layers
from dragoman.networks.blocks import Start
from dragoman.networks.srresnet import MSRResNet, SRResNet
from dragoman.settings import knob
from dragoman.super_resolution import Discriminator, SuperResolution, SuperResolutionSettings, unit
from dragoman.system import Batch, Terms


@dataclass(frozen=True)
class SRGANSettings(SuperResolutionSettings):
    """Knobs of SRGAN.

    Its authors published no code, so the defaults are the paper's (Ledig et al. 2017): content is
    the squared difference of activations after the ReLU of VGG's last block, or, where VGG's
    weights are not at hand, of AlexNet's; the adversarial term weighs 1e-3; the rate becomes a
    tenth half-way (in the first stage too, where the paper keeps it). SRGAN-MSE is
    `--perceptual none --lambda_l2 1`. BasicSR's MSRGAN is `--generator msrresnet --discriminator
    vgg --distance l1 --lambda_l1 1e-2 --lambda_adversarial 5e-3 --perceptual vgg19
    --perceptual_layers conv5_4=1 --lr_psnr 2e-4 --start kaiming`.
    """

    generator: Literal["srresnet", "msrresnet"] = knob(
        "srresnet", "the paper's, or BasicSR's without norms and with a bilinear skip"
    )
    start: Start = knob("normal", "starting weights of all networks; kaiming: BasicSR's")
    distance: Literal["l1", "l2"] = knob(
        "l2", "of pictures in the first stage, and of the classifier's activations"
    )
    discriminator: Discriminator = knob(
        "srgan", "srgan: the paper's; vgg: BasicSR's; unet: Real-ESRGAN's, for any size"
    )
    lambda_adversarial: float = knob(1e-3, "weight of the generator's adversarial term", 0)
    lambda_l1: float = knob(0.0, "weight of the mean absolute difference, of [0, 1]", 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adversarial == "relativistic":
            raise SettingsError(
                "--adversarial relativistic is ESRGAN's; train esrgan, or use nonsaturating"
            )
        if self.generator == "msrresnet" and self.skip != "none":
            raise SettingsError(
                f"--generator msrresnet adds to the bilinear enlargement already, which --skip "
                f"{self.skip} would do again; use --skip none"
            )


class SRGAN(SuperResolution):
    """min_G content(G(x), y) - 1e-3 log D(G(x)) (Ledig et al. 2017, equations 3, 5 and 6)."""

    Settings = SRGANSettings
    settings: SRGANSettings
    defaults: ClassVar[dict[str, Any]] = SuperResolution.defaults | {"schedule": "step"}
    # Differences of activations are brought to the size of those of pixels in [-1, 1]: VGG's by
    # the paper's factor (section 3.2); AlexNet's turns out the same: of satellite pictures four
    # times enlarged by bicubic interpolation the former are 0.61, the latter 0.0037.
    layers: ClassVar[Layers] = {
        "vgg19": {"relu5_4": 0.006},
        "vgg16": {"relu5_3": 0.006},
        "alex": {"relu5": 0.006},
    }

    def make_generator(self) -> nn.Module:
        settings, channels = self.settings, self.facts.channels
        sizes = (channels["low"], channels["high"], settings.width, settings.blocks)
        if settings.generator == "msrresnet":
            return MSRResNet(*sizes, scale=self.facts.scale)
        return SRResNet(*sizes, scale=self.facts.scale, norm=settings.norm)

    def fooled(self, real: Tensor, fake: Tensor) -> Terms:
        term = generator_term(self.settings.adversarial, self.discriminator(fake))
        return {"adversarial": term}

    def discriminator_loss(self, batch: Batch, fake: Tensor) -> Terms:
        real = unit(batch["high"])
        logits = self.discriminator(real), self.discriminator(fake)
        return discriminator_terms(self.settings.adversarial, *logits) | self.penalty(real, fake)
