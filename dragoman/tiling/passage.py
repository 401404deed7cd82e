"""One picture on its way through a network in tiles."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from dragoman.errors import DataError
from dragoman.tiling.blending import Blend
from dragoman.tiling.layout import Read, boxes, edges, mirrored, padded, spread, window
from dragoman.tiling.noise import steady_forwards
from dragoman.tiling.norms import Apart, Reached, SharedNorms, kind_of
from dragoman.tiling.place import Box, Place, watching
from dragoman.tiling.reach import Layer, Margins

if TYPE_CHECKING:
    from dragoman.tiling.tiler import Tiler

Write = Callable[[int, int, Tensor], None]
Say = Callable[[str], None]
Progress = Callable[[float], None]
Part = tuple[Box, Box]  # what the network sees, and of that the core
Made = TypeVar("Made")

LARGEST = 512  # px of a tile, unless it is set
MOST_WHOLE = 16_000_000  # px of a picture that is run in one piece where tiles are not possible
SMALLEST = 32  # px to which a tile is halved when memory runs out
SAMPLE_SIDE = 64  # px of the squares that are measured for the fast norms,
SAMPLE_STRIDES = 2  # or so many strides: at the innermost maps of a square borders must not prevail
SAMPLE_EDGE = 16  # px of a square's edge that only serve as context
SAMPLE_AREA = 1 << 20  # px of all squares, if that are enough of them
SAMPLE_LEAST = 32
UNLIKE = "the network did not run as it did when it was followed"


class Passage:
    """Takes a picture through a tiler's system; see Tiler.run for the arguments."""

    def __init__(
        self,
        tiler: "Tiler",
        read: Read,
        write: Write,
        size: tuple[int, int],
        say: Say | None,
        progress: Progress | None,
    ) -> None:
        self.tiler, self.read, self.write, self.size = tiler, read, write, size
        self.say, self.progress = say or (lambda _: None), progress or (lambda _: None)
        self.system, self.stride = tiler.system, tiler.system.stride
        self.least = padded(min(self.system.facts.size), self.stride, 1)
        self.whole = (
            padded(size[0], self.stride, self.least),
            padded(size[1], self.stride, self.least),
        )
        self.norms = SharedNorms(self.system)
        self.place = Place()
        self.tile, self.scale = max(self.whole), 1
        self.done, self.planned, self.weight = 0.0, 1.0, 0.0  # work, in px of tiles run to the end

    def go(self) -> None:
        """Translate the picture, at once if it is small enough."""
        with torch.random.fork_rng(devices=self._devices()), torch.no_grad():
            if self.tiler.fits(*self.whole):
                made = self._at_once()
                if made is not None:
                    self._finish(0, 0, made)
                    self.progress(1.0)
                    return
            else:
                self.tile = self.tiler.tile
            self._in_tiles()
        self.progress(1.0)

    def _devices(self) -> list[torch.device]:
        return [self.tiler.device] if self.tiler.device.type == "cuda" else []

    def _at_once(self) -> Tensor | None:
        """What the system makes of the whole picture; None if tiles must be tried."""
        if self.tiler.reach is None and max(self.whole) > LARGEST:
            why = self.tiler.obstacle
            height, width = self.size
            if height * width > MOST_WHOLE:
                raise DataError(
                    f"{width} x {height} px are too many for one piece, and tiles are not possible "
                    f"since the system {why}; make the picture smaller, or use --tile 0 to try"
                )
            self.say(f"the picture is translated in one piece, since the system {why}")
        everything = Box(0, self.whole[0], 0, self.whole[1])
        with watching(self.system, steady_forwards(self.system, self.tiler.seed)) as self.place:
            made = self._tried(lambda: self._generate(everything, everything))
        if made is not None:
            self.scale = made.shape[-1] // self.whole[1]
        return made

    def _in_tiles(self) -> None:
        assert self.tiler.reach is not None
        self.scale = self.tiler.reach.scale
        forwards = steady_forwards(self.system, self.tiler.seed) | self.norms.forwards()
        with watching(self.system, forwards) as self.place:
            self.place.whole = self.whole
            height, width = (padded(side, self.stride, 1) for side in self.size)
            self.planned = float(height * width)
            self._measure()
            self.weight = 1.0
            self._cover(Box(0, height, 0, width), self._finish)

    # Statistics of the whole picture

    def _measure(self) -> None:
        """Find the statistics that hold for all tiles."""
        assert self.tiler.reach is not None
        layers = [layer for layer in self.tiler.reach.layers if not self._passes(layer)]
        if layers and self.tiler.settings.norms == "exact":
            self._sweep_all(
                layers, lambda margins: [(self._window(b, margins), b) for b in self._tiles()]
            )
        elif layers:
            self._sweep_sample(layers)
        self.norms.begin([])

    def _sweep_sample(self, layers: list[Layer]) -> None:
        """Take the statistics of squares that are spread over the picture.

        Many small ones tell more than few large ones. They run together if system and memory
        allow, else they are swept one by one.
        """
        side = max(SAMPLE_SIDE // self.stride, SAMPLE_STRIDES) * self.stride
        enough = max(1, self.whole[0] * self.whole[1] // side**2)
        count = min(max(SAMPLE_AREA // side**2, SAMPLE_LEAST), enough)
        together = min(count, int(self.tiler.room / side**2))
        if 2 * together < count or not self._together(self._squares(side, together), layers):
            squares = self._squares(side, count)
            self._sweep_all(layers, lambda _: squares)

    def _squares(self, side: int, count: int) -> list[Part]:
        """A sample of the picture, each with its core: the edge only serves as context."""
        height, width = self.whole
        y, x = (SAMPLE_EDGE if side < whole else 0 for whole in self.whole)
        return [
            (box, Box(box.y0 + y, box.y1 - y, box.x0 + x, box.x1 - x))
            for box in spread(height, width, side, count, self.stride)
        ]

    def _together(self, squares: list[Part], layers: list[Layer]) -> bool:
        """Run a sample as one batch, whose common statistics hold; False if that cannot be.

        A system that draws numbers gives each picture of a batch its own noise, but the squares are
        parts of one.
        """
        self.norms.begin([layer.call for layer in layers], len(squares))
        self.place.windows, self.place.core = [box for box, _ in squares], squares[0][1]
        parts = [mirrored(self.read, box, *self.size) for box, _ in squares]
        before = random_state(self.tiler.device)
        try:
            self.system.generate({self.system.source: torch.cat(parts).to(self.tiler.device)})
        except Reached:
            if not torch.equal(random_state(self.tiler.device), before):
                return False
            self.norms.settle()
            return True
        except Apart:
            return False
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            return False
        raise AssertionError(UNLIKE)

    def _sweep_all(self, layers: list[Layer], parts: Callable[[Margins], list[Part]]) -> None:
        """Settle the layers' statistics, one after the other in the order in which they run.

        A sweep up to an early layer is cheap: it ends there, and needs to see less.
        """
        weights = [(n + 1) / (len(layers) + 1) for n in range(len(layers))]
        area = sum(core.height * core.width for _, core in parts(layers[0].margins))
        self.planned += sum(weights) * area
        for layer, self.weight in zip(layers, weights, strict=True):
            margins = layer.margins.at_most(self.tiler.context)
            while not self._sweep(layer, parts(margins)):
                pass  # with smaller tiles, and from the start: one may be half counted

    def _sweep(self, layer: Layer, parts: list[Part]) -> bool:
        """Take a layer's statistics of all parts; False if memory did not suffice."""
        self.norms.begin([layer.call])
        for seen, core in parts:
            if self._tried(lambda seen=seen, core=core: self._gather(seen, core)) is None:
                return False
        self.norms.settle()
        return True

    def _gather(self, seen: Box, core: Box) -> bool:
        try:
            self._generate(seen, core)
        except Reached:
            self._tell(core)
            return True
        raise AssertionError(UNLIKE)

    def _passes(self, layer: Layer) -> bool:
        """True if the layer's map of this picture is one pixel that passes unchanged."""
        kind = kind_of(self.norms.layers[layer.call[0]])
        ones = bool(layer.cell) and all(side <= layer.cell for side in self.whole)
        return kind is not None and kind.single and ones

    def _tiles(self) -> list[Box]:
        height, width = self.whole
        rows = edges(0, height, self.tile, self.stride)
        return boxes(rows, edges(0, width, self.tile, self.stride))

    # Pixels

    def _cover(self, area: Box, finish: Write) -> None:
        """Make all of an area in blended tiles."""
        rows = edges(area.y0, area.y1, self.tile, self.stride)
        columns = edges(area.x0, area.x1, self.tile, self.stride)
        blend = Blend(rows, columns, self.tiler.overlap, self.scale)
        for i in range(len(rows) - 1):
            for j in range(len(columns) - 1):
                finish(*blend.add(i, j, self._make(blend.grown(i, j))))

    def _make(self, box: Box) -> Tensor:
        """Pixels of a tile; in smaller ones if memory has run out on the way."""
        scale = self.scale
        if max(box.height, box.width) <= self.tile + self.tiler.overlap:
            seen = self._window(box, self.tiler.margins)
            made = self._tried(lambda: self._generate(seen, box))
            if made is not None:
                self._tell(box)
                y, x = (box.y0 - seen.y0) * scale, (box.x0 - seen.x0) * scale
                return made[..., y : y + box.height * scale, x : x + box.width * scale]
        pieces: list[Tensor] = []

        def lay(y: int, x: int, pixels: Tensor) -> None:
            if not pieces:
                sides = box.height * scale, box.width * scale
                pieces.append(pixels.new_empty(*pixels.shape[:2], *sides))
            y, x = y - box.y0 * scale, x - box.x0 * scale
            pieces[0][..., y : y + pixels.shape[-2], x : x + pixels.shape[-1]] = pixels

        self._cover(box, lay)
        return pieces[0]

    def _window(self, box: Box, margins: Margins) -> Box:
        return window(box, margins, self.whole, self.stride, self.least)

    def _generate(self, seen: Box, core: Box) -> Tensor:
        """What the system makes of a window of the picture, on the CPU."""
        self.place.windows, self.place.core = [seen], core
        picture = mirrored(self.read, seen, *self.size).to(self.tiler.device)
        torch.manual_seed(self.tiler.seed)  # whatever else is drawn is the same for every tile
        return self.system.generate({self.system.source: picture}).float().cpu()

    def _tell(self, box: Box) -> None:
        """Report the share that is done; what is run again for want of memory counts once."""
        self.done = min(self.done + self.weight * box.height * box.width, self.planned)
        self.progress(self.done / self.planned)

    def _finish(self, y: int, x: int, pixels: Tensor) -> None:
        """Write a region without what was mirrored beyond the picture's border."""
        height, width = (side * self.scale for side in self.size)
        self.write(y, x, pixels[..., : max(height - y, 0), : max(width - x, 0)])

    # Memory

    def _tried(self, work: Callable[[], Made]) -> Made | None:
        """What `work` makes, or None if memory did not suffice; then tiles are smaller."""
        try:
            return work()
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            cause = error.with_traceback(None)  # whose frames hold what fills the memory
        if self.tiler.device.type == "cuda":
            torch.cuda.empty_cache()
        self._halve(cause)
        return None

    def _halve(self, cause: BaseException) -> None:
        tile = max(self.tile // 2 // self.stride, 1) * self.stride
        if self.tiler.reach is None:
            raise DataError(
                f"memory does not suffice for a picture of {self.size[1]} x {self.size[0]} px in "
                f"one piece, and tiles are not possible: the system {self.tiler.obstacle}; make "
                "the picture smaller"
            ) from cause
        if self.tile <= SMALLEST or tile == self.tile:
            raise DataError(
                f"memory does not even suffice for a tile of {self.tile} px; set less context, "
                "close other programs or use another device"
            ) from cause
        self.tile = self.tiler.tile = tile
        self.say(f"memory does not suffice: the picture goes on in tiles of {tile} px")


def random_state(device: torch.device) -> Tensor:
    """The state of PyTorch's generators that a system on this device may draw from."""
    own = torch.get_rng_state()
    return torch.cat([own, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else own


def out_of_memory(error: BaseException) -> bool:
    """True if an error says that memory has run out, on whatever device."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and "memory" in str(error).lower())
