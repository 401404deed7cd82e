"""Peak memory and speed of one very large picture in tiles, with fast and with exact statistics.

python benchmarks/large_pictures.py [--height 8192] [--width 8192] [--nets NAME ...] [--norms ...]

The picture is the Earth's relief, repeated, in an NPY file of bytes; what is made goes to another
such file. Each case runs in a process of its own, whose peak memory counts torch, weights and the
parts of the files that it holds. Weights are random: they change neither memory nor speed.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dragoman.data.earth import earth_folder
from dragoman.data.sinks import open_sink
from dragoman.data.windows import open_windows
from dragoman.engine import find_device
from dragoman.report.machine import machine
from dragoman.settings import build, own_values, read_yaml
from dragoman.system import Facts, System
from dragoman.systems import find_system
from dragoman.tiling import Tiler, TileSettings

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "earth_pix2pix.yaml"
RESNET = {"generator": "resnet", "width": 32, "blocks": 6, "norm": "instance", "dropout": 0}


def network(name: str) -> System:
    """The networks of recipes/earth_pix2pix.yaml (group norm), or a ResNet with instance norm."""
    kind = find_system("pix2pix" if name == "recipe" else "regression")
    knobs: dict[str, Any] = RESNET
    if name == "recipe":
        knobs = own_values(kind.Settings, read_yaml(RECIPE))
    facts = Facts({"a": 3, "b": 3}, (64, 64))
    return kind(build(kind.Settings, knobs), facts).eval().requires_grad_(False)


def make_picture(path: Path, height: int, width: int) -> None:
    """Write the relief, repeated to that size, band by band."""
    relief = np.load(earth_folder() / "relief.npy", mmap_mode="r")
    columns = np.arange(width) % relief.shape[2]
    picture = np.lib.format.open_memmap(path, "w+", np.uint8, (height, width, 3))
    for y in range(height):
        picture[y] = relief[:, y % relief.shape[1]][:, columns].T


def translate(name: str, norms: Literal["fast", "exact"], place: Path, tile: int | None) -> str:
    """Run one case in this process; return a row of the table."""
    tiler = Tiler(network(name), find_device("cpu"), TileSettings(tile=tile, norms=norms))
    began = time.perf_counter()
    with open_windows(place / "in.npy") as windows:
        height, width = windows.height, windows.width
        sink = open_sink(place / "out.npy", height, width, 3, "uint8")

        def read(y0: int, y1: int, x0: int, x1: int) -> Tensor:
            part = torch.from_numpy(windows.read(y0, y1, x0, x1))
            return part.permute(2, 0, 1)[None].float() / 127.5 - 1

        def write(y: int, x: int, part: Tensor) -> None:
            levels = ((part[0] + 1) * 127.5).round().clamp(0, 255).byte()
            sink.write(y, x, levels.permute(1, 2, 0).numpy())

        with sink:
            tiler.run(read, write, height, width, print)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    speed = height * width / 1e6 / seconds
    size = f"{height} x {width}"
    return f"| {name}, {norms} | {size} | {tiler.tile} | {peak:.0f} | {seconds:.0f} | {speed:.2f} |"


def main() -> None:
    """Measure and print Markdown rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=8192)
    parser.add_argument("--width", type=int, default=8192)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--nets", nargs="+", default=["recipe", "resnet"])
    parser.add_argument("--norms", nargs="+", default=["fast", "exact"])
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(translate(options.nets[0], options.norms[0], options.inside, options.tile))
        return
    print(f"{machine()}, torch {torch.__version__}")
    print("| network, statistics | px | tile | peak MB | s | megapixels/s |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as place:
        make_picture(Path(place, "in.npy"), options.height, options.width)
        for name in options.nets:
            for norms in options.norms:
                command = [sys.executable, __file__, "--nets", name, "--norms", norms]
                command += ["--tile", str(options.tile)] if options.tile else []
                done = subprocess.run(
                    [*command, "--inside", place], check=True, stdout=subprocess.PIPE, text=True
                )
                print(done.stdout, end="", flush=True)


if __name__ == "__main__":
    main()
