"""Pictures that show the look that is wanted, brought to what a system was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dragoman.data.catalogue import Domain
from dragoman.data.raster import MOST_PIXELS
from dragoman.data.single import checked, encoded, from_pil
from dragoman.data.sizes import Size, cut, loaded_size, resized
from dragoman.errors import DataError
from dragoman.translating.inputs import headers_of, read_whole
from dragoman.translating.sources import find

MOST = 1000  # pictures; more examples than anybody shows


def reference_pictures(given: Any, domain: Domain, size: Size) -> Tensor:
    """Return the pictures as [K, C, H, W] in [-1, 1], scaled and cut to `size` from the middle.

    given: a tensor [C, H, W] or [K, C, H, W] in [-1, 1], which must have the size; a picture of
    Pillow; an array of the domain's depth; the name of a file, folder, pattern or list, as of
    `dragoman translate`; or several of these. Raises DataError for what does not fit the domain.
    """
    several = given if isinstance(given, list | tuple) else [given]
    made = [part for one in several for part in _brought(one, domain, size)]
    if not made:
        raise DataError("--reference holds no pictures; name at least one")
    return torch.cat(made)


def _brought(one: Any, domain: Domain, size: Size) -> Iterable[Tensor]:
    if isinstance(one, Tensor):
        return [_checked(one if one.dim() == 4 else one[None], domain, size)]
    if isinstance(one, Image.Image):
        return [_fitted(from_pil(domain, one), domain, size, "the reference")]
    if not isinstance(one, str | Path):
        return [_fitted(checked(domain, np.asarray(one)), domain, size, "the reference")]
    found = find(str(one))
    for name, reason in found.problems[:1]:
        raise DataError(f"{name} {reason}")
    if len(found) > MOST:
        raise DataError(f"--reference {one} holds {len(found)} pictures; name at most {MOST}")
    made = []
    for number in range(len(found)):
        files = found.files(number)
        headers_of(files, domain, MOST_PIXELS)
        part, _ = read_whole(files, domain, MOST_PIXELS)
        made.append(_fitted(part.pixels, domain, size, str(files[0])))
    return made


def _checked(pictures: Tensor, domain: Domain, size: Size) -> Tensor:
    wanted = [domain.channels, *size]
    if list(pictures.shape[1:]) != wanted:
        raise DataError(
            f"a reference must have the shape {wanted} of the training pictures, this one has "
            f"{list(pictures.shape[1:])}; give a file or an array to have it brought to that"
        )
    if (
        not len(pictures)
        or not pictures.is_floating_point()
        or not pictures.abs().max() <= 1 + 1e-4
    ):
        raise DataError("a reference must hold floats in [-1, 1], as in pixels / 127.5 - 1")
    return pictures.float()


def _fitted(pixels: np.ndarray, domain: Domain, size: Size, name: str) -> Tensor:
    """Scale [H, W, planes] until it just covers the size, and cut out the middle."""
    covering = loaded_size(*pixels.shape[:2], size, "crop", name, MOST_PIXELS)
    pixels = cut(resized(pixels, covering, domain.kind == "labels"), size, None)
    return encoded(domain, pixels)
