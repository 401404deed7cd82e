"""Read one 8-bit picture of a user, safely: refused with a reason rather than cut or guessed."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from dragoman.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MOST_PIXELS = 80_000_000  # of a picture as stored, and after resizing

_GREY = {"1", "L", "LA", "La"}
_COLOUR = {"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
_DEEP = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_BITS_PER_SAMPLE = 258  # TIFF tag


def is_grey(path: Path) -> bool:
    """True if the picture has one channel, judged by its header.

    Raises DataError, naming file and reason, for what `read` would refuse by the header.
    """
    with _opened(path) as picture:
        return picture.mode in _GREY


def read(path: Path, channels: int, side: int | None = None) -> NDArray[np.uint8]:
    """Return a picture as [channels, H, W], turned as its EXIF orientation says.

    channels: 1 (grey) or 3 (RGB). side: the shorter side is resized to so many pixels (bicubic).
    Transparent pixels are laid over white, palettes become RGB. Raises DataError, naming file and
    reason: not one of FORMATS, damaged, more than 8 bits, several pages, too many pixels.
    """
    with _opened(path) as opened:
        picture = _on_white(ImageOps.exif_transpose(opened))
        picture = picture.convert("L" if channels == 1 else "RGB")
        if side is not None:
            picture = _resized(picture, side)
        pixels = np.asarray(picture)
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def _on_white(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture
    rgba = picture.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    white.alpha_composite(rgba)
    return white.convert("RGB")


def _resized(picture: Image.Image, side: int) -> Image.Image:
    width, height = picture.size
    scale = side / min(width, height)
    target = max(side, round(width * scale)), max(side, round(height * scale))
    if target[0] * target[1] > MOST_PIXELS:
        raise DataError(
            f"is {width}x{height} pixels, too long and narrow to bring its shorter side to {side}"
        )
    return picture.resize(target, Image.Resampling.BICUBIC) if target != picture.size else picture


@contextlib.contextmanager
def _opened(path: Path) -> Generator[Image.Image]:
    """Open a picture and check its header; every error becomes a DataError that names the file."""
    try:
        if not path.is_file():
            raise DataError("is not a file")
        if not path.stat().st_size:
            raise DataError("is empty")
        with Image.open(path, formats=FORMATS) as picture:
            _check_header(picture)
            yield picture
    except DataError as error:
        raise DataError(f"{path} {error}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"{path} {_too_large()}") from None
    except Image.UnidentifiedImageError:
        raise DataError(f"{path} is not a readable {', '.join(FORMATS[:-1])} or TIFF") from None
    except Exception as error:  # decoders raise almost anything on hostile files
        raise DataError(f"{path} is damaged ({error or type(error).__name__})") from None


def _too_large() -> str:
    return f"has more than {MOST_PIXELS // 1_000_000} million pixels; cut it into pieces"


def _check_header(picture: Image.Image) -> None:
    if picture.width * picture.height > MOST_PIXELS:
        raise DataError(_too_large())
    if picture.mode in _DEEP or _bits(picture) > 8:
        raise DataError("has more than 8 bits per channel, which is not read yet; convert it to 8")
    if picture.mode not in _GREY | _COLOUR:
        raise DataError(f"has the colour mode {picture.mode}; convert it to RGB or grey")
    pages = getattr(picture, "n_frames", 1)
    if pages > 1 and picture.format != "MPO":  # a photograph with its own preview behind it
        raise DataError(f"holds {pages} pictures; save each in a file of its own")


def _bits(picture: Image.Image) -> int:
    """Bits per channel as stored: Pillow gives 16-bit RGB as 8-bit RGB without a word."""
    tags: Any = getattr(picture, "tag_v2", None)
    if tags is not None:
        return max(tags.get(_BITS_PER_SAMPLE, (8,)))
    if picture.format == "PNG" and isinstance(picture, ImageFile.ImageFile):
        stored = [str(tile.args) for tile in picture.tile]
        return 16 if any("16" in args for args in stored) else 8
    return 8
