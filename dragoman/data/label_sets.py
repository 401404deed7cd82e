"""Classes of whole pictures: from the words of folders and tables to numbers."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from dragoman.data.records import MOST_SHOWN, shorten
from dragoman.data.scan import wrong_name
from dragoman.data.table import UNKNOWN
from dragoman.errors import DataError

LABELS = NDArray[np.int32]
MOST_CLASSES = 10_000


def in_order(classes: Iterable[str]) -> tuple[str, ...]:
    """Sort classes: by value if all are whole numbers, else by the alphabet."""
    names = set(classes)
    if all(name.isdecimal() and len(name) < 19 for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


class LabelColumn:
    """The classes of one label set, as they are read row by row; an empty word is unknown."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._known: dict[str, int] = {}
        self._numbers = array("i")

    def add(self, word: str) -> None:
        """Take the class of the next row; raises DataError for odd and for too many classes."""
        number = self._known.get(word) if word else UNKNOWN
        if number is None:
            self._check(word)
            number = self._known[word] = len(self._known)
        self._numbers.append(number)

    def _check(self, word: str) -> None:
        if wrong_name(word) or len(word) > MOST_SHOWN:
            why = wrong_name(word) or f"has more than {MOST_SHOWN} characters; shorten it"
            raise DataError(f"{self._where} has the class {shorten(word)}, which {why}")
        if len(self._known) == MOST_CLASSES:
            raise DataError(
                f"{self._where} has more than {MOST_CLASSES} different values and can hardly be a "
                "class; name the columns that are classes with --columns label=COLUMN"
            )

    def finish(self) -> tuple[tuple[str, ...], LABELS]:
        """Return the classes in their order and the number of each row's class in it.

        Raises DataError if no row has a class.
        """
        if not self._known:
            raise DataError(f"{self._where} has no class in any row; fill it or leave it out")
        classes = in_order(self._known)
        places = {word: number for number, word in enumerate(classes)}
        table = np.array([*(places[word] for word in self._known), UNKNOWN], np.int32)
        return classes, table[np.frombuffer(self._numbers, np.int32)]


def finish(columns: dict[str, LabelColumn]) -> tuple[dict[str, tuple[str, ...]], LABELS]:
    """Return the classes of each label set, and the numbers [rows, label sets]."""
    done = {name: column.finish() for name, column in columns.items()}
    classes = {name: found for name, (found, _) in done.items()}
    if not done:
        return classes, np.empty((0, 0), np.int32)
    return classes, np.stack([numbers for _, numbers in done.values()], 1)


def disagreement(classes: Mapping[str, tuple[str, ...]], one: LABELS, other: LABELS) -> str:
    """Say in which label set two rows about the same picture differ, as 'x' here against 'y'; ""
    if in none. An unknown class disagrees with nothing. one, other: numbers, [label sets].
    """
    for (name, words), mine, theirs in zip(classes.items(), one, other, strict=True):
        if mine != theirs and min(mine, theirs) > UNKNOWN:
            return f"{shorten(words[mine])} in {shorten(name)} here, but {shorten(words[theirs])}"
    return ""
