"""Own pictures laid out in folders and tables, for tests of layouts."""

from pathlib import Path

import numpy as np
from PIL import Image

from dragoman.data import DataSettings
from dragoman.data.file_table import FileTable
from dragoman.data.raster import read_raster
from dragoman.data.tables import open_table

SPLITS = ("train", "val", "test")
TWELVE = [f"{number:02}" for number in range(12)]


def save(path: Path, value: int = 0, width: int = 4) -> None:
    """Write a picture of one grey, 4 pixels high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, width), value, np.uint8)).save(path)


def fill(folder: Path, names=TWELVE, suffix: str = ".png", first: int = 0) -> None:
    """Write a picture for each name; its grey is `first` and the number of the name."""
    for number, name in enumerate(names):
        save(folder / f"{name}{suffix}", first + number)


def opened(data: object, **options) -> FileTable:
    """Open data with settings."""
    table = open_table(DataSettings(data=str(data), **options))
    assert isinstance(table, FileTable)
    return table


def value(table: FileTable, split: str, key: str, row: int, place: int = 0) -> int:
    """The grey of a picture."""
    return int(read_raster(table.blobs(split, key, row)[place]).pixels[0, 0, 0])


def names_of(table: FileTable) -> dict[str, list[str]]:
    """The names of each split."""
    return {split: list(table.names(split)) for split in table.splits}


def all_names(table: FileTable) -> list[str]:
    """The names of all splits, sorted."""
    return sorted(name for split in table.splits for name in table.names(split))


def counts(table: FileTable) -> dict[str, int]:
    """The number of pictures of the last key in each split."""
    return {split: table.count(split, table.keys[-1]) for split in table.splits}


def classes(table: FileTable, split: str) -> list[list[int]]:
    """The classes of all pictures of a split."""
    return table.labels(split, np.arange(table.count(split, table.keys[0]))).tolist()


def content(table: FileTable) -> list:
    """The paths of all files by split and key."""
    return [
        (split, key, list(table.paths(split, key))) for split in table.splits for key in table.keys
    ]


def write_csv(folder: Path, *lines: str, name: str = "m.csv") -> Path:
    """Write lines to a file."""
    path = folder / name
    path.write_bytes("".join(line + "\n" for line in lines).encode())
    return path
