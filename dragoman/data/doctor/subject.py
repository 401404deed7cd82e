"""What the doctor looks at: pictures by split, key and row, of own files or of an embedded set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dragoman.data.blob import Blob
from dragoman.data.catalogue import Domain
from dragoman.data.decoding import fitted, halved, joined, layer_numbers
from dragoman.data.domains import pixels_of
from dragoman.data.files import load_size
from dragoman.data.raster import Header, Raster, read_header, read_raster
from dragoman.data.settings import DataSettings
from dragoman.data.sizes import loaded_size, nominal, scaled
from dragoman.data.source import Source
from dragoman.data.table import PIXEL_KEYS, SPLITS, Table
from dragoman.errors import DataError

INTS = NDArray[np.int64]
Trouble = tuple[str, str]  # code of a finding, and the line for the user


@dataclass(frozen=True)
class Look:
    """One picture as it was read.

    pixels: [H, W, planes] as trained on, or None if that cannot be; of a label map with numbers
    that are no class those numbers. height, width: as stored; 0 if unknown. channels: as stored.
    trouble: why it cannot be trained on.
    """

    pixels: NDArray | None
    height: int = 0
    width: int = 0
    channels: int = 0
    trouble: Trouble | None = None


class Subject(ABC):
    """Pictures to be examined.

    keys: of domains first, then of layers (PIXEL_KEYS). own: they are files of the user.
    """

    name: str
    own: bool
    keys: tuple[str, ...]
    splits: tuple[str, ...]
    domains: Mapping[str, Domain]
    label_sets: Mapping[str, tuple[str, ...]]
    problems: Sequence[str] = ()

    @abstractmethod
    def count(self, split: str, key: str) -> int:
        """Return how many pictures a key has in a split."""

    @abstractmethod
    def partners(self, split: str) -> bool:
        """True if equal rows of all picture keys show the same thing."""

    @abstractmethod
    def title(self, split: str, key: str, row: int) -> str:
        """Name a picture for the user."""

    @abstractmethod
    def labels(self, split: str, rows: INTS) -> INTS | None:
        """Return the classes of whole pictures of the first key, [rows, label sets], if any."""

    @abstractmethod
    def looks(
        self, split: str, keys: Sequence[str], row: int, least: int | None = None
    ) -> Iterator[tuple[str, Look]]:
        """Read the pictures of a row. least: JPEGs may come smaller, no shorter side below it."""

    def groups(self, split: str) -> list[tuple[str, ...]]:
        """Divide the keys into those that have equal rows; layers go with the first key."""
        if self.partners(split):
            return [self.keys]
        pictures = [key for key in self.keys if key in self.domains]
        layers = [key for key in self.keys if key not in self.domains]
        return [(pictures[0], *layers), *((key,) for key in pictures[1:])]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many pictures there are, by split and key."""
        return {s: {key: self.count(s, key) for key in self.keys} for s in self.splits}


