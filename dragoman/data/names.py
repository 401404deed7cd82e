"""Millions of names in one piece of memory, and the rows in which several lists of them agree."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

INTS = NDArray[np.int64]
_NEWLINE = 10
_CHUNK = 65_536  # names are unpacked for so many rows at once


class Names(Sequence[str]):
    """Texts without line breaks, stored as UTF-8 in one piece; a part of them shares that piece.

    blob: the bytes. starts, ends: where each text begins and ends in it.
    """

    __slots__ = ("_blob", "_ends", "_starts")
    __hash__ = None

    def __init__(self, blob: bytes | memoryview, starts: INTS, ends: INTS) -> None:
        self._blob, self._starts, self._ends = blob, starts, ends

    @classmethod
    def of(cls, texts: Iterable[bytes]) -> Names:
        """Store texts, none of which may hold a line break."""
        return cls.lines(b"".join([text + b"\n" for text in texts]))

    @classmethod
    def lines(cls, blob: bytes | memoryview) -> Names:
        """Store texts that each end in a line break."""
        ends = np.flatnonzero(np.frombuffer(blob, np.uint8) == _NEWLINE).astype(np.int64)
        starts = np.zeros_like(ends)
        starts[1:] = ends[:-1] + 1
        return cls(blob, starts, ends)

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Names: ...
    def __getitem__(self, index: int | slice) -> str | Names:
        if isinstance(index, slice):
            return Names(self._blob, self._starts[index], self._ends[index])
        return bytes(self._blob[self._starts[index] : self._ends[index]]).decode()

    def __iter__(self) -> Iterator[str]:
        return (text.decode() for text in self.encoded())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Names):
            return self.packed() == other.packed()
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __repr__(self) -> str:
        shown = ", ".join(repr(name) for name in self[:3])
        return f"Names({len(self)}: {shown}{', ...' if len(self) > 3 else ''})"

    def encoded(self) -> Iterator[bytes]:
        """Yield the texts as UTF-8, in order."""
        for at in range(0, len(self), _CHUNK):
            starts = self._starts[at : at + _CHUNK].tolist()
            ends = self._ends[at : at + _CHUNK].tolist()
            yield from [
                bytes(self._blob[start:end]) for start, end in zip(starts, ends, strict=True)
            ]

    def packed(self) -> bytes:
        """Return the texts, each followed by a line break."""
        return b"".join([text + b"\n" for text in self.encoded()])

    def take(self, rows: INTS) -> Names:
        """Return the texts of these rows."""
        return Names(self._blob, self._starts[rows], self._ends[rows])

    def cut(self, front: int | INTS) -> Names:
        """Return the texts without so many bytes in front."""
        return Names(self._blob, self._starts + front, self._ends)

    def under(self, prefix: str) -> tuple[int, int]:
        """Return from which row to which (exclusive) sorted texts begin with `prefix`."""
        return bisect_left(self, prefix), bisect_left(self, prefix + "\U0010ffff")

    def place(self, text: str) -> int:
        """Return the row of a text among sorted ones, or -1 if it is not there."""
        row = bisect_left(self, text)
        return row if row < len(self) and self[row] == text else -1

    def shares(self) -> NDArray[np.float64]:
        """Return a number in [0, 1) for each text, drawn from a hash of that text alone."""
        found = array("I")
        for text in self.encoded():
            found.append(int.from_bytes(hashlib.sha1(text).digest()[:4], "big"))
        return np.frombuffer(found, np.uint32) / 2**32 if found else np.empty(0)


def matched(lists: Sequence[Names]) -> list[INTS]:
    """Return the rows, in each of several sorted lists, of the names that occur in all."""
    rows = [np.arange(len(names)) for names in lists]
    common = lists[0]
    for number, names in enumerate(lists[1:], start=1):
        if len(names) == len(common) and names == common:
            continue
        before, here = _merged(common, names)
        rows[:number] = [each[before] for each in rows[:number]]
        rows[number] = here
        common = names.take(here)
    return rows


def _merged(first: Names, second: Names) -> tuple[INTS, INTS]:
    """Rows of the common names of two sorted lists, by walking along both."""
    left, right = array("q"), array("q")
    others = enumerate(second.encoded())
    place, other = next(others, (0, None))
    for row, name in enumerate(first.encoded()):
        while other is not None and other < name:
            place, other = next(others, (0, None))
        if other is None:
            break
        if other == name:
            left.append(row)
            right.append(place)
    return np.array(left, np.int64), np.array(right, np.int64)
