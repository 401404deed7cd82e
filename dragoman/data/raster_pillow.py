"""JPEG, WebP and BMP pictures, decoded by Pillow after their headers have been checked."""

import io
import re
import struct
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, ImageFile, JpegImagePlugin, WebPImagePlugin

from dragoman.data.bounded import Bounded
from dragoman.data.exif import orientation, upright, upright_size
from dragoman.data.raster_header import (
    Header,
    Opened,
    Raster,
    Refused,
    check_size,
    fitting_profile,
)

_CHANNELS = {"1": 1, "L": 1, "LA": 2, "P": 3, "RGB": 3, "RGBA": 4, "CMYK": 3, "YCbCr": 3}
_MOST_SCANS = 64  # progressive JPEGs have about 10; each costs as much as the whole picture
_MOST_SEARCHED = 256 << 20  # bytes in which they are looked for
_MOST_RUNS = 4_000_000  # pixels of a run-length BMP: Pillow unpacks it in Python
_MOST_PARTS = 5000  # between scans; a few tables are usual
_SMALL = 1 << 20  # bytes of a file that cannot keep anybody busy for long
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # the others lie within the pixels
_MOST_BEFORE_PIXELS = 32 << 20  # bytes of a file that belong to no pixel
_EVERYTHING = 1 << 62


class _Jpeg(JpegImagePlugin.JpegImageFile):
    """A JPEG of which the EXIF resolution is not looked at: that warns of damaged EXIF."""

    def _read_dpi_from_exif(self) -> None:
        pass


def open_jpeg(file: Bounded, limit: int, least: int | None) -> Opened:
    """Read the header of a JPEG; with `least` it is decoded smaller, no shorter side below it."""
    picture = _start(_Jpeg, file)
    check_size(picture.height, picture.width, 1, 1, limit)
    if least is not None and min(picture.size) >= 2 * least > 0:
        shape = picture.size
        picture.draft(None, (least, least))
        return _opened(picture, "JPEG", file, limit, False, shape)
    return _opened(picture, "JPEG", file, limit, False, picture.size)


def jpeg_pixels(data: bytes, height: int, width: int, colours: str) -> NDArray[np.uint8]:
    """Decode a JPEG that is part of another file, [H, W] or [H, W, 3] of no more than that size.

    colours: what the file around it says of its colours: "L", "RGB", "YCbCr", or "" if nothing.
    """
    picture = _Jpeg(io.BytesIO(data))
    if picture.height > height or picture.width > width or picture.mode not in ("L", "RGB"):
        raise Refused("is damaged (a JPEG strip of another kind than its page)")
    _check_scans(data)
    picture.tile = [tile._replace(args=(picture.mode, colours)) for tile in picture.tile]
    return np.asarray(picture)


def open_webp(file: Bounded, limit: int) -> Opened:
    """Read the header of a WebP picture; raises Refused for animations."""
    width, height, size = _webp_size(file)
    check_size(height, width, 4, 1, limit)
    if size > 4 * height * width + _MOST_BEFORE_PIXELS:
        raise Refused("is damaged (it has more data than pixels)")
    whole = io.BytesIO(file.exactly(0, min(size, file.size)))
    picture = _start(WebPImagePlugin.WebPImageFile, Bounded(whole, 0))
    if getattr(picture, "n_frames", 1) != 1:
        raise Refused("is an animation; save each of its pictures in a file of its own")
    return _opened(picture, "WEBP", file, limit, False, (width, height))


def open_bmp(file: Bounded, indices: bool, limit: int) -> Opened:
    """Read the header of a BMP picture."""
    picture = _start(BmpImagePlugin.BmpImageFile, file)
    if picture.tile[0].codec_name == "bmp_rle" and picture.width * picture.height > _MOST_RUNS:
        raise Refused("is a large BMP packed by run lengths, which is slow; save it as PNG")
    return _opened(picture, "BMP", file, limit, indices, picture.size)


