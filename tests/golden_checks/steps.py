"""Our engine beside a stored trace of an official model's training steps."""

from torch import Tensor

from dragoman.engine import Engine, EngineSettings
from dragoman.system import Batch, System
from golden_checks.fixture import Fixture

STEPS = 100  # of the stage that a trace is cut from; the learning rate stays constant


class Steps:
    """A system in the engine, without all that official models lack, and what each step gave."""

    def __init__(self, system: System) -> None:
        self.heard: dict[str, dict[str, Tensor]] = {}  # terms of the last step, by turn
        settings = EngineSettings(precision="fp32", average=0.0, device="cpu", deterministic=False)
        self.engine = Engine(
            system, settings, STEPS, lambda step, turn, terms: self.heard.update({turn: terms})
        )
        (self.stage,) = self.engine.stages
        self.engine.enter(self.stage)

    def take(self, batch: Batch) -> dict[str, dict[str, Tensor]]:
        """Take a step on a batch and return the terms of its turns."""
        self.heard.clear()
        self.engine.take_step(self.stage, batch)
        return self.heard


def stored_steps(fixture: Fixture, prefix: str) -> range:
    """The numbers of all steps to the last of which something is stored under the prefix."""
    last = max(int(key.split("/")[0]) for key in fixture.under(f"{prefix}step"))
    return range(1, last + 1)
