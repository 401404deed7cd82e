"""What every data set offers: pictures by number, as they are stored."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dragoman.data.catalogue import Domain
from dragoman.data.sizes import Size
from dragoman.data.table import SPLITS
from dragoman.errors import SettingsError

INTS = NDArray[np.int64]


class Source(ABC):
    """Pictures by batch key, in splits.

    domains: of the picture keys, such as a and b. layers: further keys, of PIXEL_KEYS, whose
    numbers belong to the same pixels. size: height and width of the pictures in pixels. shapes:
    all sizes that training batches may have. scale: how many times larger than those of the key
    low that is; 1 where there are none. tile: stored side, which sizes must divide; 0 if pictures
    come in any size. label_sets: names of the classes of whole pictures, by label set. unseen:
    numbers of the classes, of the label set unseen_set, that the training split lacks.
    """

    name: str
    size: Size
    shapes: list[Size]
    scale: int = 1
    tile: int = 0
    domains: dict[str, Domain]
    layers: tuple[str, ...] = ()
    splits: tuple[str, ...] = SPLITS
    label_sets: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    unseen: tuple[int, ...] = ()
    unseen_set: str = ""

    @abstractmethod
    def count(self, split: str, key: str) -> int:
        """Return how many pictures a key has in a split."""

    @abstractmethod
    def pictures(
        self,
        split: str,
        key: str,
        rows: INTS,
        places: NDArray[np.float64] | None,
        size: Size,
    ) -> NDArray:
        """Return the pictures of these numbers as stored, [B, planes, *size].

        Label maps and pixel layers have one plane. places: [B, 2] in [0, 1), where to crop (down,
        right); None for the fixed place.
        """

    @abstractmethod
    def names(self, split: str) -> Sequence[str]:
        """Return a name for each picture of the first domain."""

    @property
    def stored(self) -> tuple[str, ...]:
        """The keys of pictures that are read, the first of them first; `completed` has all."""
        return (*self.domains, *self.layers)

    def completed(self, pictures: dict[str, NDArray]) -> dict[str, NDArray]:
        """Return the pictures of all keys from the cropped and mirrored ones of `stored`."""
        return pictures

    def partners(self, split: str) -> bool:
        """True if pictures of one number show the same thing in all domains."""
        return True

    def labels(self, split: str, rows: INTS) -> INTS | None:
        """Return the classes of these pictures of the first domain, [B, label sets], if any."""
        return None

    def counterparts(self, split: str, rows: INTS, label_set: str, target: int) -> INTS:
        """Return the pictures that show the same thing in another class, as numbers [B].

        target: number of the class in that label set; classes in other label sets are the same.
        -1 where the split has no such picture, or it is not known which it is.
        """
        return np.full(len(rows), -1, np.int64)

    def buckets(self, split: str) -> INTS | None:
        """Return which of `shapes` each picture of a split goes to; None if all have one size."""
        return None

    def unfit(self) -> list[str]:
        """Return a line, with file and reason, for everything that cannot be used."""
        return []

    def equal_classes(self, label_set: str) -> list[str]:
        """Return a line for each pair of classes from a table that hold the same pictures."""
        return []

    def digest(self) -> str:
        """Return a hash that changes if pictures are added, removed or come into another split."""
        counted = [s for s in self.splits if self.count(s, next(iter(self.domains)))]
        names = {split: list(self.names(split)) for split in counted}
        return hashlib.sha1(repr(names).encode()).hexdigest()

    def check_size(self, size: Size) -> None:
        """Raise SettingsError if pictures cannot be had in this size."""
        side = min(size)
        if side < 1 or (self.tile and (self.tile % side or size[0] != size[1])):
            fits = [str(n) for n in range(8, self.tile + 1) if self.tile % n == 0]
            raise SettingsError(
                f"size {side} does not divide the {self.tile} pixels of {self.name}; "
                f"use {', '.join(fits)}"
            )


def found_in(known: INTS, wanted: INTS) -> INTS:
    """Return where each wanted number stands among the known ones, all different; -1 if nowhere."""
    if not len(known):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(known)
    places = order[np.searchsorted(known[order], wanted).clip(max=len(known) - 1)]
    return np.where(known[places] == wanted, places, -1)


def reduce(pictures: NDArray, size: int, kind: str) -> NDArray:
    """Reduce [B, C, H, W] to the width `size`: mean of each cell, or its most frequent class."""
    tile = pictures.shape[-1]
    if tile == size:
        return pictures
    if kind != "labels":
        area = (tile // size) ** 2
        means = _sums(pictures, size) / np.float32(area)
        return means if pictures.dtype == np.float32 else np.rint(means).astype(pictures.dtype)
    high = pictures.shape[-2] * size // tile
    best = np.zeros((*pictures.shape[:2], high, size), np.uint16)
    winner = np.zeros(best.shape, pictures.dtype)
    for number in range(int(pictures.max()) + 1):
        votes = _sums(pictures == number, size)
        better = votes > best  # on ties the lower number wins
        np.copyto(winner, number, where=better, casting="unsafe")
        np.maximum(best, votes, out=best)
    return winner


def _sums(pictures: NDArray, size: int) -> NDArray:
    """Sum over each cell; adding slices is much faster than reducing short axes."""
    cell = pictures.shape[-1] // size
    # Small integers save memory traffic: a cell of flags, or of bytes, if it is small enough.
    small = pictures.dtype == np.bool_ or (pictures.dtype == np.uint8 and cell <= 16)
    kind = pictures.dtype if pictures.dtype == np.float32 else np.uint16 if small else np.int32
    rows = pictures[..., ::cell, :].astype(kind)
    for at in range(1, cell):
        rows += pictures[..., at::cell, :]
    sums = rows[..., ::cell].copy()
    for at in range(1, cell):
        sums += rows[..., at::cell]
    return sums
