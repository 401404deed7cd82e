"""What every data set offers: pictures by number, as the integers in which they are stored."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from dragoman.data.catalogue import Domain
from dragoman.errors import SettingsError


class Source(ABC):
    """Pictures of two domains, a and b, in splits.

    domains: by batch key. size: side of the pictures in pixels. tile: stored side, which sizes
    must divide; 0 if pictures come in any size. labels: names of the classes of whole pictures,
    if there are any.
    """

    name: str
    size: int
    tile: int = 0
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
        if size < 1 or (self.tile and self.tile % size):
            fits = [str(n) for n in range(8, self.tile + 1) if self.tile % n == 0]
            raise SettingsError(
                f"size {size} does not divide the {self.tile} pixels of {self.name}; "
                f"use {', '.join(fits)}"
            )

    def unfit(self) -> list[str]:
        """Return a line, with file and reason, for everything that cannot be used."""
        return []


def reduce(pictures: NDArray, size: int, kind: str) -> NDArray:
    """Reduce [B, C, T, T] to [B, C, size, size]: mean of each cell, or its most frequent class."""
    tile = pictures.shape[-1]
    if tile == size:
        return pictures
    if kind != "labels":
        area = (tile // size) ** 2
        return np.rint(_sums(pictures, size) / np.float32(area)).astype(pictures.dtype)
    best = np.zeros((*pictures.shape[:2], size, size), np.uint16)
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
    kind = np.uint16 if small else np.int32
    rows = pictures[..., ::cell, :].astype(kind)
    for at in range(1, cell):
        rows += pictures[..., at::cell, :]
    sums = rows[..., ::cell].copy()
    for at in range(1, cell):
        sums += rows[..., at::cell]
    return sums
