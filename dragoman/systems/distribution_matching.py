"""Distribution matching: fakes shall look like the other pile, and nothing more is asked."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from dragoman.controls import Controls
from dragoman.losses.history import History
from dragoman.networks.generator import answers_of, build_generator, make_pictures, set_at_test
from dragoman.system import Batch, Facts, Progress, Stage, System, Terms, Turn
from dragoman.unpaired import OFFICIAL, UnpairedSettings, fooling, judging, make_discriminator


@dataclass(frozen=True)
class DistributionMatchingSettings(UnpairedSettings):
    """Knobs of distribution matching; the defaults are CycleGAN's."""


class DistributionMatching(System):
    """min_G max_D L_GAN(G, D): the control that shows why a constraint is needed.

    Any G whose pictures are distributed like b is as good as any other, so that what is in a need
    not be in G(a): Zhu et al. 2017, section 3, and the row "GAN alone" of its table 4.
    """

    Settings = DistributionMatchingSettings
    settings: DistributionMatchingSettings
    defaults: ClassVar[dict[str, Any]] = OFFICIAL
    pairs = False

    def __init__(self, settings: DistributionMatchingSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        a, b, size = facts.channels["a"], facts.channels["b"], min(facts.size)
        self.generator = build_generator(settings, a, b, size)
        self.discriminator = make_discriminator(settings, b, size)
        self.past = History(settings.history)

    def stages(self, steps: int) -> list[Stage]:
        translate = Turn(self.generator_loss, [self.generator])
        judge = Turn(self.discriminator_loss, [self.discriminator])
        return [Stage("train", steps, [translate, judge])]

    def train(self, mode: bool = True) -> "DistributionMatching":
        super().train(mode)
        set_at_test(self.generator, self.settings.at_test, mode)
        return self

    def generate(self, batch: Batch, controls: Controls | None = None) -> Tensor:
        return make_pictures(self.generator, batch["a"], self.settings.at_test)

    def share(self, batch: Batch, progress: Progress) -> Tensor:
        return self.generate(batch)

    def generator_loss(self, batch: Batch, fake: Tensor) -> Terms:
        return {"adversarial": fooling(self.settings, self.discriminator, fake, batch["b"])}

    def discriminator_loss(self, batch: Batch, fake: Tensor) -> Terms:
        return judging(self.settings, self.discriminator, self.past(fake), batch["b"])

    @property
    def answers(self) -> int | None:
        return answers_of(self.generator, self.settings.at_test)
