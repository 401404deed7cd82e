"""Holes in pictures, float [B, 1, H, W], 1 where dropped: a square, blocks, or a free-form region.

Random holes are functions of uniform random numbers [B, K] in [0, 1): fresh ones in training,
`steady` ones, which depend on the picture's number alone, where systems are compared.
"""

import torch
from torch import Tensor
from torch.nn import functional

Size = tuple[int, int]

BLOCKS = 5  # squares of a hole of blocks
CELLS = 8  # random values along each side of a region's noise, as the official 6 % at 128 px
NUMBERS = {"blocks": 3 * BLOCKS, "region": CELLS * CELLS}  # random numbers that a hole takes
SEED = 1_000_000  # of the hole of picture 0


def centre(size: Size, share: float = 0.5, more: int = 0) -> Tensor:
    """The centre square, [1, 1, H, W]: `share` of each side, and `more` px on every side of it.

    At least one pixel and at most all (Pathak et al. 2016, section 3.3, central region).
    """
    hole = torch.zeros(1, 1, *size)
    (top, bottom), (left, right) = (span(side, share, more) for side in size)
    hole[..., top:bottom, left:right] = 1
    return hole


def span(side: int, share: float, more: int = 0) -> tuple[int, int]:
    """First line of the centre square along a side, and the line after its last."""
    lines = min(side, max(1, round(share * side)))
    first = (side - lines) // 2
    return max(0, first - more), min(side, first + lines + more)


def blocks(numbers: Tensor, size: Size, share: float = 0.25) -> Tensor:
    """Random squares that may overlap, [B, 1, H, W] (section 3.3, random block).

    numbers: [B, 3 * BLOCKS] in [0, 1). Squares have sides from half the greatest to the greatest
    at which all of them together cover at most `share` of the picture.
    """
    height, width = size
    side, down, right = numbers.unflatten(1, (3, BLOCKS)).unbind(1)
    most = max(1, min(height, width, int((share * height * width / BLOCKS) ** 0.5)))
    least = (most + 1) // 2
    side = least + (side * (most - least + 1)).floor()
    rows = _within((down * (height - side + 1)).floor(), side, height)
    columns = _within((right * (width - side + 1)).floor(), side, width)
    return (rows[..., :, None] & columns[..., None, :]).any(1, keepdim=True).float()


def _within(first: Tensor, count: Tensor, side: int) -> Tensor:
    """Which lines of a side lie in [first, first + count): bool [B, BLOCKS, side]."""
    lines = torch.arange(side, device=first.device)
    return (lines >= first[..., None]) & (lines < (first + count)[..., None])


def region(numbers: Tensor, size: Size, share: float = 0.25) -> Tensor:
    """A free-form region of exactly `share` of the pixels, [B, 1, H, W].

    numbers: [B, CELLS * CELLS] in [0, 1), enlarged to a smooth relief whose lowest places are
    dropped. The paper (section 3.3, random region) takes outlines of segmented objects; this is
    what its authors' code has instead, so that no other data set is needed.
    """
    noise = numbers.float().view(-1, 1, CELLS, CELLS)
    relief = functional.interpolate(noise, size, mode="bicubic", align_corners=False).flatten(1)
    count = max(1, round(share * relief.shape[1]))
    level = relief.sort(1).values[:, count - 1 : count]
    return (relief <= level).float().view(-1, 1, *size)


def fresh(kind: str, like: Tensor) -> Tensor:
    """Random numbers for a hole of that kind in each of the pictures, from torch's generator."""
    return torch.rand(len(like), NUMBERS[kind], device=like.device)


def steady(kind: str, index: Tensor) -> Tensor:
    """Random numbers that depend on kind and index [B] alone: [B, K].

    They are on the CPU, so that the hole drawn from them is the same, to the pixel, wherever the
    pictures are: where a system fills it and where its measures look.
    """
    rows = []
    for number in index.tolist():
        generator = torch.Generator().manual_seed(SEED + number)
        rows.append(torch.rand(NUMBERS[kind], generator=generator))
    return torch.stack(rows)


DRAW = {"blocks": blocks, "region": region}
