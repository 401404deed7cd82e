"""Measure how long it takes to open a data set of a million files, and how much memory it holds.

python benchmarks/index.py [--files N] [--folder DIR]

Makes N tiny files (hard links) in a temporary folder, opens them as pairs, as classes and through
a manifest, each twice in a process of its own, and removes them again.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LINKS = 50_000  # names of one file; ext4 allows 65,000
FOLDERS = 1000  # classes
SPARE = 2_000_000_000  # bytes of the disk that stay free
WAIT = 4.0  # seconds: folders that have just changed are not trusted to stay as they are
# What is printed, with its digits. Processor time tells more than time where others are at work.
COLUMNS = (
    ("rows", 0),
    ("opening s", 2),
    ("of it CPU s", 2),
    ("held MB", 0),
    ("peak MB", 0),
    ("digest s", 2),
    ("a blob us", 1),
    ("states s", 2),
    ("of it CPU s ", 2),
)


def measure(data: str) -> None:
    """Open a data set in this process and print what it took as JSON."""
    from dragoman.data import DataSettings
    from dragoman.data.file_table import file_states
    from dragoman.data.tables import open_table

    before, start, cpu = _memory(), time.perf_counter(), time.process_time()
    table = open_table(DataSettings(data=data))
    found = {"opening s": time.perf_counter() - start, "of it CPU s": time.process_time() - cpu}
    after = _memory()
    found["held MB"] = (after["VmRSS"] - before["VmRSS"]) / 1e3
    found["peak MB"] = (after["VmHWM"] - before["VmRSS"]) / 1e3
    found["rows"] = sum(table.count(split, table.keys[0]) for split in table.splits)
    start = time.perf_counter()
    table.digest()
    found["digest s"] = time.perf_counter() - start
    start = time.perf_counter()
    rows = range(0, table.count("train", table.keys[0]), 7)
    for row in rows:
        table.blobs("train", table.keys[0], row)
    found["a blob us"] = (time.perf_counter() - start) / len(rows) * 1e6
    start, cpu = time.perf_counter(), time.process_time()
    file_states(table)
    found["states s"] = time.perf_counter() - start
    found["of it CPU s "] = time.process_time() - cpu
    print(json.dumps(found))


def _memory() -> dict[str, int]:
    """Memory of this process in kB, now (VmRSS) and at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    parts = [line.split() for line in lines if line.startswith(("VmRSS", "VmHWM"))]
    return {name.rstrip(":"): int(value) for name, value, *_ in parts}


def make(folder: Path, files: int) -> None:
    """Fill trainA and trainB with half of the files each; check the disk first."""
    disk = os.statvfs(folder)
    needed = files * 100 + SPARE  # a name of this length takes some 40 bytes of a folder
    if disk.f_bavail * disk.f_frsize < needed or disk.f_favail < files // LINKS + 2 * FOLDERS:
        raise SystemExit(f"{folder} has too little room for {files} files")
    for place in ("trainA", "trainB"):
        (folder / "pairs" / place).mkdir(parents=True)
        for number in range(files // 2):
            if number % LINKS == 0:
                source = folder / f"source-{place}-{number}"
                source.write_bytes(b"tiny")
            os.link(source, folder / "pairs" / place / f"picture_{number:07}.png")


def write_manifest(folder: Path, files: int) -> Path:
    """Name all pairs in a CSV file."""
    path = folder / "manifest.csv"
    with path.open("w") as file:
        file.write("a,b,label\n")
        for number in range(files // 2):
            name = f"picture_{number:07}.png"
            file.write(f"pairs/trainA/{name},pairs/trainB/{name},class {number % FOLDERS}\n")
    return path


def into_classes(folder: Path) -> Path:
    """Move the pictures of trainA into folders of classes."""
    place = folder / "classes"
    for number in range(FOLDERS):
        (place / f"class{number:04}").mkdir(parents=True)
    for number, name in enumerate(sorted(os.listdir(folder / "pairs" / "trainA"))):
        target = place / f"class{number % FOLDERS:04}" / name
        os.rename(folder / "pairs" / "trainA" / name, target)
    for number, name in enumerate(sorted(os.listdir(folder / "pairs" / "trainB"))):
        target = place / f"class{number % FOLDERS:04}" / f"b_{name}"
        os.rename(folder / "pairs" / "trainB" / name, target)
    return place


def show(title: str, data: Path, cache: Path) -> None:
    """Measure twice, in fresh processes, and print a line for each."""
    time.sleep(WAIT)
    for turn in ("first", "second"):
        done = subprocess.run(
            [sys.executable, __file__, "--measure", str(data)],
            env=os.environ | {"DRAGOMAN_CACHE": str(cache)},
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"| {title}, {turn} | " + " | ".join(f"{found[c]:,.{d}f}" for c, d in COLUMNS) + " |")
        sys.stdout.flush()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the files are made")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    folder = Path(tempfile.mkdtemp(prefix="dragoman-index-", dir=options.folder))
    try:
        start = time.perf_counter()
        make(folder, options.files)
        took = time.perf_counter() - start
        print(
            f"{platform.machine()}, {os.cpu_count()} cores; "
            f"{options.files:,} files made in {took:.0f} s"
        )
        print(f"| | {' | '.join(column for column, _ in COLUMNS)} |")
        print("|---" * (len(COLUMNS) + 1) + "|")
        show("pairs", folder / "pairs", folder / "cache")
        show("manifest", write_manifest(folder, options.files), folder / "cache")
        show("classes", into_classes(folder), folder / "cache")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
