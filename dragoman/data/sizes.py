"""How pictures of any size and aspect come to the size of a batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dragoman.data.settings import DataSettings
from dragoman.errors import DataError, SettingsError

Size = tuple[int, int]  # height, width

OWN_SIZE = 256
LARGEST = 4.0  # aspect, of width to height or height to width, that --aspect takes
# Width to height of the buckets; their area is about that of the square of the size.
BUCKETS = (1 / 2, 2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2, 2.0)
STEP = 16  # sides of buckets are multiples of this many pixels (of fewer, if the size is odd so)


def nominal(settings: DataSettings, default: int = OWN_SIZE) -> Size:
    """Height and width of the training pictures; the shorter side is the size.

    Raises SettingsError for an aspect that is none.
    """
    side = settings.size or default
    wide, colon, high = settings.aspect.partition(":")
    try:
        ratio = float(wide) / float(high)
    except (ValueError, ZeroDivisionError):
        ratio = 0.0
    if not colon or not 1 / LARGEST <= ratio <= LARGEST:
        raise SettingsError(
            f"--aspect must be WIDTH:HEIGHT, such as 4:3, from 1:4 to 4:1, got '{settings.aspect}'"
        )
    if settings.fit == "buckets" and ratio != 1:
        raise SettingsError("--fit buckets has several aspects of its own; leave --aspect out")
    return (side, round(side * ratio)) if ratio >= 1 else (round(side / ratio), side)


def scaled(size: Size, side: int) -> Size:
    """The same shape with another shorter side."""
    shorter = min(size)
    return round(size[0] * side / shorter), round(size[1] * side / shorter)


def bucket_sizes(side: int) -> list[Size]:
    """Heights and widths of the buckets about the square of that side, the square among them."""
    step = STEP if side % STEP == 0 else side & -side
    found = []
    for aspect in BUCKETS:
        height = max(step, round(side / aspect**0.5 / step) * step)
        width = max(step, round(side * aspect**0.5 / step) * step)
        found.append((height, width) if aspect != 1 else (side, side))
    return found


def shapes_of(settings: DataSettings) -> list[Size]:
    """All heights and widths that training batches of own pictures may have."""
    size = nominal(settings)
    return bucket_sizes(min(size)) if settings.fit == "buckets" else [size]


def nearest_bucket(height: int, width: int, buckets: list[Size]) -> int:
    """The number of the bucket whose aspect is nearest, in ratio."""
    aspect = np.log(width / height)
    return int(np.argmin([abs(np.log(w / h) - aspect) for h, w in buckets]))


def resized(pixels: NDArray, size: Size, nearest: bool = False) -> NDArray:
    """Resize [H, W, C] to another height and width: bicubic, or nearest for numbers of classes.

    Whole numbers are rounded and stay within their depth.
    """
    if pixels.shape[:2] == size:
        return pixels
    to = size[::-1]
    if nearest:
        rows, columns = (
            ((np.arange(want) + 0.5) * have / want).astype(int)
            for want, have in zip(size, pixels.shape, strict=False)
        )
        return pixels[rows[:, None], columns[None]]
    if pixels.dtype == np.uint8 and pixels.shape[2] in (1, 3):
        plain = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        made = np.asarray(plain.resize(to, Image.Resampling.BICUBIC))
        return made[..., None] if made.ndim == 2 else made
    floats = [
        np.asarray(
            Image.fromarray(pixels[..., c].astype(np.float32)).resize(to, Image.Resampling.BICUBIC)
        )
        for c in range(pixels.shape[2])
    ]
    made = np.stack(floats, -1)
    if pixels.dtype == np.float32:
        return made
    extent = np.iinfo(pixels.dtype)
    return np.rint(made).clip(extent.min, extent.max).astype(pixels.dtype)


def loaded_size(height: int, width: int, size: Size, fit: str, name: str, limit: int) -> Size:
    """Height and width that a picture is resized to before it is cut or padded to `size`.

    crop and buckets: it covers the size; resize: the size itself; native: its own; pad: it fits
    in, and is not enlarged. Raises DataError for a strip so long that covering the size would
    break the pixel limit.
    """
    if fit == "resize":
        return size
    if fit == "native":
        return height, width
    if fit == "pad":
        scale = min(1.0, size[0] / height, size[1] / width)
        return max(1, round(height * scale)), max(1, round(width * scale))
    scale = max(size[0] / height, size[1] / width)
    target = max(size[0], round(height * scale)), max(size[1], round(width * scale))
    if target[0] * target[1] > limit:
        raise DataError(
            f"{name} is {width}x{height} pixels, too long and narrow to bring its shorter side to "
            f"{min(size)}; cut it into pieces, or use --fit pad or --fit resize"
        )
    return target


def cut(pixels: NDArray, size: Size, place: NDArray[np.float64] | None) -> NDArray:
    """Cut [H, W, C] to `size` at `place` (down, right, in [0, 1)), or its middle.

    A picture that is too small is first padded by mirroring, below and to the right.
    """
    pixels = mirrored(pixels, size)
    room = np.array(pixels.shape[:2]) - size
    y, x = (place * (room + 1)).astype(int) if place is not None else room // 2
    return pixels[y : y + size[0], x : x + size[1]]


def mirrored(pixels: NDArray, size: Size) -> NDArray:
    """Mirror [H, W, C] below and to the right until it has at least the size."""

    def places(have: int, want: int) -> NDArray[np.int64]:
        turned = np.arange(max(have, want)) % (2 * have)
        return np.where(turned < have, turned, 2 * have - 1 - turned)

    height, width = pixels.shape[:2]
    if height >= size[0] and width >= size[1]:
        return pixels
    return pixels[places(height, size[0])][:, places(width, size[1])]
