"""Domains that hold the same pictures: between equal domains there is nothing to learn."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dragoman.data.class_folders import ClassTable
from dragoman.data.doctor.copies import INTS, exact
from dragoman.data.doctor.findings import MOST_EXAMPLES, Finding, times
from dragoman.data.doctor.statistics import ByPlace
from dragoman.data.doctor.subject import FileSubject, Subject, Trouble
from dragoman.data.domain_labels import (
    FEWEST,
    lone_classes,
    lone_domain_line,
    lone_line,
    unseen_classes,
)
from dragoman.data.file_table import Column, FileTable
from dragoman.data.table import SPLITS, Table

FOLDERS = "put other pictures into one of them, or take one of the two folders out"
CLASSES = "keep each picture in the one class to which it belongs"
MOST_READ = 20_000  # files of one length; of more it would take minutes to tell which are equal


def domain_troubles(subject: FileSubject) -> Iterator[Trouble]:
    """Yield what is wrong with domains: equal ones, and those of too few pictures.

    Of labels from a table it is not known that they are domains, unless a setting says so.
    """
    yield from _equal(subject)
    if subject.keys[:2] == ("a", "b") and not subject.partners("train"):
        for key in "ab":
            if (count := subject.count("train", key)) < FEWEST:
                yield "lone_domain", lone_domain_line(subject.table.folders(key), count)
    settings = subject.settings
    alone = settings.balanced and len(subject.label_sets) == 1  # else it is not known which
    if subject.label_sets and (alone or settings.unseen):
        named, unseen = unseen_classes(settings, subject.name, subject.label_sets)
        place = list(subject.label_sets).index(named) if named else 0
        label_set, classes = list(subject.label_sets.items())[place]
        labels = _labels(subject, "train", place)
        for name, count in lone_classes(classes, labels, unseen):
            yield "lone_class", lone_line(subject.name, label_set, name, count)


def _labels(subject: Subject, split: str, place: int = 0) -> INTS:
    """The classes, in the label set at that place, of all pictures of a split."""
    rows = np.arange(subject.count(split, subject.keys[0]))
    labels = subject.labels(split, rows)
    return np.full(len(rows), -1) if labels is None else labels[:, place]


class _Files:
    """All files of a table that has domains; each has a number, which counts through its parts.

    domain: of each file. train: it is in the training split. size: in bytes, -1 if unknown.
    """

    def __init__(self, parts: list[tuple[str, Column, INTS]], names: list[str]) -> None:
        self._columns = [column for _, column, _ in parts]
        self._starts = np.cumsum([0, *map(len, self._columns)])
        self.names = names
        self.domain = np.concatenate([domains for _, _, domains in parts])
        self.train = np.concatenate([np.full(len(c), split == "train") for split, c, _ in parts])
        paths = (path for column in self._columns for path in column.paths())
        self.size = np.fromiter((_size(path) for path in paths), np.int64, len(self.domain))
        self._by_size = np.argsort(self.size, kind="stable")
        self._lengths: dict[int, set[int]] = {}
        for code in np.unique(self.size * len(names) + self.domain).tolist():
            size, domain = divmod(code, len(names))
            self._lengths.setdefault(size, set()).add(domain)
        self._equals: dict[int, dict[int, int]] = {}  # of each file that was read

    def path(self, number: int) -> str:
        """Return the path of a file."""
        part = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._columns[part].path(number - int(self._starts[part]))

    def alike(self, number: int) -> set[int]:
        """Return the domains that have a file of the same length."""
        return self._lengths[int(self.size[number])]

    def equals(self, number: int) -> dict[int, int]:
        """Return the first file, by domain, of the same bytes; none if too many were to be read."""
        if number not in self._equals:
            size = int(self.size[number])
            first, last = np.searchsorted(self.size, [size, size + 1], sorter=self._by_size)
            same_size = self._by_size[first:last].tolist() if last - first <= MOST_READ else []
            found: dict[bytes, dict[int, int]] = {}
            for other in same_size:
                self._equals[other] = found.setdefault(_content(self.path(other)), {})
                self._equals[other].setdefault(int(self.domain[other]), other)
        return self._equals.get(number, {})


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _files(table: FileTable) -> _Files | None:
    """The files of a table by domain, if it has several domains."""
    splits = [split for split in SPLITS if split in table.splits]
    if isinstance(table, ClassTable):
        (classes,), column = table.label_sets.values(), table.files["train"]["image"][0]
        parts = [
            (split, table.files[split]["image"][0], table.labels(split, np.arange(count))[:, 0])
            for split in splits
            if (count := table.count(split, "image"))
        ]
        return _Files(parts, [f"{column.root}/{name}" for name in classes])
    single = all(len(stack) == 1 for stack in table.files["train"].values())
    if table.partners("train") or not single or table.halves:
        return None
    parts = []
    for domain, key in enumerate("ab"):
        columns = [(split, table.files[split][key][0]) for split in splits]
        parts += [(split, column, np.full(len(column), domain)) for split, column in columns]
    return _Files(parts, [table.folders(key) for key in "ab"])


def _equal(subject: FileSubject) -> Iterator[Trouble]:
    """Yield pairs of domains of which one has all training pictures of the smaller, to the byte."""
    files = _files(subject.table) if isinstance(subject.table, FileTable) else None
    if files is not None:
        yield from (("same_domain", line) for line in _equal_lines(files))


def equal_classes(table: Table, label_set: str) -> list[str]:
    """Return a line for each pair of classes of labels from a table that hold the same pictures.

    Classes that are folders are told by `domain_troubles`.
    """
    if not isinstance(table, FileTable) or isinstance(table, ClassTable):
        return []
    if len(table.files["train"].get("image", ())) != 1:
        return []
    classes, place = table.label_sets[label_set], list(table.label_sets).index(label_set)
    parts = []
    for split in (split for split in SPLITS if split in table.splits):
        labels = table.labels(split, np.arange(table.count(split, "image")))
        if labels is not None and len(labels):
            own = np.where(labels[:, place] < 0, len(classes), labels[:, place])
            parts.append((split, table.files[split]["image"][0], own))
    names = [f"the class '{name}' of '{label_set}'" for name in classes]
    return list(_equal_lines(_Files(parts, [*names, "no class"]), len(classes)))


def _equal_lines(files: _Files, most: int | None = None) -> Iterator[str]:
    """What to say of such pairs; most: as many domains count, the last is none."""
    order = np.flatnonzero(files.train)
    order = order[np.argsort(files.domain[order], kind="stable")]
    counts = np.bincount(files.domain[order], minlength=len(files.names))
    told: set[frozenset[int]] = set()
    for small, own in enumerate(np.split(order, np.cumsum(counts)[:-1])[:most]):
        for large, twin in sorted(_holders(files, own).items() if len(own) else ()):
            pair = frozenset((small, large))
            if counts[small] <= counts[large] and pair not in told and large != most:
                told.add(pair)
                first, second = files.names[small], files.names[large]
                yield (
                    f"{first} and {second} hold the same pictures: {_whole(len(own))} of the first "
                    f"in the second too, such as {files.path(int(own[0]))} = {files.path(twin)}; "
                    + (FOLDERS if most is None else CLASSES)
                )


def _whole(count: int) -> str:
    return f"all {count:,} training pictures" if count > 1 else "the only training picture"


def _holders(files: _Files, own: INTS) -> dict[int, int]:
    """The other domains that have all of some files of one, and the equal of the first of them."""
    own_domain, numbers = int(files.domain[own[0]]), own.tolist()
    for found in (files.alike, files.equals):  # first by length, so that hardly any are read
        others = {domain for domain in found(numbers[0]) if domain != own_domain}
        for number in numbers[1:]:
            if not others:
                return {}
            others &= set(found(number))
    first = files.equals(numbers[0])
    return {domain: first[domain] for domain in others}


def _content(path: str) -> bytes:
    """A hash of the bytes of a file; of one that cannot be read, its path."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return path.encode("utf-8", "surrogateescape")