class FileSubject(Subject):
    """The files of a table."""

    own = True

    def __init__(self, table: Table, domains: Mapping[str, Domain], settings: DataSettings) -> None:
        self.table, self.domains, self.settings = table, domains, settings
        self.name, self.splits, self.problems = table.name, table.splits, table.problems
        self.label_sets = table.label_sets
        self.layers = tuple(key for key in table.keys if key in PIXEL_KEYS)
        self.keys = (*(key for key in table.keys if key in domains), *self.layers)
        self.limit = pixels_of(settings)
        size = nominal(settings)
        self._within = scaled(size, load_size(settings, min(size)))

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a key has in a split."""
        return self.table.count(split, key)

    def partners(self, split: str) -> bool:
        """True if equal rows of all picture keys show the same thing."""
        return self.table.partners(split)

    def title(self, split: str, key: str, row: int) -> str:
        """Name the file, or the first of a stack."""
        return self.table.blobs(split, key, row)[0].name

    def labels(self, split: str, rows: INTS) -> INTS | None:
        """Return the classes of whole pictures, [rows, label sets], if any."""
        return self.table.labels(split, rows) if self.label_sets else None

    def looks(
        self, split: str, keys: Sequence[str], row: int, least: int | None = None
    ) -> Iterator[tuple[str, Look]]:
        """Read the pictures of a row; halves of a file are decoded once."""
        shared: dict[tuple[Blob, ...], list[Raster] | Trouble] = {}
        for key in keys:
            blobs, half = self.table.blobs(split, key, row), self.table.halves.get(key, "")
            indices = key in self.layers or self.domains[key].kind == "labels"
            rasters = shared.get(blobs)
            if rasters is None:
                rasters = self._decoded(blobs, indices, None if half else least)
            if half:
                shared[blobs] = rasters
            if isinstance(rasters, tuple):
                yield key, Look(None, trouble=rasters)
                continue
            yield key, self._fitted(key, half, rasters, blobs)

    def _decoded(
        self, blobs: tuple[Blob, ...], indices: bool, least: int | None
    ) -> list[Raster] | Trouble:
        try:
            return [read_raster(blob, indices, self.limit, least) for blob in blobs]
        except DataError as error:
            return _unreadable(str(error)), str(error)

    def _fitted(self, key: str, half: str, rasters: list[Raster], blobs: tuple[Blob, ...]) -> Look:
        """What becomes of decoded files: pixels of their domain, or the reason why not."""
        header, raw = rasters[0].header, rasters[0].pixels
        look = self._shape(key, [raster.header for raster in rasters], blobs)
        if look.trouble is not None:
            return look
        labels = key in self.domains and self.domains[key].kind == "labels"
        try:
            if key in self.layers:
                return replace(look, pixels=layer_numbers(rasters[0], blobs[0].name, key))
            if len(rasters) > 1:
                return replace(look, pixels=joined(rasters, blobs, self.domains[key]))
            pixels = fitted(rasters[0], self.domains[key], blobs[0].name)
            if half:
                pixels = halved(pixels, half, blobs[0].name)
            return replace(look, pixels=pixels)
        except DataError as error:
            numbers = raw if labels and header.channels == 1 and raw.dtype.kind in "iu" else None
            code = "no_class" if numbers is not None else "mixed"
            return replace(look, pixels=numbers, trouble=(code, str(error)))

    def peek(self, split: str, key: str, row: int) -> Look:
        """Read no more than the headers of a picture."""
        blobs = self.table.blobs(split, key, row)
        indices = key in self.layers or self.domains[key].kind == "labels"
        try:
            headers = [read_header(blob, indices, self.limit) for blob in blobs]
        except DataError as error:
            return Look(None, trouble=(_unreadable(str(error)), str(error)))
        return self._shape(key, headers, blobs)

    def _shape(self, key: str, headers: list[Header], blobs: tuple[Blob, ...]) -> Look:
        """Size and channels that headers promise, or what is wrong with them."""
        first = headers[0]
        height, width, name = first.height, first.width, blobs[0].name
        for header, blob in zip(headers[1:], blobs[1:], strict=True):
            if (header.height, header.width) != (height, width):
                line = (
                    f"{blob.name} is {header.width}x{header.height} pixels, but {name}, with "
                    f"which it is stacked, is {width}x{height}"
                )
                return Look(None, trouble=("size", line))
        try:
            if self.table.halves.get(key):
                width = halved(np.empty((1, width, 1), bool), "left", name).shape[1]
            if key in self.domains:
                loaded_size(height, width, self._within, self.settings.fit, name, self.limit)
        except DataError as error:
            return Look(None, trouble=("shape", str(error)))
        return Look(None, height, width, sum(header.channels for header in headers))


class SourceSubject(Subject):
    """The pictures of an embedded set, but for its dense splits, which overlap by design."""

    own = False

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name, self.domains, self.label_sets = source.name, source.domains, source.label_sets
        self.keys = tuple(source.domains)
        self.splits = tuple(split for split in source.splits if split in SPLITS)
        self._names = {split: list(source.names(split)) for split in self.splits}

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a key has in a split."""
        return self._source.count(split, key)

    def partners(self, split: str) -> bool:
        """True if equal rows of all keys show the same thing."""
        return self._source.partners(split)

    def title(self, split: str, key: str, row: int) -> str:
        """Name a picture; those of b that are no partners have but a number."""
        if key == self.keys[0] or self.partners(split):
            return f"{self.domains[key].name} {self._names[split][row]}"
        return f"{self.domains[key].name} number {row}"

    def labels(self, split: str, rows: INTS) -> INTS | None:
        """Return the classes of whole pictures, [rows, label sets], if any."""
        return self._source.labels(split, rows)

    def looks(
        self, split: str, keys: Sequence[str], row: int, least: int | None = None
    ) -> Iterator[tuple[str, Look]]:
        """Read the pictures of a row in the size of the edition."""
        for key in keys:
            stored = self._source.pictures(split, key, np.array([row]), None, self._source.size)
            pixels = np.ascontiguousarray(stored[0].transpose(1, 2, 0))
            yield key, Look(pixels, *pixels.shape)


def _unreadable(line: str) -> str:
    """The code of a file that was refused, by the words of the refusal."""
    if "no finite numbers" in line:
        return "not_finite"
    return "too_large" if "max_megapixels" in line else "unreadable"
