"""What was found in large folders and manifests, kept in the cache so that it is not sought again.

A file of the cache is a line of JSON, the arrays that it counts, and a digest of both. It is used
only if the digest is right and nothing that it watches has changed since; else it is as if it
were not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import tempfile
from array import array
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from dragoman.data.cache import cache_root

LEAST = 20_000  # fewer files are found faster than an index of them is worth
SETTLED = 3.0  # seconds after which the time of a change tells of any further change
Kept = TypeVar("Kept")
_MAGIC, _DIGEST = b"dragoman index 1\n", 32


def stamp(path: str) -> tuple[int, int]:
    """Return when the content, and when anything, of a folder or file changed, in nanoseconds.

    A folder's content are its entries. Raises OSError if there is none.
    """
    found = os.stat(path)
    return found.st_mtime_ns, found.st_ctime_ns


def keep(
    key: str,
    about: dict[str, Any],
    arrays: Sequence[bytes | memoryview],
    watched: Sequence[str],
    stamps: array[int],
    began: int,
) -> None:
    """Keep arrays, and what is said about them as JSON, until one of the watched paths changes.

    stamps: two numbers for each watched path. began: when the work on it began, in nanoseconds;
    if something changed shortly before or later, nothing is kept. Does nothing if the cache cannot
    be written.
    """
    if max(stamps, default=0) > began - SETTLED * 1e9:
        return
    parts = [*arrays, stamps.tobytes()]
    sizes = [len(part) for part in parts]
    line = json.dumps({"key": key, "watched": watched, "sizes": sizes, "about": about}).encode()
    digest = hashlib.blake2b(digest_size=_DIGEST)
    parts = [line, b"\n", *parts]
    for part in parts:
        digest.update(part)
    with contextlib.suppress(OSError), _replacing(_file(key)) as draft:
        draft.writelines([_MAGIC, *parts, digest.digest()])


@contextlib.contextmanager
def _replacing(file: Path) -> Generator[BinaryIO]:
    """Open a new file that takes the place of `file` when it is complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    number, draft = tempfile.mkstemp(prefix=".draft-", dir=file.parent)
    try:
        with os.fdopen(number, "wb") as handle:
            yield handle
        os.replace(draft, file)
    except BaseException:
        os.unlink(draft)
        raise


def recall(key: str, make: Callable[[dict[str, Any], list[memoryview]], Kept]) -> Kept | None:
    """Return what `make` makes of what is said about kept arrays, and of these arrays.

    None if nothing is kept or it holds no longer. make: may raise ValueError if they do not fit.
    """
    try:
        with _file(key).open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return None
            content = memoryview(file.read())
    except OSError:
        return None
    body, digest = content[:-_DIGEST], content[-_DIGEST:]
    if hashlib.blake2b(body, digest_size=_DIGEST).digest() != digest:
        return None
    try:
        found = _read(body, key)
        return None if found is None else make(*found)
    except (ValueError, LookupError, TypeError, AttributeError, OSError, RecursionError):
        return None


def _read(body: memoryview, key: str) -> tuple[dict[str, Any], list[memoryview]] | None:
    """Take a sound file apart; None if it is of another key or something has changed."""
    line = bytes(body).partition(b"\n")[0]
    head = json.loads(line)
    edges = list(itertools.accumulate(head["sizes"], initial=len(line) + 1))
    arrays = [body[low:high] for low, high in itertools.pairwise(edges)]
    if head["key"] != key or edges[-1] != len(body):
        return None
    now = [number for path in head["watched"] for number in stamp(path)]
    if now != np.frombuffer(arrays.pop(), np.int64).tolist():
        return None
    return head["about"], arrays


def _file(key: str) -> Path:
    name = hashlib.sha256(os.fsencode(key)).hexdigest()[:24]
    return cache_root() / "index" / f"{name}.index"