def shared(subject: Subject, measured: ByPlace) -> Iterator[Finding]:
    """Yield pictures that are in two domains: classes of the first label set, or unpaired a, b."""
    if not subject.own:
        return
    for what, places in _domains(subject, measured):
        order = np.argsort(places.domain, kind="stable")
        pairs = exact(places.content[order], places.domain[order], places.usable[order]).across
        if len(pairs):
            examples = tuple(
                f"{places.title(subject, int(order[later]))} = "
                f"{places.title(subject, int(order[earlier]))}"
                for later, earlier in pairs[:MOST_EXAMPLES].tolist()
            )
            count = len(np.unique(pairs[:, 0]))
            yield Finding(
                "warning",
                "shared",
                f"{times(count, 'picture')} in two {what}",
                count,
                examples,
                "keep each in the one where it belongs",
            )


class _Places:
    """Measured pictures of several keys and splits, and the domain of each."""

    def __init__(self, measured: ByPlace, parts: list[tuple[str, str, INTS]]) -> None:
        own = [measured[key, split] for key, split, _ in parts]
        self._parts, self._rows = parts, [one.rows for one in own]
        self._starts = np.cumsum([0, *map(len, self._rows)])
        self.content = np.concatenate([one.content for one in own])
        self.domain: INTS = np.concatenate([domain for _, _, domain in parts])
        known = self.domain >= 0
        self.usable: NDArray[np.bool_] = known & np.concatenate([o.read & ~o.flat for o in own])

    def title(self, subject: Subject, place: int) -> str:
        """Name a picture."""
        part = int(np.searchsorted(self._starts, place, side="right")) - 1
        key, split, _ = self._parts[part]
        return subject.title(split, key, int(self._rows[part][place - self._starts[part]]))


def _domains(subject: Subject, measured: ByPlace) -> Iterator[tuple[str, _Places]]:
    """What the domains are called, and the pictures in them."""
    first = subject.keys[0]
    splits = [split for split in subject.splits if (first, split) in measured]
    if subject.label_sets and splits:
        parts = [
            (first, split, _labels(subject, split)[measured[first, split].rows]) for split in splits
        ]
        yield f"classes of '{next(iter(subject.label_sets))}'", _Places(measured, parts)
    apart = [split for split in splits if ("b", split) in measured and not subject.partners(split)]
    if first == "a" and apart:
        parts = [
            (key, split, np.full(len(measured[key, split].rows), domain))
            for domain, key in enumerate("ab")
            for split in apart
        ]
        yield "domains, a and b", _Places(measured, parts)