def _start(kind: type[ImageFile.ImageFile], file: Bounded) -> ImageFile.ImageFile:
    """Read a header with the plugin itself.

    Image.open would try other formats and apply a limit of pixels that is global.
    """
    file.allowance = _MOST_BEFORE_PIXELS
    file.seek(0)
    picture = kind(file.unbounded if file.size <= _SMALL else cast(BinaryIO, file))
    file.allowance = _EVERYTHING
    return picture


def _opened(
    picture: ImageFile.ImageFile,
    kind: str,
    file: Bounded,
    limit: int,
    indices: bool,
    size: tuple[int, int],
) -> Opened:
    if picture.mode not in _CHANNELS:
        raise Refused(f"has the colour mode {picture.mode}; save it as RGB or grey")
    info: dict[Any, Any] = picture.info
    turn = orientation(info.get("exif"))
    height, width = upright_size(size[1], size[0], turn)
    as_numbers = indices and picture.mode == "P"
    channels = 1 if as_numbers else _CHANNELS[picture.mode]
    check_size(height, width, channels, 1, limit)
    header = Header(
        height=height,
        width=width,
        channels=channels,
        dtype="uint8",
        format=kind,
        alpha=picture.mode in ("LA", "RGBA"),
        palette=picture.mode == "P",
    )
    icc = fitting_profile(info.get("icc_profile"), channels) if picture.mode != "CMYK" else None

    def load() -> Raster:
        if kind == "JPEG":
            _check_scans(file.exactly(0, min(file.size, _MOST_SEARCHED)))
        pixels, colours = _pixels(picture, indices)
        return Raster(upright(pixels, turn), header, icc, colours)

    return Opened(header, load)


def _pixels(picture: ImageFile.ImageFile, indices: bool) -> tuple[NDArray, NDArray | None]:
    if picture.mode == "P" and indices:
        pixels = np.asarray(picture)[..., None]
        stored = np.asarray(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        colours = np.zeros((max(len(stored), int(pixels.max()) + 1), 3), np.uint8)
        colours[: len(stored)] = stored
        return pixels, colours
    if picture.mode in ("P", "CMYK", "YCbCr"):
        return np.asarray(picture.convert("RGB")), None
    pixels = np.asarray(picture)
    if pixels.dtype == bool:
        pixels = (pixels.view(np.uint8) != 0) * np.uint8(1 if indices else 255)
    return (pixels[..., None] if pixels.ndim == 2 else pixels), None


def _check_scans(data: bytes) -> None:
    """Refuse a JPEG that goes over all of its pixels again and again.

    Films of phones, which lie behind their photograph, look like scans by chance: only where
    there seem to be many, they are looked for from part to part.
    """
    if data.count(_SCAN) <= _MOST_SCANS:
        return
    place, parts, scans = 2, 0, 0
    while (marker := _MARKER.search(data, place)) and marker[0] != _END:
        parts, scans = parts + 1, scans + (marker[0] == _SCAN)
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        if scans > _MOST_SCANS or parts > _MOST_PARTS:
            break
    if scans > _MOST_SCANS or parts > _MOST_PARTS:
        raise Refused(f"is damaged (a JPEG of more than {_MOST_SCANS} passes)")


def _webp_size(file: Bounded) -> tuple[int, int, int]:
    """Return width and height of the canvas, and the bytes of the file, as its start has them.

    Pillow takes memory for the canvas before anything else.
    """
    start = file.exactly(0, 30)
    kind, size = start[12:16], struct.unpack("<I", start[4:8])[0] + 8
    if kind == b"VP8X":
        if start[20] & 2:
            raise Refused("is an animation; save each of its pictures in a file of its own")
        width, height = start[24:27] + b"\0", start[27:30] + b"\0"
        return struct.unpack("<I", width)[0] + 1, struct.unpack("<I", height)[0] + 1, size
    if kind == b"VP8L" and start[20] == 0x2F:
        (bits,) = struct.unpack("<I", start[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, size
    if kind == b"VP8 " and start[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", start[26:30])
        return width & 0x3FFF, height & 0x3FFF, size
    raise Refused("is damaged (its WebP header is wrong)")
