"""One picture on its way through a network in tiles."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from dragoman.errors import DataError
from dragoman.tiling.blending import Blend
from dragoman.tiling.layout import Read, boxes, edges, mirrored, padded, spread, window
from dragoman.tiling.noise import steady_forwards
from dragoman.tiling.norms import Reached, SharedNorms, kind_of
from dragoman.tiling.place import Box, Call, Place, watching
from dragoman.tiling.reach import Layer, Margins

if TYPE_CHECKING:
    from dragoman.tiling.tiler import Tiler

Write = Callable[[int, int, Tensor], None]
Say = Callable[[str], None]
Progress = Callable[[float], None]
Made = TypeVar("Made")

LARGEST = 512  # px of a tile, unless it is set
SMALLEST = 32  # px to which a tile is halved when memory runs out
SAMPLE = 64  # squares that are measured for the fast norms
SAMPLE_SIDE = 128  # px of one
SAMPLE_EDGE = 32  # px of its edge that only serve as context


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
        if not layers:
            return
        calls = [layer.call for layer in layers]
        if self.tiler.settings.norms == "exact":
            # A sweep up to an early layer is cheap: it ends there, and needs to see less.
            weights = [(n + 1) / (len(layers) + 1) for n in range(len(layers))]
            self.planned += sum(weights) * self.whole[0] * self.whole[1]
            for layer, self.weight in zip(layers, weights, strict=True):
                margins = layer.margins.at_most(self.tiler.settings.context)
                self._sweep([layer.call], self._tiles, margins)
        else:
            self._measure_sample(calls)
        self.norms.begin([])

    def _measure_sample(self, calls: list[Call]) -> None:
        """Take the statistics of parts that are spread over the picture.

        Many small ones tell more than few large ones. They run together if the system and memory
        allow, else they are swept as all tiles are in exact mode.
        """
        side = -(-SAMPLE_SIDE // self.stride) * self.stride
        inset = min(SAMPLE_EDGE, side // 4) // self.stride * self.stride
        sample = spread(*self.whole, side, SAMPLE, self.stride)
        self.weight = 1.0
        self.planned += sum(b.height * b.width for b in sample)
        self._together(sample, inset, calls)

    def _together(self, sample, inset, calls):
        self.norms.begin(calls, len(sample))
        read = [mirrored(self.read, box, *self.size) for box in sample]
        height, width = read[0].shape[2:]
        self.place.window = Box(0, height, 0, width)
        self.place.core = Box(inset, height - inset, inset, width - inset)
        pictures = torch.cat(read).to(self.tiler.device)
        try:
            self.system.generate({self.system.source: pictures})
        except Reached:
            self.norms.settle()

    def _passes(self, layer: Layer) -> bool:
        """True if the layer's map of this picture is one pixel that passes unchanged."""
        kind = kind_of(self.norms.layers[layer.call[0]])
        ones = bool(layer.cell) and all(side <= layer.cell for side in self.whole)
        return kind is not None and kind.single and ones

    def _tiles(self) -> list[Box]:
        height, width = self.whole
        rows = edges(0, height, self.tile, self.stride)
        return boxes(rows, edges(0, width, self.tile, self.stride))

    def _sample(self) -> list[Box]:
        return spread(*self.whole, min(SAMPLE_SIDE, self.tile), SAMPLE, self.stride)

    def _sweep(self, calls: list[Call], tiles: Callable[[], list[Box]], margins: Margins) -> None:
        """Run the tiles up to the last of the calls and settle the calls' statistics."""
        while True:
            self.norms.begin(calls)
            for box in tiles():
                if self._tried(lambda box=box: self._gather(box, margins)) is None:
                    break  # with smaller tiles from the start: a tile may be half counted
            else:
                self.norms.settle()
                return

    def _gather(self, box: Box, margins: Margins) -> bool:
        try:
            self._generate(self._window(box, margins), box)
        except Reached:
            self._tell(box)
            return True
        raise AssertionError("the network did not run as it did when it was followed")

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
        self.place.window, self.place.core = seen, core
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


def out_of_memory(error: BaseException) -> bool:
    """True if an error says that memory has run out, on whatever device."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and "memory" in str(error).lower())
