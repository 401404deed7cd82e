"""Paint a sheet of a run's test pictures: inputs, what its translator makes of them, the truth.

python recipes/gallery.py RUN OUT.png [--rows 6] [--blocks 2]
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import dragoman
from dragoman.data import open_data
from dragoman.data.settings import DataSettings
from dragoman.report.sheet import sheet
from dragoman.run import Run
from dragoman.settings import build


def gallery(folder: Path, rows: int, blocks: int) -> Image.Image:
    """A sheet of rows * blocks pictures spread evenly over the test split, not chosen by eye."""
    translator = dragoman.load(folder)
    data = open_data(build(DataSettings, Run.open(folder).settings))
    count = data.counts["test"]
    chosen = [i * count // (rows * blocks) for i in range(rows * blocks)]
    batch = data.rows("test", chosen)
    shown = {
        "input": data.show("a", batch["a"]),
        "dragoman": data.show("b", translator.translate(batch["a"])),
        "truth": data.show("b", batch["b"]),
    }
    sheets = [
        np.asarray(sheet({name: stack[at : at + rows] for name, stack in shown.items()}))
        for at in range(0, rows * blocks, rows)
    ]
    gap = np.full((sheets[0].shape[0], 16, 3), 255, np.uint8)
    parts = [part for one in sheets for part in (one, gap)][:-1]
    return Image.fromarray(np.concatenate(parts, 1))


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--blocks", type=int, default=2)
    arguments = parser.parse_args()
    gallery(arguments.run, arguments.rows, arguments.blocks).save(arguments.out)


if __name__ == "__main__":
    main()
