"""From folders to rows: pictures are matched by name, held out for splits, and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dragoman.data.file_table import Column, FileTable, Group, take
from dragoman.data.names import Names, matched
from dragoman.data.recognition import ByKey, Plan
from dragoman.data.scan import MOST_PROBLEMS, SUFFIXES, listed
from dragoman.data.splits import INTS, LACKING, hold_out
from dragoman.data.table import PICTURE_KEYS, SPLITS
from dragoman.errors import DataError, SettingsError


def assemble(
    plan: Plan, name: str, paired: bool, halves: Mapping[str, str] | None = None
) -> FileTable:
    """Match the pictures of a plan by name and hold out the splits that have no folder.

    Pixel layers belong to the first key, also if a and b are unpaired. Raises DataError or
    SettingsError if a split has too few pictures.
    """
    problems = list(plan.problems)
    first = plan.folders["train"]
    groups: dict[str, list[Group]] = {}
    for split, by_key in plan.folders.items():
        groups[split] = [
            match({key: by_key[key] for key in keys}, plan.without, problems)
            for keys in together(tuple(by_key), paired)
        ]
    spread(groups)
    for split, found in groups.items():
        for group in found:
            _need_some(split, group, plan.folders.get(split, first), plan.without)
    return FileTable(
        name,
        {split: {key: joined(groups[split])[key] for key in first} for split in SPLITS},
        {key: told(stack, (halves or {}).get(key, "")) for key, stack in first.items()},
        paired=paired,
        halves=halves or {},
        kinds=plan.kinds,
        problems=problems,
    )


def told(folders: Sequence[Path], half: str = "") -> str:
    """Say where the pictures of a key are; a folder called train goes without saying."""
    places = [folder.parent if folder.name == "train" else folder for folder in folders]
    return "+".join(map(str, places)) + (f" ({half} halves)" if half else "")


def together(keys: tuple[str, ...], paired: bool) -> list[tuple[str, ...]]:
    """Divide keys into those that have equal rows."""
    if paired or "b" not in keys:
        return [keys]
    return [tuple(key for key in keys if key != "b"), ("b",)]


def joined(groups: Sequence[Group]) -> Group:
    """Return the keys of all groups."""
    return {key: stack for group in groups for key, stack in group.items()}


def column_of(folder: Path, problems: list[str], without: tuple[str, ...] = ()) -> Column:
    """Return the pictures below a folder, but for those in the inner folders `without`.

    A line for each problem is added to `problems`.
    """
    listing = listed(folder)
    rows = np.ones(len(listing.names), bool)
    for place in without:
        first, last = listing.names.under(f"{place}/")
        rows[first:last] = False
    problems += [
        f"{folder / path} {words}"
        for path, words in listing.problems
        if not path.startswith(tuple(f"{place}/" for place in without))
    ]
    column = Column(str(folder), listing.names, listing.codes, listing.endings)
    return column if rows.all() else take({"": (column,)}, np.flatnonzero(rows))[""][0]


def match(by_key: ByKey, without: tuple[str, ...], problems: list[str]) -> Group:
    """Keep the pictures whose names occur in all folders of all keys."""
    columns: dict[Path, Column] = {}
    for key, stack in by_key.items():
        for folder in stack:
            if folder not in columns:
                skipped = without if key in PICTURE_KEYS else ()
                columns[folder] = column_of(folder, problems, skipped)
    rows = matched([column.names for column in columns.values()])
    problems += _partnerless(list(columns.values()), rows)
    kept: dict[Path, Column] = {}
    names: Names | None = None
    for (folder, column), chosen in zip(columns.items(), rows, strict=True):
        names = column.names.take(chosen) if names is None else names  # one copy serves all
        kept[folder] = replace(column, names=names, codes=column.codes[chosen])
    return {key: tuple(kept[folder] for folder in stack) for key, stack in by_key.items()}


def _partnerless(columns: list[Column], rows: list[INTS]) -> list[str]:
    """A line for each picture that is not in `rows`; many are counted."""
    lines: list[str] = []
    for column, chosen in zip(columns, rows, strict=True):
        alone = np.ones(len(column), bool)
        alone[chosen] = False
        lost = np.flatnonzero(alone)
        others = [other for other in columns if other is not column]
        for row in lost[:MOST_PROBLEMS].tolist():
            name = column.names[row]
            lack = next(other.root for other in others if other.names.place(name) < 0)
            lines.append(f"{column.path(row)} has no partner in {lack}")
        if len(lost) > MOST_PROBLEMS:
            more = len(lost) - MOST_PROBLEMS
            lines.append(f"{column.root} has {more} more pictures without partner")
    return lines


def spread(groups: dict[str, list[Group]]) -> None:
    """Move about a tenth of train to each split that is missing; partners stay together."""
    missing = [split for split in LACKING if split not in groups]
    if not missing:
        return
    whole = groups.pop("train")
    groups |= {split: [] for split in ("train", *missing)}
    for group in whole:
        first = next(iter(group.values()))[0]
        for split, rows in hold_out(first.names, missing).items():
            groups[split].append(take(group, rows))


def _need_some(split: str, group: Group, folders: ByKey, without: tuple[str, ...]) -> None:
    """Raise if a group has no picture left in a split."""
    if all(len(stack[0]) for stack in group.values()):
        return
    places = list(dict.fromkeys(folder for key in group for folder in folders[key]))
    held = {place: column_of(place, [], without) for place in places}
    empty = [place for place, column in held.items() if not len(column)]
    if split == "train" and len(places) > 1 and not empty:
        remedy = "name partners alike"
        if {"a", "b"} <= set(group):
            remedy = "for pictures that are no pairs use --pairing unpaired"
        raise SettingsError(
            f"too few names occur in both {places[0]} and {places[1]} (at least 3 are needed); "
            f"{remedy}"
        )
    raise DataError(
        f"{(empty or places)[0]} has no picture left for {split}; at least 3 are needed where val "
        f"and test are held out of train ({', '.join(SUFFIXES)})"
    )
