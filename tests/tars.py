"""Small tars and pictures for the tests of shards."""

import io
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dragoman.data.blob import Blob
from dragoman.data.settings import DataSettings
from dragoman.data.shard_table import ShardTable
from dragoman.data.table import Table
from dragoman.data.tables import open_table

FUZZ = int(os.environ.get("DRAGOMAN_FUZZ", "200"))  # hostile files in each test


def png(seed: int, mode: str = "RGB") -> bytes:
    """A PNG of 8 x 8 px that no other seed gives."""
    shape = (8, 8, 3) if mode == "RGB" else (8, 8)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], form: int = 1) -> Path:
    """Write a tar with these members in the given format of tarfile (1 is GNU)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def pair(number: int, key: str | None = None) -> list[tuple[str, bytes]]:
    key = key or f"{number:06d}"
    return [(f"{key}.a.png", png(number)), (f"{key}.b.png", png(1000 + number))]


def pairs(folder: Path, **counts: int) -> Path:
    """Shards of pairs, so many samples for each split."""
    start = 0
    for split, count in counts.items():
        members = [m for n in range(start, start + count) for m in pair(n)]
        write_tar(folder / f"{split}-000000.tar", members)
        start += count
    return folder


def classified(folder: Path) -> Path:
    """Shards of a train and a test split with classes."""
    for split, count in (("train", 12), ("test", 4)):
        members = []
        for n in range(count):
            label = json.dumps({"label": f"class {n % 3}"}).encode()
            members += [*pair(n), (f"{n:06d}.json", label)]
        write_tar(folder / f"{split}-000000.tar", members)
    return folder


def settings_of(**given: Any) -> DataSettings:
    """Settings of the data, which are checked where they are used."""
    return DataSettings(**given)


def opened(folder: Path, **given: Any) -> ShardTable:
    """The table of shards in a folder."""
    table = open_table(settings_of(**{"data": str(folder)} | given))
    assert isinstance(table, ShardTable)
    return table


def contents(table: Table) -> dict:
    """All that a table holds: names, labels, partners, and bytes of each picture."""
    found = {}
    for split in table.splits:
        first = table.keys[0]
        rows = np.arange(table.count(split, first))
        found[split] = {
            "names": list(table.names(split)),
            "partners": table.partners(split),
            "labels": table.labels(split, rows).tolist() if table.label_sets else [],
        } | {key: pictures(table, split, key) for key in table.keys}
    return found


def pictures(table: Table, split: str, key: str) -> list[list[bytes]]:
    """The bytes of all files of a key in a split."""
    return [
        [blob.open().read() for blob in table.blobs(split, key, row)]
        for row in range(table.count(split, key))
    ]


class Reference(Table):
    """A table of rows in memory, to hold a pack against.

    rows: by split, of (name, {key: files}, classes). others: by split, files of b, if a and b are
    apart.
    """

    def __init__(
        self,
        rows: dict[str, list],
        keys: tuple[str, ...] = ("a", "b"),
        others: dict[str, list] | None = None,
        **given: Any,
    ) -> None:
        self._rows, self.keys, self._others = rows, keys, others
        self.name, self.problems, self.label_sets, self.halves = "reference", [], {}, {}
        self.splits = tuple(rows)
        for name, value in given.items():
            setattr(self, name, value)

    def count(self, split: str, key: str) -> int:
        if key == "b" and self._others is not None:
            return len(self._others[split])
        return len(self._rows[split])

    def blobs(self, split: str, key: str, row: int) -> tuple[Blob, ...]:
        if key == "b" and self._others is not None:
            return self._others[split][row]
        return self._rows[split][row][1][key]

    def names(self, split: str) -> list[str]:
        return [name for name, _, _ in self._rows[split]]

    def partners(self, split: str) -> bool:
        return self._others is None

    def labels(self, split: str, rows: np.ndarray) -> np.ndarray:
        return np.array([self._rows[split][row][2] for row in rows], np.int64)

    def digest(self) -> str:
        return "reference"


def memory(data: bytes, suffix: str = ".png") -> tuple[Blob, ...]:
    """One picture in memory."""
    return (Blob("memory", member=f"picture{suffix}", data=data),)


def save(path: Path, seed: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(seed, mode))


def two_folders(root: Path) -> dict:
    for split, count in (("train", 7), ("test", 3)):
        for n in range(count):
            save(root / f"{split}A" / f"sub.dir/picture {n}.v2.png", n)
            save(root / f"{split}B" / f"sub.dir/picture {n}.v2.png", 100 + n)
            save(root / f"{split}_map" / f"sub.dir/picture {n}.v2.png", 200 + n, "L")
    return {}


def reference(count: int = 5, **given: Any) -> Reference:
    rows = {
        split: [
            (f"{split}/{n}", {key: memory(png(at + 2 * n + k)) for k, key in enumerate("ab")}, ())
            for n in range(count)
        ]
        for at, split in ((0, "train"), (100, "val"), (200, "test"))
    }
    return Reference(rows, **given)


def alike(one: Table, other: Table) -> None:
    """Both hold the same, and say the same of it."""
    assert contents(one) == contents(other)
    for name in ("name", "keys", "splits", "halves", "label_sets", "problems"):
        assert getattr(one, name) == getattr(other, name), name
    assert dict(one.kinds) == dict(other.kinds)


def several_labels(root: Path) -> dict:
    lines = ["file,species,age"]
    for n in range(12):
        save(root / "pictures" / f"{n}.png", n)
        lines.append(f"{n}.png,{('cat', 'dog', '')[n % 3]},{n % 4}")
    (root / "labels.csv").write_text("\n".join(lines))
    return {"data": str(root / "pictures"), "labels": str(root / "labels.csv")}
