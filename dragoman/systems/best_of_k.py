"""Best of k: several answers for one picture, of which only the nearest has to be right."""

from dataclasses import dataclass

from torch import Tensor

from dragoman.controls import Controls
from dragoman.losses import nearest
from dragoman.networks.generator import (
    GeneratorSettings,
    build_generator,
    make_pictures,
    set_at_test,
)
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, System, Terms, Turn


@dataclass(frozen=True)
class BestOfKSettings(GeneratorSettings):
    """Knobs of best of k."""

    answers: int = knob(6, "heads, hence pictures made of one", 1, 4096)
    distance: nearest.Distance = knob("l1", "what is minimised; l2 comes out blurrier")
    mean_share: float = knob(
        0.05,
        "share of the mean over all heads in the loss; at 0 heads that never win never learn",
        0,
        1,
    )
    mean_steps: float = knob(
        0.2,
        "share of the steps over which the mean's share falls from 1: heads that begin together "
        "part later, and none is left behind",
        0,
        1,
    )
    lr: float = knob(2e-4, "learning rate of Adam", 0)
    beta1: float = knob(0.5, "Adam's decay of the mean gradient", 0, 0.9999)


class BestOfK(System):
    """min_G E min_k ||y - G_k(x)||_p (Guzman-Rivera et al. 2012).

    Where x has several right answers y the heads divide these among them, instead of all giving
    their mean. A head that starts far from every y would never be the nearest and never learn;
    so all learn a little from the mean over the heads (Rupprecht et al. 2017), and at first from
    nothing else, so that none falls behind (as Makansi et al. 2019 take ever fewer winners). One
    network makes all heads; its last layer has k * C channels.
    """

    Settings = BestOfKSettings
    settings: BestOfKSettings

    def __init__(self, settings: BestOfKSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        a, b = facts.channels["a"], facts.channels["b"]
        self.generator = build_generator(settings, a, b, min(facts.size), answers=settings.answers)

    def stages(self, steps: int) -> list[Stage]:
        return [Stage("train", steps, [Turn(self.generator_loss, [self.generator])])]

    def train(self, mode: bool = True) -> "BestOfK":
        super().train(mode)
        set_at_test(self.generator, self.settings.at_test, mode)
        return self

    def made(self, batch: Batch) -> Tensor:
        """All answers, [B, k, C, H, W]."""
        made = make_pictures(self.generator, batch["a"], self.settings.at_test)
        return made.unflatten(1, (self.settings.answers, -1))

    def generate(self, batch: Batch, controls: Controls | None = None) -> Tensor:
        return self.made(batch)[:, (controls or self.controls).answer]

    def share(self, batch: Batch, progress: Progress) -> tuple[Tensor, float]:
        return self.made(batch), self.mean_share(progress.fraction)

    def mean_share(self, fraction: float) -> float:
        """The share of the mean over the heads in the loss, after that part of the steps."""
        settings = self.settings
        if settings.answers == 1:
            return 0.0
        left = max(0.0, 1 - fraction / settings.mean_steps) if settings.mean_steps else 0.0
        return settings.mean_share + (1 - settings.mean_share) * left

    def generator_loss(self, batch: Batch, shared: tuple[Tensor, float]) -> Terms:
        made, mean = shared
        errors = nearest.errors(made, batch["b"], self.settings.distance)[..., 0]
        terms = {"nearest": (1 - mean) * errors.amin(1).mean()}
        if mean:
            terms["mean"] = mean * errors.mean()
        return terms

    @property
    def answers(self) -> int:
        return self.settings.answers
