"""What every layout of own pictures offers: which bytes belong to which batch key and row."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dragoman.data.blob import Blob

INTS = NDArray[np.int64]
SPLITS = ("train", "val", "test")
PICTURE_KEYS = ("a", "b", "image")  # batch keys of pictures that files can hold
PIXEL_KEYS = ("map", "instance", "mask")  # further layers that belong to the same picture
UNKNOWN = -1  # the label of a picture whose class is not known


class Table(ABC):
    """The files of a data set by split, batch key and row, not yet decoded.

    name: short, fit for the name of a folder. keys: batch keys that files are held for, of
    PICTURE_KEYS and PIXEL_KEYS. halves: of keys that are one half of their file: "left" or
    "right". label_sets: classes by name of the label set; the first is batch["label"].
    problems: a line, with file, reason and remedy, for everything that was left out.
    """

    name: str
    keys: tuple[str, ...]
    splits: tuple[str, ...] = SPLITS
    halves: dict[str, str]
    kinds: Mapping[str, str] = MappingProxyType({})
    label_sets: dict[str, tuple[str, ...]]
    problems: list[str]

    @abstractmethod
    def count(self, split: str, key: str) -> int:
        """Return how many pictures a key has in a split."""

    @abstractmethod
    def blobs(self, split: str, key: str, row: int) -> tuple[Blob, ...]:
        """Return the files of one picture; several are stacked along the channels."""

    @abstractmethod
    def names(self, split: str) -> Sequence[str]:
        """Return a name for each row of the first key."""

    @abstractmethod
    def partners(self, split: str) -> bool:
        """True if equal rows of all keys show the same thing."""

    @abstractmethod
    def digest(self) -> str:
        """Return a hash that changes if pictures are added, removed or come into another split."""

    def labels(self, split: str, rows: INTS) -> INTS:
        """Return the class in each label set, [len(rows), label sets]; UNKNOWN if not known."""
        raise NotImplementedError

    def counterparts(self, split: str, rows: INTS, label_set: str, target: int) -> INTS:
        """Return the rows that show the same thing in another class of a label set, or -1."""
        return np.full(len(rows), -1, np.int64)

    def containers(self) -> Iterable[str] | None:
        """Return the files that hold all pictures, where many share one; None: one each."""
        return None

    def folders(self, key: str) -> str:
        """Say where the pictures of a key are, for messages."""
        return self.name
