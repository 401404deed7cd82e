"""The receptive field of a system, computed by following it layer by layer."""

import copy
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dragoman.system import System
from dragoman.tiling.follow import Follower
from dragoman.tiling.norms import taking_statistics
from dragoman.tiling.place import Call, Place, lent, watching
from dragoman.tiling.spans import Spans, Untileable, own_lines

MOST = 1 << 14  # px of the picture on which a system is followed

__all__ = ["Layer", "Margins", "Reach", "Untileable", "receptive_field"]


class Margins(NamedTuple):
    """Pixels above, below, to the left and to the right."""

    up: int
    down: int
    left: int
    right: int

    def at_most(self, pixels: int | None) -> "Margins":
        """The same, but none above a number of pixels; None: no bound."""
        return self if pixels is None else Margins(*(min(side, pixels) for side in self))

    def and_also(self, other: "Margins") -> "Margins":
        """The larger of both on every side."""
        return Margins(*map(max, self, other))


class Layer(NamedTuple):
    """A call of a layer that takes statistics of the whole picture, and how far it sees."""

    call: Call
    margins: Margins
    cell: int  # px of the picture's side to one of its map; 0: its map is the finer one


@dataclass(frozen=True)
class Reach:
    """What a system sees: `margins` px around any place of the picture decide what is there.

    Statistics of the whole picture aside: `layers` are the calls of layers that take them, in the
    order in which they run. A system enlarges by `scale` and takes about `memory` bytes for each
    pixel of its input.
    """

    margins: Margins
    scale: int
    memory: float = field(compare=False)
    layers: tuple[Layer, ...]

    @property
    def furthest(self) -> int:
        """The largest margin in px."""
        return max(self.margins)


def receptive_field(system: System) -> Reach:
    """Follow what a system's `generate` makes of a picture and measure how far it sees.

    The worst place of the picture counts, whatever its position within the system's stride. Takes
    no memory and hardly any time. Raises Untileable if any value depends on the whole picture, or
    if an operation has no known reach.
    """
    ghost = _ghost(system)
    # What holds for a picture and for one of twice its size does not depend on the size.
    smallest = max(64, 4 * system.stride, *system.facts.size)
    size = -(-smallest // (4 * system.stride)) * 4 * system.stride
    before = None
    while size <= MOST:
        try:
            with _whole_operations():
                found = _follow(ghost, size)
        except Untileable:
            raise
        except NotImplementedError as error:  # of tensors without values
            raise Untileable("uses an operation that goes by values") from error
        except Exception as error:  # whatever code a system may run on tensors without values
            raise Untileable(f"cannot be followed ({type(error).__name__}: {error})") from error
        if found is not None and found == before:
            return found
        before, size = found, 2 * size
    raise Untileable("has values that depend on the whole picture")


@contextmanager
def _whole_operations() -> Generator[None]:
    """Keep PyTorch from taking apart what it cannot do the same way twice on a GPU.

    Nothing is computed here, and operations of many small ones would see too much.
    """
    strict = torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warn)


def _ghost(system: System) -> System:
    """A copy whose weights have shapes but no values."""
    memory: dict[int, Any] = {}
    for tensor in (*system.parameters(), *system.buffers()):
        empty = tensor.detach().to("meta")
        kept = nn.Parameter(empty, False) if isinstance(tensor, nn.Parameter) else empty
        memory[id(tensor)] = kept
    with lent(system):  # no other thread may be about to change its methods
        ghost = copy.deepcopy(system, memory)
    vars(ghost).pop("generate", None)
    for module in ghost.modules():
        vars(module).pop("forward", None)  # if this very thread has changed them
    return ghost


@torch.no_grad()
def _follow(ghost: System, size: int) -> Reach | None:
    """Reach as seen on a picture of that size; None if that is too small to tell."""
    channels = ghost.facts.channels[ghost.source]
    picture = torch.empty(1, channels, size, size, device="meta")
    seen: list[tuple[Call, Spans, torch.Size]] = []
    with Follower(picture) as follower:

        def noting(name: str) -> Any:
            def make(layer: nn.Module, place: Place) -> Any:
                def forward(x: Tensor) -> Tensor:
                    call = place.call(name)
                    if x in follower.known:
                        seen.append((call, follower.known[x], x.shape))
                    return x

                return forward

            return make

        with watching(ghost, {name: noting(name) for name in taking_statistics(ghost)}):
            made = ghost.generate({ghost.source: picture})
    if made not in follower.known:
        raise Untileable("does not depend on the picture")
    scale = _scale(size, made.shape)
    whole = _margins(follower.known[made], size, made.shape)
    layers = [(c, _margins(s, size, shape), size // shape[-1]) for c, s, shape in seen]
    if whole is None or any(margins is None for _, margins, _ in layers):
        return None
    found = tuple(Layer(call, m, cell) for call, m, cell in layers if m is not None)
    for layer in found:
        whole = whole.and_also(layer.margins)
    return Reach(whole, scale, follower.memory / size**2, found)


def _scale(size: int, shape: torch.Size) -> int:
    rows, columns = shape[-2:]
    if rows != columns or rows % size or not rows:
        raise Untileable(f"makes {rows} x {columns} px of {size} x {size}, no whole multiple")
    return rows // size


def _margins(spans: Spans, size: int, shape: torch.Size) -> Margins | None:
    """How far the values of a map see beyond their own place; None: too far to tell.

    Places near the border count too: what is reflected there may lie further on the other side.
    """
    lines = shape[-1]
    if len(shape) != 4 or shape[-2] != lines or (size % lines and lines % size):
        raise Untileable(f"has maps of {list(shape)} for {size} x {size} px, no whole part")
    first, last = own_lines(lines, size)
    middle = slice(lines // 4, max(3 * lines // 4, lines // 4 + 1))
    found = []
    for number, part in enumerate(spans):
        line = part.amax([0, 1, 3 if number < 2 else 2]).expand(lines)
        before = number % 2 == 0
        if bool((line[middle] > (-(size // 8) if before else size - 1 - size // 8)).any()):
            return None
        beyond = line + first if before else line - last
        found.append(int(beyond.clamp(min=0).max()))
    return Margins(*found)
