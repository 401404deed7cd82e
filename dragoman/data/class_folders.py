"""Pictures in a folder for each class or domain, which becomes their label."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dragoman.data.assembling import match, told
from dragoman.data.file_table import FileTable, Group, take
from dragoman.data.label_sets import LABELS, in_order
from dragoman.data.recognition import Plan
from dragoman.data.scan import MOST_PROBLEMS, SUFFIXES, listed
from dragoman.data.splits import INTS, LACKING, hold_out_by_class
from dragoman.data.table import SPLITS, UNKNOWN
from dragoman.errors import DataError

SET = "label"  # the name of the label set


class ClassTable(FileTable):
    """Files in a folder for each class."""

    def counterparts(self, split: str, rows: INTS, label_set: str, target: int) -> INTS:
        """Return the rows of the same name, within the folder of a class, in that of another; -1
        where there is none.
        """
        names, (classes,) = self.names(split), self.label_sets.values()
        fronts = [len(classes[number]) for (number,) in self.labels(split, rows).tolist()]
        own = zip(rows.tolist(), fronts, strict=True)
        wanted = [f"{classes[target]}{names[row][front:]}" for row, front in own]
        return np.fromiter((names.place(name) for name in wanted), np.int64, len(wanted))


def open_classes(plan: Plan, name: str) -> ClassTable:
    """Give each picture, of the key image, the class in whose folder it lies.

    Splits without folder are held out by the name within the class, so that pictures of one name
    in several classes stay together. Raises DataError for classes with fewer than 2 pictures.
    """
    problems = list(plan.problems)
    train = plan.folders["train"]["image"][0]
    classes = _classes(train, problems)
    groups: dict[str, Group] = {}
    labels: dict[str, LABELS] = {}
    for split, by_key in plan.folders.items():
        groups[split], labels[split] = _labelled(match(by_key, (), problems), classes, problems)
        _check_known(by_key["image"][0], classes, train)
    _check_counts(classes, labels["train"], train)
    missing = [split for split in LACKING if split not in groups]
    if missing:
        held = _held_out(groups["train"], labels["train"], classes, missing)
        whole, numbers = groups["train"], labels["train"]
        groups |= {split: take(whole, rows) for split, rows in held.items()}
        labels |= {split: numbers[rows] for split, rows in held.items()}
    for split in SPLITS:
        if not len(labels[split]):
            folder = plan.folders.get(split, plan.folders["train"])["image"][0]
            raise DataError(
                f"{folder} has no picture left for {split}; add pictures to its classes"
            )
    return ClassTable(
        name,
        {split: groups[split] for split in SPLITS},
        {key: told(stack) for key, stack in plan.folders["train"].items()},
        label_sets={SET: classes},
        labels={split: numbers[:, None] for split, numbers in labels.items()},
        problems=problems,
    )


def _classes(folder: Path, problems: list[str]) -> tuple[str, ...]:
    """The names of the folders in a folder; links become problems, since none is followed."""
    listing = listed(folder)
    links = set(listing.links)
    problems += [
        f"{folder / place} is a link, which is not followed; move the folder of the class here"
        for place in listing.places
        if place in links
    ]
    classes = in_order(place for place in listing.places if place not in links)
    if len(classes) < 2:
        raise DataError(
            f"{folder} needs a folder for each class, at least two; it has "
            f"{', '.join(classes) or 'none'}; pictures without classes are --layout single"
        )
    return classes


def _labelled(group: Group, classes: tuple[str, ...], problems: list[str]) -> tuple[Group, LABELS]:
    """The pictures that lie in a folder of a class, and their classes; others are problems."""
    column = group["image"][0]
    labels = np.full(len(column), UNKNOWN, np.int32)
    for number, name in enumerate(classes):
        first, last = column.names.under(f"{name}/")
        labels[first:last] = number
    outside = [row for row in np.flatnonzero(labels < 0) if "/" not in column.names[row]]
    problems += [
        f"{column.path(row)} lies beside the folders of the classes; move it into one"
        for row in outside[:MOST_PROBLEMS]
    ]
    if len(outside) > MOST_PROBLEMS:
        more = len(outside) - MOST_PROBLEMS
        problems.append(f"{column.root} has {more} more pictures beside the folders of the classes")
    known = np.flatnonzero(labels >= 0)
    return take(group, known), labels[known]


def _check_known(folder: Path, classes: tuple[str, ...], train: Path) -> None:
    """Raise if a split has a class that train has not."""
    listing = listed(folder)
    for place in listing.places:
        if place not in classes and place not in listing.links:
            raise DataError(
                f"{folder} has the class '{place}', but {train} has not; add it there or remove it"
            )


def _check_counts(classes: tuple[str, ...], labels: LABELS, folder: Path) -> None:
    """Raise if a class has fewer than 2 pictures to train on."""
    counts = np.bincount(labels, minlength=len(classes))
    for name, count in zip(classes, counts.tolist(), strict=True):
        if count < 2:
            raise DataError(
                f"the class '{name}' of {folder} has {count or 'no'} picture"
                f"{'' if count else 's'}, but needs 2 ({', '.join(SUFFIXES)}); add some, remove "
                "the folder, or use --layout single if folders are no classes"
            )


def _held_out(
    group: Group, labels: LABELS, classes: tuple[str, ...], missing: list[str]
) -> dict[str, INTS]:
    """Rows of each split, by the names of pictures within their class."""
    fronts = np.array([len(f"{name}/".encode()) for name in classes])
    edges = np.cumsum(np.bincount(labels, minlength=len(classes)))[:-1]
    own = np.split(np.argsort(labels, kind="stable"), edges)
    return hold_out_by_class(group["image"][0].names.cut(fronts[labels]), own, missing)
