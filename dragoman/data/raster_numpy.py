"""NumPy arrays as pictures: NPY files, and NPZ files that hold one array."""

import math
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np

from dragoman.data.bounded import Bounded
from dragoman.data.raster_header import (
    MOST_CHANNELS,
    Header,
    Opened,
    Raster,
    Refused,
    check_size,
    kept,
    storable,
    told,
    wide,
)

MAGIC = b"\x93NUMPY"

_MOST_HEADER = 10_000  # characters, as numpy's own limit
_MOST_DIRECTORY = 4 << 20  # bytes of the list of contents of an NPZ file
_PIECE = 1 << 24

_DESCR = re.compile(r"""['"]descr['"]\s*:\s*['"]([<>|=]?[biufc]\d{1,2})['"]""")
_ORDER = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)\b""")
_SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(([\dL,\s]*)\)""")


@dataclass(frozen=True)
class _Array:
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    @property
    def layout(self) -> tuple[int, int, int, bool]:
        """Height, width, channels, and whether the channels come first."""
        if len(self.shape) == 2:
            return *self.shape, 1, False
        if len(self.shape) != 3:
            raise Refused(
                f"is an array of {len(self.shape)} axes; save a picture as [height, width] or "
                "[height, width, channels]"
            )
        first, middle, last = self.shape
        if last > MOST_CHANNELS >= first:
            return middle, last, first, True
        return first, middle, last, False


def open_npy(file: Bounded, indices: bool, limit: int) -> Opened:
    """Read the header of an NPY file; raises Refused for arrays that are no picture."""
    file.allowance = 2 * _MOST_HEADER
    file.seek(0)
    array = _array(cast(BinaryIO, file))
    start = file.tell()
    _check(array, limit)
    size = math.prod(array.shape) * array.dtype.itemsize
    if start + size > file.size:
        raise Refused(f"is cut off (it has {file.size - start} of {size} bytes of pixels)")

    def values() -> bytearray:
        file.allowance = 2 * size + _MOST_HEADER
        file.seek(start)
        return _filled(cast(BinaryIO, file), size)

    return _opened(array, "NPY", values, indices)


def open_npz(file: Bounded, indices: bool, limit: int) -> Opened:
    """Read the header of an NPZ file; raises Refused if it does not hold just one picture."""
    file.allowance = _MOST_DIRECTORY
    file.seek(0)
    archive = zipfile.ZipFile(cast(BinaryIO, file))
    arrays = [member for member in archive.infolist() if member.filename.endswith(".npy")]
    if len(arrays) != 1:
        names = ", ".join(member.filename.removesuffix(".npy") for member in arrays[:5])
        more = ", ..." if len(arrays) > 5 else ""
        raise Refused(
            f"holds {len(arrays)} arrays ({told(names)}{more}); save each in a file of its own"
            if arrays
            else "holds no array"
        )
    (member,) = arrays
    if member.flag_bits & 1 or member.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):
        raise Refused("is encrypted or packed in an unusual way; save it with numpy.savez")
    file.allowance = 1 << 62  # what is unpacked is bounded, and no more is read than unpacked
    with archive.open(member) as stream:
        array = _array(cast(BinaryIO, stream))
        start = stream.tell()
    _check(array, limit)
    size = math.prod(array.shape) * array.dtype.itemsize
    if start + size > member.file_size:
        raise Refused(f"is cut off (it has {member.file_size - start} of {size} bytes of pixels)")

    def values() -> bytearray:
        with archive.open(member) as stream:
            stream.read(start)
            return _filled(cast(BinaryIO, stream), size)

    return _opened(array, "NPZ", values, indices)


def _opened(array: _Array, kind: str, values: Callable[[], bytearray], indices: bool) -> Opened:
    height, width, channels, planar = array.layout

    def load() -> Raster:
        pixels = np.frombuffer(values(), array.dtype)
        pixels = pixels.reshape(array.shape, order="F" if array.fortran else "C")
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        pixels = storable(pixels.transpose(1, 2, 0) if planar else pixels, indices)
        return Raster(pixels, header(pixels.dtype.name))

    def header(dtype: str) -> Header:
        return Header(height, width, channels, dtype, kind, False, False, planar)

    if wide(array.dtype):  # the pixels decide
        raster = load()
        return Opened(raster.header, lambda: raster)
    return Opened(header(kept(array.dtype)), load)


def _check(array: _Array, limit: int) -> None:
    if not wide(array.dtype):
        kept(array.dtype)
    height, width, channels, _ = array.layout
    if channels > MOST_CHANNELS:
        raise Refused(
            f"is an array of {height}x{width}x{channels}, of which neither the first nor the "
            f"last axis is 1 to {MOST_CHANNELS} channels"
        )
    check_size(height, width, channels, array.dtype.itemsize, limit)


def _filled(stream: BinaryIO, size: int) -> bytearray:
    """Read exactly `size` bytes, taking no more memory than those."""
    buffer, place = bytearray(size), 0
    while place < size:
        piece = stream.read(min(size - place, _PIECE))
        if not piece:
            raise Refused("is cut off")
        buffer[place : place + len(piece)] = piece
        place += len(piece)
    return buffer


def _array(stream: BinaryIO) -> _Array:
    """Read shape and dtype, by their pattern: nothing of what is written there is evaluated."""
    start = stream.read(8)
    if start[:6] != MAGIC or start[6:7] not in (b"\1", b"\2", b"\3"):
        raise Refused(
            "is no NPY array" if start[:6] != MAGIC else "is an NPY file of no known version"
        )
    size = 2 if start[6] == 1 else 4
    length = int.from_bytes(stream.read(size), "little")
    if length > _MOST_HEADER:
        raise Refused(f"is damaged (an NPY header of {length} bytes)")
    text = stream.read(length)
    if len(text) < length:
        raise Refused("is cut off")
    words = text.decode("latin-1")
    kind, order, shape = (pattern.search(words) for pattern in (_DESCR, _ORDER, _SHAPE))
    if not words.startswith("{") or order is None or shape is None:
        raise Refused("is damaged (its NPY header is wrong)")
    if kind is None:
        raise Refused("holds no plain numbers; save one array of numbers, without pickle")
    axes = [axis.strip(" L") for axis in shape[1].split(",") if axis.strip()]
    if not all(axis.isdecimal() and len(axis) < 20 for axis in axes):
        raise Refused("is damaged (its NPY header is wrong)")
    return _Array(tuple(int(axis) for axis in axes), np.dtype(kind[1]), order[1] == "True")
