"""Tell from the names of folders how pictures are laid out, and which folder holds what."""

from __future__ import annotations

from dataclasses import dataclass, field
from os.path import isdir, isfile
from pathlib import Path

from dragoman.data.scan import Entries, listed, look
from dragoman.data.settings import DataSettings
from dragoman.data.table import PIXEL_KEYS, SPLITS
from dragoman.errors import DataError, SettingsError

PAIR = ("a", "b")
_JOINED = {key: f"{{split}}_{key}" for key in PIXEL_KEYS}
# Folders of pairs, by batch key; the first style of which a folder is there is taken.
STYLES: tuple[dict[str, str], ...] = (
    {"a": "{split}A", "b": "{split}B"} | _JOINED,
    {"a": "{split}/A", "b": "{split}/B"} | {key: f"{{split}}/{key}" for key in PIXEL_KEYS},
    {"a": "{split}_A", "b": "{split}_B"} | _JOINED,
    {"a": "{split}_label", "b": "{split}_img"} | _JOINED | {"instance": "{split}_inst"},
)
_LABELS = STYLES[3]
_BARE = {"a": "A", "b": "B"} | {key: key for key in PIXEL_KEYS}  # of train only
BESIDE = "image"  # the folder of pictures beside those of their pixel layers
ByKey = dict[str, tuple[Path, ...]]


@dataclass(frozen=True)
class Plan:
    """The folders of each split and key; several are stacked along the channels.

    without: folders inside those of pictures that hold pixel layers instead. kinds: of keys whose
    kind of picture is told by their folders. problems: a line for each.
    """

    folders: dict[str, ByKey]
    without: tuple[str, ...] = ()
    kinds: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def recognise(settings: DataSettings) -> str:
    """Return the layout of settings.data: one of the names of --layout, but not auto.

    Raises DataError if there is nothing to read, SettingsError if it could be two layouts.
    """
    text, path = settings.data, Path(settings.data)
    if text and isdir(path):
        return _recognised(path, settings)
    if text.startswith("hf:"):
        return "hf"
    if isfile(path):
        known = {".csv": "manifest", ".jsonl": "manifest", ".tar": "shards"}
        if path.suffix.lower() in known:
            return known[path.suffix.lower()]
        raise DataError(
            f"--data {text} is neither a manifest (.csv, .jsonl) nor a shard (.tar); single "
            "pictures are given by their folder"
        )
    if all(part.lower().endswith(".tar") for part in text.split(",")):
        return "shards"
    return "pairs" if len(parts(text)) == 2 else "single"


def _recognised(folder: Path, settings: DataSettings) -> str:
    """Recognise the layout of one folder by what is in it."""
    top = look(folder)
    inner = look(folder / "train") if "train" in top.places else None
    endings = ("A", "B", "_A", "_B", "_label", "_img")
    if any(split + ending in top.places for split in SPLITS for ending in endings):
        return "pairs"
    for entries, place in ((inner, folder / "train"), (top, folder)):
        if entries is not None and _are_pairs(entries, place):
            return "pairs"
    within = [look(folder / split) for split in SPLITS if split in top.places]
    if any(entries.shards and not entries.pictures for entries in (top, *within)):
        return "shards"
    if settings.labels is not None:
        return "single"
    listing = listed(folder if inner is None else folder / "train")
    if not len(listing.names) and not listing.problems:
        raise lacking(folder, top)
    filled = [place for place, (first, last) in listing.spans().items() if last > first]
    classes = [place for place in filled if inner is not None or place not in PIXEL_KEYS]
    return "classes" if len(classes) > 1 and not listing.beside() else "single"


def _are_pairs(entries: Entries, folder: Path) -> bool:
    """Whether there are folders A and B, and nothing beside that tells of classes instead."""
    sides = {"A", "B"} & set(entries.places)
    others = sorted(set(entries.places) - {"A", "B", *PIXEL_KEYS, *SPLITS})
    if len(sides) == 2 and others:
        raise SettingsError(
            f"{folder} has the folders A, B and {others[0]}: use --layout pairs if A and B are "
            "pairs, or --layout classes if each folder is a class"
        )
    return bool(sides) and not others


def lacking(folder: Path, entries: Entries) -> DataError:
    """Return what to tell about a folder in which nothing is recognised."""
    return DataError(
        f"{folder} needs the folders trainA and trainB, or train/A and train/B, or pictures; "
        f"it has {', '.join(entries.places[:8]) or 'no folder'}; two folders are given as "
        "DIR_A,DIR_B, and docs/data.md shows all layouts"
    )


