"""Measure how long `dragoman check` takes for 10,000 real pictures of 256 pixels.

python benchmarks/doctor.py [--pictures N] [--rounds R]
"""

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
from PIL import Image

from dragoman.data import DataSettings
from dragoman.data.doctor import check, examine
from dragoman.data.domains import describe
from dragoman.data.earth import earth_folder
from dragoman.data.tables import open_table

SIDE = 256
ALLOWED = 60.0  # seconds for 10,000 pictures on two cores


def write_pairs(earth: Path, folder: Path, pairs: int, suffix: str) -> None:
    """Write crops of relief and satellite at random places of the Earth as trainA and trainB."""
    rasters = {
        key: np.load(earth / f"{layer}.npy", mmap_mode="r")
        for key, layer in (("A", "relief"), ("B", "satellite"))
    }
    rng = np.random.default_rng(0)
    _, height, width = rasters["A"].shape
    tops, lefts = rng.integers(0, height - SIDE, pairs), rng.integers(0, width - SIDE, pairs)
    for key, raster in rasters.items():
        place = folder / f"train{key}"
        place.mkdir(parents=True)
        for number, (y, x) in enumerate(zip(tops.tolist(), lefts.tolist(), strict=True)):
            crop = raster[:, y : y + SIDE, x : x + SIDE].transpose(1, 2, 0)
            Image.fromarray(np.ascontiguousarray(crop)).save(place / f"{number:05}{suffix}")


def measure(folder: Path, suffix: str, rounds: int) -> None:
    """Print the seconds of the whole check, and of the fatal part at the first and next start."""
    settings = DataSettings(data=str(folder), size=SIDE)
    seconds: dict[str, list[float]] = {"whole check": [], "first start": [], "second start": []}
    spent: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            os.environ["DRAGOMAN_CACHE"] = cache
            table = open_table(settings)
            domains = describe(table, settings)
            for name in ("first start", "second start"):
                start = time.perf_counter()
                examine(table, domains, settings, fatal_only=True)
                seconds[name].append(time.perf_counter() - start)
        with tempfile.TemporaryDirectory() as cache:
            os.environ["DRAGOMAN_CACHE"] = cache
            start, spent_before = time.perf_counter(), time.process_time()
            findings = check(settings)
            seconds["whole check"].append(time.perf_counter() - start)
            spent.append(time.process_time() - spent_before)
    scale = 10_000 / findings.examined
    for name, taken in seconds.items():
        spread = ", ".join(f"{one:.1f}" for one in taken)
        print(f"{suffix[1:]:5} {name:13} {min(taken) * scale:7.1f} s per 10,000   ({spread} s)")
    peak = getrusage(RUSAGE_SELF).ru_maxrss / 1024
    best = min(seconds["whole check"]) * scale
    print(
        f"      {best / ALLOWED:.0%} of the {ALLOWED:.0f} s allowed; processor "
        f"{min(spent) * scale:.1f} s per 10,000; peak memory {peak:.0f} MB"
    )


def main() -> None:
    """Measure JPEG and PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    earth = earth_folder()  # before the cache is another
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {options.pictures:,} pictures; "
        f"{os.getloadavg()[0]:.1f} other processes at the start"
    )
    for suffix in (".jpg", ".png"):
        with tempfile.TemporaryDirectory() as folder:
            write_pairs(earth, Path(folder), options.pictures // 2, suffix)
            measure(Path(folder), suffix, options.rounds)


if __name__ == "__main__":
    main()
