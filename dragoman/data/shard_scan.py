"""Look through tar shards once: where each sample's pictures lie, its name and its classes."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.names import Names
from dragoman.data.raster import SUFFIXES
from dragoman.data.shards import Index
from dragoman.data.table import UNKNOWN
from dragoman.data.tar_members import TarFile, one_line, tellable
from dragoman.errors import DataError

Member = tuple[int, int, str]  # offset, length and ending
MOST_TEXT = 1 << 16  # bytes of a member with labels
UNKNOWN_TEXTS = ("", UNKNOWN, str(UNKNOWN))
MOST_CLASS = 1000  # characters of the name of a class
MOST_CLASSES = 100_000  # of a label set
MOST_SETS = 32
MOST_ENDINGS = 1000
MOST_FIELDS = 100  # are remembered, to be told to who asks for another one
MOST_LINES = 1000  # about samples of one tar
LABEL_ENDINGS = ("cls", "label.cls", "label.txt")  # members that hold nothing but a class
_NOTES = ("json", "txt", "md", "csv", "tsv", "yaml", "yml")  # lone members that are no sample


def scan(root: Path, files: Sequence[str], fields: Sequence[str] | None = None) -> Index:
    """Return the index of tar files, whose paths are relative to `root`.

    fields: the label sets wanted, each an ending (such as txt) or a field of the samples' JSON;
    None: those of a pack, or else "label" from .cls, .label.txt or the field "label" of .json. A
    tar that cannot be read, or has too many kinds of things, becomes a problem line.
    """
    found = _Scan(fields)
    for number, file in enumerate(files):
        try:
            with TarFile(root / file) as tar:
                part = _Part(tar, number, found)
                part.read()
        except DataError as error:
            found.problems.append(str(error))
            continue
        found.problems += tar.problems
        found.parts.append(part)
    sizes = [_size(root / file) for file in files]
    return found.index(files, sizes)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


class _Scan:
    """What all tars share: the kinds of endings, the label sets with their classes."""

    def __init__(self, fields: Sequence[str] | None) -> None:
        self.wanted = fields
        self.endings: dict[str, int] = {}
        self.sets: dict[str, dict[str, int]] = {name: {} for name in fields or ()}
        self.fields: set[str] = set()
        self.parts: list[_Part] = []
        self.problems: list[str] = []

    def ending(self, text: str, path: Path) -> int:
        """Return the number of an ending."""
        if text not in self.endings and len(self.endings) >= MOST_ENDINGS:
            raise DataError(
                f"{path}: the pictures have more than {MOST_ENDINGS} kinds of endings, such as "
                f"{text[:80]}; a sample's name ends at its first dot, so write it without others"
            )
        return self.endings.setdefault(text, len(self.endings))

    def label_set(self, name: str, path: Path) -> dict[str, int]:
        """Return the provisional numbers of the classes of a label set, by name."""
        if name not in self.sets and len(self.sets) >= MOST_SETS:
            raise DataError(
                f"{path}: there are more than {MOST_SETS} label sets, such as {name[:80]!a}; "
                "name those to be used by --columns label=FIELD"
            )
        return self.sets.setdefault(name, {})

    def code(self, name: str, value: str, path: Path) -> int:
        """Return the provisional number of a class of a label set."""
        classes = self.label_set(name, path)
        if value not in classes and len(classes) >= MOST_CLASSES:
            raise DataError(
                f"{path}: the label set {name!a} has more than {MOST_CLASSES} classes, such "
                f"as {value!a}; name another by --columns label=FIELD"
            )
        return classes.setdefault(value, len(classes))

    def note(self, field: str) -> None:
        """Remember a field or ending that could hold a label."""
        if len(self.fields) < MOST_FIELDS and len(field) <= MOST_CLASS and tellable(field):
            self.fields.add(field)

    def index(self, files: Sequence[str], sizes: Sequence[int]) -> Index:
        """Join the parts of all tars."""
        members = np.cumsum([0, *(len(part.offset) for part in self.parts)])
        first = [np.array(p.first) + at for p, at in zip(self.parts, members[:-1], strict=True)]
        keys = Names.of(key for part in self.parts for key in part.keys)
        labels, label_sets = self._labels()
        return Index(
            files=tuple(files),
            sizes=tuple(sizes),
            endings=tuple(self.endings),
            label_sets=label_sets,
            fields=tuple(sorted(self.fields)),
            problems=tuple(self.problems),
            first=_joined([*first, members[-1:]], np.int64),
            tar=_joined([np.full(len(p.keys), p.number) for p in self.parts], np.int32),
            offset=_joined([p.offset for p in self.parts], np.int64),
            length=_joined([p.length for p in self.parts], np.int64),
            ending=_joined([p.ending for p in self.parts], np.uint16),
            labels=labels,
            keys=keys,
            names=self._names(files, keys),
        )

    def _names(self, files: Sequence[str], keys: Names) -> Names:
        """Names for the user: the samples' own; else their keys, with the tar if they repeat."""
        if any(name for part in self.parts for name in part.names):
            return Names.of(
                name or key
                for part in self.parts
                for key, name in zip(part.keys, part.names, strict=True)
            )
        if not _repeated(self.parts):
            return keys
        return Names.of(
            files[part.number].removesuffix(".tar").encode() + b"/" + key
            for part in self.parts
            for key in part.keys
        )

    def _labels(self) -> tuple[NDArray[np.int32], dict[str, tuple[str, ...]]]:
        """Class numbers [samples, sets] and the classes in their order: by number, or by name."""
        count = sum(len(part.keys) for part in self.parts)
        labels = np.full((count, len(self.sets)), UNKNOWN, np.int32)
        label_sets = {}
        for place, (label_set, classes) in enumerate(self.sets.items()):
            codes = _joined([part.codes(label_set) for part in self.parts], np.int32)
            used = set(np.unique(codes).tolist())
            there = [name for name, number in classes.items() if number in used]
            numeric = all(name.isascii() and name.isdigit() for name in there)
            there.sort(key=(lambda name: (int(name), name)) if numeric else str)
            order = np.full(len(classes) + 1, UNKNOWN, np.int32)  # the last one is for UNKNOWN
            order[[classes[name] for name in there]] = np.arange(len(there))
            labels[:, place] = order[codes]
            label_sets[label_set] = tuple(there)
        return labels, label_sets


