"""The numbers in a TIFF page: strips and tiles unpacked within bounds, and made into colours."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dragoman.data.bounded import Bounded
from dragoman.data.raster_header import MOST_BYTES, Refused, storable, told, wide
from dragoman.data.raster_pillow import jpeg_pixels

_KINDS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr"}
_SAMPLES = {"grey": 1, "RGB": 3, "palette": 1, "CMYK": 4, "YCbCr": 3}
_NONE, _JPEG, _DEFLATE = 1, 7, 8
_COMPRESSIONS = (_NONE, 5, _JPEG, _DEFLATE, 32773, 32946, 50000)  # LZW, PackBits, Zstandard
_PREDICTORS = (1, 2, 3)
_ASSOCIATED, _UNASSOCIATED = 1, 2  # kinds of transparency
_COLOUR_MAP, _INKS, _PHOTOMETRIC = 320, 332, 262  # tags
_MOST_SEGMENTS = 400_000  # 80 million pixels in tiles of 16x16
_BESIDE = 1 << 16  # bytes of a segment that are no pixels: the tables of a JPEG


@dataclass(frozen=True)
class Meaning:
    """What the numbers of a page are.

    kind: grey, RGB, palette, CMYK or YCbCr. bits: of each number. samples: numbers of a pixel
    as stored; channels: as returned. alpha: the last is transparency; associated: the colours
    are multiplied with it. inverted: 0 is white.
    """

    kind: str
    bits: int
    samples: int
    channels: int
    alpha: bool
    associated: bool
    inverted: bool


def meaning(page: Any, indices: bool) -> Meaning:
    """Return what the numbers of a page mean; raises Refused for what is not read."""
    photometric = int(page.photometric) if _PHOTOMETRIC in page.tags else 1
    kind, samples = _KINDS.get(photometric), page.samplesperpixel
    if kind is None:
        name = getattr(page.photometric, "name", photometric)
        raise Refused(f"has the colours {told(name)}; save it as RGB or grey")
    if page.dtype is None or not isinstance(page.bitspersample, int):
        raise Refused(
            f"holds numbers of {told(page.bitspersample)} bits in format "
            f"{told(int(page.sampleformat))}; save it as uint8, uint16 or float32"
        )
    extra = samples - _SAMPLES[kind]
    if extra < 0:
        raise Refused(f"is damaged ({kind} of {samples} channels)")
    if kind in ("palette", "CMYK", "YCbCr"):
        _check_screen(page, kind, extra)
    kinds = page.extrasamples if isinstance(page.extrasamples, tuple) else (page.extrasamples,)
    seen = [int(found) for found in kinds]
    if not seen and kind == "RGB" and extra == 1 and page.dtype.kind == "u":
        seen = [_UNASSOCIATED]  # what everybody makes of four channels without a word
    alpha = len(seen) == extra > 0 and seen[-1] in (_ASSOCIATED, _UNASSOCIATED)
    alpha = alpha and not any(seen[:-1])
    number = kind == "palette" and indices
    return Meaning(
        kind="RGB" if kind == "YCbCr" and page.compression == _JPEG else kind,
        bits=page.bitspersample,
        samples=samples,
        channels=1 if number else samples if kind in ("grey", "RGB") else 3,
        alpha=alpha,
        associated=alpha and seen[-1] == _ASSOCIATED,
        inverted=photometric == 0,
    )


def _check_screen(page: Any, kind: str, extra: int) -> None:
    whole = page.dtype.kind in "ub" and page.bitspersample <= (16 if kind == "palette" else 8)
    inks = page.tags.valueof(_INKS, default=1)
    if extra or not whole or (kind != "palette" and page.bitspersample != 8):
        raise Refused(
            f"is {kind} of {page.samplesperpixel} channels with {page.bitspersample} bits; "
            "save it as RGB or grey"
        )
    if kind == "YCbCr" and page.compression != _JPEG and page.is_subsampled:
        raise Refused("has YCbCr of fewer colours than pixels, unpacked; save it as RGB")
    if kind == "CMYK" and inks != 1:
        raise Refused("has inks other than CMYK; save it as RGB or grey")


def check_segments(page: Any, size: int, limit: int) -> None:
    """Refuse strips and tiles that are packed unusually, too many, or larger than they may be."""
    if page.compression not in _COMPRESSIONS:
        name = getattr(page.compression, "name", page.compression)
        raise Refused(f"is packed with {told(name)}; save it with LZW, deflate or zstd")
    if page.compression == _JPEG and not _simple_jpeg(page):
        raise Refused("holds JPEG of an unusual kind; save it with LZW, deflate or zstd")
    if page.predictor not in _PREDICTORS or page.planarconfig not in (1, 2):
        raise Refused("is damaged (its predictor or planar setting is unknown)")
    rows, columns = _segment(page)
    if not (isinstance(rows, int) and isinstance(columns, int) and rows > 0 < columns):
        raise Refused("is damaged (its strips or tiles have no size)")
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    together = page.samplesperpixel // planes
    count = math.ceil(page.imagelength / rows) * math.ceil(page.imagewidth / columns) * planes
    if rows * columns * together * page.dtype.itemsize > MOST_BYTES * limit:
        raise Refused(f"has tiles of {columns}x{rows} pixels, larger than a picture may be")
    if count > _MOST_SEGMENTS:
        raise Refused(f"lies in {count} strips or tiles; save it in strips of more rows")
    offsets, lengths = page.dataoffsets, page.databytecounts
    if not isinstance(offsets, tuple) or not isinstance(lengths, tuple):
        raise Refused("is damaged (its strips have no places)")
    if len(offsets) != count or len(lengths) != count:
        raise Refused(f"is damaged ({len(offsets)} strips or tiles of {count})")
    raw = page.imagelength * page.imagewidth * page.samplesperpixel * page.dtype.itemsize
    if page.compression != _NONE and sum(lengths) > max(size, 2 * raw) + _BESIDE:
        raise Refused("is damaged (its strips are longer than the file)")


def _simple_jpeg(page: Any) -> bool:
    together = page.samplesperpixel if page.planarconfig == 1 else 1
    return page.bitspersample == 8 and page.dtype == np.uint8 and together in (1, 3)


def _segment(page: Any) -> tuple[Any, Any]:
    """Return rows and columns of a strip or tile."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return page.rowsperstrip, page.imagewidth


