"""Which pictures are asked for: a file, a folder, a pattern, a list, or several to be stacked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from dragoman.data.raster import SUFFIXES
from dragoman.errors import DataError, did_you_mean

MOST_PICTURES = 10_000_000
LONGEST_LINE = 1 << 16  # bytes of a line of a list
_WILD = "*?["


@dataclass
class Pictures:
    """Files by number, in a fixed order.

    bases: a folder for each file of a stack, one if nothing is stacked. names: for each of them
    the paths below it; the first ones say where results go. named: it is a single file that was
    named itself. problems: name and reason of what was asked for and cannot be had.
    """

    bases: list[str]
    names: list[list[str]]
    named: bool = False
    problems: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names[0])

    def files(self, number: int) -> tuple[Path, ...]:
        """The file, or the files to be stacked, of one picture."""
        pairs = zip(self.bases, self.names, strict=True)
        return tuple(Path(base, names[number]) for base, names in pairs)


def find(text: str, out: Path | None = None) -> Pictures:
    """Return the pictures of `translate`'s IN; what lies in `out` within them is left out.

    text: a file; a folder, with all below it; a pattern such as "pics/**/*.tif"; a list, as
    "@list.txt" or a .txt file with a path on each line, relative to the list; or several of these
    joined by "+", whose files of equal path (the ending aside) are stacked along the channels.
    Hidden files and links to folders are left out, as are links that lead out of the folder.
    Raises DataError if there is nothing.
    """
    parts = [text] if os.path.lexists(text) or "+" not in text else text.split("+")
    found = [_expanded(part, out) for part in parts]
    pictures = found[0] if len(found) == 1 else _stacked(found)
    if not len(pictures) and not pictures.problems:
        raise DataError(f"{text} holds no pictures; known endings: {', '.join(SUFFIXES)}")
    return pictures


def _expanded(part: str, out: Path | None) -> Pictures:
    if not part:
        raise DataError("the name of the picture or folder is empty; name one")
    path = Path(part)
    if part.startswith("@") and not os.path.lexists(part):
        return _listed(Path(part[1:]))
    if path.is_dir():
        if out is not None and os.path.realpath(out) == os.path.realpath(path):
            raise DataError(f"{out} holds the pictures themselves, which stay; name another folder")
        return _below(part, out)
    if path.is_file():
        if path.suffix.lower() == ".txt":
            return _listed(path)
        return Pictures([str(path.parent)], [[path.name]], named=True)
    if any(letter in part for letter in _WILD):
        return _matching(part, out)
    near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise DataError(f"there is no picture or folder {part}{did_you_mean(path.name, near)}")


def _below(folder: str, out: Path | None, pattern: list[str] | None = None) -> Pictures:
    """The pictures below a folder whose paths fit a pattern, in the order of their paths."""
    found = Pictures([folder], [[]])
    deepest = None if pattern is None or "**" in pattern else len(pattern)
    for name in _walk(folder, out, deepest, found.problems):
        if pattern is None or _fits(name.split("/"), pattern):
            if len(found) == MOST_PICTURES:
                raise DataError(f"{folder} holds more than {MOST_PICTURES:,} pictures; divide it")
            found.names[0].append(name)
    found.names[0].sort()
    return found


def _walk(
    folder: str, out: Path | None, deepest: int | None, problems: list[tuple[str, str]]
) -> Iterator[str]:
    """Yield the paths of pictures below a folder; never enters links to folders.

    deepest: levels of folders that are looked into, this one being the first.
    """
    root = os.path.realpath(folder)
    without = None if out is None else os.path.realpath(out)
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        try:
            with os.scandir(os.path.join(folder, inner)) as entries:
                seen = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            reason = f"the folder cannot be listed ({error.strerror})"
            problems.append((os.path.join(folder, inner), reason))
            continue
        for entry in seen:
            name = f"{inner}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                level = name.count("/") + 2
                own = without is not None and os.path.join(root, name) == without
                if not own and (deepest is None or level <= deepest):
                    waiting.append(f"{name}/")
            elif entry.name.lower().endswith(SUFFIXES) and os.path.isfile(entry.path):
                if entry.is_symlink() and not _within(entry.path, root):
                    problems.append((entry.path, f"is a link that leads out of {folder}"))
                else:
                    yield name


def _within(path: str, root: str) -> bool:
    return os.path.realpath(path).startswith(os.path.join(root, ""))


def _matching(pattern: str, out: Path | None) -> Pictures:
    """The pictures that a pattern names; results go by their paths below its fixed part."""
    parts = pattern.split("/")
    wild = next(i for i, part in enumerate(parts) if any(letter in part for letter in _WILD))
    base = "/".join(parts[:wild]) or ("/" if pattern.startswith("/") else ".")
    if not os.path.isdir(base):
        raise DataError(f"there is no folder {base}, in which {pattern} is looked for")
    inner = [part for part in parts[wild:] if part]
    if inner[-1] == "**":
        inner.append("*")
    without = out if out is None or os.path.realpath(out) != os.path.realpath(base) else None
    found = _below(base, without, inner)
    if not len(found) and not found.problems:
        raise DataError(
            f"no picture fits {pattern}; ** stands for any folders, * for any part of a name, and "
            f"known endings are {', '.join(SUFFIXES)}"
        )
    return found


def _fits(parts: list[str], pattern: list[str]) -> bool:
    """True if the parts of a path fit those of a pattern, where ** stands for any number."""
    fitting = {0}  # how much of the pattern may be used up by the parts so far
    for part in [*parts, None]:
        for place in range(len(pattern)):
            if place in fitting and pattern[place] == "**":
                fitting.add(place + 1)
        if part is None:
            break
        fitting = {
            place if pattern[place] == "**" else place + 1
            for place in fitting
            if place < len(pattern)
            and (pattern[place] == "**" or fnmatchcase(part, pattern[place]))
        }
    return len(pattern) in fitting


def _listed(path: Path) -> Pictures:
    """The pictures of a list; results go by their paths below the folder that holds them all."""
    here = os.path.abspath(path.parent)
    found: dict[str, None] = {}
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(LONGEST_LINE):
                number += 1
                line = _line(raw, path, number)
                if line and not line.startswith("#"):
                    found[os.path.normpath(os.path.join(here, line))] = None
                if len(found) > MOST_PICTURES:
                    raise DataError(f"{path} names more than {MOST_PICTURES:,} files; divide it")
    except OSError as error:
        raise DataError(f"the list {path} cannot be read ({error.strerror})") from error
    if not found:
        raise DataError(f"{path} names no pictures; write one path on each line")
    base = os.path.commonpath({os.path.dirname(name) for name in found})
    return Pictures([base], [[os.path.relpath(name, base) for name in found]])


def _line(raw: bytes, path: Path, number: int) -> str:
    """A line of a list as text without its ends."""
    try:
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"line {number} of {path} is not UTF-8; save the list as UTF-8") from error
    if len(raw) == LONGEST_LINE or "\0" in line:
        raise DataError(f"line {number} of {path} is no path; write one path on each line")
    return line


def _stacked(found: list[Pictures]) -> Pictures:
    """Several inputs to one: files of equal path, their endings aside, belong together."""
    bases = [base for one in found for base in one.bases]
    problems = [problem for one in found for problem in one.problems]
    if all(one.named for one in found):
        return Pictures(bases, [one.names[0] for one in found], True, problems)
    by_stem = [{os.path.splitext(name)[0]: name for name in one.names[0]} for one in found]
    names: list[list[str]] = [[] for _ in found]
    for first in found[0].names[0]:
        stem = os.path.splitext(first)[0]
        fellows = [first, *(other.get(stem) for other in by_stem[1:])]
        lacking = [base for base, name in zip(bases, fellows, strict=True) if name is None]
        if lacking:
            reason = f"has no partner of that name in {', '.join(lacking)}"
            problems.append((os.path.join(bases[0], first), reason))
            continue
        for column, name in zip(names, fellows, strict=True):
            column.append(str(name))
    return Pictures(bases, names, False, problems)
