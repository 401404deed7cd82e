"""CycleGAN: two generators that undo each other translate between piles without pairs."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from dragoman.losses.adversarial import Adversarial, discriminator_terms, generator_term
from dragoman.losses.distances import l1
from dragoman.losses.history import History
from dragoman.networks.blocks import Norm, initialise
from dragoman.networks.generator import (
    AtTest,
    GeneratorSettings,
    answers_of,
    build_generator,
    make_pictures,
    set_at_test,
)
from dragoman.networks.patch import Field, patch_discriminator
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, Terms, Turn
from dragoman.two_way import TwoWay


@dataclass(frozen=True)
class CycleGANSettings(GeneratorSettings):
    """Knobs of CycleGAN; the defaults are the official implementation's."""

    generator: Literal["unet", "encoder_decoder", "resnet"] = knob(
        "resnet", "both generators: residual blocks, a U-Net, or the same without skips"
    )
    norm: Norm = knob("instance", "normalisation in generators and discriminators")
    dropout: float = knob(0.0, "share of activations dropped in the generators' middle", 0, 0.95)
    at_test: AtTest = knob("eval", "when generating, with dropout: eval is deterministic")
    noise: int = knob(
        0, "channels of noise joined to each generator's input (CycleGAN with noise)", 0, 64
    )
    adversarial: Adversarial = knob("least_squares", "the adversarial objective")
    lambda_adversarial: float = knob(1.0, "weight of the generators' adversarial terms", 0)
    lambda_a: float = knob(10.0, "weight of the cycle from a to b and back", 0)
    lambda_b: float = knob(10.0, "weight of the cycle from b to a and back", 0)
    lambda_identity: float = knob(
        0.5, "weight of the identity terms, as a share of the cycles'; 0 where channels differ", 0
    )
    history: int = knob(50, "past fakes that the discriminators are shown again; 0: none", 0, 10000)
    patch: Field = knob(70, "receptive field of the discriminators in px: 1, 16, 70 or image")
    discriminator_width: int = knob(64, "channels of the discriminators' first layer", 1, 4096)
    discriminator_norm: Norm | None = knob(None, "the discriminators' norm, where it differs")
    lr: float = knob(2e-4, "learning rate of Adam", 0)
    lr_discriminator: float | None = knob(None, "the discriminators', where it differs", 0)
    beta1: float = knob(0.5, "Adam's decay of the mean gradient", 0, 0.9999)


class Fakes(NamedTuple):
    """What the turns of a step share."""

    a: Tensor  # of the true b
    b: Tensor  # of the true a


class CycleGAN(TwoWay):
    """L_GAN(G, D_b) + L_GAN(F, D_a) + lambda (|F(G(a)) - a|_1 + |G(F(b)) - b|_1).

    Zhu et al. 2017, equation 3, with the identity term of section 5.2; G makes b of a, F a of b.
    As in the reference code G and F step first, D's loss is halved, and the discriminators are
    shown earlier fakes too. With `noise` the generators have fresh noise beside their input, the
    baseline of papers on many answers.
    """

    Settings = CycleGANSettings
    settings: CycleGANSettings
    defaults: ClassVar[dict[str, Any]] = {"batch": 1, "schedule": "linear"}

    def __init__(self, settings: CycleGANSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        a, b, size = facts.channels["a"], facts.channels["b"], min(facts.size)
        self.to_b = build_generator(settings, a + settings.noise, b, size)
        self.to_a = build_generator(settings, b + settings.noise, a, size)
        self.discriminator_a, self.discriminator_b = self._judge(a), self._judge(b)
        self.past_a, self.past_b = History(settings.history), History(settings.history)

    def _judge(self, channels: int) -> nn.Module:
        settings = self.settings
        judge = patch_discriminator(
            channels,
            settings.patch,
            width=settings.discriminator_width,
            norm=settings.discriminator_norm or settings.norm,
            size=min(self.facts.size),
        )
        return initialise(judge, settings.start)

    def stages(self, steps: int) -> list[Stage]:
        translate = Turn(self.generator_loss, [self.to_b, self.to_a])
        judge = Turn(self.discriminator_loss, [self.discriminator_b, self.discriminator_a])
        return [Stage("train", steps, [translate, judge])]

    def averaged(self) -> list[nn.Module]:
        return [self.to_b, self.to_a]

    def train(self, mode: bool = True) -> "CycleGAN":
        super().train(mode)
        for network in (self.to_b, self.to_a):
            set_at_test(network, self.settings.at_test, mode)
        return self

    def translated(self, to: str, pictures: Tensor) -> Tensor:
        """What a generator makes of pictures, and of noise if it has such."""
        if self.settings.noise:
            count, _, height, width = pictures.shape
            drawn = torch.randn(count, self.settings.noise, 1, 1, device=pictures.device)
            spread = drawn.to(pictures.dtype).expand(-1, -1, height, width)
            pictures = torch.cat([pictures, spread], 1)
        network = self.to_b if to == "b" else self.to_a
        return make_pictures(network, pictures, self.settings.at_test)

    def share(self, batch: Batch, progress: Progress) -> Fakes:
        b = self.translated("b", batch["a"])
        return Fakes(self.translated("a", batch["b"]), b)

    def generator_loss(self, batch: Batch, fake: Fakes) -> Terms:
        settings, a, b = self.settings, batch["a"], batch["b"]
        terms = {
            "adversarial_b": self.fooling(self.discriminator_b, fake.b, b),
            "adversarial_a": self.fooling(self.discriminator_a, fake.a, a),
            "cycle_a": settings.lambda_a * l1(self.translated("a", fake.b), a),
            "cycle_b": settings.lambda_b * l1(self.translated("b", fake.a), b),
        }
        if settings.lambda_identity and a.shape[1] == b.shape[1]:
            for to, true, weight in (("b", b, settings.lambda_b), ("a", a, settings.lambda_a)):
                left = l1(self.translated(to, true), true)
                terms[f"identity_{to}"] = weight * settings.lambda_identity * left
        return terms

    def fooling(self, judge: nn.Module, fake: Tensor, real: Tensor) -> Tensor:
        """The weighted adversarial term of one generator."""
        kind = self.settings.adversarial
        partner = judge(real) if kind == "relativistic" else None
        return self.settings.lambda_adversarial * generator_term(kind, judge(fake), partner)

    def discriminator_loss(self, batch: Batch, fake: Fakes) -> Terms:
        terms = {}
        for name, judge, true, shown in (
            ("b", self.discriminator_b, batch["b"], self.past_b(fake.b)),
            ("a", self.discriminator_a, batch["a"], self.past_a(fake.a)),
        ):
            parts = discriminator_terms(self.settings.adversarial, judge(true), judge(shown))
            for part, term in parts.items():  # halved: D learns slower than G
                terms[f"{part}_{name}"] = term / 2
        return terms

    @property
    def stride(self) -> int:
        return max(self.to_b.stride, self.to_a.stride)

    @property
    def answers(self) -> int | None:
        return None if self.settings.noise else answers_of(self.to_b, self.settings.at_test)
