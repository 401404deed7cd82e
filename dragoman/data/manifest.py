"""A manifest: a CSV or JSONL file whose rows name the files of pictures, their classes and splits.

A manifest may come from a stranger, so it can name files below its own folder and no others.
Links in that folder are followed: they are the user's.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dragoman.data.assembling import together
from dragoman.data.file_table import FileTable, Group, take
from dragoman.data.index_cache import LEAST, keep, recall, stamp
from dragoman.data.label_sets import LABELS, LabelColumn, disagreement, finish
from dragoman.data.manifest_rows import RowFiles, RowReader
from dragoman.data.records import Cell, Records, listed_columns, open_records, shorten
from dragoman.data.scan import SUFFIXES
from dragoman.data.settings import DataSettings, by_key
from dragoman.data.splits import INTS
from dragoman.data.table import PICTURE_KEYS, PIXEL_KEYS, SPLITS
from dragoman.errors import DataError, SettingsError

KEYS = (*PICTURE_KEYS, *PIXEL_KEYS)
_SPELLINGS = {split: split for split in SPLITS} | {"valid": "val", "validation": "val"}
_REMEDY = "say which column is which with --columns, as --columns a=COLUMN,b=COLUMN"


@dataclass(frozen=True)
class _Meaning:
    """What columns hold. files: of each key, to be stacked. labels: of each label set."""

    files: dict[str, list[str]]
    labels: dict[str, str]
    split: str | None

    def columns(self) -> list[str]:
        """All columns that are read, each once."""
        files = [column for columns in self.files.values() for column in columns]
        split = [self.split] if self.split else []
        return list(dict.fromkeys([*files, *self.labels.values(), *split]))


@dataclass(frozen=True)
class _Content:
    """What a manifest says. columns: those of each key. numbers: classes, [rows, label sets]."""

    columns: dict[str, list[str]]
    groups: list[RowFiles]
    label_sets: dict[str, tuple[str, ...]]
    numbers: LABELS
    problems: list[str]


def open_manifest(settings: DataSettings) -> FileTable:
    """Read a manifest.

    Raises DataError if it cannot be read or lacks columns or rows. Rows with a fault are left out
    and told in `problems`.
    """
    path, paired = Path(settings.data), settings.pairing == "paired"
    if not os.path.isfile(path):
        raise DataError(f"--layout manifest needs a file .csv or .jsonl; {path} is none")
    content = _content(path, settings.columns, paired)
    files: dict[str, Group] = {split: {} for split in SPLITS}
    rows = [_spread(group, path, content.problems, files) for group in content.groups]
    return FileTable(
        path.stem,
        files,
        {key: f"{path}:{'+'.join(names)}" for key, names in content.columns.items()},
        paired=paired or "b" not in content.columns,
        label_sets=content.label_sets,
        labels={s: content.numbers[own] for s, own in rows[0].items() if content.label_sets},
        problems=content.problems,
    )


def _spread(
    group: RowFiles, path: Path, problems: list[str], files: dict[str, Group]
) -> dict[str, INTS]:
    """Put files into their splits and return the rows of each; raises DataError without any."""
    if group.empty:
        reason = f"; {problems[0]}" if problems else ""
        raise DataError(f"{path} has no row that can be used{reason}")
    columns = group.group(str(path.parent))
    found = group.by_split(next(iter(columns.values()))[0].names)
    for split, own in found.items():
        if not len(own):
            raise DataError(
                f"{path} has no row left for {split}; at least 3 are needed where val and test are "
                "held out of train"
            )
        files[split] |= take(columns, own)
    return found


def _content(path: Path, columns: str | None, paired: bool) -> _Content:
    """Read a manifest, or take what is known of it from the cache."""
    key = json.dumps(["manifest", os.path.abspath(path), columns, paired, SUFFIXES])
    known = recall(key, _made)
    if known is not None:
        return known
    began = time.time_ns()
    content, folders = _read(path, columns, paired)
    if not content.problems and sum(len(g.arrays[-1]) for g in content.groups) >= LEAST:
        watched = [os.path.join(path.parent, folder) for folder in sorted(folders)]
        with contextlib.suppress(OSError):
            _keep(key, content, [str(path), *watched], began)
    return content


def _made(about: dict[str, Any], arrays: list[memoryview]) -> _Content:
    """Put together what was kept; raises ValueError if its parts do not fit."""
    *parts, last = arrays
    groups = []
    for depths, endings, count in about["groups"]:
        groups.append(RowFiles(depths, tuple(endings), parts[:count]))
        groups[-1].check()
        parts = parts[count:]
    sets = {name: tuple(classes) for name, classes in about["label_sets"].items()}
    numbers = np.frombuffer(last, np.int32).reshape(about["shape"])
    if sets and numbers.shape != (len(groups[0].arrays[-1]), len(sets)):
        raise ValueError("labels do not fit")
    return _Content(dict(about["columns"]), groups, sets, numbers, [])


def _keep(key: str, content: _Content, watched: list[str], began: int) -> None:
    about = {
        "columns": content.columns,
        "groups": [(g.depths, g.endings, len(g.arrays)) for g in content.groups],
        "label_sets": content.label_sets,
        "shape": content.numbers.shape,
    }
    arrays = [part for group in content.groups for part in group.arrays]
    stamps = array("q", (number for place in watched for number in stamp(place)))
    watched = [os.path.abspath(place) for place in watched]
    keep(key, about, [*arrays, content.numbers.tobytes()], watched, stamps, began)


def _read(path: Path, columns: str | None, paired: bool) -> tuple[_Content, set[str]]:
    """Read a manifest; also return the folders in which its files are."""
    records = open_records(path)
    meaning = _meaning(records, columns)
    names = meaning.columns()
    places = {name: place for place, name in enumerate(names)}
    groups = [
        RowReader(path.parent, {k: [(c, places[c]) for c in meaning.files[k]] for k in keys})
        for keys in together(tuple(meaning.files), paired)
    ]
    labels = {
        name: LabelColumn(f"column {shorten(c)} of {path}") for name, c in meaning.labels.items()
    }
    words = [places[column] for column in meaning.labels.values()]
    split = places[meaning.split] if meaning.split else None
    lines = array("q")  # of the rows that have labels
    for line, cells in records.rows(names):
        wrong = _take(cells, split, words, groups, list(labels.values()))
        if wrong:
            records.problem(line, wrong)
        elif len(groups[0]) > len(lines):
            lines.append(line)
    files = [group.finish() for group in groups]
    sets, numbers = finish(labels) if not files[0].empty else ({}, finish({})[1])
    if sets:
        _compare(records, files[0], lines, sets, numbers)
    folders = {folder for group in groups for folder in group.folders}
    return _Content(meaning.files, files, sets, numbers, records.all_problems()), folders


def _meaning(records: Records, text: str | None) -> _Meaning:
    """Tell from the settings, or else from the names of columns, what they hold."""
    split = "split" if "split" in records.columns else None
    if text is None:
        files = {key: [key] for key in KEYS if key in records.columns}
        labels = {
            column.removeprefix("label_"): column
            for column in sorted(records.columns, key=lambda column: column != "label")
            if column == "label" or column.startswith("label_")
        }
    else:
        given = columns_by_key(text, (*KEYS, "label", "split"))
        records.need([column for columns in given.values() for column in columns], _REMEDY)
        files = {key: given[key] for key in KEYS if key in given}
        labels = {column: column for column in given.get("label", [])}
        split = given["split"][0] if "split" in given else split
    if not any(key in PICTURE_KEYS for key in files):
        raise DataError(
            f"{records.path} has no column a, b or image with the files of pictures; it has "
            f"{listed_columns(records.columns)}; {_REMEDY}"
        )
    return _Meaning(files, labels, split)


def columns_by_key(text: str, keys: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the columns of each key of --columns "a=red+nir,b=photo"; raises SettingsError."""
    if "=" not in text:
        raise SettingsError(f"--columns '{text}' must be KEY=COLUMN, such as {keys[0]}={text}")
    found = by_key("columns", text, keys)
    return {key: [column.strip() for column in names.split("+")] for key, names in found.items()}


