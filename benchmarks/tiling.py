"""How much tiles change a picture: difference against context, fast against exact statistics.

python benchmarks/tiling.py [--translator RUN] [--side 1024] [--tile 256]

RUN may enlarge pictures. The picture is a crop of the Earth's relief. Rows are Markdown: greatest
and mean difference to the untiled result in levels of 255. Without --translator three networks
with random weights are taken.
"""

import argparse
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dragoman.data.earth import earth_folder
from dragoman.engine import find_device
from dragoman.pipeline import load, pad
from dragoman.report.machine import machine
from dragoman.settings import build
from dragoman.system import Facts, System
from dragoman.systems import find_system
from dragoman.tiling import Tiler, TileSettings, steady_noise

CORNER = (300, 2800)  # row and column in the relief: the Mediterranean and the Alps
NETWORKS: dict[str, dict[str, Any]] = {
    "U-Net of depth 4, no norm": {"depth": 4, "norm": "none", "dropout": 0},
    "ResNet of 6 blocks, batch norm": {"generator": "resnet", "blocks": 6, "norm": "batch"},
    "ResNet of 6 blocks, instance norm": {"generator": "resnet", "blocks": 6, "norm": "instance"},
}


def relief(side: int) -> Tensor:
    """A crop of the relief, [1, 3, side, side] in [-1, 1]."""
    raster = np.load(earth_folder() / "relief.npy", mmap_mode="r")
    y, x = CORNER
    crop = np.ascontiguousarray(raster[:, y : y + side, x : x + side])
    return torch.from_numpy(crop)[None].float() / 127.5 - 1


def systems(translator: str | None) -> dict[str, System]:
    """What is measured, by name, ready to generate."""
    if translator:
        return {translator: load(translator, "cpu").system}
    kind, facts = find_system("regression"), Facts({"a": 3, "b": 3}, (64, 64))
    found = {}
    for name, knobs in NETWORKS.items():
        torch.manual_seed(0)
        system = kind(build(kind.Settings, {"width": 16, "start": "kaiming", **knobs}), facts)
        found[name] = system.eval().requires_grad_(False)
    return found


@torch.no_grad()
def untiled(system: System, picture: Tensor) -> Tensor:
    """The picture in one piece."""
    height, width = picture.shape[2:]
    with steady_noise(system, 0):
        padded = pad(picture, system.stride, min(system.facts.size))
        made = system.generate({system.source: padded})
    scale = system.facts.scale
    return made[..., : height * scale, : width * scale].float()


def tiled(system: System, picture: Tensor, settings: TileSettings) -> tuple[Tensor, float]:
    """The picture in tiles, and the seconds that took."""
    height, width = picture.shape[2:]
    scale, channels = system.facts.scale, system.facts.channels[system.target or system.source]
    made = torch.empty(1, channels, height * scale, width * scale)

    def write(y: int, x: int, part: Tensor) -> None:
        made[..., y : y + part.shape[2], x : x + part.shape[3]] = part

    began = time.perf_counter()
    Tiler(system, find_device("cpu"), settings).run(
        lambda y0, y1, x0, x1: picture[..., y0:y1, x0:x1], write, height, width
    )
    return made, time.perf_counter() - began


def row(name: str, made: Tensor, whole: Tensor, seconds: float) -> str:
    """One row of the table."""
    difference = (made - whole).abs() * 127.5
    return f"| {name} | {difference.max():.4f} | {difference.mean():.5f} | {seconds:.1f} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--translator")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--tile", type=int, default=256)
    arguments = parser.parse_args()
    picture = relief(arguments.side)
    print(f"{machine()}, {arguments.side} px in tiles of {arguments.tile}")
    for name, system in systems(arguments.translator).items():
        began = time.perf_counter()
        whole = untiled(system, picture)
        seconds = time.perf_counter() - began
        tiler = Tiler(system, find_device("cpu"))
        assert tiler.reach is not None, tiler.obstacle
        reach = max(tiler.reach.margins)
        print(f"\n{name}: reach {reach} px, untiled {seconds:.1f} s\n")
        print("| context, px | greatest | mean | s |\n|---|---|---|---|")
        for context in sorted({0, 4, 16, reach // 8, reach // 4, reach // 2, reach}):
            settings = TileSettings(tile=arguments.tile, context=context, norms="exact")
            print(row(str(context), *_first(tiled(system, picture, settings), whole)), flush=True)
        settings = TileSettings(tile=arguments.tile, norms="fast")
        print(row("all, fast statistics", *_first(tiled(system, picture, settings), whole)))


def _first(found: tuple[Tensor, float], whole: Tensor) -> tuple[Tensor, Tensor, float]:
    return found[0], whole, found[1]


if __name__ == "__main__":
    main()