def page_pixels(file: Bounded, page: Any, further: int = 0) -> NDArray:
    """Return the numbers of one page as stored, [H, W, samples].

    further: bytes from the page's place to that of the pixels meant. Raises Refused.
    """
    shape = _axes(page)
    if page.is_final or further:
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        data = file.exactly(page.dataoffsets[0] + further, page.nbytes)
        pixels = np.frombuffer(data, dtype).reshape(shape)
    else:
        pixels = np.empty(shape, page.dtype)
        for plane, y, x, part in segments(file, page):
            pixels[plane, y : y + part.shape[0], x : x + part.shape[1]] = part
    return pixels.transpose(1, 2, 0, 3).reshape(*shape[1:3], page.samplesperpixel)


def _axes(page: Any) -> tuple[int, int, int, int]:
    """Return planes, height, width and the samples that lie together."""
    planar = page.planarconfig == 2 and page.samplesperpixel > 1
    planes = page.samplesperpixel if planar else 1
    return planes, page.imagelength, page.imagewidth, page.samplesperpixel // planes


def segments(file: Bounded, page: Any) -> Iterator[tuple[int, int, int, NDArray]]:
    """Unpack a page strip by strip or tile by tile.

    Yields the plane, the first row and column, and the numbers [h, w, samples that lie together].
    Raises Refused.
    """
    planes, height, width, together = _axes(page)
    rows, columns = _segment(page)
    most = rows * columns * together * page.dtype.itemsize
    places = itertools.product(range(planes), range(0, height, rows), range(0, width, columns))
    found = zip(places, page.dataoffsets, page.databytecounts, strict=True)
    for index, ((plane, y, x), place, length) in enumerate(found):
        shape = min(rows, height - y), min(columns, width - x), together
        if not length:  # left out, as empty tiles of large maps are
            yield plane, y, x, np.full(shape, page.nodata, page.dtype)
            continue
        if page.compression == _NONE:
            length = min(length, most)
        if length > 2 * most + _BESIDE:
            raise Refused("is damaged (a strip is longer than its pixels)")
        data = file.exactly(place, length)
        if page.compression == _JPEG:
            part = _jpeg(data, page, rows, columns)
        else:
            part = page.decode(data, index)[0][0]
        part = part[: shape[0], : shape[1]]
        if part.shape != shape or part.dtype != page.dtype:
            raise Refused("is damaged (a strip has other pixels than its page)")
        yield plane, y, x, part


