"""Judging a translation among domains: from each domain into each other, against the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dragoman.errors import DataError
from dragoman.judge import TOGETHER, Judged, judge_all
from dragoman.system import Batch, System

if TYPE_CHECKING:
    from dragoman.data import Data

INTS = NDArray[np.int64]
INPUT = "input"  # the row of the picture itself, left as it is
MEANS = "mean over the directions of the means over their pictures"


@dataclass(frozen=True)
class Way:
    """From one domain into another: which pictures are translated, and what is compared with.

    truths: the numbers of the pictures of the same things, or of any of the other domain.
    """

    label_set: str
    source: str
    target: str
    rows: INTS
    truths: INTS
    paired: bool

    @property
    def name(self) -> str:
        """As it is told."""
        return f"{self.source} to {self.target}"


class Ways:
    """The pictures of one way as a data set of `image` and `truth`."""

    def __init__(self, data: Data, way: Way) -> None:
        self._data, self._way = data, way
        self.name = data.name
        self.counts = {name: len(way.rows) for name in data.counts}

    def partners(self, split: str) -> bool:
        """True if both pictures of a row show the same thing."""
        return self._way.paired

    def count(self, split: str, key: str) -> int:
        """How many pictures are translated."""
        return len(self._way.rows)

    def split(self, name: str, batch: int = TOGETHER) -> Iterator[Batch]:
        """All pictures once."""
        count = len(self._way.rows)
        return (self.rows(name, range(at, min(at + batch, count))) for at in range(0, count, batch))

    def rows(self, split: str, numbers: Iterable[int]) -> Batch:
        """The pictures of these places of the way."""
        chosen = list(numbers)
        batch = self._data.rows(split, self._way.rows[chosen].tolist())
        truth = self._data.rows(split, self._way.truths[chosen].tolist())["image"]
        return {**batch, "truth": truth}


def ways(system: System, data: Data, split: str) -> list[Way]:
    """All ways among the domains of a system for which a split has pictures.

    Where it is known which pictures show the same thing in another domain, only these count.
    """
    found = []
    for label_set, classes in system.domains().items():
        labels = data.classes(split, label_set)
        for target, target_name in enumerate(classes):
            others = np.flatnonzero((labels >= 0) & (labels != target))
            partners = data.counterparts(split, others.tolist(), label_set, target)
            known = bool((partners >= 0).any())
            there = np.flatnonzero(labels == target)
            for source, source_name in enumerate(classes):
                own = labels[others] == source
                if known:
                    own &= partners >= 0
                rows = others[own]
                truths = partners[own] if known else there
                count = min(len(rows), len(truths))
                if count:
                    way = Way(label_set, source_name, target_name, rows, truths, known)
                    found.append(replace(way, rows=rows[:count], truths=truths[:count]))
    return sorted(found, key=lambda way: (way.label_set, classes_of(system, way)))


def classes_of(system: System, way: Way) -> tuple[int, int]:
    """The numbers of the domains of a way."""
    classes = system.domains()[way.label_set]
    return classes.index(way.source), classes.index(way.target)


def judge_ways(
    system: System, data: Data, split: str, judged: Callable[[Way], Judged]
) -> dict[str, Any]:
    """Judge each way, and give the means over all of them.

    judged: what is judged on a way, once the system has been told where to. Returns what
    `judge_all` does, with "directions": the scores of each way.
    """
    all_ways = ways(system, data, split)
    if not all_ways:
        raise DataError(
            f"{data.name} has no pictures in the split '{split}' of two domains, between which "
            "translations could be judged; label some"
        )
    told: dict[str, dict[str, Any]] = {}
    for way in all_ways:
        one = judged(way)
        rows = {INPUT: _left, **one.beside}
        one = replace(one, source="image", target="truth", paired=way.paired, beside=rows)
        told[way.name] = judge_all(one, Ways(data, way), split, with_baselines=False)
    return {**_mean(list(told.values())), "direction": f"{len(told)} ways", "directions": told}


def _left(batch: Batch) -> Tensor:
    return batch["image"]


def _mean(scores: list[dict[str, Any]]) -> dict[str, Any]:
    """The means of scores; a measure that is missing in some is left out."""
    first = scores[0]
    measures = [m for m in first["better"] if all(m in one for one in scores)]
    rows = [n for n in first["baselines"] if all(n in one["baselines"] for one in scores)]

    def over(told: list[dict[str, Any]]) -> dict[str, Any]:
        kept = [m for m in measures if all(m in one for one in told)]
        return {m: {"mean": sum(one[m]["mean"] for one in told) / len(told)} for m in kept}

    return {
        **over(scores),
        **{name: first[name] for name in ("split", "data", "better", "unit")},
        "protocol": {m: f"{MEANS}: {first['protocol'][m]}" for m in measures},
        "count": sum(one["count"] for one in scores),
        "interval": "",
        "baselines": {name: over([one["baselines"][name] for one in scores]) for name in rows},
    }
