"""What systems that learn from piles without pairs share: their knobs and their discriminators."""

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from dragoman.losses.adversarial import Adversarial, discriminator_terms, generator_term
from dragoman.networks.blocks import Norm, initialise
from dragoman.networks.generator import AtTest, GeneratorSettings
from dragoman.networks.patch import Field, patch_discriminator
from dragoman.settings import knob
from dragoman.system import Terms

# Of the run, in junyanz's code; a and b are drawn independently.
OFFICIAL: dict[str, Any] = {"batch": 1, "schedule": "linear", "pairing": "unpaired"}


@dataclass(frozen=True)
class UnpairedSettings(GeneratorSettings):
    """Knobs of generators and discriminators as in CycleGAN's reference code."""

    generator: Literal["unet", "encoder_decoder", "resnet"] = knob(
        "resnet", "every generator: residual blocks, a U-Net, or the same without skips"
    )
    norm: Norm = knob("instance", "normalisation in generators and discriminators")
    dropout: float = knob(0.0, "share of activations dropped in the generators' middle", 0, 0.95)
    at_test: AtTest = knob("eval", "when generating, with dropout: eval is deterministic")
    adversarial: Adversarial = knob("least_squares", "the adversarial objective")
    lambda_adversarial: float = knob(1.0, "weight of the generators' adversarial terms", 0)
    history: int = knob(50, "past fakes that a discriminator is shown again; 0: none", 0, 10000)
    patch: Field = knob(70, "receptive field of the discriminators in px: 1, 16, 70 or image")
    discriminator_width: int = knob(64, "channels of the discriminators' first layer", 1, 4096)
    discriminator_norm: Norm | None = knob(None, "the discriminators' norm, where it differs")
    lr: float = knob(2e-4, "learning rate of Adam", 0)
    lr_discriminator: float | None = knob(None, "the discriminators', where it differs", 0)
    beta1: float = knob(0.5, "Adam's decay of the mean gradient", 0, 0.9999)


def make_discriminator(settings: UnpairedSettings, channels: int, size: int) -> nn.Module:
    """A discriminator with its starting weights, of pictures of about `size` px."""
    judge = patch_discriminator(
        channels,
        settings.patch,
        width=settings.discriminator_width,
        norm=settings.discriminator_norm or settings.norm,
        size=size,
    )
    return initialise(judge, settings.start)


def fooling(settings: UnpairedSettings, judge: nn.Module, fake: Tensor, real: Tensor) -> Tensor:
    """The weighted adversarial term of one generator."""
    kind = settings.adversarial
    partner = judge(real) if kind == "relativistic" else None
    return settings.lambda_adversarial * generator_term(kind, judge(fake), partner)


def judging(settings: UnpairedSettings, judge: nn.Module, shown: Tensor, real: Tensor) -> Terms:
    """The terms of one discriminator, halved as in the reference code: D learns slower than G."""
    terms = discriminator_terms(settings.adversarial, judge(real), judge(shown))
    return {name: term / 2 for name, term in terms.items()}
