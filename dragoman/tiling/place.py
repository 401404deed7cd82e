"""Where in the whole picture the network works just now, and which call of which layer it is."""

import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from dragoman.system import Batch, System

Call = tuple[str, int, int]  # a layer's name, the round, and how often it was called before in it


class Box(NamedTuple):
    """A part of a picture: rows from y0 up to y1, columns from x0 up to x1."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.x1 - self.x0

    def within(self, other: "Box", rows: int, columns: int) -> "Box":
        """The same part on a map of rows x columns that shows the `other` one, rounded outwards."""
        top, left = self.y0 - other.y0, self.x0 - other.x0
        bottom, right = self.y1 - other.y0, self.x1 - other.x0
        return Box(
            top * rows // other.height,
            -(-bottom * rows // other.height),
            left * columns // other.width,
            -(-right * columns // other.width),
        )


@dataclass
class Place:
    """State of a running `generate`.

    windows: the parts of the whole picture that the batch shows, all of one size; if one, it is
    that of every picture of the batch; if none, all are whole.
    core: the part of the first window of which the system has all that it needs.
    whole: height and width of the whole picture.
    """

    windows: Sequence[Box] = ()
    core: Box | None = None
    whole: tuple[int, int] = (0, 0)
    pictures: int = 1
    given: tuple[int, int] = (1, 1)  # height and width of the batch
    entries: Counter[str] = field(default_factory=Counter)
    rounds: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)

    def begin(self, pictures: Tensor) -> None:
        """`generate` starts on a batch."""
        self.pictures, self.given = len(pictures), (pictures.shape[-2], pictures.shape[-1])
        for counter in (self.entries, self.rounds, self.calls):
            counter.clear()

    def enter(self, network: str, pictures: int) -> None:
        """One of the system's networks starts on so many pictures of the batch.

        A system that runs its pictures one by one enters a network once for each: that is one
        round, so that a layer's n-th call is the same for every picture.
        """
        self.rounds[network] = self.entries[network] * pictures // max(self.pictures, 1)
        self.entries[network] += 1
        for name in [name for name in self.calls if name.split(".")[0] == network]:
            del self.calls[name]

    def call(self, layer: str) -> Call:
        """Name the call of a layer that starts now."""
        count = self.calls[layer]
        self.calls[layer] += 1
        return layer, self.rounds[layer.split(".")[0]], count

    def origins(self, rows: int, columns: int) -> list[tuple[int, int]]:
        """First row and column of each window on the whole picture's map.

        rows, columns: of the layer's map of a window.
        """
        height, width = self.given
        places = [(b.y0 * rows // height, b.x0 * columns // width) for b in self.windows]
        return places or [(0, 0)]


Forward = Callable[..., Any]
Replacement = Callable[[nn.Module, Place], Forward]  # makes a layer's other forward
_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()


def lent(system: System) -> threading.RLock:
    """The lock of a system, which is lent to one thread at a time."""
    return _LOCKS.setdefault(system, threading.RLock())


@contextmanager
def watching(system: System, forwards: Mapping[str, Replacement]) -> Generator[Place]:
    """Within it, the named layers run other forwards, and Place tells where `generate` is.

    A system is lent to one thread at a time; others wait.
    """
    place = Place()
    with lent(system), ExitStack() as stack:
        for name, make in forwards.items():
            layer = system.get_submodule(name)
            stack.enter_context(_replaced(layer, "forward", make(layer, place)))
        for name, network in system.named_children():
            hook = network.register_forward_pre_hook(partial(_enter, place, name))
            stack.callback(hook.remove)
        generate = system.generate

        def begin(batch: Batch, *args: Any, **kwargs: Any) -> Tensor:
            place.begin(batch[system.source])
            return generate(batch, *args, **kwargs)

        stack.enter_context(_replaced(system, "generate", begin))
        yield place


def _enter(place: Place, name: str, network: nn.Module, args: tuple[Any, ...]) -> None:
    first = args[0] if args and isinstance(args[0], Tensor) else None
    place.enter(name, place.pictures if first is None or not first.dim() else len(first))


@contextmanager
def _replaced(owner: nn.Module, name: str, function: Forward) -> Generator[None]:
    """Let one object have another method for a while."""
    own = vars(owner)
    had, before = name in own, own.get(name)
    own[name] = function
    try:
        yield
    finally:
        if had:
            own[name] = before
        else:
            own.pop(name, None)
