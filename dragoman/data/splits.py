"""Hold pictures out of training by a hash of their names, so that partners stay together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dragoman.data.names import Names

INTS = NDArray[np.int64]
LACKING = ("test", "val")  # the order in which splits that are missing are taken out of train


def hold_out(names: Names, lacking: Sequence[str]) -> dict[str, INTS]:
    """Return rows of train, and of each split in `lacking`, which gets about a tenth.

    A name goes by its hash alone: it stays in its split when others are added, and equal names
    go together. If no hash falls into a tenth, it gets the name next to it.
    """
    shares, rows = names.shares(), {"train": np.arange(len(names))}
    for place, split in enumerate(lacking):
        left = shares[rows["train"]]
        distance = (left - place / 10) % 1
        chosen = distance < 0.1
        if len(left) and not chosen.any():
            chosen = distance == distance.min()
        _move(rows, split, chosen)
    return rows


def completed(rows: dict[str, INTS], names: Names) -> dict[str, INTS]:
    """Hold the splits that `rows` lacks out of its rows of train. names: of all rows."""
    train = rows["train"]
    held = hold_out(names.take(train), [split for split in LACKING if split not in rows])
    return rows | {split: train[own] for split, own in held.items()}


def hold_out_by_class(
    names: Names, classes: Sequence[INTS], lacking: Sequence[str]
) -> dict[str, INTS]:
    """Return rows of train, and of each split in `lacking`, so that no class goes without.

    names: within their class; equal ones go together, since the same scene may lie in several
    classes. classes: the rows of each. Every class keeps a picture in train and, if it has enough,
    one in each split.
    """
    shares, rows = names.shares(), {"train": np.arange(len(names))}
    for place, split in enumerate(lacking):
        free = np.zeros(len(names), bool)
        free[rows["train"]] = True
        distance = (shares - place / 10) % 1
        distance[~free] = np.inf
        chosen = distance < 0.1
        if free.any() and not chosen.any():
            chosen = distance == distance.min()
        wanted = [  # of each class that has none, but enough: the name next to the tenth
            shares[own[distance[own].argmin()]]
            for own in classes
            if not chosen[own].any() and free[own].sum() > len(lacking) - place
        ]
        chosen |= np.isin(shares, wanted) & free
        kept = [  # of each class that would lose all: the name farthest from the tenth
            shares[own[np.where(chosen[own], distance[own], -1).argmax()]]
            for own in classes
            if free[own].any() and not (free[own] & ~chosen[own]).any()
        ]
        chosen &= ~np.isin(shares, kept)
        _move(rows, split, chosen[rows["train"]])
    return rows


def _move(rows: dict[str, INTS], split: str, chosen: NDArray[np.bool_]) -> None:
    rows[split] = rows["train"][chosen]
    rows["train"] = rows["train"][~chosen]
