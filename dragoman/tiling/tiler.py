"""Runs a system over a picture of any size, piece by piece, in bounded memory."""

from functools import cached_property

import torch

from dragoman.system import System
from dragoman.tiling.layout import Read
from dragoman.tiling.passage import LARGEST, SMALLEST, Passage, Progress, Say, Write
from dragoman.tiling.reach import Margins, Reach, Untileable, receptive_field
from dragoman.tiling.settings import TileSettings

MEMORY = 512 << 20  # bytes of activations on a CPU; a GPU gives half of what it has left
OVERHEAD = 2  # times the activations that live at once: what convolutions need besides
BLENDED = 32  # px of overlap where a tile does not see all that matters
NONE = Margins(0, 0, 0, 0)


class Tiler:
    """A system made ready for pictures that are too large to be run at once.

    Make one for many pictures: the receptive field is computed once, and a tile for which memory
    did not suffice is not tried again. `seed` decides the system's noise, as in an untiled run
    under `steady_noise`.
    """

    def __init__(
        self,
        system: System,
        device: torch.device | str,
        settings: TileSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.system, self.device = system, torch.device(device)
        self.settings, self.seed = settings or TileSettings(), seed
        self.obstacle = ""  # why it cannot be run in tiles

    @cached_property
    def reach(self) -> Reach | None:
        """How far the system sees; None if it must see a picture as a whole."""
        try:
            return receptive_field(self.system)
        except Untileable as error:
            self.obstacle = str(error)
            return None

    @property
    def margins(self) -> Margins:
        """Pixels that a tile sees around itself: all that matter, unless `context` says less."""
        return self.reach.margins.at_most(self.context) if self.reach else NONE

    @property
    def context(self) -> int | None:
        """The most pixels that a tile sees around itself: as set, else what the system says."""
        set_so = self.settings.context
        return self.system.context if set_so is None else set_so

    @property
    def overlap(self) -> int:
        """Pixels over which tiles are blended."""
        if self.settings.overlap is not None:
            return self.settings.overlap
        if self.reach is None or self.settings.context is None:
            return 0
        return 0 if self.margins == self.reach.margins else BLENDED

    @cached_property
    def room(self) -> float:
        """How many pixels the system can be given at once, as memory allows."""
        assert self.reach is not None
        memory = float(MEMORY)
        if self.device.type == "cuda":
            memory = torch.cuda.mem_get_info(self.device)[0] / 2
        return memory / (self.reach.memory * OVERHEAD)

    @cached_property
    def tile(self) -> int:
        """Side of a tile in px: as set, or as large as memory allows."""
        tile, stride = self.settings.tile, self.system.stride
        if tile is None:
            tile = LARGEST
            if self.reach is not None:
                tile = min(max(int(self.room**0.5) - self._around, SMALLEST), LARGEST)
        return max(tile // stride, 1) * stride

    def fits(self, height: int, width: int) -> bool:
        """True if a picture is run at once: it is no larger than a tile with all that it sees."""
        if self.reach is None:
            return True
        if self.settings.tile is not None:
            return max(height, width) <= self.tile
        return height * width <= (self.tile + self._around) ** 2

    @property
    def _around(self) -> int:
        margins = self.margins
        return max(margins.up + margins.down, margins.left + margins.right)

    def run(
        self,
        read: Read,
        write: Write,
        height: int,
        width: int,
        say: Say | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Translate a picture of height x width px.

        read(y0, y1, x0, x1) gives the float32 tensor [1, C, y1 - y0, x1 - x0] in [-1, 1] of that
        part. write(y0, x0, pixels) is called once for each finished region [1, C', h, w] (float32
        on the CPU), row by row from the top; together they cover exactly the output, `scale` times
        as large as the picture. `say` is told what the user should know, `progress` the share done.
        Raises DataError if memory does not even suffice for a small tile.
        """
        Passage(self, read, write, (height, width), say, progress).go()
