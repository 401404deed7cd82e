"""The way up of a photograph: the one EXIF field that pixels depend on, read without trust."""

import struct

import numpy as np
from numpy.typing import NDArray

UPRIGHT = 1
_ORIENTATION = 274  # tag
_SHORT, _LONG = 3, 4
_MOST_ENTRIES = 1000


def orientation(exif: object) -> int:
    """Return the orientation, 1 to 8, that EXIF data tell; 1 if they tell none that makes sense.

    exif: bytes of a TIFF directory, after "Exif" and two zeros or without them.
    """
    if not isinstance(exif, bytes):
        return UPRIGHT
    data = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 10:
        return UPRIGHT
    (start,) = struct.unpack_from(order + "I", data, 4)
    if start + 2 > len(data):
        return UPRIGHT
    (count,) = struct.unpack_from(order + "H", data, start)
    for entry in range(start + 2, start + 2 + 12 * min(count, _MOST_ENTRIES), 12):
        if entry + 12 > len(data):
            break
        tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
        if tag == _ORIENTATION and kind in (_SHORT, _LONG) and number == 1:
            return valid(
                struct.unpack_from(order + ("H" if kind == _SHORT else "I"), data, entry + 8)[0]
            )
    return UPRIGHT


def valid(value: object) -> int:
    """Return an orientation if it is 1 to 8, else 1."""
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def upright_size(height: int, width: int, turn: int) -> tuple[int, int]:
    """Return height and width after `upright`."""
    return (width, height) if turn >= 5 else (height, width)


def upright(pixels: NDArray, turn: int) -> NDArray:
    """Return pixels [H, W, C] turned and mirrored as an orientation says, C-contiguous."""
    if turn in (5, 6, 7, 8):  # rows and columns change places
        pixels = pixels.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