def _jpeg(data: bytes, page: Any, rows: int, columns: int) -> NDArray:
    """Decode a JPEG strip with the tables of its page; tifffile's decoder takes cut off ones."""
    tables = page.jpegtables
    if isinstance(tables, bytes) and len(tables) > 4:
        data = tables.removesuffix(b"\xff\xd9") + data.removeprefix(b"\xff\xd8")
    colours = {2: "RGB", 6: "YCbCr"}.get(int(page.photometric), "L")
    if colours == "RGB" and b"JFIF\0" in data[:32]:
        colours = "YCbCr"
    if page.planarconfig == 2:
        colours = "L"
    part = jpeg_pixels(data, rows, columns, colours)
    return part[..., None] if part.ndim == 2 else part


def shown(
    pixels: NDArray, means: Meaning, page: Any, indices: bool
) -> tuple[NDArray, NDArray | None]:
    """Turn stored numbers [H, W, samples] into those of the depths that are kept.

    Returns pixels [H, W, C], and the palette [N, 3] where its numbers are returned.
    """
    if means.kind == "palette":
        return _coloured(pixels, means, page, indices)
    if means.kind in ("CMYK", "YCbCr"):
        size = pixels.shape[1], pixels.shape[0]
        picture = Image.frombytes(means.kind, size, pixels.tobytes())
        return np.asarray(picture.convert("RGB")), None
    if means.inverted:
        pixels = _inverted(pixels, means)
    if means.kind == "grey" and 1 < means.bits < 8 and not indices:
        pixels = pixels * np.uint8(255 // (2**means.bits - 1))
    pixels = storable(pixels, indices)
    return (_unmultiplied(pixels) if means.associated else pixels), None


def _coloured(
    pixels: NDArray, means: Meaning, page: Any, indices: bool
) -> tuple[NDArray, NDArray | None]:
    table = page.tags.valueof(_COLOUR_MAP)
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.shape[0] != 3:
        raise Refused("is damaged (it has no palette)")
    if table.max() > 255:  # 16 bits, as they should be
        table = table >> 8
    colours = np.zeros((2**means.bits, 3), np.uint8)
    colours[: table.shape[1]] = table.T[: len(colours)]
    numbers = storable(pixels, True)
    if indices:
        return numbers, colours
    return colours[numbers[..., 0]], None


def _inverted(pixels: NDArray, means: Meaning) -> NDArray:
    """Make 0 black in the first channel; the others are no greys."""
    if pixels.dtype.kind == "f" or wide(pixels.dtype):
        raise Refused("counts from white (MINISWHITE) in this depth; save it as MINISBLACK")
    pixels = pixels.copy()
    if pixels.dtype.kind == "u":
        pixels[..., :1] = pixels.dtype.type(2**means.bits - 1) - pixels[..., :1]
    else:  # truth values and negative numbers
        pixels[..., :1] = ~pixels[..., :1]
    return pixels


def _unmultiplied(pixels: NDArray) -> NDArray:
    """Undo the multiplication of colours with transparency."""
    whole = pixels.dtype.kind in "iu"
    most = float(np.iinfo(pixels.dtype).max) if whole else 1.0
    alpha = pixels[..., -1:].astype(np.float64)
    colours = pixels[..., :-1] * most / np.where(alpha > 0, alpha, most)
    colours = np.rint(colours).clip(0, most) if whole else colours
    return np.concatenate([colours.astype(pixels.dtype), pixels[..., -1:]], -1)
