"""Measure tar shards: packing, opening a million samples, and random reads beside plain files.

python benchmarks/shards.py [--samples N] [--files N] [--kilobytes K] [--place DIR]
"""

import argparse
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dragoman.data import DataSettings
from dragoman.data.blob import Blob
from dragoman.data.packing import pack
from dragoman.data.shard_table import ShardTable
from dragoman.data.shards import INDEX
from dragoman.data.table import Table

# The smallest grey PNG of one pixel; what is measured is not its decoding.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)
ROUNDS = 7


class Tiny(Table):
    """So many pairs of one-pixel pictures, all in train but a hundred each in val and test."""

    def __init__(self, count: int) -> None:
        self.name, self.keys, self.halves, self.label_sets = "tiny", ("a", "b"), {}, {}
        self.problems: list[str] = []
        self._counts = {"train": count - 200, "val": 100, "test": 100}

    def count(self, split: str, key: str) -> int:
        """Return how many pairs a split has."""
        return self._counts[split]

    def blobs(self, split: str, key: str, row: int) -> tuple[Blob, ...]:
        """Return the pixel."""
        return (Blob("memory", member="pixel.png", data=PIXEL),)

    def names(self, split: str) -> Sequence[str]:
        """Return names as long as those of files are."""
        return [f"folder {n % 100:02d}/picture {n:07d}" for n in range(self._counts[split])]

    def partners(self, split: str) -> bool:
        """True."""
        return True

    def digest(self) -> str:
        """Return nothing that is needed here."""
        return ""


class Plain(Table):
    """Files in a folder, as one domain."""

    def __init__(self, files: list[Path]) -> None:
        self.name, self.keys, self.halves, self.label_sets = "plain", ("image",), {}, {}
        self.problems: list[str] = []
        self.splits, self.files = ("train",), files

    def count(self, split: str, key: str) -> int:
        """Return how many files there are."""
        return len(self.files)

    def blobs(self, split: str, key: str, row: int) -> tuple[Blob, ...]:
        """Return one file."""
        return (Blob(str(self.files[row])),)

    def names(self, split: str) -> Sequence[str]:
        """Return the names of the files."""
        return [file.stem for file in self.files]

    def partners(self, split: str) -> bool:
        """True."""
        return True

    def digest(self) -> str:
        """Return nothing that is needed here."""
        return ""


def memory(name: str) -> float:
    """Memory of this process in MB: now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def open_alone(folder: str) -> None:
    """Open shards, in a process of its own, and print what it took."""
    before = memory("VmRSS")
    start = time.perf_counter()
    table = ShardTable([Path(folder)], DataSettings(data=folder))
    seconds = time.perf_counter() - start
    row = table.count("train", "a") - 1
    print(
        f"{table.count('train', 'a')} rows in train, opened in {seconds:.2f} s, "
        f"it holds {memory('VmRSS') - before:.0f} MB, {memory('VmHWM') - before:.0f} MB at most "
        f"(row {row} is {table.names('train')[row]!r})"
    )


def measured(folder: Path) -> str:
    """Open shards in a new process and return what it prints."""
    command = [sys.executable, __file__, "--open", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def measure_opening(place: Path, samples: int) -> None:
    """Pack tiny pairs, open them with their index, without, and with the one of the cache."""
    folder = place / "tiny"
    start = time.perf_counter()
    print(pack(Tiny(samples), folder))
    seconds = time.perf_counter() - start
    print(f"packing   {seconds:.0f} s, {samples / seconds:.0f} samples/s")
    print(f"index     {(folder / INDEX).stat().st_size / 1e6:.0f} MB beside the shards")
    print(f"opening   {measured(folder)}")
    (folder / INDEX).unlink()
    os.environ["DRAGOMAN_CACHE"] = str(place / "cache")
    print(f"first     {measured(folder)}: without an index, which is made")
    print(f"again     {measured(folder)}: with the index of the cache")


def reads_per_second(open_row: Callable[[int], bytes], order: list[int]) -> float:
    """Read these rows and return how many a second."""
    start = time.perf_counter()
    for row in order:
        open_row(row)
    return len(order) / (time.perf_counter() - start)


def measure_reading(place: Path, count: int, kilobytes: int) -> None:
    """Read files in random order, alone and from shards, in turn, from the memory of the system."""
    folder = place / "plain"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for n in range(count):
        (folder / f"{n:06d}.png").write_bytes(generator.bytes(kilobytes * 1000))
    plain = Plain(sorted(folder.iterdir()))
    pack(plain, place / "packed")
    packed = ShardTable([place / "packed"], DataSettings(data=str(place / "packed")))
    order = list(range(count))
    rates: list[tuple[float, float]] = []
    for round_number in range(ROUNDS + 1):
        random.Random(round_number).shuffle(order)
        pair = [
            reads_per_second(
                lambda row, t=table: t.blobs("train", "image", row)[0].open().read(), order
            )
            for table in (plain, packed)
        ]
        rates += [(pair[0], pair[1])] if round_number else []  # the first one warms up
    ratios = [shard / file for file, shard in rates]
    print(
        f"reading   {count} files of {kilobytes} kB in random order: "
        f"{statistics.median(f for f, _ in rates):.0f} files/s alone, "
        f"{statistics.median(s for _, s in rates):.0f}/s from shards, "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def main() -> None:
    """Print a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--kilobytes", type=int, default=50)
    parser.add_argument("--place", help="folder on the disk to measure; about 4 GB are written")
    parser.add_argument("--open", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        open_alone(options.open)
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores")
    place = Path(tempfile.mkdtemp(dir=options.place))
    try:
        measure_reading(place, options.files, options.kilobytes)
        measure_opening(place, options.samples)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
