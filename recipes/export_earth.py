"""Write layers of the Earth as a practitioner's files: int16 TIFF and PNG, blocks and tiles.

python recipes/export_earth.py relief satellite height --out runs/earth_files

Train has the 300-px blocks of 20 degrees of the geographic split that are at least 15 % land,
val and test just the 64-px tiles of earth64. Each layer is a folder with train, val and test.
"""

import argparse
from pathlib import Path

import numpy as np

from dragoman.data import DataSettings, open_data
from dragoman.data.earth import BLOCK, TEST, VAL, earth_folder
from dragoman.data.earth_build import LAND_UNIT
from dragoman.data.writing import write_raster

LEAST_LAND = 0.15  # of a block; more would leave out most coasts


def blocks() -> list[tuple[int, int]]:
    """Row and column of the training blocks with enough land."""
    sums = np.load(earth_folder() / "land_sums.npy", mmap_mode="r")
    found = []
    for row in range(6):
        for column in range(18):
            y, x = row * BLOCK, column * BLOCK
            ends = sums[y + BLOCK, x + BLOCK] - sums[y, x + BLOCK] - sums[y + BLOCK, x] + sums[y, x]
            land = int(ends) / (LAND_UNIT * BLOCK**2)
            if (row, column) not in TEST | VAL and land >= LEAST_LAND:
                found.append((row, column))
    return found


def export(layer: str, out: Path) -> int:
    """Write one layer; returns the number of files."""
    raster = np.load(earth_folder() / f"{layer}.npy", mmap_mode="r")
    planes = raster[None] if raster.ndim == 2 else raster
    pixels = planes.transpose(1, 2, 0)
    suffix = ".tif" if raster.dtype == np.int16 else ".png"
    count = 0
    for row, column in blocks():
        y, x = row * BLOCK, column * BLOCK
        path = out / layer / "train" / f"block_{row}_{column:02}{suffix}"
        write_raster(path, np.ascontiguousarray(pixels[y : y + BLOCK, x : x + BLOCK]))
        count += 1
    data = open_data(DataSettings(f"earth64:{layer}"))
    for split in ("val", "test"):
        rows = np.arange(data.counts[split])
        tiles = data._source.pictures(split, "image", rows, None, (64, 64))
        for name, tile in zip(data.names(split), tiles, strict=True):
            write_raster(out / layer / split / f"{name}{suffix}", tile.transpose(1, 2, 0))
            count += 1
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
