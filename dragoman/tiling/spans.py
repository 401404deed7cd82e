"""How each kind of layer passes on which lines of the picture a tensor's values depend on."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# How far a value sees: (minus its first row, its last row, minus its first column, its last
# column), each a float tensor that broadcasts with the values. All four grow by maxima alike.
Spans = tuple[Tensor, ...]

NOTHING = -float("inf")  # the value depends on no line
MOST_VALUES = 1 << 22  # of one span that must be written out; beyond, all values are taken as one


class Untileable(Exception):
    """Why a system cannot be run in tiles; a clause that goes on from "it"."""


def of_picture(height: int, width: int) -> Spans:
    """Spans of a picture [B, C, height, width]: each pixel depends on itself."""
    y = torch.arange(height, dtype=torch.float64)[None, None, :, None]
    x = torch.arange(width, dtype=torch.float64)[None, None, None, :]
    return -y, y, -x, x


def own_lines(lines: int, size: int) -> tuple[Tensor, Tensor]:
    """First and last line of a picture of `size` lines that each of a map's lines stands for."""
    place = torch.arange(lines, dtype=torch.float64)
    first, last = place * size / lines, ((place + 1) * size - 1) / lines
    return first.floor(), last.floor()


def at_home(spans: Spans, shape: Sequence[int], sides: Sequence[int]) -> Spans:
    """The same, and every value of a map depends on the lines that it stands for.

    A value that is needed must be made, hence lie in the tile, even where all that it sees lies
    to one side of it.
    """

    def along(part: Tensor, number: int) -> Tensor:
        dim = 2 if number < 2 else 3  # if that is not the axis, all its values are the same
        lines, size = shape[dim], sides[dim - 2]
        if part.shape[dim] == 1 or (size % lines and lines % size):
            return part
        first, last = own_lines(lines, size)
        own = last if number % 2 else -first
        return torch.maximum(part, own.reshape([-1, 1] if dim == 2 else [-1]))

    return tuple(along(part, number) for number, part in enumerate(spans))


def constant(spans: Sequence[Spans], shape: Sequence[int]) -> Spans:
    """Every value of a tensor of this shape depends on all that the given ones depend on."""
    one = [1] * len(shape)
    return tuple(torch.stack([s[i].max() for s in spans]).max().reshape(one) for i in range(4))


def joined(spans: Sequence[Spans], shape: Sequence[int]) -> Spans:
    """Spans of a value made from those at the same place, broadcast as tensors are."""

    def merge(parts: list[Tensor]) -> Tensor:
        if torch.broadcast_shapes(*(part.shape for part in parts)).numel() > MOST_VALUES:
            parts = [part.max() for part in parts]
        whole = parts[0]
        for part in parts[1:]:
            whole = torch.maximum(whole, part)
        return whole.reshape([1] * (len(shape) - whole.dim()) + list(whole.shape))

    return tuple(merge([s[i] for s in spans]) for i in range(4))


def moved(spans: Spans, shape: Sequence[int], view: Callable[[Tensor], Any]) -> Any:
    """Spans of a view of a tensor of that shape; a list of them if there are several views."""
    made = [view(part.expand(list(shape))) for part in spans]
    if isinstance(made[0], Tensor):
        return tuple(_narrowed(part) for part in made)
    return [tuple(_narrowed(part) for part in piece) for piece in zip(*made, strict=True)]


def _narrowed(part: Tensor) -> Tensor:
    """Keep one line of every dimension in which the values are repeated."""
    for dim in range(part.dim()):
        if part.stride(dim) == 0:
            part = part.narrow(dim, 0, 1)
    for dim in range(part.dim()):
        if part.shape[dim] > 1 and bool((part == part.narrow(dim, 0, 1)).all()):
            part = part.narrow(dim, 0, 1)
    return part


def viewed(spans: Spans, before: Sequence[int], after: Sequence[int]) -> Spans:
    """Spans after a change of shape; only dimensions that are merged or split are written out."""
    return tuple(_viewed(part, list(before), list(after)) for part in spans)


def _viewed(part: Tensor, before: list[int], after: list[int]) -> Tensor:
    sizes: list[int] = []  # to which the span is expanded before it is reshaped
    shape: list[int] = []
    for old, new in _groups(before, after):
        plain = all(part.shape[dim] == 1 for dim in old)
        sizes += [1 if plain else before[dim] for dim in old]
        shape += [1 if plain else after[dim] for dim in new]
    if torch.Size(sizes).numel() > MOST_VALUES:
        return part.max().reshape([1] * len(after))
    return _narrowed(part.expand(sizes).reshape(shape))


