"""CycleGAN: two generators that undo each other translate between piles without pairs."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from dragoman.losses.distances import l1
from dragoman.losses.history import History
from dragoman.networks.generator import answers_of, build_generator, make_pictures, set_at_test
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, Terms, Turn
from dragoman.two_way import TwoWay
from dragoman.unpaired import OFFICIAL, UnpairedSettings, fooling, judging, make_discriminator


@dataclass(frozen=True)
class CycleGANSettings(UnpairedSettings):
    """Knobs of CycleGAN; the defaults are the official implementation's."""

    noise: int = knob(
        0, "channels of noise joined to each generator's input (CycleGAN with noise)", 0, 64
    )
    lambda_a: float = knob(10.0, "weight of the cycle from a to b and back", 0)
    lambda_b: float = knob(10.0, "weight of the cycle from b to a and back", 0)
    lambda_identity: float = knob(
        0.5, "weight of the identity terms, as a share of the cycles'; 0 where channels differ", 0
    )


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
    defaults: ClassVar[dict[str, Any]] = OFFICIAL

    def __init__(self, settings: CycleGANSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        a, b, size = facts.channels["a"], facts.channels["b"], min(facts.size)
        self.to_b = build_generator(settings, a, b, size, noise=settings.noise)
        self.to_a = build_generator(settings, b, a, size, noise=settings.noise)
        self.discriminator_b = make_discriminator(settings, b, size)
        self.discriminator_a = make_discriminator(settings, a, size)
        self.past_a, self.past_b = History(settings.history), History(settings.history)

    def stages(self, steps: int) -> list[Stage]:
        translate = Turn(self.generator_loss, [self.to_b, self.to_a])
        judge = Turn(self.discriminator_loss, [self.discriminator_b, self.discriminator_a])
        return [Stage("train", steps, [translate, judge])]

    def train(self, mode: bool = True) -> "CycleGAN":
        super().train(mode)
        for network in (self.to_b, self.to_a):
            set_at_test(network, self.settings.at_test, mode)
        return self

    def translated(self, to: str, pictures: Tensor) -> Tensor:
        network: nn.Module = self.get_submodule(f"to_{to}")
        if self.settings.noise:
            count, _, height, width = pictures.shape
            drawn = torch.randn(count, self.settings.noise, 1, 1, device=pictures.device)
            spread = drawn.to(pictures.dtype).expand(-1, -1, height, width)
            pictures = torch.cat([pictures, spread], 1)
        return make_pictures(network, pictures, self.settings.at_test)

    def share(self, batch: Batch, progress: Progress) -> Fakes:
        b = self.translated("b", batch["a"])
        return Fakes(self.translated("a", batch["b"]), b)

    def generator_loss(self, batch: Batch, fake: Fakes) -> Terms:
        settings, a, b = self.settings, batch["a"], batch["b"]
        terms = {
            "adversarial_b": fooling(settings, self.discriminator_b, fake.b, b),
            "adversarial_a": fooling(settings, self.discriminator_a, fake.a, a),
            "cycle_a": settings.lambda_a * l1(self.translated("a", fake.b), a),
            "cycle_b": settings.lambda_b * l1(self.translated("b", fake.a), b),
        }
        if settings.lambda_identity and a.shape[1] == b.shape[1]:
            for to, true, weight in (("b", b, settings.lambda_b), ("a", a, settings.lambda_a)):
                left = l1(self.translated(to, true), true)
                terms[f"identity_{to}"] = weight * settings.lambda_identity * left
        return terms

    def discriminator_loss(self, batch: Batch, fake: Fakes) -> Terms:
        b = judging(self.settings, self.discriminator_b, self.past_b(fake.b), batch["b"])
        a = judging(self.settings, self.discriminator_a, self.past_a(fake.a), batch["a"])
        return {f"{k}_b": term for k, term in b.items()} | {f"{k}_a": t for k, t in a.items()}

    @property
    def answers(self) -> int | None:
        return None if self.settings.noise else answers_of(self.to_b, self.settings.at_test)
