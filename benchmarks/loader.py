"""Measure how many pictures a second the loader alone delivers.

python benchmarks/loader.py [--seconds S] [--data NAME ...]
"""

import argparse
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dragoman.data import DataSettings, open_data

TINY = Path(__file__).resolve().parent.parent / "tests" / "data" / "tiny" / "earth32"
BATCH = 16
# Training at 64 px with batch 16 uses about 150 pictures a second on two cores.
NEEDED = 20 * 150


def pictures_per_second(batches: Iterator[Any], batch: int, seconds: float) -> float:
    """Take batches for so many seconds, after ten to warm up."""
    for _ in range(10):
        next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        count += batch
    return count / (time.perf_counter() - start)


def main() -> None:
    """Print one line per data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument(
        "--data",
        nargs="+",
        default=[
            "earth64:relief,satellite",
            "earth64w:cover,satellite",
            "earth128:relief,satellite",
            "openmoji64:line,colour",
            str(TINY),
        ],
    )
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, batch {BATCH}, needed {NEEDED}/s at 64 px"
    )
    for name in options.data:
        own = Path(name.split(",")[0]).is_dir()
        data = open_data(DataSettings(data=name, size=64 if own else None))
        batches = data.batches(batch=BATCH, seed=0)
        rate = pictures_per_second(batches, BATCH, options.seconds)
        batches.close()
        side = data.facts.size[0]
        print(f"{data.name:32} {side:4} px {rate:10.0f} pictures/s ({rate / NEEDED:.1f} x needed)")


if __name__ == "__main__":
    main()
