"""Pixels in a file or in memory, of which any window is read or written."""

from __future__ import annotations

import tempfile
import threading
from io import RawIOBase
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dragoman.errors import DataError


class Store(Protocol):
    """Pixels [height, width, channels]."""

    def read(self, y0: int, y1: int, x0: int, x1: int) -> NDArray:
        """Return a window [y1 - y0, x1 - x0, channels] in a new array."""
        ...

    def write(self, y0: int, x0: int, block: NDArray) -> None:
        """Put a block [h, w, channels] at its place."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


class Memory:
    """A store that is an array [H, W, C]."""

    def __init__(self, pixels: NDArray) -> None:
        self.pixels = pixels

    def read(self, y0: int, y1: int, x0: int, x1: int) -> NDArray:
        """Return a copy of a window."""
        return np.array(self.pixels[y0:y1, x0:x1], order="C")

    def write(self, y0: int, x0: int, block: NDArray) -> None:
        """Put a block at its place."""
        self.pixels[y0 : y0 + block.shape[0], x0 : x0 + block.shape[1]] = block

    def close(self) -> None:
        """Nothing to do."""


class Plain:
    """A store that is a part of a file, its numbers as they are.

    Reads and writes by calls rather than through a map: mapped pages would count as memory of
    the process, and a full disk or a file cut off meanwhile would end it without a word. file: to
    be read, or read and written; closed with the store. shape: [height, width, channels], in the
    file channels come first if `planar`. dtype: with its order of bytes.
    """

    def __init__(
        self,
        file: RawIOBase,
        name: str,
        offset: int,
        shape: tuple[int, int, int],
        dtype: np.dtype,
        planar: bool = False,
    ) -> None:
        self.file, self.name, self.offset, self.dtype = file, name, offset, dtype
        self.height, self.width, channels = shape
        self.planes, self.together = (channels, 1) if planar else (1, channels)
        self._lock = threading.Lock()

    def read(self, y0: int, y1: int, x0: int, x1: int) -> NDArray:
        """Return a window in the machine's order of bytes; DataError if the file ends before."""
        block = np.empty((self.planes, y1 - y0, x1 - x0, self.together), self.dtype)
        with self._lock:
            for place, part in self._runs(block, y0, x0):
                self._fill(place, part.view(np.uint8).reshape(-1).data)
        native = self.dtype.newbyteorder("=")
        whole = block[0] if self.planes == 1 else block[..., 0].transpose(1, 2, 0)
        return np.ascontiguousarray(whole, native)

    def write(self, y0: int, x0: int, block: NDArray) -> None:
        """Put a block at its place; raises DataError if the disk refuses."""
        parts = block[None] if self.planes == 1 else block.transpose(2, 0, 1)[..., None]
        parts = np.ascontiguousarray(parts, self.dtype)
        try:
            with self._lock:
                for place, part in self._runs(parts, y0, x0):
                    self.file.seek(place)
                    view = part.view(np.uint8).reshape(-1).data
                    while view:
                        view = view[self.file.write(view) :]
        except OSError as error:
            raise DataError(f"cannot write {self.name}: {error.strerror or error}") from error

    def _runs(self, parts: NDArray, y0: int, x0: int) -> list[tuple[int, NDArray]]:
        """Where in the file each run of numbers lies that follow each other there."""
        size = self.together * self.dtype.itemsize
        found: list[tuple[int, NDArray]] = []
        for plane, part in enumerate(parts):
            first = self.offset + (plane * self.height + y0) * self.width * size
            if part.shape[1] == self.width:
                found.append((first, part))
            else:
                step = self.width * size
                found += [(first + y * step + x0 * size, row) for y, row in enumerate(part)]
        return found

    def _fill(self, place: int, view: memoryview) -> None:
        self.file.seek(place)
        while view:
            count = self.file.readinto(view)
            if not count:
                raise DataError(f"{self.name} is cut off; copy it again")
            view = view[count:]

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def scratch_store(folder: Path | None, shape: tuple[int, int, int], dtype: np.dtype) -> Plain:
    """Return an empty store on the disk that is gone with its last user, also after a crash.

    folder: where; None: where temporary files go. Raises DataError if it cannot be made.
    """
    place = folder or tempfile.gettempdir()
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        # Unbuffered: blocks are large. Such a file has no name, or loses it at once.
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        file.truncate(shape[0] * shape[1] * shape[2] * dtype.itemsize)
    except OSError as error:
        raise DataError(f"no scratch file can be made in {place}: {error.strerror}") from error
    return Plain(file, f"a scratch file in {place}", 0, shape, dtype)
