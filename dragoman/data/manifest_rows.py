"""The files that rows of a manifest name: checked one by one, kept in columns."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dragoman.data.file_table import Column, Group
from dragoman.data.names import Names
from dragoman.data.records import Cell, shorten
from dragoman.data.scan import SUFFIXES, wrong_name
from dragoman.data.splits import INTS, completed
from dragoman.data.table import SPLITS


@dataclass(frozen=True)
class RowFiles:
    """The files of all rows for keys that go together.

    depths: how many files are stacked for each key. arrays: the names of each file of a row, in
    the order of keys, then the codes of their endings likewise, then the split of each row.
    """

    depths: dict[str, int]
    endings: tuple[str, ...]
    arrays: Sequence[bytes | memoryview]

    @property
    def empty(self) -> bool:
        """Whether there is no row."""
        return not len(self.arrays[-1])

    def check(self) -> None:
        """Raise ValueError if the arrays do not fit together."""
        count = sum(self.depths.values())
        names, codes, splits = self.arrays[:count], self.arrays[count:-1], self.arrays[-1]
        if len(names) != len(codes) or max(splits, default=0) >= len(SPLITS):
            raise ValueError("arrays do not fit")
        for text, code in zip(names, codes, strict=True):
            if not len(Names.lines(text)) == len(code) == len(splits):
                raise ValueError("rows do not fit")
            if max(code, default=0) >= len(self.endings):
                raise ValueError("codes do not fit")

    def group(self, root: str) -> Group:
        """Return the files by key. root: the folder of the manifest."""
        count = sum(self.depths.values())
        columns = [
            Column(root, Names.lines(names), np.frombuffer(codes, np.uint8), self.endings)
            for names, codes in zip(self.arrays[:count], self.arrays[count:-1], strict=True)
        ]
        found: Group = {}
        for key, depth in self.depths.items():
            found[key], columns = tuple(columns[:depth]), columns[depth:]
        return found

    def by_split(self, names: Names) -> dict[str, INTS]:
        """Return the rows of each split; what no row is for is held out of train by its name."""
        splits = np.frombuffer(self.arrays[-1], np.uint8)
        rows = {split: np.flatnonzero(splits == n) for n, split in enumerate(SPLITS)}
        given = {split: own for split, own in rows.items() if len(own) or split == "train"}
        return completed(given, names)


class RowReader:
    """Takes rows one by one, for keys that go together.

    columns: of each key, the columns whose files are stacked, by name and place in a row.
    folders: those in which files were found.
    """

    def __init__(self, folder: Path, columns: Mapping[str, Sequence[tuple[str, int]]]) -> None:
        self._root, self._top = str(folder), os.path.abspath(folder)
        self._columns = columns
        self._depths: dict[str, int] = {}
        self._names: list[bytearray] = []
        self._codes: list[bytearray] = []
        self._endings: dict[str, int] = {}
        self._splits = bytearray()
        self.folders: set[str] = set()

    def __len__(self) -> int:
        """How many rows were taken."""
        return len(self._splits)

    def files(self, cells: list[Cell]) -> tuple[dict[str, list[str]], str]:
        """Return the files of a row by key, or why it is left out; neither if it names none."""
        found: dict[str, list[str]] = {}
        gap, some = "", False
        for key, columns in self._columns.items():
            found[key] = texts = []
            for column, place in columns:
                cell = cells[place]
                texts += cell if isinstance(cell, list) else [cell]
                if not cell or not texts[-1]:
                    gap = f"{shorten(column)} is empty; name a file, or take the row out"
                else:
                    some = True
        if not some or gap:
            return {}, gap if some else ""
        for key, texts in found.items():
            if len(texts) != self._depths.get(key, len(texts)):
                return {}, (
                    f"{key} has {len(texts)} files, but {self._depths[key]} in earlier rows; stack "
                    "equally many in all"
                )
            for place, text in enumerate(texts):
                texts[place], wrong = self._checked(text)
                if wrong:
                    return {}, wrong
        return found, ""

    def _checked(self, text: str) -> tuple[str, str]:
        """The path of a file within the folder of the manifest, or why it is refused."""
        plain = text.isascii() and text.isprintable() and text[:1] not in "/."
        if not plain or "/." in text or "//" in text or os.sep != "/":
            if not text or wrong_name(text):
                return "", f"{shorten(text)} {wrong_name(text) or 'is empty; name a file'}"
            path = os.path.normpath(os.path.join(self._top, text))
            if not path.startswith(os.path.join(self._top, "")):
                return "", (
                    f"{shorten(text)} leads out of the folder of the manifest; move the manifest "
                    "up, into a folder that holds all its pictures"
                )
            text = os.path.relpath(path, self._top).replace(os.sep, "/")
        if not text.lower().endswith(SUFFIXES):
            return "", f"{shorten(text)} is no picture that can be read ({', '.join(SUFFIXES)})"
        try:
            found = os.stat(f"{self._top}/{text}")
        except (FileNotFoundError, NotADirectoryError):
            hint = "; write paths with / instead of \\" if "\\" in text else ""
            return "", f"{shorten(text)} does not exist below {self._root}{hint}"
        except OSError as error:
            return "", f"{shorten(text)} cannot be read ({error.strerror})"
        if not stat.S_ISREG(found.st_mode):
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
            return "", f"{shorten(text)} is {kind}, not a picture"
        self.folders.add(text.rpartition("/")[0])
        return text, ""

    def add(self, files: dict[str, list[str]], split: str) -> None:
        """Take a row whose files are in order."""
        paths = [path for texts in files.values() for path in texts]
        if not self._names:
            self._depths = {key: len(texts) for key, texts in files.items()}
            self._names = [bytearray() for _ in paths]
            self._codes = [bytearray() for _ in paths]
        for names, codes, path in zip(self._names, self._codes, paths, strict=True):
            stem, _, ending = path.rpartition(".")
            names += stem.encode()
            names += b"\n"
            codes.append(self._endings.setdefault(ending, len(self._endings)))
        self._splits.append(SPLITS.index(split))

    def finish(self) -> RowFiles:
        """Return what was taken."""
        arrays = [bytes(part) for part in (*self._names, *self._codes, self._splits)]
        return RowFiles(self._depths, tuple(f".{ending}" for ending in self._endings), arrays)
