"""Find tar shards, tell which split they belong to and which of their members are which picture."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragoman.data.pack_description import Description
from dragoman.data.raster import MOST_CHANNELS, SUFFIXES
from dragoman.data.settings import by_key
from dragoman.data.shards import Index
from dragoman.data.table import PICTURE_KEYS, PIXEL_KEYS
from dragoman.errors import DataError, SettingsError, did_you_mean

KEYS = (*PICTURE_KEYS, *PIXEL_KEYS)
SIDES = "ab"  # the name of a picture whose left half is a and whose right half is b
WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_SHOWN = 5


@dataclass(frozen=True)
class Columns:
    """The setting --columns, split: names by batch key, and the label sets wanted."""

    pictures: dict[str, tuple[str, ...]]
    labels: tuple[str, ...] | None

    @classmethod
    def of(cls, text: str | None) -> Columns:
        """Split "a=red.tif+nir.tif,b=rgb.png,label=species"; raises SettingsError."""
        if text and "=" not in text:
            raise SettingsError(
                f"--columns {text} must be BATCH_KEY=NAME, as a=input,b=target,label=species"
            )
        found = by_key("columns", text, (*KEYS, "label"))
        split = {key: tuple(part.strip(" .") for part in t.split("+")) for key, t in found.items()}
        if any(not part for parts in split.values() for part in parts):
            raise SettingsError(f"--columns {text} has an empty name; write a=NAME+NAME,b=NAME")
        for key, parts in split.items():
            if len(set(parts)) < len(parts) or len(parts) > MOST_CHANNELS:
                raise SettingsError(
                    f"--columns {key}={found[key]} must name different columns, at most "
                    f"{MOST_CHANNELS}"
                )
        labels = split.pop("label", None)
        return cls(split, labels)


def find_shards(paths: Sequence[Path]) -> tuple[Path, list[str]]:
    """Return the folder that holds all shards, and the path of each tar within it, sorted.

    paths: tar files, or folders with tars in them or in folders train, val and test. Raises
    DataError if there are none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        places = [
            path,
            *(place for place in _inside(path) if place.is_dir() and split_of(place.name)),
        ]
        tars = [file for place in places for file in _inside(place) if _is_tar(file)]
        if not tars:
            raise DataError(f"{path} holds no tar file; shards are files such as train-000000.tar")
        found += tars
    root = paths[0] if len(paths) == 1 and paths[0].is_dir() else _common(found)
    return root, sorted({Path(os.path.relpath(file, root)).as_posix() for file in found})


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror}); open it to you") from error


def _is_tar(path: Path) -> bool:
    return path.name.lower().endswith((".tar", *_PACKED))


def _common(files: list[Path]) -> Path:
    return Path(os.path.commonpath([file.absolute().parent for file in files]))


def splits_of(root: Path, files: Sequence[str], about: Description | None) -> dict[str, list[int]]:
    """Return the numbers of the tars of each split, by the description or by their names.

    Without any split in their names all are train. Raises DataError for tars that are missing or
    of no split.
    """
    if about is not None:
        numbers = {file: number for number, file in enumerate(files)}
        for file in (file for tars in about.splits.values() for file in tars):
            if file not in numbers:
                raise DataError(
                    f"{root} lacks the shard {file} that its dragoman.json names; copy it again"
                )
        known = {file for tars in about.splits.values() for file in tars}
        if extra := [file for file in files if file not in known]:
            raise DataError(
                f"{root} has the shard {extra[0]} that its dragoman.json does not name; move it "
                "elsewhere, or remove dragoman.json"
            )
        return {split: [numbers[file] for file in tars] for split, tars in about.splits.items()}
    named = {file: split_of(file) for file in files}
    if not any(named.values()):
        return {"train": list(range(len(files)))}
    if without := [file for file, split in named.items() if not split]:
        raise DataError(
            f"{root} has shards of splits, but {without[0]} names none; rename it to begin with "
            "train-, val- or test-"
        )
    splits = {s: [n for n, file in enumerate(files) if named[file] == s] for s in WORDS}
    if not splits["train"]:
        raise DataError(f"{root} has no shards for train; name them train-000000.tar and so on")
    return {split: numbers for split, numbers in splits.items() if numbers}


