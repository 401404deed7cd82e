"""Where each picture goes and in which format, what is there already, and what must stay."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dragoman.data.catalogue import Domain
from dragoman.data.raster import SUFFIXES
from dragoman.data.writing import check_can_hold
from dragoman.errors import DataError
from dragoman.translating.options import Options
from dragoman.translating.sources import Pictures

LOSSY = (".jpg", ".jpeg")  # would change measurements and class numbers
_ELSE = (".png", ".tif")


@dataclass(frozen=True)
class Plan:
    """What is to be done: numbers of pictures, in order; where all go; how many are there."""

    places: list[str]
    todo: list[int]
    skipped: int


def make_plan(
    pictures: Pictures,
    out: str,
    options: Options,
    domain: Domain,
    tag: str = "",
    since: int = 0,
) -> Plan:
    """Settle everything that can be settled before a picture is read.

    domain: of what is written. tag: follows every name. A picture is there already if its file
    exists, no input of it is newer, and it was made at or after `since`, in ns. Raises DataError if
    two pictures would become one file, or an input be overwritten.
    """
    number, count = options.part
    places = [_tagged(place, tag) for place in _places(pictures, out, options, domain)]
    _refuse_twins(pictures, places)
    mine = range(number, len(pictures), count)
    there = {index: found for index in mine if (found := _stat(places[index])) is not None}
    _refuse_inputs(pictures, places, there)
    if options.again or pictures.named:
        return Plan(places, list(mine), 0)
    todo = [i for i in mine if i not in there or not _complete(there[i], pictures.files(i), since)]
    return Plan(places, todo, len(mine) - len(todo))


def _places(pictures: Pictures, out: str, options: Options, domain: Domain) -> list[str]:
    """The output file of each picture."""
    names = pictures.names[0]
    if options.suffix is not None:
        check_suffix(options.suffix, domain, "--format")
    if not _is_folder(out, pictures):
        suffix = Path(out).suffix.lower()
        if suffix not in SUFFIXES:
            raise DataError(
                f"{out} has no picture ending; use {', '.join(SUFFIXES)}, or {out}/ for a folder"
            )
        if options.suffix not in (None, suffix):
            raise DataError(f"{out} and --format {options.suffix} do not agree; leave one out")
        check_suffix(suffix, domain, out)
        return [out]
    endings: dict[str, str] = {}
    found: list[str] = []
    for name in names:
        stem, own = os.path.splitext(name)
        if own not in endings:
            endings[own] = options.suffix or fitting_suffix(own, domain)
        found.append(os.path.join(out, stem + endings[own]))
    return found


def _tagged(place: str, tag: str) -> str:
    stem, ending = os.path.splitext(place)
    return stem + tag + ending


def _is_folder(out: str, pictures: Pictures) -> bool:
    """True if OUT is a folder that pictures go into under their names.

    That is so if it exists as one, ends in a slash or has no ending, or if there are several.
    """
    path = Path(out)
    if path.is_dir() or (out.endswith(("/", os.sep)) and not path.is_file()):
        return True
    if pictures.named:
        return not path.suffix and not path.exists()
    if path.exists():
        raise DataError(f"{out} is a file; to translate a folder, name a folder")
    if path.suffix.lower() in SUFFIXES:
        raise DataError(f"{out} is the name of a picture; to translate a folder, name a folder")
    return True


def check_suffix(suffix: str, domain: Domain, what: str) -> None:
    """Raise DataError, with the remedy, if a format cannot hold the pictures of a domain."""
    check_can_hold(suffix, domain.dtype, domain.planes)
    if suffix in LOSSY and domain.kind == "labels":
        raise DataError(f"{what}: JPEG changes class numbers; use .png or .tif for label maps")


def fitting_suffix(own: str, domain: Domain) -> str:
    """The ending for output: the input's own if it holds it without loss, else .png or .tif.

    Photographs may stay JPEGs.
    """
    chosen = [own, *_ELSE]
    if domain.kind in ("labels", "values") and own.lower() in LOSSY:
        chosen = list(_ELSE)
    for suffix in chosen[:-1]:
        try:
            check_can_hold(suffix.lower(), domain.dtype, domain.planes)
        except DataError:
            continue
        return suffix
    return chosen[-1]


def _refuse_twins(pictures: Pictures, places: list[str]) -> None:
    taken: dict[str, int] = {}
    for number, place in enumerate(places):
        other = taken.setdefault(place, number)
        if other != number:
            raise DataError(
                f"{pictures.files(other)[0]} and {pictures.files(number)[0]} would both become "
                f"{place}; rename one of them"
            )


def _refuse_inputs(pictures: Pictures, places: list[str], there: dict[int, os.stat_result]) -> None:
    """Raise DataError if an output that exists is one of the inputs, by whatever name."""
    if not there:
        return
    inputs = {_identity(found) for found in _stats(pictures)}
    for number, found in there.items():
        if _identity(found) in inputs:
            raise DataError(
                f"{places[number]} is the picture itself, which stays; name another place"
                if len(pictures) == 1
                else f"{places[number]} is one of the pictures, which stay; name another folder"
            )


def _stats(pictures: Pictures) -> Iterable[os.stat_result]:
    for base, names in zip(pictures.bases, pictures.names, strict=True):
        for name in names:
            found = _stat(os.path.join(base, name))
            if found is not None:
                yield found


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _stat(path: str | Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _complete(found: os.stat_result, files: tuple[Path, ...], since: int) -> bool:
    """True if an output is a file that is no older than its inputs, nor than `since`."""
    stats = [_stat(file) for file in files]
    newest = max([since, *(one.st_mtime_ns for one in stats if one is not None)])
    return stat.S_ISREG(found.st_mode) and found.st_mtime_ns >= newest