def _take(
    cells: list[Cell],
    split: int | None,
    words: list[int],
    groups: list[RowReader],
    labels: list[LabelColumn],
) -> str:
    """Add a row to its groups, or say why it is left out. split, words: places of cells."""
    part = "train"
    if split is not None:
        word = cells[split]
        part = _SPELLINGS.get(word, "") if isinstance(word, str) else ""
        if not part:
            return f"the split is {shorten(str(word))}; write train, val or test"
    for place in words:
        if isinstance(cells[place], list):
            return "a class must be one text, not a list; use a column for each label set"
    found = []
    for group in groups:
        files, wrong = group.files(cells)
        if wrong:
            return wrong
        found.append(files)
    if not any(found):
        return "names no file; take the row out"
    for group, files in zip(groups, found, strict=True):
        if files:
            group.add(files, part)
    if found[0]:
        for column, place in zip(labels, words, strict=True):
            column.add(str(cells[place]))
    return ""


def _compare(
    records: Records,
    files: RowFiles,
    lines: array[int],
    sets: dict[str, tuple[str, ...]],
    numbers: LABELS,
) -> None:
    """Tell of rows that give the same files other classes than an earlier row. lines: of rows."""
    columns = [column for stack in files.group("").values() for column in stack]
    paths = zip(*(column.paths() for column in columns), strict=True)
    hashes = np.fromiter((hash(row) for row in paths), np.int64, len(lines))
    _, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    for row in np.flatnonzero(first[place] != np.arange(len(place))).tolist():
        other = int(first[place[row]])
        found = disagreement(sets, numbers[row], numbers[other])
        if found and all(column.path(row) == column.path(other) for column in columns):
            name = shorten(columns[0].path(row).removeprefix("/"))
            records.problem(
                lines[row], f"{name} is {found} on line {lines[other]}; keep the row that is right"
            )
