"""The settings of a translation of files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dragoman.data.settings import MEGAPIXELS
from dragoman.errors import SettingsError
from dragoman.settings import knob

Alpha = Literal["carry", "white", "refuse"]
Norms = Literal["fast", "exact"]


@dataclass(frozen=True)
class Options:
    """How files are read, translated and written; None leaves a choice to the library."""

    seed: int = knob(0, "of the system's noise")
    answers: int = knob(
        1,
        "different pictures for each input, written as NAME_1, NAME_2 ...; for systems with "
        "heads or noise",
        1,
        1000,
    )
    device: str = knob("auto", "auto, cpu, cuda or cuda:N")
    tile: int | None = knob(
        None,
        "side in px of the tiles that large pictures are cut into; 0: never; without it pictures "
        "above 1.5 megapixels are cut into tiles as memory allows",
        0,
        1 << 16,
    )
    context: int | None = knob(
        None,
        "px around each tile that are seen too; without it all that can matter, or for srgan and "
        "esrgan 32",
        0,
        1 << 16,
    )
    overlap: int | None = knob(None, "px over which neighbouring tiles are blended", 0, 1 << 16)
    norms: Norms = knob("fast", "statistics of instance norms over all tiles: fast or exact")
    format: str | None = knob(
        None,
        ".png, .tif, .jpg, .webp, .bmp, .npy or .npz; without it each picture's own where that "
        "can hold the output, else .png, else .tif",
    )
    quality: int = knob(95, "of JPEG, from 1 to 100", 1, 100)
    alpha: Alpha = knob(
        "carry",
        "transparent pictures: carry lays their transparency onto the output where its format "
        "has such (systems that fill holes fill what is fully transparent instead), white lays "
        "them over white, refuse refuses them",
    )
    batch: int = knob(1, "pictures of equal size that the network takes at once", 1, 1024)
    shard: str | None = knob(
        None, "a part of the work: 2/4 takes every fourth picture, from the second on"
    )
    again: bool = knob(False, "also translate what is there already")
    max_megapixels: float = knob(
        MEGAPIXELS, "pictures with more million pixels are refused", 0.001, 100_000
    )
    workers: int | None = knob(
        None, "threads that read and write pictures; without it one for each core", 1, 256
    )

    @property
    def limit(self) -> int:
        """The most pixels that one picture may have."""
        return round(self.max_megapixels * 1e6)

    @property
    def suffix(self) -> str | None:
        """The ending of all output, with its dot, if one was chosen."""
        if self.format is None:
            return None
        return "." + self.format.lower().removeprefix(".")

    @property
    def part(self) -> tuple[int, int]:
        """The shard as a number from 0 and a count; raises SettingsError if it is none."""
        if self.shard is None:
            return 0, 1
        number, slash, count = self.shard.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal()):
            wrong = True
        else:
            wrong = not 1 <= int(number) <= int(count)
        if wrong:
            raise SettingsError(
                f"--shard must be i/n with i from 1 to n, as 2/4 for every fourth picture from the "
                f"second on, got '{self.shard}'"
            )
        return int(number) - 1, int(count)


@dataclass(frozen=True)
class StyleOptions:
    """What is painted of the styles of a translator."""

    count: int | None = knob(
        None,
        "styles: columns of the grid, or stations of the way; without it 5, or as many as pictures "
        "of --reference, each of which is a style",
        1,
        64,
    )
    frames: int = knob(
        0, "pictures from each style to the next; 0: a grid of the styles themselves", 0, 120
    )
    seed: int = knob(0, "of the styles that are drawn")
    milliseconds: int = knob(80, "of each picture of an animation", 20, 10_000)
    device: str = knob("auto", "auto, cpu, cuda or cuda:N")