class _Part:
    """The samples of one tar.

    first: the member at which each sample begins. names: given by the samples' JSON, or b"".
    """

    def __init__(self, tar: TarFile, number: int, shared: _Scan) -> None:
        self._tar, self.number, self._shared = tar, number, shared
        self.first, self.offset, self.length = array("q"), array("q"), array("q")
        self.ending = array("H")
        self.keys: list[bytes] = []
        self.names: list[bytes] = []
        self._codes: dict[str, array[int]] = {}
        self._lines = 0

    def codes(self, label_set: str) -> array:
        """Return the provisional class of each sample in a label set."""
        codes = self._codes.setdefault(label_set, array("i"))
        codes.extend([UNKNOWN] * (len(self.keys) - len(codes)))
        return codes

    def read(self) -> None:
        """Read the whole tar; raises DataError if it is damaged."""
        key, again = "", False
        members: dict[str, Member] = {}
        done: set[str] = set()
        for name, offset, length in self._tar.members():
            folder, slash, file = name.rpartition("/")
            stem, _, ending = file.partition(".")
            if not stem or not ending:
                continue
            if key != folder + slash + stem:
                self._close(key, members)
                key, members = folder + slash + stem, {}
                again = key in done
                if again:
                    self._tell(f"{key} begins twice; let the members of a sample lie together")
                done.add(key)
            if again:
                continue
            if ending.lower() in members:
                self._tell(f"{name} is there twice; remove one of them")
            members.setdefault(ending.lower(), (offset, length, ending))
        self._close(key, members)
        if self._lines > MOST_LINES:
            self._shared.problems.append(f"{self._tar.path}: {self._lines - MOST_LINES} more such")

    def _close(self, key: str, members: dict[str, Member]) -> None:
        """Take in a sample whose members have all been seen, if there is one."""
        if not members:
            return
        pictures = {e: place for e, place in members.items() if ("." + e).endswith(SUFFIXES)}
        if not pictures:
            if len(members) > 1 or not set(members) <= {*_NOTES}:
                kinds = ", ".join(sorted(members)[:5])
                self._tell(
                    f"{key} holds no picture that can be read (only {kinds}); give it a "
                    f"{', '.join(SUFFIXES)}"
                )
            return
        self.first.append(len(self.offset))
        self.keys.append(key.encode())
        for offset, length, ending in pictures.values():
            self.ending.append(self._shared.ending(ending, self._tar.path))
            self.offset.append(offset)
            self.length.append(length)
        name, labels = self._about(key, members)
        self.names.append(name)
        for label_set, value in labels.items():
            self._shared.label_set(label_set, self._tar.path)
            text = self._class(f"{key} ({label_set})", value)
            if text is not None:
                self.codes(label_set)[-1] = self._shared.code(label_set, text, self._tar.path)

    def _about(self, key: str, members: dict[str, Member]) -> tuple[bytes, dict[str, Any]]:
        """Return the name, if it has one of its own, and the labels of a sample."""
        wanted = self._shared.wanted
        name, found, told = b"", {}, self._json(key, members)
        labels = told.get("labels")
        if isinstance(labels, dict) and isinstance(told.get("name"), str):  # as `pack` writes it
            name = one_line(told["name"]).encode()
            found = {one_line(field): value for field, value in labels.items()}
        for field, value in [*told.items(), *found.items()]:
            if isinstance(value, str | int) and field != "name":
                self._shared.note(field)
        if wanted is None:
            if "label" in told:
                found["label"] = told["label"]
            for ending in LABEL_ENDINGS:
                if ending in members:
                    found["label"] = self._text(f"{key}.{ending}", members[ending])
            return name, found if name else _known(found)
        values = told | found
        for field in wanted:
            if field in members:
                values[field] = self._text(f"{key}.{field}", members[field])
        found = {field: values[field] for field in wanted if field in values}
        return name, found if name else _known(found)

    def _json(self, key: str, members: dict[str, Member]) -> dict[str, Any]:
        for ending in members:
            if ending in ("txt", *LABEL_ENDINGS):
                self._shared.note(ending)
        if "json" not in members:
            return {}
        text = self._text(f"{key}.json", members["json"])
        if text is None:
            return {}
        try:
            told = json.loads(text)
        except (ValueError, RecursionError):
            self._tell(f"{key}.json is not valid JSON; mend or remove it")
            return {}
        return told if isinstance(told, dict) else {}

    def _text(self, name: str, place: Member) -> str | None:
        """Return the text of a small member, or None, with a problem line."""
        offset, length, _ = place
        if length > MOST_TEXT:
            self._tell(f"{name} has {length} bytes, too many for labels; shorten or remove it")
            return None
        try:
            return self._tar.read(offset, length).decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            self._tell(f"{name} is not UTF-8 text; mend or remove it")
            return None

    def _class(self, name: str, value: Any) -> str | None:
        """Return the name of a class; None if it is not known, or none (with a problem line)."""
        if value is None:
            return None
        if isinstance(value, int):
            value = str(value).lower() if abs(value) < 1 << 63 else None
        if isinstance(value, str) and len(value) <= MOST_CLASS and tellable(value):
            return value
        self._tell(
            f"{one_line(name)} has no class that is a whole number or a text of one line with at "
            f"most {MOST_CLASS} characters; mend it, or leave it empty if it is not known"
        )
        return None

    def _tell(self, text: str) -> None:
        self._lines += 1
        if self._lines <= MOST_LINES:
            self._shared.problems.append(f"{self._tar.path}:{text}")


def _known(labels: dict[str, Any]) -> dict[str, Any]:
    """Labels as others write them, where nothing and -1 say that the class is not known."""
    return {name: None if value in UNKNOWN_TEXTS else value for name, value in labels.items()}


def _joined(parts: Sequence[Any], dtype: Any) -> NDArray:
    """Join arrays, of which there may be none."""
    return np.concatenate([np.asarray(part, dtype) for part in [*parts, ()]])


def _repeated(parts: Sequence[_Part]) -> bool:
    """True if a key occurs in several tars, as it does where each counts from 0."""
    if len(parts) < 2:
        return False
    short = [hashlib.blake2b(key, digest_size=8).digest() for part in parts for key in part.keys]
    numbers = np.frombuffer(b"".join(short), np.uint64)
    return len(np.unique(numbers)) < len(numbers)
