"""Pictures that lie in files of their own: by split, batch key and row, in columns of names."""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dragoman.data.blob import Blob
from dragoman.data.names import Names
from dragoman.data.table import Table

INTS = NDArray[np.int64]
NONE: Mapping = MappingProxyType({})


@dataclass(frozen=True)
class Column:
    """Files by row: `root`/`names[row]` with the suffix `endings[codes[row]]`."""

    root: str
    names: Names
    codes: NDArray[np.uint8]
    endings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def path(self, row: int) -> str:
        """Return the path of one file."""
        return f"{self.root}/{self.names[row]}{self.endings[self.codes[row]]}"

    def paths(self) -> Iterator[str]:
        """Yield the paths of all files in order."""
        root, endings = self.root, self.endings
        for name, code in zip(self.names, self.codes.data, strict=True):
            yield f"{root}/{name}{endings[code]}"


Stack = tuple[Column, ...]  # the files of one key; several are stacked along the channels
Group = dict[str, Stack]  # keys that have equal rows


def take(group: Group, rows: INTS) -> Group:
    """Return some rows of all files of a group; names that columns share stay shared."""
    names: dict[int, Names] = {}

    def taken(column: Column) -> Column:
        if id(column.names) not in names:
            names[id(column.names)] = column.names.take(rows)
        own = names[id(column.names)]
        return Column(column.root, own, column.codes[rows], column.endings)

    return {key: tuple([taken(column) for column in stack]) for key, stack in group.items()}


class FileTable(Table):
    """A table of single files.

    files: of each split and key; all keys have equal rows, unless unpaired, where b has its own.
    places: where the pictures of each key are, for messages. labels: of each split, classes
    [rows, label sets].
    """

    def __init__(
        self,
        name: str,
        files: Mapping[str, Mapping[str, Stack]],
        places: Mapping[str, str],
        *,
        paired: bool = True,
        halves: Mapping[str, str] = NONE,
        kinds: Mapping[str, str] = NONE,
        label_sets: Mapping[str, tuple[str, ...]] = NONE,
        labels: Mapping[str, NDArray[np.int32]] = NONE,
        problems: Iterable[str] = (),
    ) -> None:
        self.name = folder_name(name if paired else f"{name}-unpaired")
        self.files, self._places, self._paired, self._labels = files, places, paired, labels
        self.keys, self.splits = tuple(files["train"]), tuple(files)
        self.halves, self.kinds, self.label_sets = dict(halves), kinds, dict(label_sets)
        self.problems = list(problems)

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a key has in a split."""
        return len(self.files[split][key][0])

    def blobs(self, split: str, key: str, row: int) -> tuple[Blob, ...]:
        """Return the files of one picture; several are stacked along the channels."""
        return tuple([Blob(column.path(row)) for column in self.files[split][key]])

    def names(self, split: str) -> Names:
        """Return the path of each picture of the first key within its folder, without suffix."""
        return self.files[split][self.keys[0]][0].names

    def partners(self, split: str) -> bool:
        """True if equal rows of all keys show the same thing."""
        return self._paired

    def labels(self, split: str, rows: INTS) -> INTS:
        """Return the class in each label set, [len(rows), label sets]; UNKNOWN if not known."""
        return self._labels[split][rows].astype(np.int64)

    def set_labels(
        self, label_sets: Mapping[str, tuple[str, ...]], labels: Mapping[str, NDArray[np.int32]]
    ) -> None:
        """Give all pictures their classes: of each split [rows, label sets]."""
        self.label_sets, self._labels = dict(label_sets), labels

    def folders(self, key: str) -> str:
        """Say where the pictures of a key are."""
        return self._places[key]

    def digest(self) -> str:
        """Return a hash of the names, suffixes and classes in each split, not of the folders."""
        found = hashlib.sha1(repr(self.label_sets).encode())
        for split, by_key in self.files.items():
            for key, stack in by_key.items():
                for column in stack:
                    found.update(f"{split} {key} {column.endings}\n".encode())
                    found.update(column.names.packed())
                    found.update(column.codes.tobytes())
            if split in self._labels:
                found.update(self._labels[split].tobytes())
        return found.hexdigest()

    def paths(self, split: str, key: str) -> Iterator[str]:
        """Yield the paths of all files of a key in a split, by row, and in a row by channels."""
        stack = self.files[split][key]
        if len(stack) == 1:
            return stack[0].paths()
        rows = zip(*(column.paths() for column in stack), strict=True)
        return (path for row in rows for path in row)


def folder_name(text: str) -> str:
    """Return a text as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "pictures"


def file_states(table: Table) -> INTS:
    """Return size in bytes and time of change in nanoseconds of every file, [files, 2].

    By split, key, row and place in the stack; -1 where there is no file. Keys that are halves of
    the same files count once. A file that is altered shows in at least one of the two. Of bytes
    that lie in no file of their own there are length and checksum. Where a table says which files
    hold all its pictures, these count, in their order.
    """
    containers = table.containers()
    if containers is not None:
        return np.array([_state(path) for path in containers], np.int64).reshape(-1, 2)
    states = array("q")
    known: dict[str, tuple[int, int]] = {}  # of archives, in which many pictures share a file
    keys = [key for key in table.keys if table.halves.get(key) != "right"]
    for split in table.splits:
        for key in keys:
            if isinstance(table, FileTable):
                for path in table.paths(split, key):
                    states.extend(_state(path))
                continue
            for row in range(table.count(split, key)):
                for blob in table.blobs(split, key, row):
                    if blob.data is not None:
                        states.extend((len(blob.data), zlib.crc32(blob.data)))
                        continue
                    if blob.path not in known:
                        known[blob.path] = _state(blob.path)
                    states.extend(known[blob.path])
    return np.array(states, np.int64).reshape(-1, 2)


def _state(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns
