"""Pictures of a user in folders, decoded by threads and kept in memory as far as they fit."""

import os
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragoman.data.catalogue import Domain
from dragoman.data.layout import KEYS, find
from dragoman.data.pictures import is_grey, read
from dragoman.data.settings import DataSettings
from dragoman.data.source import Source
from dragoman.errors import DataError, SettingsError

MEMORY = 1_000_000_000  # bytes of decoded pictures kept by each process
OWN_SIZE = 256
INTS = NDArray[np.int64]


class Folders(Source):
    """Two domains of own 8-bit pictures, paired by name or unpaired."""

    def __init__(self, folders: list[Path], settings: DataSettings) -> None:
        self._paired, self._fixed = settings.pairing == "paired", settings.crop == "fixed"
        self.size = settings.size or OWN_SIZE
        self._load = settings.load_size or _default_load(self.size, settings.crop)
        if self._load < self.size:
            raise SettingsError(
                f"--load_size {self._load} is less than --size {self.size}; pictures cannot be "
                "cropped to more than they have"
            )
        self._layout = find(folders, self._paired)
        name = "-".join(folder.resolve().name for folder in folders)
        name += "" if self._paired else "-unpaired"
        self.name = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "pictures"
        self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "dragoman-decoder")
        self._kept: dict[Path, NDArray[np.uint8]] = {}  # of the size last trained with
        self._kept_bytes, self._kept_side, self._lock = 0, 0, threading.Lock()
        names = [folder.name for folder in folders] if len(folders) == 2 else ["A", "B"]
        self.domains = {
            key: Domain(domain, "photo", self._channels(key))
            for key, domain in zip(KEYS, names, strict=True)
        }

    def _channels(self, key: str) -> int:
        """1 if every readable picture of the domain is grey, else 3."""

        def coloured(path: Path) -> bool | None:
            try:
                return not is_grey(path)
            except DataError:
                return None  # `unfit` will tell why

        paths = [path for split in self._layout.files.values() for path in split[key]]
        found = set(self._threads.map(coloured, paths))
        return 3 if True in found or False not in found else 1

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a domain has in a split."""
        return len(self._layout.files[split][key])

    def partners(self, split: str) -> bool:
        """True if pictures are paired by name."""
        return self._paired

    def names(self, split: str) -> list[str]:
        """Return the path of each picture within its folder, without suffix."""
        return self._layout.names[split]

    def pictures(
        self, split: str, key: str, rows: INTS, places: NDArray[np.float64] | None, size: int
    ) -> NDArray:
        """Return pictures [B, C, size, size]: cropped at `places`, or else their middle.

        The shorter side is first resized to load_size (in proportion, if `size` is not that of
        the settings); without places, when training crops at random, to `size`. Raises DataError
        for what cannot be read.
        """
        train = places is not None or self._fixed
        side = round(self._load * size / self.size) if train else size
        if train and side != self._kept_side:
            self._kept, self._kept_bytes, self._kept_side = {}, 0, side
        paths = [self._layout.files[split][key][row] for row in rows]
        channels = self.domains[key].channels
        whole = list(self._threads.map(lambda p: self._picture(p, channels, side, train), paths))
        place = np.full((len(rows), 2), 0.5) if places is None else places
        cut = np.empty((len(rows), channels, size, size), np.uint8)
        for number, picture in enumerate(whole):
            room = np.array(picture.shape[1:]) - size
            y, x = (place[number] * (room + 1)).astype(int) if places is not None else room // 2
            cut[number] = picture[:, y : y + size, x : x + size]
        return cut

    def _picture(self, path: Path, channels: int, side: int, keep: bool) -> NDArray[np.uint8]:
        """Decode a picture, or take it from memory; what no longer fits is decoded every time.

        Nothing is thrown out for something newer: under random order that would gain nothing.
        """
        kept = self._kept.get(path) if keep else None
        if kept is not None:
            return kept
        picture = read(path, channels, side)
        with self._lock:
            if keep and self._kept_bytes + picture.nbytes <= MEMORY:
                self._kept[path] = picture
                self._kept_bytes += picture.nbytes
        return picture

    def unfit(self) -> list[str]:
        """Return a line for each file without partner, unreadable, or of another size."""
        lines = list(self._layout.problems)
        for by_key in self._layout.files.values():
            shapes = {key: list(self._shapes(key, by_key[key])) for key in KEYS}
            lines += [shape for key in KEYS for shape in shapes[key] if isinstance(shape, str)]
            if not self._paired:
                continue
            for paths, (a, b) in zip(
                zip(*by_key.values(), strict=True), zip(*shapes.values(), strict=True), strict=True
            ):
                if a != b and not isinstance(a, str) and not isinstance(b, str):
                    lines.append(
                        f"{paths[0]} is {a[1]}x{a[0]} pixels, but its partner {paths[1]} "
                        f"is {b[1]}x{b[0]}"
                    )
        return lines

    def _shapes(self, key: str, paths: Iterable[Path]) -> Iterable[tuple[int, ...] | str]:
        """Height and width of each picture, or why it cannot be read."""

        def shape(path: Path) -> tuple[int, ...] | str:
            try:
                return read(path, self.domains[key].channels).shape[1:]
            except DataError as error:
                return str(error)

        return self._threads.map(shape, paths)


def _default_load(size: int, crop: str) -> int:
    """Pictures are loaded somewhat larger than they are cropped at random, as in pix2pix."""
    return round(size * 286 / 256) if crop == "random" else size
