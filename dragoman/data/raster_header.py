"""What a picture file says before its pixels are read, and what no file may exceed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_PIXELS = 80_000_000  # height * width, unless a setting says otherwise
MOST_CHANNELS = 64
MOST_BYTES = 16  # per pixel of the limit: 80 million pixels of four float32 channels just fit
MOST_NAME = 8192  # characters of a file's name in a message
MOST_PROFILE = 4 << 20  # bytes of an ICC profile; those of printers have 2 MB

_PROFILES = {b"GRAY": (1, 2), b"RGB ": (3, 4)}
_PROFILE_HEADER = 128


class Refused(Exception):
    """Why a file is not read, to be put after its name: "is cut off"."""


@dataclass(frozen=True)
class Header:
    """What a file says before its pixels are read; already upright (EXIF).

    channels: of the pixels that are returned, transparency included. dtype: "uint8", "uint16",
    "int16" or "float32". format: "PNG", "JPEG", "WEBP", "BMP", "TIFF", "NPY" or "NPZ". alpha:
    the last channel is transparency. palette: the file stores numbers of a palette. planar:
    channels come first in the file (NPY [C, H, W], planar or multi-page TIFF).
    """

    height: int
    width: int
    channels: int
    dtype: str
    format: str
    alpha: bool
    palette: bool
    planar: bool = False


@dataclass(frozen=True)
class Raster:
    """A picture as stored, upright.

    pixels: [H, W, C] of header.dtype, C-contiguous, to be copied before they are changed (many
    are read-only); smaller than the header says where a JPEG was decoded smaller. icc: colour
    profile that fits the channels. colours: palette, uint8 [N, 3], of a palette file read with
    indices=True; every pixel is below N.
    """

    pixels: NDArray
    header: Header
    icc: bytes | None = None
    colours: NDArray | None = None


@dataclass(frozen=True)
class Opened:
    """A file whose header has been read; `load` reads the pixels, while the file is open."""

    header: Header
    load: Callable[[], Raster]


def check_size(
    height: int, width: int, channels: int, itemsize: int, limit: int, name: str = "picture"
) -> None:
    """Raise Refused if a picture would take more memory than `limit` pixels allow."""
    if height < 1 or width < 1:
        raise Refused(f"is damaged (a {name} of {width}x{height} pixels)")
    if channels < 1 or channels > MOST_CHANNELS:
        raise Refused(f"has {channels} channels, not 1 to {MOST_CHANNELS}; save those you need")
    if height * width > limit:
        raise Refused(
            f"has {width}x{height} pixels, more than the limit of {limit / 1e6:,.6g} million; "
            "cut it into pieces or raise max_megapixels"
        )
    if height * width * channels * itemsize > MOST_BYTES * limit:
        raise Refused(
            f"takes {height * width * channels * itemsize / 1e6:,.6g} MB unpacked, more than "
            f"{MOST_BYTES} bytes for each of the limit of {limit / 1e6:,.6g} million pixels; "
            "cut it into pieces or raise max_megapixels"
        )


def fitting_profile(icc: object, channels: int) -> bytes | None:
    """Return an ICC profile if it is one for so many channels, else None."""
    if not isinstance(icc, bytes) or not _PROFILE_HEADER <= len(icc) <= MOST_PROFILE:
        return None
    return icc if channels in _PROFILES.get(icc[16:20], ()) else None


def wide(dtype: np.dtype) -> bool:
    """True for whole numbers of more bits than are kept, whose depth the pixels decide."""
    return dtype.kind in "iu" and dtype.itemsize > 2


def kept(dtype: np.dtype) -> str:
    """Return the depth that pixels of a dtype are returned in, where that is certain.

    Raises Refused with the remedy for what is not read: complex numbers, text, float64.
    """
    if dtype.kind == "b":
        return "uint8"
    if dtype.kind == "i" and dtype.itemsize == 1:
        return "int16"
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return dtype.newbyteorder("=").name
    if dtype.kind == "f":
        if dtype.itemsize != 4:
            raise Refused(f"holds {dtype.name}; save it as float32")
        return "float32"
    raise Refused(f"holds {told(dtype.name)}, which is no picture; save it as float32 or uint16")


def storable(pixels: NDArray, indices: bool) -> NDArray:
    """Return pixels of any depth as uint8, uint16, int16 or float32, losslessly.

    indices: truth values become 0 and 1 rather than 0 and 255. Raises Refused if the values do
    not fit, or are no finite numbers.
    """
    if not wide(pixels.dtype):
        name = kept(pixels.dtype)
        if pixels.dtype.kind == "f":
            _check_finite(pixels)
        result = np.ascontiguousarray(pixels, name)
        return result * np.uint8(255) if pixels.dtype.kind == "b" and not indices else result
    low, high = int(pixels.min()), int(pixels.max())
    for name in ("uint16", "int16"):
        if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
            return np.ascontiguousarray(pixels, name)
    raise Refused(
        f"holds {pixels.dtype.newbyteorder('=').name} from {low} to {high}, which fit neither "
        "uint16 nor int16; save it as float32"
    )


def _check_finite(pixels: NDArray) -> None:
    finite = np.isfinite(pixels)
    if not finite.all():
        bad = finite.size - int(np.count_nonzero(finite))
        raise Refused(f"has {bad} values that are no finite numbers (NaN, inf); fill them first")


def told(text: object, most: int = 200) -> str:
    """Return text fit for one line of a terminal: control characters escaped, cut to `most`."""
    line = str(text)[: 4 * most]
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return line if len(line) <= most else line[: most - 3] + "..."
