"""Judging a translation among domains: from each domain into each other, against the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dragoman.errors import DataError
from dragoman.examples import Examples, examples_of
from dragoman.judge import TOGETHER, Judged, judge_all
from dragoman.system import Batch, System

if TYPE_CHECKING:
    from dragoman.data import Data

INTS = NDArray[np.int64]
INPUT = "input"  # the row of the picture itself, left as it is
MOST_WAYS = 240  # of 16 domains; of more some are left out
T = TypeVar("T")
MEANS = "mean over the directions of the means over their pictures"


@dataclass(frozen=True)
class Way:
    """From one domain into another: which pictures are translated, and what is compared with.

    truths: the numbers of the pictures of the same things, or of any of the other domain. prefix:
    tells the label set, where there are several.
    examples: what the system is shown of that domain, if it must be.
    """

    label_set: str
    source: str
    target: str
    rows: INTS
    truths: INTS
    paired: bool
    examples: Examples | None = None
    prefix: str = ""

    @property
    def name(self) -> str:
        """As it is told."""
        return f"{self.prefix}{self.source} to {self.target}"


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

    Where it is known of most which pictures show the same thing in another domain, only these
    count; else as many of either domain as there are of both, spread evenly. Of very many ways
    some are left out, evenly too.
    Examples that a system is shown of a domain are no truths; without any there is no way into it.
    """
    found = []
    several = len(system.domains()) > 1
    for label_set, classes in system.domains().items():
        prefix = f"{label_set}: " if several else ""
        labels = data.classes(split, label_set)
        for target, target_name in enumerate(classes):
            others = np.flatnonzero((labels >= 0) & (labels != target))
            partners = data.counterparts(split, others.tolist(), label_set, target)
            there = np.flatnonzero(labels == target)
            shown = None
            if system.examples:
                shown = examples_of(data, split, label_set, target, system.examples)
                if shown is None:
                    continue
            seen = shown.rows if shown and shown.split == split else there[:0]
            there = np.setdiff1d(there, seen)
            for source, source_name in enumerate(classes):
                own = (labels[others] == source) & ~np.isin(partners, seen)
                known = own & (partners >= 0)
                paired = bool(known.sum()) and 2 * known.sum() >= own.sum()
                rows, truths = others[known], partners[known]
                if not paired:
                    rows, truths = _as_many(others[own], there)
                if len(rows):
                    names = (label_set, source_name, target_name)
                    found.append(Way(*names, rows, truths, paired, shown, prefix))
    found.sort(key=lambda way: (way.label_set, classes_of(system, way)))
    return spread(found, MOST_WAYS)


def spread(items: list[T], most: int) -> list[T]:
    """All of the items, or so many of them at even distances."""
    count = min(len(items), most)
    return [items[place * len(items) // count] for place in range(count)]


def _as_many(rows: INTS, others: INTS) -> tuple[INTS, INTS]:
    """As many of both as there are of the fewer, at even distances."""
    count = min(len(rows), len(others))
    return rows[np.arange(count) * len(rows) // max(count, 1)], others[
        np.arange(count) * len(others) // max(count, 1)
    ]


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
    left_out: dict[str, str] = {}
    for way in all_ways:
        one = judged(way)
        rows = {INPUT: _left, **one.beside}
        one = replace(one, source="image", target="truth", paired=way.paired, beside=rows)
        try:
            told[way.name] = judge_all(one, Ways(data, way), split, with_baselines=False)
        except DataError as error:  # too few or too small pictures in one way hide no other
            left_out[way.name] = str(error)
    if not told:
        raise DataError(next(iter(left_out.values())))
    scores = _mean(list(told.values()), MEANS + _how_shown(all_ways, split))
    further = {"left_out": left_out} if left_out else {}
    return {**scores, **further, "direction": f"{len(told)} ways", "directions": told}


def _left(batch: Batch) -> Tensor:
    return batch["image"]


def _how_shown(all_ways: list[Way], split: str) -> str:
    """What the system was shown of the domains, for the protocol; "" if nothing."""
    shown = {(w.label_set, w.target): w.examples for w in all_ways if w.examples is not None}
    if not shown:
        return ""
    most = max(len(examples.rows) for examples in shown.values())
    text = f"; it was shown the first {most} pictures (or all there are) of each domain"
    own = [name for (_, name), examples in shown.items() if examples.split == split]
    if len(own) < len(shown):
        text += " in the training split"
    if own:
        text += (
            f", and of {', '.join(own)} the first of the {split} split itself, at most half of it, "
            "which are no truths"
        )
    return text


def _mean(scores: list[dict[str, Any]], how: str) -> dict[str, Any]:
    """The means of scores; a measure that is missing in some is left out. how: of the protocol."""
    first = scores[0]
    measures = [m for m in first["better"] if all(m in one for one in scores)]
    rows = [n for n in first["baselines"] if all(n in one["baselines"] for one in scores)]

    def over(told: list[dict[str, Any]]) -> dict[str, Any]:
        kept = [m for m in measures if all(m in one for one in told)]
        return {m: {"mean": sum(one[m]["mean"] for one in told) / len(told)} for m in kept}

    return {
        **over(scores),
        **{name: first[name] for name in ("split", "data", "better", "unit")},
        "protocol": {m: f"{how}: {first['protocol'][m]}" for m in measures},
        "count": sum(one["count"] for one in scores),
        "interval": "",
        "baselines": {name: over([one["baselines"][name] for one in scores]) for name in rows},
    }
