"""Read one picture of any depth and channel count, safely: exact, or refused with the reason."""

import os
import stat
import struct
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from dragoman.data.blob import Blob, as_blob
from dragoman.data.bounded import Bounded
from dragoman.data.raster_header import (
    MOST_BYTES,
    MOST_CHANNELS,
    MOST_NAME,
    MOST_PIXELS,
    Header,
    Opened,
    Raster,
    Refused,
    told,
)
from dragoman.data.raster_numpy import MAGIC, open_npy, open_npz
from dragoman.data.raster_pillow import open_bmp, open_jpeg, open_webp
from dragoman.data.raster_png import SIGNATURE, open_png
from dragoman.data.raster_tiff import open_tiff
from dragoman.errors import DataError

__all__ = [
    "MOST_CHANNELS",
    "MOST_PIXELS",
    "SUFFIXES",
    "Header",
    "Raster",
    "on_white",
    "read_header",
    "read_raster",
]

_KINDS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".npy": "NPY",
    ".npz": "NPZ",
}
_SIGNS = {
    SIGNATURE: "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    MAGIC: "NPY",
    b"PK\x03\x04": "NPZ",
}
SUFFIXES: tuple[str, ...] = tuple(_KINDS)  # endings that are read
_SCREEN = ("PNG", "JPEG", "WEBP", "BMP")  # of these the content decides, not the ending
_SENSELESS = (TypeError, LookupError, AttributeError, ArithmeticError, struct.error)
_SPARE = 32 << 20  # bytes of a file beside its pixels


def read_header(
    source: str | Path | Blob, indices: bool = False, limit: int = MOST_PIXELS
) -> Header:
    """Return what a picture's file says of it, without reading pixels where that is possible.

    indices: palette files are to be read as numbers, [H, W, 1]. limit: most pixels (height *
    width), and a sixteenth of the most bytes. Raises DataError, its first words the file's name.
    """
    with _opened(source, indices, limit, None) as opened:
        return opened.header


def read_raster(
    source: str | Path | Blob,
    indices: bool = False,
    limit: int = MOST_PIXELS,
    least: int | None = None,
) -> Raster:
    """Return a picture exactly as stored, upright, as [H, W, C] of uint8, uint16, int16 or float32.

    indices: palette files give their numbers, and truth values 0 and 1 (label maps). least: a
    JPEG may be decoded smaller, as long as its shorter side keeps so many pixels. CMYK and YCbCr
    become RGB; whole numbers of more bits become uint16 or int16 if they fit. Raises DataError,
    its first words the file's name, for what is damaged, of another kind, too large, not finite.
    """
    with _opened(source, indices, limit, least) as opened:
        return opened.load()


def on_white(raster: Raster) -> Raster:
    """Lay transparency over white and drop its channel; of use for any depth.

    White is the greatest number of the depth, and 1 for float32.
    """
    if not raster.header.alpha:
        return raster
    whole = raster.pixels.dtype.kind in "iu"
    white = float(np.iinfo(raster.pixels.dtype).max) if whole else 1.0
    work = np.float32 if raster.pixels.dtype != np.int16 else np.float64
    colours, alpha = raster.pixels[..., :-1], raster.pixels[..., -1:].astype(work) / work(white)
    laid = white + (colours.astype(work) - work(white)) * alpha.clip(0, 1)
    laid = (np.rint(laid) if whole else laid).astype(colours.dtype)
    pixels = np.where(alpha >= 1, colours, laid)
    header = replace(raster.header, channels=raster.header.channels - 1, alpha=False)
    return replace(raster, pixels=pixels, header=header)


@contextmanager
def _opened(
    source: str | Path | Blob, indices: bool, limit: int, least: int | None
) -> Generator[Opened]:
    """Open a picture; whatever goes wrong becomes a DataError that begins with its name."""
    blob = as_blob(source)
    try:
        _check_file(blob, limit)
        with blob.open() as file:
            yield _open(Bounded(file, 0), blob.suffix, indices, limit, least)
    except Refused as refused:
        raise DataError(f"{_name(blob)} {refused}") from None
    except DataError as error:  # of Blob
        raise DataError(told(error, MOST_NAME)) from None
    except MemoryError:
        raise DataError(f"{_name(blob)} takes more memory than there is") from None
    except Exception as error:  # decoders raise almost anything on hostile files
        why = "its parts do not fit together" if isinstance(error, _SENSELESS) else told(error)
        raise DataError(f"{_name(blob)} is damaged ({why or type(error).__name__})") from None


def _name(blob: Blob) -> str:
    return told(blob.name, MOST_NAME)


def _check_file(blob: Blob, limit: int) -> None:
    """Refuse what is no file, before it is opened: opening a pipe would wait for ever."""
    if blob.data is None:
        try:
            status = os.stat(blob.path)
        except OSError as error:
            if os.path.islink(blob.path):
                raise Refused("is a link to nothing that can be read") from None
            raise Refused(f"cannot be read ({error.strerror or error})") from None
        except ValueError as error:
            raise Refused(f"cannot be read ({error})") from None
        if stat.S_ISDIR(status.st_mode):
            raise Refused("is a folder, not a picture")
        if not stat.S_ISREG(status.st_mode):
            raise Refused("is not a file")
        size = status.st_size if blob.length < 0 else blob.length
    else:
        size = len(blob.data)
    if not size:
        raise Refused("is empty")
    if blob.length > MOST_BYTES * limit + _SPARE:
        raise Refused(f"is larger than a picture of {limit / 1e6:,.6g} million pixels can be")


def _open(file: Bounded, suffix: str, indices: bool, limit: int, least: int | None) -> Opened:
    """Choose the reader: by content, which the ending must allow."""
    start = file.exactly(0, min(16, file.size))
    kind, wanted = _kind(start), _KINDS.get(suffix)
    if kind is None:
        known = "PNG, JPEG, WebP or BMP" if wanted in _SCREEN else wanted
        raise Refused(f"is not a readable {known or 'picture'}")
    if wanted is not None and kind != wanted and not (kind in _SCREEN and wanted in _SCREEN):
        if kind == "NPZ":
            raise Refused("is a zip archive, not a picture")
        ending = next(ending for ending, named in _KINDS.items() if named == kind)
        raise Refused(f"is really a {kind} file; rename it to end in {ending}")
    if kind == "PNG":
        return open_png(file, indices, limit)
    if kind == "JPEG" and indices:
        raise Refused("is a JPEG, which blurs class numbers; save label maps as PNG")
    if kind == "JPEG":
        return open_jpeg(file, limit, least)
    if kind == "WEBP":
        return open_webp(file, limit)
    if kind == "BMP":
        return open_bmp(file, indices, limit)
    if kind == "TIFF":
        return open_tiff(file, indices, limit)
    return (open_npy if kind == "NPY" else open_npz)(file, indices, limit)


def _kind(start: bytes) -> str | None:
    """Return the format that the first bytes of a file are of."""
    if start.startswith(b"RIFF"):
        return "WEBP" if start[8:12] == b"WEBP" else None
    return next((kind for sign, kind in _SIGNS.items() if start.startswith(sign)), None)
