"""List the pictures below a folder; what is found in a large one is kept in the cache."""

from __future__ import annotations

import json
import os
import time
import unicodedata
from array import array
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.index_cache import LEAST, keep, recall, stamp
from dragoman.data.names import Names
from dragoman.data.raster import SUFFIXES
from dragoman.errors import DataError

MOST_PROBLEMS = 10_000  # lines for one folder; the rest is counted
_SHARDS = (".tar", ".tar.gz", ".tgz")  # shards, or what is told to be none


@dataclass(frozen=True)
class Listing:
    """The pictures below a folder, in the order of their names.

    names: paths within the folder, without suffix. codes: for each the number of its suffix in
    `endings`. folders: paths of all folders that were listed, "" first. links: of folders that
    were not, since they are links. shards: whether there are tar files directly in the folder.
    problems: path within the folder, and what is wrong with it.
    """

    names: Names
    codes: NDArray[np.uint8]
    endings: tuple[str, ...]
    folders: tuple[str, ...]
    links: tuple[str, ...]
    shards: bool
    problems: tuple[tuple[str, str], ...] = ()

    @property
    def places(self) -> list[str]:
        """Names of the folders directly in this one, links to folders among them."""
        inner = [path for path in (*self.folders, *self.links) if path and "/" not in path]
        return sorted(inner)

    def spans(self) -> dict[str, tuple[int, int]]:
        """From which to which row (exclusive) the pictures below each of `places` stand."""
        return {place: self.names.under(f"{place}/") for place in self.places}

    def beside(self) -> int:
        """How many pictures lie directly in the folder."""
        return len(self.names) - sum(last - first for first, last in self.spans().values())


@dataclass(frozen=True)
class Entries:
    """What lies directly in a folder: folders, and whether there are shards and pictures."""

    places: list[str]
    shards: bool
    pictures: bool


_seen: ContextVar[dict[str, Listing] | None] = ContextVar("listings", default=None)


@contextmanager
def listing_once() -> Generator[None]:
    """Within this context each folder is listed, or sought in the cache, no more than once."""
    token = _seen.set({})
    try:
        yield
    finally:
        _seen.reset(token)


def look(folder: Path) -> Entries:
    """Return what lies directly in a folder; an index in the cache saves listing a large one.

    Raises DataError if the folder cannot be listed.
    """
    known = _known(os.path.realpath(folder))
    if known is not None:
        return Entries(known.places, known.shards, known.beside() > 0)
    places, shards, pictures = [], False, False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name.lower()
                if name.startswith("."):
                    continue
                if name.endswith(SUFFIXES):
                    pictures = True
                elif _is_folder(entry):
                    places += [] if wrong_name(entry.name) else [entry.name]
                elif name.endswith(_SHARDS):
                    shards = True
    except OSError as error:
        raise _closed(folder, error) from error
    return Entries(sorted(places), shards, pictures)


def listed(folder: Path) -> Listing:
    """Return all pictures below a folder. Hidden files, and links to folders, are left out.

    Of files that differ only in their suffix the first is taken and the others are problems.
    Raises DataError if the folder cannot be listed.
    """
    root = os.path.realpath(folder)
    found = _known(root)
    if found is None:
        found = _walked(root)
        _note(root, found)
    return found


def _walked(root: str) -> Listing:
    """List a folder, and keep what is found in the cache if that is much."""
    began = time.time_ns()
    walk = _Walk(root)
    found = walk.listing()
    if len(found.names) >= LEAST and not found.problems:  # these may depend on other folders
        about = {name: getattr(found, name) for name in _ABOUT}
        places = [f"{root}/{inner}" if inner else root for inner in found.folders]
        arrays = [found.names.packed(), found.codes.tobytes()]
        keep(_key(root), about, arrays, places, walk.stamps, began)
    return found


_ABOUT = ("endings", "folders", "links", "shards")


def _key(root: str) -> str:
    return json.dumps(["folder", root, SUFFIXES])


def _known(root: str) -> Listing | None:
    """The listing of a folder if it was listed in this context, or the cache has it."""
    found = (_seen.get() or {}).get(root)
    if found is None:
        found = recall(_key(root), _made)
        _note(root, found)
    return found


def _note(root: str, listing: Listing | None) -> None:
    seen = _seen.get()
    if seen is not None and listing is not None:
        seen[root] = listing


def _made(about: dict[str, Any], arrays: list[memoryview]) -> Listing:
    """Put a listing together; raises ValueError if its parts do not fit."""
    names, codes = Names.lines(arrays[0]), np.frombuffer(arrays[1], np.uint8)
    endings, folders, links = (tuple(about[name]) for name in ("endings", "folders", "links"))
    if len(names) != len(codes) or codes.max(initial=0) >= len(endings):
        raise ValueError("codes do not fit")
    return Listing(names, codes, endings, folders, links, bool(about["shards"]))


