"""What a measure of a whole split is, where no mean over pictures gives the same number."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

Estimate = dict[str, float]  # "mean", and "low" and "high" where there is an interval


@dataclass(frozen=True)
class Number:
    """What is told of one number: its unit, which way is good, and in a sentence what it is."""

    name: str
    unit: str
    better: Literal["low", "high"]
    protocol: str


class Collector(Protocol):
    """Sees a split batch by batch."""

    def add(self, fake: Tensor, real: Tensor, batch: Mapping[str, Tensor]) -> None:
        """Take in pictures [B, C, H, W] in [-1, 1], the truth, and what they were made of.

        Raises DataError, saying why, for pictures that it cannot judge.
        """
        ...

    def result(self) -> dict[str, Estimate]:
        """Return the numbers of all that was added, by name; raises DataError if there are none."""
        ...


@dataclass(frozen=True)
class SetMetric:
    """One or more numbers of a whole split.

    start: makes a collector, which sees the split once. paired: it compares each picture with its
    own truth, instead of all made with all true ones.
    """

    name: str
    numbers: tuple[Number, ...]
    start: Callable[[], Collector]
    paired: bool = True
