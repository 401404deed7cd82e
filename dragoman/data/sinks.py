"""A picture written block by block, in any order, that appears only when it is complete."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dragoman.data.raster import MOST_CHANNELS
from dragoman.data.stores import Plain, scratch_store
from dragoman.data.writing import check_can_hold, write_raster
from dragoman.errors import DataError


class Sink:
    """Takes the blocks of a picture; `close` makes the file, `abort` forgets it.

    As a context manager it is closed at the end, or aborted if an error leaves it.
    """

    def __init__(self, path: Path, store: Plain, temporary: Path | None, how: dict[str, Any]):
        self.path = path
        self._store, self._temporary, self._how = store, temporary, how

    def write(self, y0: int, x0: int, block: NDArray) -> None:
        """Put a block [h, w, C] at its place; raises DataError if the disk refuses."""
        self._store.write(y0, x0, block)

    def close(self) -> None:
        """Make the file under its name, in one move; raises DataError if the disk refuses."""
        try:
            if self._temporary is not None:
                self._store.close()
                os.replace(self._temporary, self.path)
            else:
                # Mapped, so that the system may drop from memory what is not looked at just now.
                shape = (self._store.height, self._store.width, self._store.together)
                pixels = np.memmap(self._store.file, self._store.dtype, "r", shape=shape)
                write_raster(self.path, pixels, **self._how)
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error.strerror or error}") from error
        finally:
            self.abort()

    def abort(self) -> None:
        """Leave nothing behind but what was there before."""
        self._store.close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def open_sink(
    path: Path,
    height: int,
    width: int,
    channels: int,
    dtype: str,
    icc: bytes | None = None,
    colours: NDArray | None = None,
    planar: bool = False,
    quality: int = 95,
    alpha: bool = False,
) -> Sink:
    """Begin a picture of [height, width, channels]; the other arguments are `write_raster`'s.

    NPY files are written in place under a hidden name; of other formats the numbers wait in a
    nameless scratch file beside it, from which `close` encodes them. Raises DataError if the
    format cannot hold that, or nothing can be written there.
    """
    check_can_hold(path.suffix, dtype, channels)
    shape, depth = (height, width, channels), np.dtype(dtype)
    if path.suffix.lower() == ".npy":
        return _npy_sink(path, shape, depth, planar)
    how = {"icc": icc, "colours": colours, "planar": planar, "quality": quality, "alpha": alpha}
    return Sink(path, scratch_store(path.parent, shape, depth), None, how)


def _npy_sink(path: Path, shape: tuple[int, int, int], depth: np.dtype, planar: bool) -> Sink:
    height, width, channels = shape
    planar = planar and channels > 1 and width > MOST_CHANNELS  # as `write_raster` decides
    axes = (height, width) if channels == 1 else (channels, height, width) if planar else shape
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = temporary.open("x+b", buffering=0)
        header = {"descr": np.lib.format.dtype_to_descr(depth), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, {**header, "shape": axes})
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    store = Plain(file, str(path), file.tell(), shape, depth, planar)
    return Sink(path, store, temporary, {})
