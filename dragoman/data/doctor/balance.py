"""How classes are balanced: those of whole pictures, and those of the pixels of label maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.doctor.findings import Finding
from dragoman.data.doctor.measuring import ZERO
from dragoman.data.doctor.statistics import ByPlace, class_shares
from dragoman.data.doctor.subject import Subject

UNEVEN = 10  # times as many pictures in one class as in another: then the rare are learnt badly
RARE = 0.001  # share of pixels below which a class hardly counts in a loss
SHOWN = 8  # classes named in a message
CHUNK = 65_536  # rows whose labels are asked for at once


def label_counts(subject: Subject) -> dict[str, dict[str, NDArray[np.int64]]]:
    """Return by label set and split the pictures of each class; last those of none known."""
    found: dict[str, dict[str, NDArray[np.int64]]] = {name: {} for name in subject.label_sets}
    for split in subject.splits if found else ():
        count = subject.count(split, subject.keys[0])
        for name, classes in subject.label_sets.items():
            found[name][split] = np.zeros(len(classes) + 1, np.int64)
        for at in range(0, count, CHUNK):
            labels = subject.labels(split, np.arange(at, min(at + CHUNK, count)))
            for place, (name, classes) in enumerate(subject.label_sets.items()):
                if labels is not None:
                    numbers = np.where(labels[:, place] < 0, len(classes), labels[:, place])
                    found[name][split] += np.bincount(numbers, minlength=len(classes) + 1)
    return found


def label_statistics(
    subject: Subject, counts: dict[str, dict[str, NDArray[np.int64]]]
) -> dict[str, Any]:
    """Return pictures by label set, split and class; "" counts those of no known class."""
    return {
        name: {
            split: dict(zip((*subject.label_sets[name], ""), numbers.tolist(), strict=True))
            for split, numbers in by_split.items()
        }
        for name, by_split in counts.items()
    }


def balance(
    subject: Subject, measured: ByPlace, counts: dict[str, dict[str, NDArray[np.int64]]]
) -> Iterator[Finding]:
    """Yield what is noteworthy about classes."""
    for name, by_split in counts.items():
        yield from _pictures(name, subject.label_sets[name], by_split)
    for key in subject.keys:
        domain = subject.domains.get(key)
        if key == "map" or (domain is not None and domain.kind == "labels"):
            yield from _pixels(subject, key, measured)


def _pictures(
    name: str, classes: tuple[str, ...], by_split: dict[str, NDArray[np.int64]]
) -> Iterator[Finding]:
    train, unknown = by_split["train"][:-1], int(sum(n[-1] for n in by_split.values()))
    lacking = [classes[n] for n in np.flatnonzero(train < 2)]
    if lacking:
        yield Finding(
            "warning",
            "few_of_class",
            f"classes of '{name}' with fewer than 2 pictures in train: {len(lacking)} of "
            f"{len(classes)} ({_listed(lacking)})",
            len(lacking),
            tuple(lacking),
            "add pictures to these classes, or join them with others",
            split="train",
        )
    there = np.flatnonzero(train)
    if len(there) > 1:
        least, most = there[train[there].argmin()], there[train[there].argmax()]
        if train[most] >= UNEVEN * train[least]:
            yield Finding(
                "warning",
                "imbalance",
                f"classes of '{name}' are uneven: {classes[most]} has {train[most]:,} pictures in "
                f"train, {classes[least]} {train[least]:,}",
                len(there),
                fix="add pictures to the rare classes, or take some out of the frequent ones",
                split="train",
                detail={classes[n]: int(train[n]) for n in there},
            )
    if unknown:
        total = int(sum(numbers.sum() for numbers in by_split.values()))
        yield Finding(
            "note",
            "unlabelled",
            f"pictures of no known class in '{name}': {unknown:,} of {total:,}",
            unknown,
            fix="nothing, if that is meant; their label is -1",
        )


def _pixels(subject: Subject, key: str, measured: ByPlace) -> Iterator[Finding]:
    domain = subject.domains.get(key)
    train = measured.get((key, "train"))
    if train is None or not train.ids.any():
        return
    shares, _ = class_shares(subject, key, train)
    if domain is not None:
        lacking = [n for n in range(domain.channels) if n not in shares and n != domain.unlabelled]
        if lacking:
            yield Finding(
                "warning",
                "absent_class",
                f"classes of {key} that occur nowhere in train: {len(lacking)} of "
                f"{domain.channels} ({_listed(map(str, lacking))})",
                len(lacking),
                tuple(map(str, lacking)),
                f"nothing, if they are meant; else --classes {key}="
                f"{max((n for n in shares if n < domain.channels), default=0) + 1}",
                key,
                "train",
            )
    known = {n: s for n, s in shares.items() if domain is None or 0 <= n < domain.channels}
    rare = [number for number, share in known.items() if share < RARE]
    if rare:
        yield Finding(
            "note",
            "rare_class",
            f"classes of {key} with less than {RARE:.1%} of the pixels of train: {len(rare)} of "
            f"{len(known)} ({_listed(map(str, rare))})",
            len(rare),
            tuple(map(str, rare)),
            "nothing, if that is how things are; such classes are learnt badly",
            key,
            "train",
        )


def histogram(subject: Subject, key: str, measured: ByPlace) -> dict[str, int]:
    """Return how many pixels have each class number, over all splits, in the order of numbers."""
    total = np.zeros(0, np.int64)
    for split in subject.splits:
        if (key, split) in measured:
            ids = measured[key, split].ids
            total = ids if not len(total) else total + ids
    return {str(int(n - ZERO)): int(total[n]) for n in np.flatnonzero(total)}


def _listed(words: Any) -> str:
    words = list(words)
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more
