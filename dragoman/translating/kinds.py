"""The kinds of picture that a translator is called with, and back to the same kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dragoman.data.raster import MOST_PIXELS
from dragoman.data.single import check_pil, checked, decoded, encoded, flat, from_pil, to_pil
from dragoman.translating.cutting import Cutting
from dragoman.translating.inputs import headers_of, hole_of, read_whole
from dragoman.translating.tiles import translate_pixels, translate_tensor

if TYPE_CHECKING:
    from dragoman.pipeline import Translator

Picture = Image.Image | np.ndarray | Tensor | str | Path | tuple[str | Path, ...]
Made = Image.Image | np.ndarray | Tensor


@dataclass(frozen=True)
class Taken:
    """A picture brought to the source domain, and the kind it came in.

    pixels: stored numbers [H, W, planes]; or tensor: [B, C, H, W] in [-1, 1]. hole: [1, 1, H, W],
    what the system is to fill in, if it does such.
    """

    kind: Literal["array", "pil", "tensor", "batch"]
    pixels: NDArray | None = None
    tensor: Tensor | None = None
    hole: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        if self.tensor is not None:
            return self.tensor.shape[-2], self.tensor.shape[-1]
        assert self.pixels is not None
        return self.pixels.shape[0], self.pixels.shape[1]


def take(translator: Translator, picture: Picture, limit: int = MOST_PIXELS) -> Taken:
    """Check a picture of any kind and bring it to the source domain; raises DataError.

    limit: the most pixels of a file.
    """
    taken = _taken(translator, picture, limit)
    translator.check_size(*taken.size)
    return taken


def _taken(translator: Translator, picture: Picture, limit: int) -> Taken:
    source = translator.source
    fills = translator.fills
    if isinstance(picture, Tensor):
        one = picture.dim() != 4
        batch = picture[None] if one else picture
        translator.check(batch)
        return Taken("tensor" if one else "batch", tensor=batch)
    if isinstance(picture, Image.Image):
        check_pil(translator.target)
        pixels = from_pil(source, picture)
        clear = fills and picture.has_transparency_data
        alpha = np.asarray(picture.convert("RGBA"))[..., 3:] if clear else None
        return Taken("pil", pixels, hole=hole_of(alpha))
    names = picture if isinstance(picture, tuple) else (picture,)
    files = tuple(Path(name) for name in names if isinstance(name, str | Path))
    if files and len(files) == len(names):
        headers_of(files, source, limit)  # their sizes are one
        part, _ = read_whole(files, source, limit)
        return Taken("array", part.pixels, hole=hole_of(part.alpha) if fills else None)
    return Taken("array", checked(source, np.asarray(picture)))


def as_tensor(translator: Translator, taken: Taken) -> Tensor:
    """The tensor [B, C, H, W] that the network is given."""
    if taken.tensor is not None:
        return taken.tensor
    assert taken.pixels is not None
    return encoded(translator.source, taken.pixels)


def translate_taken(translator: Translator, taken: Taken, cut: Cutting, seed: int) -> Made:
    """Translate one picture, in tiles if it is cut or memory does not suffice otherwise."""
    if not translator.cuts(taken.size, cut):
        made = translator.tried(as_tensor(translator, taken), cut, seed, taken.hole)
        if made is not None:
            return give(translator, taken, made)
    return in_tiles(translator, taken, cut, seed)


def in_tiles(translator: Translator, taken: Taken, cut: Cutting, seed: int) -> Made:
    """Translate one picture in tiles."""
    if taken.tensor is not None:
        made = translate_tensor(translator, taken.tensor, cut, seed)
        return made if taken.kind == "batch" else made[0]
    assert taken.pixels is not None
    pixels = translate_pixels(translator, taken.pixels, cut, seed)
    return to_pil(translator.target, pixels) if taken.kind == "pil" else flat(pixels)


def give(translator: Translator, taken: Taken, made: Tensor) -> Made:
    """Turn what the network made, [B, C, H, W], into the kind that was taken."""
    if taken.tensor is not None:
        return made if taken.kind == "batch" else made[0]
    pixels = decoded(translator.target, made)[0]
    return to_pil(translator.target, pixels) if taken.kind == "pil" else flat(pixels)


def alike(one: Taken, other: Taken) -> bool:
    """True if the network can take both at once."""
    same = one.size == other.size and (one.hole is None) == (other.hole is None)
    return same and "batch" not in (one.kind, other.kind)


def joined(translator: Translator, group: list[Taken]) -> tuple[Tensor, Tensor | None]:
    """The pictures of a group as one tensor [B, C, H, W], and their holes, if they have such."""
    pictures = torch.cat([as_tensor(translator, taken).float() for taken in group])
    return pictures, joined_holes([taken.hole for taken in group])


def joined_holes(holes: list[Tensor | None]) -> Tensor | None:
    """The holes [1, 1, H, W] of pictures as one tensor; None if there are none."""
    there = [hole for hole in holes if hole is not None]
    return torch.cat(there) if there else None