def _closed(folder: Path | str, error: OSError) -> DataError:
    return DataError(f"the folder {folder} cannot be listed ({error.strerror}); allow reading it")


class _Walk:
    """One walk through a folder.

    found: path, NUL and suffix of each picture, which sort by path and then by suffix. stamps:
    times of change of the folders, two for each.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.found: list[bytes] = []
        self.folders: list[str] = []
        self.links: list[str] = []
        self.shards = False
        self.problems: list[tuple[str, str]] = []
        self.more = 0
        self.stamps = array("q")
        waiting = [""]
        while waiting:
            waiting += self._visit(waiting.pop())

    def _visit(self, inner: str) -> list[str]:
        """List one folder and return the folders in it, the first one last."""
        place, prefix = (f"{self.root}/{inner}", f"{inner}/") if inner else (self.root, "")
        deeper: list[str] = []
        try:
            changed = stamp(place)  # before listing: later changes then show
            with os.scandir(place) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        deeper += self._enter(entry, prefix)
        except OSError as error:
            if not inner:
                raise _closed(self.root, error) from error
            self._note(inner, f"cannot be listed ({error.strerror}); allow reading it")
            return []
        self.folders.append(inner)
        self.stamps.extend(changed)
        return sorted(deeper, reverse=True)

    def _enter(self, entry: os.DirEntry[str], prefix: str) -> Iterator[str]:
        """Note one entry; yields its path if it is a folder to be listed."""
        stem, dot, ending = entry.name.rpartition(".")
        path = prefix + entry.name
        if dot and f".{ending}".lower() in SUFFIXES:
            wrong = wrong_name(entry.name) or _wrong_type(entry)
            if wrong:
                self._note(path, wrong)
            else:
                self.found.append(f"{prefix}{stem}\0.{ending}".encode())
        elif entry.is_dir(follow_symlinks=False):
            wrong = wrong_name(entry.name)
            if wrong:
                self._note(path, wrong)
            else:
                yield path
        elif entry.is_symlink() and not wrong_name(entry.name):
            if os.path.isdir(entry.path):
                self.links.append(path)
        elif not prefix and entry.name.lower().endswith(_SHARDS):
            self.shards = True

    def _note(self, path: str, words: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append((ascii(path) if wrong_name(path) else path, words))
        else:
            self.more += 1

    def listing(self) -> Listing:
        """Return what was found, sorted."""
        self.found.sort()
        endings: dict[bytes, int] = {}
        stems: list[bytes] = []
        codes = bytearray()
        taken = b""  # the record that was last taken
        for record in self.found:
            stem, _, ending = record.partition(b"\0")
            if stems and stem == stems[-1]:
                rival = taken.replace(b"\0", b"").decode().rpartition("/")[2]
                self._note(
                    (stem + ending).decode(), f"has the same name as {rival}; remove one of them"
                )
                continue
            stems.append(stem)
            codes.append(endings.setdefault(ending, len(endings)))
            taken = record
        self.found = []
        if self.more:
            self.problems.append(("", f"has {self.more} more files with problems"))
        return Listing(
            Names.of(stems),
            np.frombuffer(bytes(codes), np.uint8),
            tuple(ending.decode() for ending in endings),
            tuple(self.folders),
            tuple(self.links),
            self.shards,
            tuple(self.problems),
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; others are not asked of the disk again."""
    if entry.is_symlink():
        return os.path.isdir(entry.path)  # entry.is_dir raises on links that go in circles
    return entry.is_dir()


def wrong_name(name: str) -> str:
    """Say why a name cannot stand in a message or a list, or return ""."""
    if name.isascii() and name.isprintable():
        return ""
    kinds = {unicodedata.category(character) for character in name}
    if "Cs" in kinds:
        return "has a name that is not UTF-8; rename it"
    if kinds & {"Cc", "Zl", "Zp"}:
        return "has a line break or control character in its name; rename it"
    return ""


def _wrong_type(entry: os.DirEntry[str]) -> str:
    """Say why an entry is no file to be read, or return ""."""
    if entry.is_file(follow_symlinks=False) or os.path.isfile(entry.path):
        return ""
    if os.path.isdir(entry.path):
        return "is a folder, not a picture; rename it"
    if entry.is_symlink():
        return "is a link to nothing; remove it"
    return "is no regular file; remove it"  # reading a pipe would wait for ever
