"""What stands in the way of training; quick, since it runs before every start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dragoman.data.doctor.findings import Findings
from dragoman.data.doctor.known import MARKS, Sound, marks
from dragoman.data.doctor.shared import domain_troubles
from dragoman.data.doctor.subject import FileSubject, Look, Trouble
from dragoman.data.doctor.sweep import Progress, Say, Ward, chunks, odd_sizes, swept
from dragoman.data.ranges import evenly
from dragoman.data.remembering import remembered

MOST_DECODED = 20_000  # files; more would take minutes at every start with new pictures
_VERSION = 3  # raised when more is found than before


class _Unsound(Exception):
    """There are findings, which are not to be remembered: their cause may be mended elsewhere."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(findings.verdict)
        self.findings = findings


def quick(subject: FileSubject, say: Say) -> Findings:
    """Read all headers and decode all files, or of more than 20,000 as many, spread evenly.

    Sets and files that were found sound are not read again until their files change.
    """
    clean = Findings(subject.settings.data, (), subject.counts())

    def measure() -> list:
        findings = _examined(subject, say)
        if findings.found:
            raise _Unsound(findings)
        return []

    try:
        remembered(subject.table, f"sound {what_counts(subject)}", measure)
    except _Unsound as unsound:
        return unsound.findings
    return clean


def what_counts(subject: FileSubject) -> str:
    """All that soundness depends on beside the files: domains and settings, in words."""
    table, settings = subject.table, subject.settings
    domains = {
        k: (d.kind, d.channels, d.dtype, d.unlabelled, d.alpha) for k, d in subject.domains.items()
    }
    fitting = (subject.limit, settings.fit, settings.aspect, settings.size, settings.load_size)
    places = [(key, table.folders(key) if key in subject.domains else "") for key in table.keys]
    classes = (settings.balanced, settings.unseen)
    what = (settings.pairing, settings.crop, domains, fitting, places, table.halves, classes)
    return repr((_VERSION, os.getcwd(), *what))


def remember_sound(subject: FileSubject) -> None:
    """Note that all files were read and nothing fatal was found."""
    remembered(subject.table, f"sound {what_counts(subject)}", list)


@dataclass
class _Rows:
    """Rows of keys that go together in a split. sizes, known: of each key, [rows, 2]."""

    split: str
    keys: tuple[str, ...]
    count: int
    marks: dict[str, MARKS]
    sizes: dict[str, NDArray[np.int64]]
    decode: NDArray[np.bool_]


def _examined(subject: FileSubject, say: Say) -> Findings:
    ward, sound = Ward(subject.problems), Sound(what_counts(subject))
    for trouble in domain_troubles(subject):
        ward.add(trouble)
    groups = [
        _rows(subject, split, keys, sound)
        for split in subject.splits
        for keys in subject.groups(split)
    ]
    files = sum(group.count * _depth(subject, group.split, group.keys) for group in groups)
    if files > MOST_DECODED:
        say(
            f"{files:,} files: decoding {MOST_DECODED:,} of them, and the headers of all; "
            f"'dragoman check {subject.settings.data}' decodes all"
        )
        for group in groups:
            group.decode[:] = False
            group.decode[list(evenly(group.count, group.count * MOST_DECODED // files))] = True
    unread = sum(len(_unread(group)) * len(group.keys) for group in groups)
    progress, examined = Progress(unread, say), 0
    for group in groups:
        for trouble in _group(subject, group, progress):
            ward.add(trouble)
        examined += group.count * len(group.keys)
        for key in group.keys:
            sound.add(group.marks[key][group.decode], group.sizes[key][group.decode])
    sound.save()
    return Findings(subject.settings.data, tuple(ward.findings()), subject.counts(), examined)


def _depth(subject: FileSubject, split: str, keys: Sequence[str]) -> int:
    """Files in a row."""
    stacks = [subject.table.blobs(split, key, 0) for key in keys]
    return len({blob for stack in stacks for blob in stack})


def _rows(subject: FileSubject, split: str, keys: tuple[str, ...], sound: Sound) -> _Rows:
    count = subject.count(split, keys[0])
    own = {key: marks(subject.table, split, key) for key in keys}
    sizes = {key: sound.sizes(own[key]) for key in keys}
    return _Rows(split, keys, count, own, sizes, np.ones(count, bool))


def _unread(group: _Rows) -> NDArray[np.int64]:
    """Rows with a picture that is not known to be sound."""
    return np.flatnonzero(np.any([sizes[:, 0] == 0 for sizes in group.sizes.values()], axis=0))


def _group(subject: FileSubject, group: _Rows, progress: Progress) -> list[Trouble]:
    """Look at the rows that must be read, compare the sizes of all; in the order of rows."""
    found: list[tuple[int, Trouble]] = []

    def work(rows: Sequence[int]) -> list[tuple[int, dict[str, Look]]]:
        return [(row, _read(subject, group, row)) for row in rows]

    for done in swept(work, chunks(_unread(group).tolist())):
        for row, looks in done:
            for key, look in looks.items():
                group.sizes[key][row] = (look.height, look.width) if look.trouble is None else 0
                if look.trouble is not None:
                    found.append((row, look.trouble))
        progress.add(len(done) * len(group.keys))
    first, *others = (group.sizes[key] for key in group.keys)
    for key, sizes in zip(group.keys[1:], others, strict=True):
        differ = (sizes != first).any(1) & (sizes > 0).all(1) & (first > 0).all(1)
        for row in np.flatnonzero(differ).tolist():
            pair = [(group.keys[0], first[row]), (key, sizes[row])]
            shapes = [
                (subject.title(group.split, one, row), one, Look(None, *size.tolist()))
                for one, size in pair
            ]
            found += [(row, trouble) for trouble in odd_sizes(shapes)]
    return [trouble for _, trouble in sorted(found, key=lambda one: one[0])]


def _read(subject: FileSubject, group: _Rows, row: int) -> dict[str, Look]:
    """Decode the pictures of a row, or peek at them; pixels are let go."""
    if group.decode[row]:
        looks = subject.looks(group.split, group.keys, row)
        return {
            key: Look(None, look.height, look.width, look.channels, look.trouble)
            for key, look in looks
        }
    return {key: subject.peek(group.split, key, row) for key in group.keys}
