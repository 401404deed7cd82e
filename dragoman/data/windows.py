"""Pictures larger than memory should hold, read in windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dragoman.data.blob import Blob, as_blob
from dragoman.data.raster import MOST_PIXELS, Header, Raster, read_header, read_raster
from dragoman.data.stores import Memory, Plain, Store, scratch_store
from dragoman.errors import DataError

SMALL = 1 << 26  # bytes of decoded pixels that may stay in memory
_ROWS = 256  # are looked at or copied at once


class Windows:
    """A picture of which windows are read, upright and as `read_raster` would give them."""

    def __init__(
        self, store: Store, header: Header, icc: bytes | None, colours: NDArray | None = None
    ) -> None:
        self.header, self.icc, self.colours = header, icc, colours
        self.height, self.width = header.height, header.width
        self._store = store

    def read(self, y0: int, y1: int, x0: int, x1: int) -> NDArray:
        """Return [y1 - y0, x1 - x0, C] of header.dtype in a new array."""
        return self._store.read(y0, y1, x0, x1)

    def raster(self, y0: int, y1: int, x0: int, x1: int) -> Raster:
        """Return a window as a picture of its own."""
        header = replace(self.header, height=y1 - y0, width=x1 - x0)
        return Raster(self.read(y0, y1, x0, x1), header, self.icc, self.colours)

    def close(self) -> None:
        """Let go of the file and of what was unpacked."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_windows(
    source: str | Path | Blob,
    indices: bool = False,
    limit: int = MOST_PIXELS,
    scratch: Path | None = None,
) -> Windows:
    """Open a picture to be read in windows; the arguments are those of `read_raster`.

    NPY files and plain TIFF files are read where they lie; packed TIFF files are unpacked strip
    by strip or tile by tile into a scratch file, all others at once. scratch: the folder for that
    file. Raises DataError, its first words the file's name, for what is damaged or not finite.
    """
    blob = as_blob(source)
    header = read_header(blob, indices, limit)
    if header.height * header.width * header.channels * np.dtype(header.dtype).itemsize > SMALL:
        found = _in_place(blob, header, scratch)
        if found is not None:
            return found
    raster = read_raster(blob, indices, limit)
    store: Store = Memory(raster.pixels)
    if raster.pixels.nbytes > SMALL:
        store = _moved(raster.pixels, scratch)
    return Windows(store, raster.header, raster.icc, raster.colours)


def _in_place(blob: Blob, header: Header, scratch: Path | None) -> Windows | None:
    """Windows of a file that need not be decoded as a whole; None if it must be."""
    if blob.file is None or header.format not in ("NPY", "TIFF"):
        return None
    icc = None
    if header.format == "NPY":
        store = _npy(blob.file, header)
    else:
        from dragoman.data.windows_tiff import tiff_store

        store, icc = tiff_store(blob.file, header, scratch)
    if store is None:
        return None
    windows = Windows(store, header, icc)
    if header.dtype == "float32":
        try:
            _check_finite(windows, blob.name)
        except BaseException:
            windows.close()
            raise
    return windows


def _npy(path: Path, header: Header) -> Store | None:
    file = path.open("rb", buffering=0)
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        _, fortran, dtype = read(file)
        if not fortran and dtype.newbyteorder("=").name == header.dtype:
            form = (header.height, header.width, header.channels)
            return Plain(file, str(path), file.tell(), form, dtype, header.planar)
    except (KeyError, ValueError):
        pass  # of a kind that the reader of whole files knows better
    file.close()
    return None


def _moved(pixels: NDArray, scratch: Path | None) -> Store:
    """Put decoded pixels into a scratch file, so that their memory is free again."""
    height, width, channels = pixels.shape
    store = scratch_store(scratch, (height, width, channels), pixels.dtype)
    try:
        for y in range(0, height, _ROWS):
            store.write(y, 0, pixels[y : y + _ROWS])
    except BaseException:
        store.close()
        raise
    return store


def _check_finite(windows: Windows, name: str) -> None:
    bad = sum(
        int(np.count_nonzero(~np.isfinite(windows.read(y, y1, 0, windows.width))))
        for y, y1 in bands(windows.height)
    )
    if bad:
        raise DataError(
            f"{name} has {bad} values that are no finite numbers (NaN, inf); fill them first"
        )


def bands(height: int, rows: int = _ROWS) -> Iterator[tuple[int, int]]:
    """Yield first and last (exclusive) row of one band after the other."""
    for y in range(0, height, rows):
        yield y, min(y + rows, height)
