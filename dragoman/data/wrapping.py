"""A source that changes something of another one, and passes on the rest."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dragoman.data.sizes import Size
from dragoman.data.source import INTS, Source


class Wrapping(Source):
    """All that another source has; subclasses say what is different."""

    def __init__(self, source: Source) -> None:
        self._inner, self.name = source, source.name
        self.size, self.shapes, self.tile = source.size, source.shapes, source.tile
        self.scale, self.domains, self.layers = source.scale, source.domains, source.layers
        self.splits, self.label_sets = source.splits, source.label_sets
        self.unseen, self.unseen_set = source.unseen, source.unseen_set

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a key has in a split."""
        return self._inner.count(split, key)

    def pictures(
        self, split: str, key: str, rows: INTS, places: NDArray[np.float64] | None, size: Size
    ) -> NDArray:
        """Return the pictures of these numbers as stored, [B, planes, *size]."""
        return self._inner.pictures(split, key, rows, places, size)

    def partners(self, split: str) -> bool:
        """True if pictures of one number show the same thing in all domains."""
        return self._inner.partners(split)

    def names(self, split: str) -> Sequence[str]:
        """Return the name of each picture."""
        return self._inner.names(split)

    def labels(self, split: str, rows: INTS) -> INTS | None:
        """Return the classes of these pictures, [B, label sets], if any."""
        return self._inner.labels(split, rows)

    def counterparts(self, split: str, rows: INTS, label_set: str, target: int) -> INTS:
        """Return the numbers of the pictures that show the same thing in another class, or -1."""
        return self._inner.counterparts(split, rows, label_set, target)

    def buckets(self, split: str) -> INTS | None:
        """Return which of `shapes` each picture of a split goes to; None if all have one size."""
        return self._inner.buckets(split)

    def equal_classes(self, label_set: str) -> list[str]:
        """Return a line for each pair of classes from a table that hold the same pictures."""
        return self._inner.equal_classes(label_set)

    def unfit(self) -> list[str]:
        """Return a line, with file and reason, for everything that cannot be used."""
        return self._inner.unfit()

    def digest(self) -> str:
        """Changes if pictures are added, removed or come into another split."""
        return self._inner.digest()

    def check_size(self, size: Size) -> None:
        """Raise SettingsError if pictures cannot be had in this size."""
        self._inner.check_size(size)
