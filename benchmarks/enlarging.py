"""Peak memory and time of `dragoman translate` where a translator enlarges a large picture.

python benchmarks/enlarging.py RUN ... [--side 2048]

The picture is a crop of the Earth's relief, or its repetition, as PNG; the output is PNG too. Each
translator runs in a process of its own, whose peak memory counts everything.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from dragoman.data.earth import earth_folder
from dragoman.report.machine import machine


def make_picture(path: Path, side: int) -> None:
    """Write the relief, repeated to that size."""
    relief = np.load(earth_folder() / "relief.npy", mmap_mode="r")
    rows, columns = (np.arange(side) % relief.shape[axis] for axis in (1, 2))
    picture = np.ascontiguousarray(relief[:, rows][:, :, columns].transpose(1, 2, 0))
    Image.fromarray(picture).save(path)


def measured(command: list[str]) -> tuple[float, float]:
    """Peak memory in MB and seconds of a command; raises CalledProcessError if it fails."""
    began = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise subprocess.CalledProcessError(status, command)
    return used.ru_maxrss / 1024, time.perf_counter() - began


def main() -> None:
    """Measure and print Markdown rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--side", type=int, default=2048)
    options = parser.parse_args()
    print(f"{machine()}, {options.side} x {options.side} px\n")
    print("| translator | peak, MB | s |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as place:
        given, made = Path(place, "in.png"), Path(place, "out.png")
        make_picture(given, options.side)
        for run in options.runs:
            command = [sys.executable, "-m", "dragoman", "translate", run, str(given), str(made)]
            peak, seconds = measured([*command, "--again", "true"])
            print(f"| {run} | {peak:.0f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
