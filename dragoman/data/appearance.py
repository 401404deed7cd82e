"""From stored numbers to tensors in [-1, 1] and back, and to pictures for people."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dragoman.data.catalogue import EXTENT, Colour, Domain
from dragoman.data.earth_colours import HEIGHT_COLOURS

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = NDArray[np.float32]


def encode(domain: Domain, raw: NDArray) -> FLOATS:
    """Turn stored numbers [B, planes, H, W] into floats in [-1, 1], [B, domain.channels, H, W].

    The domain's range is scaled linearly, each channel by its own; what lies outside is cut off.
    A label map becomes one channel per class, 1 where the class is and -1 elsewhere; pixels
    without class are -1 in all.
    """
    if domain.kind == "labels":
        classes = np.arange(domain.channels, dtype=np.int64)[:, None, None]
        there = raw == classes
        if domain.unlabelled is not None:
            there &= raw != domain.unlabelled
        return np.where(there, np.float32(1), np.float32(-1))
    total, span = _range(domain)
    floats = raw.astype(np.float32)
    floats *= 2
    floats -= total  # exact for whole numbers, so that a negative becomes exactly the negative
    floats /= span
    return floats if domain.dtype == "uint8" and not domain.low else floats.clip(-1, 1)


def decode(domain: Domain, pictures: NDArray) -> NDArray:
    """Turn floats [B, domain.channels, H, W] back into stored numbers [B, planes, H, W].

    The reverse of `encode`: exact for all whole numbers within the range, to a millionth of the
    range for float32. Whole numbers are rounded; a label map has the class of the greatest
    channel.
    """
    if domain.kind == "labels":
        return pictures.argmax(1)[:, None].astype(domain.dtype)
    total, span = _range(domain)
    values = pictures.astype(np.float32).clip(-1, 1)
    values *= span
    values += total
    values /= 2
    if domain.dtype == "float32":
        return values
    return np.rint(values).clip(*EXTENT[domain.dtype]).astype(domain.dtype)


def _range(domain: Domain) -> tuple[FLOATS, FLOATS]:
    """Sum and difference of the ends of the range, [1 or channels, 1, 1]."""
    low, high = domain.low, domain.high
    if not low:
        low, high = ((end,) for end in EXTENT[domain.dtype])
    ends = np.array([low, high], np.float64)[..., None, None]
    return (ends[1] + ends[0]).astype(np.float32), (ends[1] - ends[0]).astype(np.float32)


def jitter(pictures: FLOATS, draws: NDArray[np.float64], strength: float) -> FLOATS:
    """Vary brightness, contrast and saturation by factors uniform in 1 - strength to 1 + strength.

    pictures: [B, C, H, W] in [-1, 1]; draws: [B, 3] in [0, 1). The same draws vary all alike.
    """
    factors = (1 + strength * (2 * draws - 1)).astype(np.float32)
    brightness, contrast, saturation = factors.T[:, :, None, None, None]
    light = (pictures + 1) * brightness
    middle = light.mean((1, 2, 3), keepdims=True)
    light = (light - middle) * contrast + middle
    grey = light.mean(1, keepdims=True)
    return ((light - grey) * saturation + grey - 1).clip(-1, 1)


def show(domain: Domain, pictures: Tensor) -> NDArray[np.uint8]:
    """Return pictures [B, C, H, W] in [-1, 1] for people: uint8 [B, H, W, 3].

    Label maps are painted by their palette (the greatest channel wins), heights by the colours of
    an atlas, one channel as grey. Of other channels those of `domain.shown` are red, green and
    blue; without it the first three, or of two the first is red and the second green and blue.
    """
    values = pictures.detach().float().cpu().numpy()
    if domain.kind == "labels":
        palette = np.asarray(domain.palette or spread_colours(domain.channels), np.uint8)
        return palette[values.argmax(1)]
    if domain.shading == "atlas" and domain.channels == 1:
        return _atlas(domain, values[:, 0])
    chosen = list(domain.shown) or _first(domain)
    levels = np.rint((values[:, chosen].clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(0, 2, 3, 1))


def _first(domain: Domain) -> list[int]:
    """The channels that are red, green and blue where nothing says otherwise."""
    colours = domain.channels
    if domain.alpha == "keep" and domain.kind == "photo" and colours in (2, 4):
        colours -= 1  # the last one is transparency
    return [[0, 0, 0], [0, 1, 1]][colours - 1] if colours < 3 else [0, 1, 2]


def _atlas(domain: Domain, values: FLOATS) -> NDArray[np.uint8]:
    low, high = domain.low[0], domain.high[0]
    heights = low + (values + 1) / 2 * (high - low)
    table = np.asarray(HEIGHT_COLOURS, np.float32)
    bands = [np.interp(heights, table[:, 0], table[:, c]) for c in (1, 2, 3)]
    return np.rint(np.stack(bands, -1)).astype(np.uint8)


def spread_colours(count: int) -> tuple[Colour, ...]:
    """Return colours that neighbouring class numbers do not share: the first one is black.

    Hues advance by the golden angle, so that any first few are far apart.
    """
    found: list[Colour] = [(0, 0, 0)]
    for number in range(1, count):
        hue, light = number * 0.618034 % 1, (0.95, 0.7, 0.5)[number % 3]
        red, green, blue = colorsys.hsv_to_rgb(hue, (0.65, 0.9)[number % 2], light)
        found.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(found[:count])
