"""The classes of single pictures, from a CSV file with a row for each."""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragoman.data.file_table import Column, FileTable
from dragoman.data.label_sets import LABELS, LabelColumn, disagreement, finish
from dragoman.data.manifest import columns_by_key
from dragoman.data.names import Names, matched
from dragoman.data.records import Records, open_records, shorten
from dragoman.data.scan import SUFFIXES
from dragoman.data.settings import DataSettings
from dragoman.data.splits import INTS
from dragoman.data.table import UNKNOWN
from dragoman.errors import DataError

FILE = "file"  # the column with the paths of pictures


def add_labels(table: FileTable, folder: Path, settings: DataSettings) -> None:
    """Give the pictures below a folder the classes that the file settings.labels says.

    Pictures without row, and empty cells, are of unknown class. Rows that name no picture become
    problems. Raises DataError if the file cannot be read or lacks columns.
    """
    path = Path(str(settings.labels))
    if not os.path.isfile(path):
        raise DataError(f"--labels {path} is no file; it must be a CSV with a column '{FILE}'")
    records = open_records(path)
    column, sets = _columns(records, settings)
    labels = {name: LabelColumn(f"column {shorten(name)} of {path}") for name in sets}
    rows, numbered = _Rows(), list(enumerate(labels.values(), start=1))
    for line, cells in records.rows([column, *sets]):
        file = cells[0]
        if not file or list in map(type, cells):
            records.problem(
                line, f"{shorten(column)} must name a picture, and each class be one text"
            )
            continue
        rows.add(line, str(file))
        for place, each in numbered:
            each.add(str(cells[place]))
    classes, numbers = finish(labels)
    found = rows.found(table, folder, records, classes, numbers)
    known = np.vstack([numbers, np.full((1, len(sets)), UNKNOWN, np.int32)])  # row -1 is unknown
    table.set_labels(classes, {split: known[own] for split, own in found.items()})
    table.problems += records.all_problems()


def _columns(records: Records, settings: DataSettings) -> tuple[str, list[str]]:
    """The column of files and those of label sets, as named or else all others."""
    given = columns_by_key(settings.columns, (FILE, "label")) if settings.columns else {}
    file = given.get(FILE, [FILE])[0]
    records.need([file], f"name that of the pictures with --columns {FILE}=COLUMN")
    sets = given.get("label") or [column for column in records.columns if column != file]
    records.need(sets, "name those of classes with --columns label=COLUMN")
    if not sets:
        raise DataError(f"{records.path} has no column of classes beside {shorten(file)}; add one")
    return file, sets


class _Rows:
    """The pictures that rows name, with or without their suffix."""

    def __init__(self) -> None:
        self._stems: list[bytes] = []
        self._endings = array("h")  # number of the suffix in _known
        self._lines = array("q")
        self._known: dict[str, int] = {"": 0}

    def add(self, line: int, file: str) -> None:
        """Take the path of a picture."""
        stem, dot, ending = file.removeprefix("./").rpartition(".")
        number = self._known.get(ending) if dot else 0
        if number is None:
            known = f".{ending}".lower() in SUFFIXES
            number = self._known.setdefault(ending, len(self._known)) if known else 0
        stem = stem if number else file.removeprefix("./")
        self._stems.append(stem.replace("\n", " ").encode("utf-8", "replace"))
        self._endings.append(number)
        self._lines.append(line)

    def found(
        self,
        table: FileTable,
        folder: Path,
        records: Records,
        classes: Mapping[str, tuple[str, ...]],
        numbers: LABELS,
    ) -> dict[str, INTS]:
        """Return, for each picture of each split, the number of its row, or -1.

        classes, numbers: what rows say of their pictures, for messages.
        """
        order = np.array(sorted(range(len(self._stems)), key=self._stems.__getitem__), np.int64)
        names = Names.of([self._stems[row] for row in order])
        same = [one == other for one, other in pairwise(names.encoded())]
        again = np.array([False, *same][: len(order)], bool)
        before = np.roll(order, 1)
        self._tell_again(records, order[again], before[again], classes, numbers)
        order, names = order[~again], names.take(np.flatnonzero(~again))
        columns = [table.files[split]["image"][0] for split in table.splits]
        target, several = _targets(names, columns, folder)
        self._tell(
            records,
            order[several],
            f"is the name of pictures in several splits; write the path from {folder} on",
        )
        lost = (target < 0) & ~several
        self._tell(records, order[lost], f"is no picture of {folder}; mend the path")
        given = np.frombuffer(self._endings, np.int16)[order]
        wrong = (target >= 0) & (given > 0) & (given != self._suffixes(columns)[target])
        self._tell(records, order[wrong], "has another suffix than the picture of this name")
        target[wrong] = -1
        _, first, place = np.unique(target, return_index=True, return_inverse=True)
        twice = np.ones(len(target), bool)
        twice[first] = target[first] < 0
        twice &= target >= 0
        self._tell_again(records, order[twice], order[first[place[twice]]], classes, numbers)
        rows = np.full(sum(map(len, columns)), -1)
        sound = (target >= 0) & ~twice
        rows[target[sound]] = order[sound]
        parts = np.split(rows, np.cumsum([len(column) for column in columns])[:-1])
        return dict(zip(table.splits, parts, strict=True))

    def _suffixes(self, columns: list[Column]) -> NDArray[np.int64]:
        """For each picture the number of its suffix in _known, -1 if no row has such."""
        numbers = [
            np.array([self._known.get(ending[1:], -1) for ending in column.endings])[column.codes]
            for column in columns
        ]
        return np.concatenate(numbers)

    def _tell_again(
        self,
        records: Records,
        rows: INTS,
        others: INTS,
        classes: Mapping[str, tuple[str, ...]],
        numbers: LABELS,
    ) -> None:
        """Tell of rows whose picture another row names too, and whether their classes agree."""
        for row, other in sorted(zip(rows.tolist(), others.tolist(), strict=True)):
            name = shorten(self._stems[row].decode())
            disagreeing = disagreement(classes, numbers[row], numbers[other])
            words = "is named a second time; remove one of the rows"
            if disagreeing:
                words = f"is {disagreeing} on line {self._lines[other]}; keep the row that is right"
            records.problem(self._lines[row], f"{name} {words}")

    def _tell(self, records: Records, rows: INTS, words: str) -> None:
        for row in np.sort(rows).tolist():
            records.problem(self._lines[row], f"{shorten(self._stems[row].decode())} {words}")


def _targets(names: Names, columns: list[Column], folder: Path) -> tuple[INTS, NDArray[np.bool_]]:
    """For each name the picture it means, counted through all columns, or -1; and if several.

    A name is a path from `folder` on, or else from the folder of its split on.
    """
    target, several = np.full(len(names), -1), np.zeros(len(names), bool)
    starts = np.cumsum([0, *map(len, columns)])
    for short in (False, True):
        candidate, hits = np.full(len(names), -1), np.zeros(len(names), int)
        for column, start in zip(columns, starts, strict=False):
            inner = os.path.relpath(column.root, folder)
            prefix = "" if inner == "." else f"{inner}/"
            if short and not prefix:
                continue
            low, high = (0, len(names)) if short else names.under(prefix)
            keys = names[low:high].cut(front=0 if short else len(prefix.encode()))
            own, theirs = matched([column.names, keys])
            candidate[low + theirs] = start + own
            hits[low + theirs] += 1
        fresh = target < 0
        target[fresh & (hits == 1)] = candidate[fresh & (hits == 1)]
        several |= fresh & (hits > 1)
    return target, several
