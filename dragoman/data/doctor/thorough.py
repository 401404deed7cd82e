"""The whole examination: every picture is decoded once, and all is found at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from dragoman.data.doctor.alignment import alignment
from dragoman.data.doctor.balance import balance, histogram, label_counts, label_statistics
from dragoman.data.doctor.doubling import doubling
from dragoman.data.doctor.fatal import remember_sound
from dragoman.data.doctor.findings import Finding, Findings, in_order
from dragoman.data.doctor.measuring import Measures, measures
from dragoman.data.doctor.shared import domain_troubles, shared
from dragoman.data.doctor.statistics import statistics
from dragoman.data.doctor.subject import FileSubject, Look, Subject, Trouble
from dragoman.data.doctor.sweep import CHUNK, Progress, Say, Ward, chunks, odd_sizes, swept
from dragoman.data.doctor.traits import traits
from dragoman.data.ranges import evenly
from dragoman.data.settings import DataSettings

LEAST = 256  # pixels of the shorter side that are enough to judge a JPEG by


def thorough(subject: Subject, settings: DataSettings, limit: int, say: Say) -> Findings:
    """Examine all pictures, or of each split at most `limit` rows, spread evenly (0: all)."""
    ward = Ward(subject.problems)
    for trouble in domain_troubles(subject) if isinstance(subject, FileSubject) else ():
        ward.add(trouble)
    measured: dict[tuple[str, str], Measures] = {}
    groups = [
        (split, keys, np.array(list(evenly(count, limit or count)), np.int64))
        for split in subject.splits
        for keys in subject.groups(split)
        if (count := subject.count(split, keys[0]))
    ]
    progress = Progress(sum(len(rows) * len(keys) for _, keys, rows in groups), say)
    for split, keys, rows in groups:
        for key in keys:
            measured[key, split] = measures(rows, subject.domains.get(key), key)
        _sweep(subject, split, {key: measured[key, split] for key in keys}, ward, progress)
    counts = label_counts(subject)
    found = [
        *_with_histograms(ward.findings(), subject, measured),
        *alignment(subject),
        *doubling(subject, measured),
        *shared(subject, measured),
        *balance(subject, measured, counts),
        *traits(subject, measured, settings),
    ]
    if isinstance(subject, FileSubject) and not limit and not ward.findings():
        remember_sound(subject)
    told = statistics(subject, measured)
    if counts:
        told["labels"] = label_statistics(subject, counts)
    examined = sum(len(one.rows) for one in measured.values())
    return Findings(settings.data, in_order(found), subject.counts(), examined, told)


def _sweep(
    subject: Subject,
    split: str,
    own: Mapping[str, Measures],
    ward: Ward,
    progress: Progress,
) -> None:
    """Read the rows of keys that go together, measure each picture, gather troubles."""
    keys = tuple(own)
    rows = own[keys[0]].rows
    paired = len(keys) > 1

    def work(places: Sequence[int]) -> list[Trouble]:
        found: list[Trouble] = []
        for place in places:
            shapes = []
            for key, look in subject.looks(split, keys, int(rows[place]), LEAST):
                own[key].take(place, look, subject.domains.get(key))
                if look.trouble is not None:
                    found.append(look.trouble)
                elif paired:
                    shapes.append((key, replace(look, pixels=None)))
            found += _compared(subject, split, int(rows[place]), shapes)
        return found

    for troubles in swept(work, chunks(range(len(rows)))):
        for trouble in troubles:
            ward.add(trouble)
        progress.add(CHUNK * len(keys))


def _compared(
    subject: Subject, split: str, row: int, shapes: list[tuple[str, Look]]
) -> list[Trouble]:
    """Troubles of pictures that belong together and differ in size; names only where needed."""
    if len({(look.height, look.width) for _, look in shapes}) < 2:
        return []
    return odd_sizes([(subject.title(split, key, row), key, look) for key, look in shapes])


def _with_histograms(
    found: list[Finding], subject: Subject, measured: Mapping[tuple[str, str], Measures]
) -> list[Finding]:
    """Add to the finding about wrong class numbers how often each number occurs."""
    labels = [key for key, domain in subject.domains.items() if domain.kind == "labels"]
    counted = {key: histogram(subject, key, measured) for key in labels}
    return [
        replace(one, detail={"histogram": counted}) if one.code == "no_class" else one
        for one in found
    ]
