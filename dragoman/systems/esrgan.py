"""ESRGAN: residual-in-residual dense blocks, and a discriminator that compares true with made."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dragoman.losses import adversarial, relativistic
from dragoman.losses.adversarial import Adversarial
from dragoman.losses.perceptual import Layers
from dragoman.networks.blocks import Norm
from dragoman.networks.rrdb import RRDBNet
from dragoman.settings import knob
from dragoman.super_resolution import SuperResolution, SuperResolutionSettings, unit
from dragoman.system import Batch, Terms


@dataclass(frozen=True)
class ESRGANSettings(SuperResolutionSettings):
    """Knobs of ESRGAN; the defaults are the authors' code's (BasicSR).

    But the rate is halved in the first stage as in the second, where that code restarts a cosine
    four times.
    """

    blocks: int = knob(23, "residual-in-residual dense blocks of the generator", 1, 256)
    growth: int = knob(32, "channels that each convolution adds in a dense block", 1, 4096)
    residual_scale: float = knob(
        0.2, "share of each branch that is added to its input; small for many blocks", 0, 1
    )
    norm: Norm = knob("batch", "the discriminator's norm; the generator has none")
    adversarial: Adversarial = knob(
        "relativistic", "the adversarial objective; relativistic: of that of --relativistic_of"
    )
    relativistic_of: relativistic.Base = knob(
        "nonsaturating", "the objective of which the relativistic average is taken"
    )
    hold_means: bool = knob(
        True, "take the other side's mean as constant in the discriminator's loss, as the code does"
    )
    lr_psnr: float | None = knob(2e-4, "the first stage's learning rate, where it differs", 0)


class ESRGAN(SuperResolution):
    """L_G = L_percep + 5e-3 L_G^Ra + 1e-2 L_1 (Wang et al. 2018, equations 1 to 3).

    Where the code leaves the paper, the code is followed: the generator's relativistic term is the
    mean, not the sum, of its two parts, and those of the discriminator are halved.
    """

    Settings = ESRGANSettings
    settings: ESRGANSettings
    defaults: ClassVar[dict[str, Any]] = SuperResolution.defaults | {"schedule": "halving"}
    layers: ClassVar[Layers] = {  # before activation
        "vgg19": {"conv5_4": 1.0},
        "vgg16": {"conv5_3": 1.0},
        "alex": {"conv5": 1.0},
    }

    def make_generator(self) -> nn.Module:
        settings, channels = self.settings, self.facts.channels
        return RRDBNet(
            channels["low"],
            channels["high"],
            width=settings.width,
            blocks=settings.blocks,
            growth=settings.growth,
            scale=self.facts.scale,
            share=settings.residual_scale,
        )

    @property
    def relative(self) -> bool:
        """True if true and made pictures are judged against each other."""
        return self.settings.adversarial == "relativistic"

    def fooled(self, real: Tensor, fake: Tensor) -> Terms:
        if not self.relative:
            logits = self.discriminator(fake)
            return {"adversarial": adversarial.generator_term(self.settings.adversarial, logits)}
        with torch.no_grad():  # what is said of true pictures does not depend on the generator
            truth = self.discriminator(real)
        parts = relativistic.generator_terms(
            self.settings.relativistic_of, truth, self.discriminator(fake)
        )
        return {"adversarial": (parts["real"] + parts["fake"]) / 2}

    def discriminator_loss(self, batch: Batch, fake: Tensor) -> Terms:
        real = unit(batch["high"])
        if not self.relative:
            logits = self.discriminator(real), self.discriminator(fake)
            terms = adversarial.discriminator_terms(self.settings.adversarial, *logits)
            return terms | self.penalty(real, fake)
        held = None
        if self.settings.hold_means:
            with torch.no_grad():
                held = self.discriminator(fake)
        parts = relativistic.discriminator_terms(
            self.settings.relativistic_of, self.discriminator(real), self.discriminator(fake), held
        )
        return {name: term / 2 for name, term in parts.items()}
