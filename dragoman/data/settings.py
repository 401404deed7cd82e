"""What data to train on and how its pictures are cut and varied."""

from dataclasses import dataclass
from typing import Literal

from dragoman.settings import knob


@dataclass(frozen=True)
class DataSettings:
    """Settings of the loader; pictures are squares of `size` x `size` pixels."""

    data: str = knob(
        help="embedded set with two domains, as earth64:relief,satellite, or a folder with "
        "trainA and trainB, or two folders DIR_A,DIR_B"
    )
    size: int | None = knob(
        None,
        "side of the training pictures in pixels; without it that of the embedded set, "
        "or 256 for own pictures",
        8,
        8192,
    )
    load_size: int | None = knob(
        None,
        "own pictures: their shorter side is resized to this many pixels before cropping; "
        "without it 286/256 of size for random crops, and size for fixed ones",
        8,
        16384,
    )
    batch: int = knob(16, "pictures per step and process", 1)
    pairing: Literal["paired", "unpaired"] = knob(
        "paired", "paired: a and b show the same thing; unpaired: they are drawn independently"
    )
    crop: Literal["random", "fixed"] = knob(
        "random",
        "random: any place of the raster or resized picture; fixed: tiles of a grid, or the centre",
    )
    flip: bool = knob(True, "mirror half of the pictures left to right, a and b alike")
    colour: float = knob(
        0.0,
        "strength of random brightness, contrast and saturation, a and b alike; photographs only",
        0.0,
        1.0,
    )
