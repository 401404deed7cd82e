"""From stored integers to tensors in [-1, 1], and from tensors to pictures for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dragoman.data.catalogue import METRES, Domain
from dragoman.data.earth_colours import HEIGHT_COLOURS

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = NDArray[np.float32]


def encode(domain: Domain, raw: NDArray) -> FLOATS:
    """Turn stored integers [B, C, H, W] into floats in [-1, 1], [B, domain.channels, H, W].

    8-bit values 0 to 255 and heights of -6500 to 6500 m are scaled linearly; a label map becomes
    one channel per class, 1 where the class is and -1 elsewhere.
    """
    if domain.kind == "labels":
        classes = np.arange(domain.channels, dtype=raw.dtype)[:, None, None]
        return np.where(raw == classes, np.float32(1), np.float32(-1))
    if domain.kind == "metres":
        return (raw.astype(np.float32) / np.float32(METRES)).clip(-1, 1)
    floats = raw.astype(np.float32)
    floats *= 2
    floats -= 255  # exact up to here, so that a negative picture becomes exactly the negative
    floats /= 255
    return floats


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
    an atlas, one channel as grey; of other than three channels the first is shown.
    """
    values = pictures.detach().float().cpu().numpy()
    if domain.kind == "labels":
        return np.asarray(domain.palette, np.uint8)[values.argmax(1)]
    if domain.kind == "metres":
        table = np.asarray(HEIGHT_COLOURS, np.float32)
        metres = values[:, 0] * METRES
        bands = [np.interp(metres, table[:, 0], table[:, c]) for c in (1, 2, 3)]
        return np.rint(np.stack(bands, -1)).astype(np.uint8)
    rgb = values if values.shape[1] == 3 else np.repeat(values[:, :1], 3, axis=1)
    return np.rint((rgb.clip(-1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