def _groups(before: list[int], after: list[int]) -> list[tuple[list[int], list[int]]]:
    """Runs of old and new dimensions that hold the same values."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        old, new, a, b = [], [], 1, 1
        if i < len(before):
            old, a, i = [i], before[i], i + 1
        if j < len(after):
            new, b, j = [j], after[j], j + 1
        while a != b:
            if a < b:
                old, a, i = [*old, i], a * before[i], i + 1
            else:
                new, b, j = [*new, j], b * after[j], j + 1
        groups.append((old, new))
    return groups


def concatenated(spans: Sequence[Spans], shapes: Sequence[Sequence[int]], dim: int) -> Spans:
    """Spans of tensors laid side by side along a dimension."""

    def join(parts: list[Tensor]) -> Tensor:
        others = torch.broadcast_shapes(*([*p.shape[:dim], 1, *p.shape[dim + 1 :]] for p in parts))
        wide = [
            p.expand([*others[:dim], shape[dim], *others[dim + 1 :]])
            for p, shape in zip(parts, shapes, strict=True)
        ]
        return torch.cat(wide, dim)

    dim %= len(shapes[0])
    return tuple(join([s[i] for s in spans]) for i in range(4))


def reduced(spans: Spans, dims: Sequence[int], keep: bool) -> Spans:
    """Spans after a sum, mean, maximum, variance or the like over some dimensions."""
    rank = spans[0].dim()
    gone = sorted({dim % rank for dim in dims}) if rank else []
    parts = [part.amax(gone, keepdim=True) if gone else part for part in spans]
    if not keep:
        for dim in reversed(gone):
            parts = [part.squeeze(dim) for part in parts]
    return tuple(parts)


def multiplied(left: Spans | None, right: Spans | None) -> list[Spans]:
    """Spans of the rows and columns that meet in a matrix product [..., i, k] x [..., k, j]."""
    rows = [reduced(left, [-1], True)] if left else []
    return rows + ([reduced(right, [-2], True)] if right else [])


def windowed(
    spans: Spans,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    made: Sequence[int],
) -> Spans:
    """Spans after a convolution or pooling; `made`: the sides of what it makes."""

    def along(part: Tensor, axis: int) -> Tensor:
        dim = part.dim() - len(kernel) + axis
        if part.shape[dim] == 1:
            return part
        step, far = stride[axis], dilation[axis]
        size = (made[axis] - 1) * step
        needed = size + (kernel[axis] - 1) * far + 1 - padding[axis] - part.shape[dim]
        part = _filled(part, dim, padding[axis], max(needed, 0))
        taps = [
            part.narrow(dim, tap * far, size + 1).unfold(dim, 1, step).squeeze(-1)
            for tap in range(kernel[axis])
        ]
        return torch.stack(taps).amax(0)

    return _each_axis(spans, len(kernel), along)


def transposed(
    spans: Spans,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    made: Sequence[int],
) -> Spans:
    """Spans after a transposed convolution; `made`: the sides of what it makes."""

    def along(part: Tensor, axis: int) -> Tensor:
        dim = part.dim() - len(kernel) + axis
        if part.shape[dim] == 1:
            return part
        reach = (part.shape[dim] - 1) * stride[axis] + 1
        sides = list(part.shape)
        sides[dim] = max(reach + (kernel[axis] - 1) * dilation[axis], padding[axis] + made[axis])
        whole = part.new_full(sides, NOTHING)
        for tap in range(kernel[axis]):
            place = whole.narrow(dim, tap * dilation[axis], reach)
            place = place.unfold(dim, 1, stride[axis]).squeeze(-1)
            place.copy_(torch.maximum(place, part))
        return whole.narrow(dim, padding[axis], made[axis])

    return _each_axis(spans, len(kernel), along)


def _each_axis(spans: Spans, axes: int, along: Callable[[Tensor, int], Tensor]) -> Spans:
    parts = list(spans)
    for axis in range(axes):
        parts = [along(part, axis) for part in parts]
    return tuple(parts)


def _filled(part: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Put lines that depend on nothing on both ends of a dimension; take lines off if negative."""
    ends = [0, 0] * (part.dim() - 1 - dim) + [before, after]
    return functional.pad(part, ends, value=NOTHING)


def padded(spans: Spans, ends: Sequence[int], mode: str) -> Spans:
    """Spans after a padding by `ends`, the last dimension's first, as in `functional.pad`."""

    def along(part: Tensor, number: int) -> Tensor:
        dim = part.dim() - 1 - number
        before, after = ends[2 * number], ends[2 * number + 1]
        if part.shape[dim] == 1:
            return part
        if mode == "constant":
            return _filled(part, dim, before, after)
        places = torch.arange(part.shape[dim], dtype=torch.float64)[None]
        places = functional.pad(places, (before, after), mode=mode)[0].long()
        return part.index_select(dim, places)

    return _each_axis(spans, len(ends) // 2, along)


def resampled(
    spans: Spans, made: Sequence[int], line: Callable[[Tensor, list[int]], Tensor], between: bool
) -> Spans:
    """Spans after an enlargement or reduction to the sides `made`.

    `line` does it to a picture one pixel wide or high. What it makes of a ramp tells which line
    each new one is, or `between` which two it lies; of these one may have no weight.
    """

    def along(part: Tensor, axis: int) -> Tensor:
        dim = part.dim() - 2 + axis
        old, new = part.shape[dim], made[axis]
        if old == 1:
            return part
        thin = [1, 1, old, 1] if axis == 0 else [1, 1, 1, old]
        ramp = torch.arange(old, dtype=torch.float64).reshape(thin)
        places = line(ramp, [new, 1] if axis == 0 else [1, new]).flatten()
        places = torch.where((places - places.round()).abs() < 1e-6, places.round(), places)
        low = places.floor().clamp(0, old - 1).long()
        high = (low + between).clamp(max=old - 1)
        return torch.maximum(part.index_select(dim, low), part.index_select(dim, high))

    return _each_axis(spans, 2, along)


def widened(spans: Spans, lines: int) -> Spans:
    """Spans of values that see so many neighbours more on each side."""
    sides = list(torch.broadcast_shapes(*(part.shape[-2:] for part in spans)))
    return windowed(spans, [2 * lines + 1] * 2, [1, 1], [lines] * 2, [1, 1], sides)


def shuffled(spans: Spans, factor: int) -> Spans:
    """Spans after channels have become `factor` x `factor` pixels."""

    def along(part: Tensor, axis: int) -> Tensor:
        dim = part.dim() - 2 + axis
        return part if part.shape[dim] == 1 else part.repeat_interleave(factor, dim)

    return _each_axis(reduced(spans, [-3], True), 2, along)
