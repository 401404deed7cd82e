"""What every data set offers: pictures by number, as the integers in which they are stored."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from dragoman.data.catalogue import Domain
from dragoman.errors import SettingsError


class Source(ABC):
    """Pictures of two domains, a and b, in splits.

    domains: by batch key. size: side of the pictures in pixels. labels: names of the classes of
    whole pictures, if there are any.
    """

    name: str
    size: int
    domains: dict[str, Domain]
    splits: tuple[str, ...] = ("train", "val", "test")
    labels: tuple[str, ...] = ()

    @abstractmethod
    def count(self, split: str, key: str) -> int:
        """Return how many pictures a domain has in a split."""

    @abstractmethod
    def pictures(
        self,
        split: str,
        key: str,
        rows: NDArray[np.int64],
        places: NDArray[np.float64] | None,
        size: int,
    ) -> NDArray:
        """Return the pictures of these numbers as integers, [B, C, size, size].

        Label maps and heights have C = 1. places: [B, 2] in [0, 1), where to crop (down, right);
        None for the fixed place.
        """

    @abstractmethod
    def names(self, split: str) -> list[str]:
        """Return a name for each picture of domain a."""

    def partners(self, split: str) -> bool:
        """True if a and b of one number show the same thing."""
        return True

    def label(self, split: str, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the class of these pictures of domain a, if the set has such."""
        return None

    def check_size(self, size: int) -> None:
        """Raise SettingsError if pictures cannot be had in this size."""

    def check(self) -> None:
        """Raise DataError that names every file which cannot be used."""


def check_divisor(size: int, tile: int, name: str) -> None:
    """Raise SettingsError unless tiles can be reduced to `size` by a whole factor."""
    if size < 1 or tile % size:
        fits = [str(n) for n in range(8, tile + 1) if tile % n == 0]
        raise SettingsError(
            f"size {size} does not divide the {tile} pixels of {name}; use {', '.join(fits)}"
        )


def reduce(pictures: NDArray, size: int, kind: str) -> NDArray:
    """Reduce [B, C, T, T] to [B, C, size, size]: mean of each cell, or its most frequent class."""
    tile = pictures.shape[-1]
    if tile == size:
        return pictures
    cell = tile // size
    cells = pictures.reshape(*pictures.shape[:2], size, cell, size, cell)
    if kind != "labels":
        return np.rint(cells.mean((3, 5), dtype=np.float32)).astype(pictures.dtype)
    classes = np.arange(int(pictures.max()) + 1, dtype=pictures.dtype)
    votes = (cells[..., None] == classes).sum((3, 5), dtype=np.int32)
    return votes.argmax(-1).astype(pictures.dtype)
