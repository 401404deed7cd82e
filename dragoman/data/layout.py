"""Find pictures in folders: which belong to which domain and split, and which make pairs."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dragoman.data.pictures import SUFFIXES
from dragoman.errors import DataError, SettingsError

SPLITS = ("train", "val", "test")
KEYS = ("a", "b")
Names = dict[str, Path]  # path within its folder without suffix -> file


@dataclass
class Layout:
    """The files of each split and domain, and what is wrong with them.

    files[split][key]: paths in the order of their names. problems: a line for each.
    """

    files: dict[str, dict[str, list[Path]]]
    names: dict[str, list[str]]
    problems: list[str] = field(default_factory=list)


def find(folders: list[Path], paired: bool) -> Layout:
    """Find the pictures of one folder with trainA and trainB, or of two folders.

    Without val or test, a tenth of train, chosen by a hash of the names, is held out for each.
    Raises DataError if a folder is missing or too few pictures are left.
    """
    places = dict(zip(KEYS, folders, strict=True)) if len(folders) == 2 else {}
    found = {"train": places} if places else _splits_of(folders[0])
    problems: list[str] = []
    listed = {
        split: {key: _listed(folder, problems) for key, folder in by_key.items()}
        for split, by_key in found.items()
    }
    if paired:
        for split, by_key in listed.items():
            problems += _drop_single(by_key, found[split])
    _hold_out(listed)
    for split, by_key in listed.items():
        _need_some(split, by_key, found.get(split, found["train"]), paired)
    return Layout(
        {s: {k: list(names.values()) for k, names in by.items()} for s, by in listed.items()},
        {split: list(by_key["a"]) for split, by_key in listed.items()},
        problems,
    )


def _splits_of(folder: Path) -> dict[str, dict[str, Path]]:
    """Return the folders trainA, trainB or train/A, train/B (and val, test), or A, B."""
    found: dict[str, dict[str, Path]] = {}
    for split in SPLITS:
        for style in (f"{split}{{}}", f"{split}/{{}}", *(["{}"] if split == "train" else [])):
            pair = {key: folder / style.format(key.upper()) for key in KEYS}
            there = [path for path in pair.values() if path.is_dir()]
            if len(there) == 1:
                lacking = next(path for path in pair.values() if not path.is_dir())
                raise DataError(f"{folder} has the folder {there[0].name} but lacks {lacking}")
            if there:
                found[split] = pair
                break
    if "train" not in found:
        inside = sorted(path.name for path in folder.iterdir() if path.is_dir())[:8]
        raise DataError(
            f"{folder} needs the folders trainA and trainB, or train/A and train/B; "
            f"it has {', '.join(inside) or 'no folder'}; two folders are given as DIR_A,DIR_B"
        )
    return found


def _listed(folder: Path, problems: list[str]) -> Names:
    """Return all pictures below a folder, in the order of their names; links are not followed."""
    found: Names = {}
    for place, folders, files in os.walk(folder):
        folders.sort()
        names = [*files, *(f for f in folders if f.lower().endswith(SUFFIXES))]
        for file in sorted(names):
            path = Path(place) / file
            if file.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                problems.append(f"{path} has the same name as {found[name].name}")
            else:
                found[name] = path
    return dict(sorted(found.items()))


def _drop_single(by_key: dict[str, Names], folders: dict[str, Path]) -> list[str]:
    """Remove pictures without partner and return a line for each, or nothing if none has one."""
    problems: list[str] = []
    common = by_key["a"].keys() & by_key["b"].keys()
    for key, other in (KEYS, KEYS[::-1]):
        for name in [name for name in by_key[key] if name not in common]:
            path = by_key[key].pop(name)
            problems.append(f"{path} has no partner in {folders[other]}")
    return problems


def _hold_out(listed: dict[str, dict[str, Names]]) -> None:
    """Move a tenth of train, at least one picture, to each split that is missing."""
    lacking = [split for split in ("test", "val") if split not in listed]
    for place, split in enumerate(lacking):
        listed[split] = {}
        for key in KEYS:
            train = listed["train"][key]
            chosen = _tenth(train, place)
            listed[split][key] = {name: train.pop(name) for name in chosen}


def _tenth(names: Iterable[str], place: int) -> list[str]:
    """Names whose hash lies in the given tenth, else the one nearest above; in their order.

    A name stays in its split when others are added, and partners stay together.
    """
    share = {name: (_share(name) - place / 10) % 1 for name in names}
    chosen = [name for name in share if share[name] < 0.1]
    return chosen or sorted(share, key=lambda name: share[name])[:1]


def _share(name: str) -> float:
    return int(hashlib.sha1(name.encode()).hexdigest()[:8], 16) / 2**32


def _need_some(
    split: str, by_key: dict[str, Names], folders: dict[str, Path], paired: bool
) -> None:
    """Raise if a domain has no picture left in a split."""
    for key, names in by_key.items():
        if names:
            continue
        if paired and split == "train" and all(any(f.iterdir()) for f in folders.values()):
            raise SettingsError(
                f"too few names occur in both {folders['a']} and {folders['b']} (at least 3 are "
                "needed); for pictures that are no pairs use --pairing unpaired"
            )
        raise DataError(
            f"{folders[key]} has no picture left for {split}; at least 3 are needed where val and "
            f"test are held out of train ({', '.join(SUFFIXES)})"
        )
