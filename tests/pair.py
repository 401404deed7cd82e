"""A system of one or two numbers, whose every step can be worked by hand."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from dragoman.controls import Controls
from dragoman.engine import Engine, EngineSettings
from dragoman.settings import build
from dragoman.system import Batch, Facts, Progress, Stage, System, Terms, Turn

FACTS = Facts(channels={"a": 1}, size=(1, 1))


class Weight(nn.Module):
    """One number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))


class Pair(System):
    """Two numbers that learn in turns; what they learn is given from outside."""

    def __init__(self, stages: list[tuple[int, list[tuple[str, int]]]], lr: float = 0.1) -> None:
        super().__init__(None, FACTS)
        self.one, self.two = Weight(1.0), Weight(10.0)
        self.plan, self.lr = stages, lr
        self.begun: list[int] = []
        self.asked: list[nn.Module] = []
        self.shared = 0

    def stages(self, steps: int) -> list[Stage]:
        def begin(number: int) -> Any:
            return lambda: self.begun.append(number)

        return [
            Stage(
                f"stage {number}",
                count,
                [Turn(getattr(self, f"{n}_loss"), self.networks(n), e) for n, e in turns],
                begin(number),
            )
            for number, (count, turns) in enumerate(self.plan)
        ]

    def networks(self, name: str) -> list[nn.Module]:
        return [self.one, self.two] if name == "both" else [getattr(self, name)]

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        self.asked.append(network)
        return SGD(network.parameters(), lr=self.lr, momentum=0.5)

    def share(self, batch: Batch, progress: Progress) -> Tensor:
        self.shared += 1
        return self.one.value * batch["a"].mean()

    def one_loss(self, batch: Batch, shared: Tensor) -> Terms:
        return {"square": shared.square() / 2}

    def two_loss(self, batch: Batch, shared: Tensor) -> Terms:
        return {"product": self.two.value * shared, "offset": self.two.value * 0}

    def both_loss(self, batch: Batch, shared: Tensor) -> Terms:
        return {"sum": 3 * self.one.value + 4 * self.two.value}

    def generate(self, batch: Batch, controls: Controls | None = None) -> Tensor:
        return self.one.value * batch["a"]

    def averaged(self) -> list[nn.Module]:
        return [self.one]


def settings(**over: Any) -> EngineSettings:
    return build(EngineSettings, {"precision": "fp32", "device": "cpu", "average": 0.0} | over)


def twos(start: int = 0, **overrides: Any):
    while True:
        yield {"a": torch.full((4, 1, 1, 1), 2.0)}


def trained(system: Pair, **over: Any) -> Engine:
    engine = Engine(system, settings(**over), 0)
    for _ in engine.run(twos):
        pass
    return engine


def values(system: Any) -> tuple[float, float]:
    return system.one.value.item(), system.two.value.item()