def parts(text: str) -> list[tuple[Path, ...]]:
    """Split "DIR_1+DIR_2,DIR_B" into stacks of folders.

    Raises DataError if one of them does not exist, SettingsError for more than two stacks.
    """
    if text and isdir(text):
        return [(Path(text),)]
    stacks = []
    for part in text.split(","):
        alone = [part] if part and isdir(part) else part.split("+")
        if not all(alone):
            raise SettingsError(f"--data '{text}' has an empty part; name folders as DIR_A,DIR_B")
        stacks.append(tuple(Path(folder) for folder in alone))
    gone = [folder for stack in stacks for folder in stack if not isdir(folder)]
    if gone and len(stacks) == len(stacks[0]) == 1:
        raise DataError(
            f"--data '{text}' is neither an embedded data set nor a folder or file; "
            "'dragoman datasets' lists the embedded ones, docs/data.md all layouts"
        )
    if gone:
        raise DataError(f"the folder {gone[0]} of --data {text} does not exist")
    if len(stacks) > 2:
        raise SettingsError(
            f"--data {text} names {len(stacks)} folders, but there are only a and b; channels are "
            "stacked with +, as DIR_1+DIR_2,DIR_B"
        )
    return stacks


def plan_pairs(folder: Path) -> Plan:
    """Find the folders trainA and trainB, or as STYLES says, of each split, with pixel layers.

    Raises DataError if one of two is missing.
    """
    folders: dict[str, ByKey] = {}
    kinds: dict[str, str] = {}
    for split in SPLITS:
        for style in (*STYLES, *([_BARE] if split == "train" else [])):
            places = {key: folder / text.format(split=split) for key, text in style.items()}
            there: ByKey = {key: (place,) for key, place in places.items() if isdir(place)}
            found = [key for key in PAIR if key in there]
            if len(found) == 1:
                (key,) = set(PAIR) - set(found)
                name = there[found[0]][0].name
                raise DataError(f"{folder} has the folder {name} but lacks {places[key]}")
            if found:
                folders[split] = there
                kinds |= {"a": "labels"} if style is _LABELS else {}
                break
    if "train" not in folders:
        raise lacking(folder, look(folder))
    _check_even(folders, folder)
    return Plan(folders, kinds=kinds)


def plan_parts(stacks: list[tuple[Path, ...]], keys: tuple[str, ...]) -> Plan:
    """Give each stack of folders its key; folders train, val and test in all are the splits."""
    folders = [folder for stack in stacks for folder in stack]
    splits, problems = _splits_in(folders)
    inside = {split: split for split in splits} or {"train": ""}
    return Plan(
        {
            split: {
                key: tuple(folder / inner for folder in stack)
                for key, stack in zip(keys, stacks, strict=True)
            }
            for split, inner in inside.items()
        },
        problems=tuple(problems),
    )


def plan_pictures(folder: Path, keys: tuple[str, ...], layers: bool = True) -> Plan:
    """Find one folder of pictures, or train, val and test in it, held for all `keys` alike.

    Beside a folder of a pixel layer the pictures may lie in a folder of their own, `image`.
    layers: whether folders such as train_mask, or mask if there are no splits, are pixel layers.
    """
    splits, problems = _splits_in([folder])
    entries = look(folder)
    places = entries.places
    if not splits:
        found = [key for key in PIXEL_KEYS if layers and key in places]
        joined: ByKey = {key: (folder / key,) for key in found}
        if found and BESIDE in places and not entries.pictures:
            return Plan({"train": dict.fromkeys(keys, (folder / BESIDE,)) | joined})
        return Plan({"train": dict.fromkeys(keys, (folder,)) | joined}, without=tuple(found))
    folders: dict[str, ByKey] = {}
    for split in splits:
        found = [key for key in PIXEL_KEYS if layers and f"{split}_{key}" in places]
        folders[split] = dict.fromkeys(keys, (folder / split,))
        folders[split] |= {key: (folder / f"{split}_{key}",) for key in found}
    _check_even(folders, folder)
    return Plan(folders, problems=tuple(problems))


def _splits_in(folders: list[Path]) -> tuple[list[str], list[str]]:
    """The splits that are folders in all of these, and a line for pictures beside them."""
    inside = [look(folder) for folder in folders]
    found = [split for split in SPLITS if any(split in entries.places for entries in inside)]
    for split in found and ["train", *found]:
        for folder, entries in zip(folders, inside, strict=True):
            if split not in entries.places:
                owner = next(
                    f for f, e in zip(folders, inside, strict=True) if found[0] in e.places
                )
                raise DataError(f"{owner} has the folder {found[0]} but lacks {folder / split}")
    return found, [
        f"{folder} has pictures beside the folder train, which are left out; move them into it"
        for folder, entries in zip(folders, inside, strict=True)
        if found and entries.pictures
    ]


def _check_even(folders: dict[str, ByKey], folder: Path) -> None:
    """Raise DataError if a pixel layer is there for some splits only."""
    for key in PIXEL_KEYS:
        having = [split for split in folders if key in folders[split]]
        for split in folders:
            if having and split not in having:
                there = folders[having[0]][key][0].relative_to(folder)
                raise DataError(
                    f"{folder} has the folder {there} but none of that kind for {split}; add it"
                )
