"""How a picture is cut: the grid of tiles, what each must see, and what lies beyond the border."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from dragoman.tiling.place import Box
from dragoman.tiling.reach import Margins

Read = Callable[[int, int, int, int], Tensor]


def edges(start: int, end: int, tile: int, stride: int) -> list[int]:
    """Where tiles of at most `tile` px begin and end, about equally large, at multiples of stride.

    Only the outer two edges may lie elsewhere.
    """
    tile = max(tile // stride, 1) * stride
    first, last = start // stride, -(-end // stride)
    count = -(-(last - first) * stride // tile)
    inner = [(first + (last - first) * n // count) * stride for n in range(1, count)]
    return [start, *inner, end]


def boxes(rows: list[int], columns: list[int]) -> list[Box]:
    """The tiles between the edges, row by row."""
    return [
        Box(y0, y1, x0, x1)
        for y0, y1 in itertools.pairwise(rows)
        for x0, x1 in itertools.pairwise(columns)
    ]


def spread(height: int, width: int, side: int, count: int, stride: int) -> list[Box]:
    """Squares of `side` px, evenly spread over the picture and always the same ones.

    They lie on a lattice of rank 1 with the golden section: no row or column is left out.
    """
    tall, wide = min(side, height), min(side, width)

    def place(part: float, size: int, length: int) -> int:
        return round(part * (size - length) / stride) * stride

    found = []
    for n in range(count):
        y = place((n + 0.5) / count, height, tall)
        x = place((0.5 + n * 0.6180339887498949) % 1, width, wide)
        found.append(Box(y, y + tall, x, x + wide))
    return found


def window(box: Box, margins: Margins, whole: tuple[int, int], stride: int, least: int) -> Box:
    """What the network is given to make `box`: more on every side, at multiples of stride.

    It ends where the picture `whole` ends, so that the network finds the same borders, and is at
    least `least` px wide and high where the picture is.
    """

    def along(start: int, end: int, before: int, after: int, size: int) -> tuple[int, int]:
        first = max(start - before, 0) // stride * stride
        last = min(-(-(end + after) // stride) * stride, size)
        if last - first < least:
            last = min(first + least, size)
            first = max(last - least, 0)
        return first, last

    y0, y1 = along(box.y0, box.y1, margins.up, margins.down, whole[0])
    x0, x1 = along(box.x0, box.x1, margins.left, margins.right, whole[1])
    return Box(y0, y1, x0, x1)


def padded(size: int, stride: int, least: int) -> int:
    """Length of a side once it is mirrored up to a multiple of stride, and to `least`."""
    return -(-max(size, least) // stride) * stride


def mirrored(read: Read, box: Box, height: int, width: int) -> Tensor:
    """Read a part that may lie beyond the lower and right border, where the picture is mirrored.

    The same as `read` of a picture that was padded as a translator pads it.
    """
    y, x = mirrored_lines(box.y0, box.y1, height), mirrored_lines(box.x0, box.x1, width)
    y0, x0 = int(y.min()), int(x.min())
    block = read(y0, int(y.max()) + 1, x0, int(x.max()) + 1)
    if box.y1 > height:
        block = block[:, :, y - y0]
    return block[..., x - x0] if box.x1 > width else block


def mirrored_lines(start: int, end: int, size: int) -> Tensor:
    """Return which of `size` lines are seen from `start` to `end`, mirrored beyond the last."""
    place = torch.arange(start, end) % (2 * size)
    return torch.where(place < size, place, 2 * size - 1 - place)
