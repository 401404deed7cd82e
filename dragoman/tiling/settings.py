"""The knobs of tiling."""

from dataclasses import dataclass
from typing import Literal

from dragoman.settings import knob


@dataclass(frozen=True)
class TileSettings:
    """How a large picture is cut for a network; the defaults change nothing in the result.

    That holds for networks without instance statistics; for those with, `norms` decides.
    """

    tile: int | None = knob(
        None, "side in px of the tiles of large pictures; default: as memory allows", 16
    )
    context: int | None = knob(
        None,
        "px around each tile that the network sees too; default: all that it can see, so that "
        "tiles change nothing, or what a system says is enough; less is faster",
        0,
    )
    overlap: int | None = knob(
        None, "px over which tiles are blended; default: 0, or 32 with less than full context", 0
    )
    norms: Literal["fast", "exact"] = knob(
        "fast",
        "where the network normalises by the whole picture: fast measures a sample of it, exact "
        "all of it, once for each such layer",
    )