def split_of(path: str) -> str:
    """Return the split that a path names, its last part first, or ""."""
    for part in reversed(path.lower().split("/")):
        words = re.split(r"[^a-z]+", part)
        for split, names in WORDS.items():
            if not {*names}.isdisjoint(words):
                return split
    return ""


def roles_of(index: Index, columns: Columns, root: Path) -> dict[str, dict[int, int]]:
    """Return, by batch key, which endings are its pictures: number of the ending -> its channel.

    An ending is a picture for the key that it begins with (a.png, a.0.png, map.png), for a and b
    if it begins with "ab", and for image if it is nothing but png. Raises DataError if there is
    no picture, SettingsError for columns that are not there.
    """
    endings = [ending.lower() for ending in index.endings]
    roles: dict[str, dict[int, int]] = {}
    if columns.pictures:
        for key, parts in columns.pictures.items():
            for place, part in enumerate(part.lower() for part in parts):
                chosen = [n for n, e in enumerate(endings) if part in (e, e.rpartition(".")[0])]
                if not chosen:
                    raise SettingsError(
                        f"--columns {key}={part}: no sample of {root} has it"
                        f"{did_you_mean(part, endings)}; there are {_some(endings)}"
                    )
                roles.setdefault(key, {}).update(dict.fromkeys(chosen, place))
    else:
        for number, ending in enumerate(endings):
            for key, place in _default_role(ending):
                roles.setdefault(key, {})[number] = place
    found = {key: roles[key] for key in KEYS if key in roles}
    if not found.keys() & set(PICTURE_KEYS):
        if not endings:
            raise DataError(
                "; ".join([f"{root} holds no picture that can be read", *index.problems[:1]])
                if index.problems
                else f"{root} holds no picture that can be read; samples are KEY.a.png and "
                f"KEY.b.png, or KEY.jpg (endings: {', '.join(SUFFIXES)})"
            )
        raise DataError(
            f"the samples of {root} hold {_some(endings)}, but none of a, b and image; name them "
            f"by --columns a={endings[0]},b={endings[-1]} or --columns image={endings[0]}"
        )
    return found


def _default_role(ending: str) -> list[tuple[str, int]]:
    *head, _ = ending.split(".")
    if not head:
        return [("image", 0)]
    number = head[1] if len(head) == 2 else "0"
    keys = ("a", "b") if head[0] == SIDES else (head[0],) if head[0] in KEYS else ()
    if len(head) > 2 or not keys or not number.isascii() or not number.isdigit():
        return []
    if len(number) > 4 or int(number) >= MOST_CHANNELS:
        raise DataError(
            f"the samples hold {ending[:80]}, but at most {MOST_CHANNELS} files are stacked, which "
            "are numbered from 0"
        )
    return [(key, int(number)) for key in keys]


def _some(endings: Sequence[str]) -> str:
    shown = ", ".join(sorted(endings)[:_SHOWN])
    return f"{shown} and {len(endings) - _SHOWN} more" if len(endings) > _SHOWN else shown


@dataclass(frozen=True)
class Picks:
    """The members of one batch key: [N, depth], -1 where a sample has not just those it needs.

    counts: how many each sample has.
    """

    members: NDArray[np.int32]
    counts: NDArray[np.int32]

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Which samples have what they need."""
        return self.members[:, 0] >= 0


def pick(index: Index, role: dict[int, int]) -> Picks:
    """Find the members of one key in all samples; a stack is ordered by its channels."""
    place = np.full(len(index.endings), -1, np.int32)
    place[list(role)] = list(role.values())
    places = place[index.ending]
    chosen = np.flatnonzero(places >= 0).astype(np.int32)
    samples = np.repeat(np.arange(len(index.tar), dtype=np.int32), np.diff(index.first))[chosen]
    depth = max(role.values()) + 1
    if depth > 1:
        chosen = chosen[np.lexsort((places[chosen], samples))]
    counts = np.bincount(samples, minlength=len(index.tar)).astype(np.int32)
    members = np.full((len(index.tar), depth), -1, np.int32)
    right = counts == depth
    full = chosen[right[samples]].reshape(-1, depth)
    ordered = (places[full] == np.arange(depth)).all(1)
    members[np.flatnonzero(right)[ordered]] = full[ordered]
    return Picks(members, counts)
