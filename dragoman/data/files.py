"""Pictures of a user, decoded by threads and kept in memory as far as they fit."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from dragoman.data.blob import Blob
from dragoman.data.decoding import layer_numbers
from dragoman.data.domains import describe, picture, pixels_of
from dragoman.data.raster import read_header, read_raster
from dragoman.data.settings import DataSettings
from dragoman.data.sizes import (
    Size,
    cut,
    loaded_size,
    nearest_bucket,
    nominal,
    resized,
    shapes_of,
)
from dragoman.data.source import Source
from dragoman.data.table import PIXEL_KEYS, Table
from dragoman.errors import DataError, SettingsError

MEMORY = 1_000_000_000  # bytes of decoded pictures kept by each process
MARGIN = 286 / 256  # pictures are loaded so much larger than they are cropped, as in pix2pix
INTS = NDArray[np.int64]


class Files(Source):
    """The pictures of a table, brought to the size of a batch."""

    def __init__(self, table: Table, settings: DataSettings) -> None:
        self.table, self.settings = table, settings
        self.size = nominal(settings)
        self._load = load_size(settings, min(self.size))
        self._limit = pixels_of(settings)
        self.name, self.splits, self.label_sets = table.name, table.splits, table.label_sets
        self.domains = describe(table, settings)
        self.layers = tuple(key for key in table.keys if key in PIXEL_KEYS)
        self._first = next(iter(self.domains))
        self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "dragoman-decoder")
        self._kept: dict[tuple[str, str, Size], NDArray] = {}
        self._kept_bytes, self._kept_side, self._lock = 0, 0, threading.Lock()
        self._buckets: dict[str, INTS] = {}
        self.shapes = shapes_of(settings)

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a key has in a split."""
        return self.table.count(split, key)

    def partners(self, split: str) -> bool:
        """True if pictures of equal rows belong together."""
        return self.table.partners(split)

    def names(self, split: str) -> Sequence[str]:
        """Return the path of each picture within its folder, without suffix."""
        return self.table.names(split)

    def digest(self) -> str:
        """Changes if pictures are added, removed or come into another split."""
        return self.table.digest()

    def labels(self, split: str, rows: INTS) -> INTS | None:
        """Return the class in each label set, [B, sets], or None if there are none."""
        return self.table.labels(split, rows) if self.label_sets else None

    def counterparts(self, split: str, rows: INTS, label_set: str, target: int) -> INTS:
        """Return the numbers of the pictures that show the same thing in another class, or -1."""
        return self.table.counterparts(split, rows, label_set, target)

    def buckets(self, split: str) -> INTS | None:
        """The number in `shapes` for each picture of a split, by its header; None without."""
        if self.settings.fit != "buckets":
            return None
        if split not in self._buckets:
            first = self._first
            rows = range(self.count(split, first))
            blobs = (self.table.blobs(split, first, row)[0] for row in rows)
            self._buckets[split] = np.fromiter(self._threads.map(self._bucket, blobs), np.int64)
        return self._buckets[split]

    def _bucket(self, blob: Blob) -> int:
        try:
            header = read_header(blob, limit=self._limit)
        except DataError:
            return self.shapes.index(self.size)  # reading it will tell why
        width = header.width // 2 if self._first in self.table.halves else header.width
        return nearest_bucket(header.height, max(1, width), self.shapes)

    def pictures(
        self, split: str, key: str, rows: INTS, places: NDArray[np.float64] | None, size: Size
    ) -> NDArray:
        """Return pictures [B, planes, *size] as stored numbers, cut at `places` or in the middle.

        They are first resized as the settings say: somewhat larger than `size` where training
        crops at random (or as --load_size says), else to `size`. Pixel layers have one plane.
        Raises DataError for what cannot be read.
        """
        train = places is not None or self.settings.crop == "fixed"
        side = min(size)
        load = round(self._load * side / min(self.size)) if train else side
        within = (round(size[0] * load / side), round(size[1] * load / side))
        if train and load != self._kept_side:
            self._kept, self._kept_bytes, self._kept_side = {}, 0, load
        whole = self._threads.map(
            lambda row: self._loaded(self.table.blobs(split, key, row), key, within, train),
            rows.tolist(),
        )
        draws: Sequence[NDArray | None] = [None] * len(rows) if places is None else list(places)
        made = [cut(one, size, place) for one, place in zip(whole, draws, strict=True)]
        return np.ascontiguousarray(np.stack(made).transpose(0, 3, 1, 2))

    def unfit(self) -> list[str]:
        """Return a line, with file and reason, for everything that cannot be used."""
        from dragoman.data.doctor import examine

        return examine(self.table, self.domains, self.settings, fatal_only=True).lines()

    def equal_classes(self, label_set: str) -> list[str]:
        """Return a line for each pair of classes from a table that hold the same pictures."""
        from dragoman.data.doctor.shared import equal_classes

        return equal_classes(self.table, label_set)

    def _loaded(self, blobs: tuple[Blob, ...], key: str, within: Size, keep: bool) -> NDArray:
        """Decode and resize a picture, or take it from memory; what no longer fits is decoded anew.

        Nothing is thrown out for something newer: under random order that would gain nothing.
        """
        known = (blobs[0].name, key, within)
        kept = self._kept.get(known) if keep else None
        if kept is not None:
            return kept
        pixels = self._decoded(blobs, key, within)
        fit, name = self.settings.fit, blobs[0].name
        size = loaded_size(*pixels.shape[:2], within, fit, name, self._limit)
        numbers = key in self.layers or self.domains[key].kind == "labels"
        pixels = np.ascontiguousarray(resized(pixels, size, numbers))
        with self._lock:
            if keep and self._kept_bytes + pixels.nbytes <= MEMORY:
                self._kept[known] = pixels
                self._kept_bytes += pixels.nbytes
        return pixels

    def _decoded(self, blobs: tuple[Blob, ...], key: str, within: Size) -> NDArray:
        half = self.table.halves.get(key, "")
        if key in self.layers:
            return layer(blobs[0], key, self._limit)
        # A JPEG decoded smaller is off by part of a pixel, which would part a from b.
        scaled = self.settings.fit not in ("pad", "native")
        alone = len(self.domains) == 1 and not self.layers and scaled
        least = max(within) if alone else None
        return picture(blobs, self.domains[key], self._limit, half, least)


def layer(blob: Blob, key: str, limit: int) -> NDArray:
    """Read a pixel layer as int32 [H, W, 1]: numbers as stored; a mask is 1 inside, 0 outside.

    Raises DataError naming the file.
    """
    return layer_numbers(read_raster(blob, True, limit), blob.name, key)


def load_size(settings: DataSettings, side: int) -> int:
    """The shorter side to which pictures are resized before they are cropped to `side`."""
    if settings.load_size is None:
        room = settings.crop == "random" and settings.fit not in ("pad", "native")
        return round(side * MARGIN) if room else side
    if settings.fit in ("pad", "native"):
        raise SettingsError(
            f"--load_size resizes before cropping; leave it out with --fit {settings.fit}"
        )
    if settings.load_size < side:
        raise SettingsError(
            f"--load_size {settings.load_size} is less than --size {side}; pictures cannot be "
            "cropped to more than they have"
        )
    return settings.load_size
