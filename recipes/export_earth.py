"""Write layers of the Earth as a practitioner's files: int16 TIFF and 8-bit PNG.

python recipes/export_earth.py relief satellite height --out runs/earth_files

Train has the 128-px tiles of earth128, out of which training at 64 px cuts at any place; val and
test have just the tiles of earth64. Each layer is a folder with train, val and test.
"""

import argparse
from pathlib import Path

import numpy as np

from dragoman.data import DataSettings, open_data
from dragoman.data.writing import write_raster

EDITIONS = {"train": "earth128", "val": "earth64", "test": "earth64"}


def export(layer: str, out: Path) -> int:
    """Write one layer; returns the number of files."""
    count = 0
    for split, edition in EDITIONS.items():
        data = open_data(DataSettings(f"{edition}:{layer}"))
        rows = np.arange(data.counts[split])
        tiles = data._source.pictures(split, "image", rows, None, data.facts.size)
        suffix = ".tif" if tiles.dtype == np.int16 else ".png"
        for number, (name, tile) in enumerate(zip(data.names(split), tiles, strict=True)):
            path = out / layer / split / f"{number:04}_{name}{suffix}"
            write_raster(path, tile.transpose(1, 2, 0))
        count += len(tiles)
    return count


def main() -> None:
    """Write the layers asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layers", nargs="+")
    parser.add_argument("--out", type=Path, default=Path("runs/earth_files"))
    arguments = parser.parse_args()
    for layer in arguments.layers:
        print(f"{layer}: {export(layer, arguments.out)} files in {arguments.out / layer}")


if __name__ == "__main__":
    main()
