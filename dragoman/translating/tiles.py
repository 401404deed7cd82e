"""Pictures in tiles: from stored numbers or tensors to the same, wherever they are kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.data.single import decoded, encoded
from dragoman.translating.cutting import Cutting

if TYPE_CHECKING:
    from dragoman.pipeline import Translator

Read = Callable[[int, int, int, int], NDArray]
Write = Callable[[int, int, NDArray], None]
Say = Callable[[str], None]


def warn(text: str) -> None:
    """Tell a user of the library what the command line would print."""
    warnings.warn(text, stacklevel=2)


def translate_windows(
    translator: Translator,
    read: Read,
    begin: Callable[[int, int], Write],
    size: tuple[int, int],
    cut: Cutting,
    seed: int,
    say: Say = warn,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Translate a picture of size (height, width) that is nowhere held as a whole.

    read(y0, y1, x0, x1) returns a window of it, [h, w, planes] that fit the source domain.
    begin(height, width) is called once with the size of what is made, and returns
    write(y0, x0, block), which takes blocks [h, w, planes] of the target domain that cover it.
    """
    write: Write | None = None

    def finish(y0: int, x0: int, region: Tensor) -> None:
        nonlocal write
        if write is None:
            scale = translator.scale(cut, seed) or region.shape[-1] // size[1]
            write = begin(size[0] * scale, size[1] * scale)
        write(y0, x0, decoded(translator.target, region)[0])

    def window(y0: int, y1: int, x0: int, x1: int) -> Tensor:
        return encoded(translator.source, read(y0, y1, x0, x1))

    translator.tile(window, finish, size, cut, seed, say, progress)


def translate_pixels(
    translator: Translator, pixels: NDArray, cut: Cutting, seed: int, say: Say = warn
) -> NDArray:
    """Translate [H, W, planes] of the source domain in tiles; returns those of the target."""
    made = np.empty(0)

    def begin(height: int, width: int) -> Write:
        nonlocal made
        made = np.empty((height, width, translator.target.planes), translator.target.dtype)

        def write(y0: int, x0: int, block: NDArray) -> None:
            made[y0 : y0 + block.shape[0], x0 : x0 + block.shape[1]] = block

        return write

    size = pixels.shape[0], pixels.shape[1]
    translate_windows(
        translator, lambda y0, y1, x0, x1: pixels[y0:y1, x0:x1], begin, size, cut, seed, say
    )
    return made


def translate_tensor(
    translator: Translator, pictures: Tensor, cut: Cutting, seed: int, say: Say = warn
) -> Tensor:
    """Translate [B, C, H, W] in [-1, 1] in tiles, one picture after the other."""
    height, width = pictures.shape[2:]
    made: list[Tensor] = []
    for one in pictures.float().split(1):
        whole: Tensor | None = None

        def finish(y0: int, x0: int, region: Tensor) -> None:
            nonlocal whole
            if whole is None:
                scale = translator.scale(cut, seed) or region.shape[-1] // width
                whole = torch.empty(1, region.shape[1], height * scale, width * scale)
            whole[..., y0 : y0 + region.shape[2], x0 : x0 + region.shape[3]] = region

        def window(y0: int, y1: int, x0: int, x1: int, one: Tensor = one) -> Tensor:
            return one[..., y0:y1, x0:x1]

        translator.tile(window, finish, (height, width), cut, seed, say)
        assert whole is not None
        made.append(whole)
    return torch.cat(made)
