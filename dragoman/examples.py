"""The pictures by which a system that must be shown a domain is judged and shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dragoman.controls import Controls, changed
from dragoman.system import System

if TYPE_CHECKING:
    from dragoman.data import Data

INTS = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Pictures of one class: their numbers in a split."""

    split: str
    rows: INTS


def examples_of(
    data: Data, split: str, label_set: str, target: int, count: int, but: Iterable[int] = ()
) -> Examples | None:
    """The first `count` pictures of a class of the training split; None if there are none.

    Of classes that training has not seen, and where pictures of training are judged, they are the
    first of `split` itself, at most half of those it has, and none of those numbered in `but`.
    """
    place, own = "train", np.zeros(0, np.int64)
    if split != "train" and data.counts.get("train"):
        own = np.flatnonzero(data.classes("train", label_set) == target)
    if not len(own):
        place, own = split, np.flatnonzero(data.classes(split, label_set) == target)
        own = np.setdiff1d(own, np.fromiter(but, np.int64))
        own = own[: (len(own) + 1) // 2]
    return Examples(place, own[:count]) if len(own) else None


def asked_for(
    system: System, data: Data, label_set: str, domain: str, examples: Examples | None
) -> Controls:
    """The system's controls with a domain asked for, and shown if there are examples."""
    asked = changed(system.controls, {"domain": f"{label_set}={domain}"})
    if examples is None:
        return asked
    shown = {"reference": data.rows(examples.split, examples.rows.tolist())["image"]}
    return replace(asked, **shown)
