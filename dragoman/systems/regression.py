"""Regression: the picture that is right on average (the baseline of every table)."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from dragoman.controls import Controls
from dragoman.losses.distances import l1, l2
from dragoman.networks.generator import (
    GeneratorSettings,
    answers_of,
    build_generator,
    make_pictures,
    set_at_test,
)
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, System, Terms, Turn


@dataclass(frozen=True)
class RegressionSettings(GeneratorSettings):
    """Knobs of the regression."""

    distance: Literal["l1", "l2"] = knob("l1", "what is minimised; l2 comes out blurrier")
    lr: float = knob(2e-4, "learning rate of Adam", 0)
    beta1: float = knob(0.5, "Adam's decay of the mean gradient", 0, 0.9999)


class Regression(System):
    """min_G E ||y - G(x)||_p, p in {1, 2}."""

    Settings = RegressionSettings
    settings: RegressionSettings

    def __init__(self, settings: RegressionSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        a, b = facts.channels["a"], facts.channels["b"]
        self.generator = build_generator(settings, a, b, min(facts.size))

    def stages(self, steps: int) -> list[Stage]:
        return [Stage("train", steps, [Turn(self.generator_loss, [self.generator])])]

    def train(self, mode: bool = True) -> "Regression":
        super().train(mode)
        set_at_test(self.generator, self.settings.at_test, mode)
        return self

    def generate(self, batch: Batch, controls: Controls | None = None) -> Tensor:
        return make_pictures(self.generator, batch["a"], self.settings.at_test)

    def share(self, batch: Batch, progress: Progress) -> Tensor:
        return self.generate(batch)

    def generator_loss(self, batch: Batch, fake: Tensor) -> Terms:
        distance = {"l1": l1, "l2": l2}[self.settings.distance]
        return {self.settings.distance: distance(fake, batch["b"])}

    @property
    def answers(self) -> int | None:
        return answers_of(self.generator, self.settings.at_test)
