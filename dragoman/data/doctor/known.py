"""Remembers which files were found to be sound, so that only new or altered ones are read again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile

import numpy as np
from numpy.typing import NDArray

from dragoman.data.blob import Blob
from dragoman.data.cache import cache_root
from dragoman.data.table import Table

_SOUND = np.dtype([("mark", "<u8"), ("height", "<u4"), ("width", "<u4")])
_MOST = 64 << 20  # pictures: a file of the cache may take 1 GB, which no cache should
MARKS = NDArray[np.uint64]


def marks(table: Table, split: str, key: str) -> MARKS:
    """Return a number for each picture of a key that changes with path, size or time of change.

    0 if there is no file whose state could be told.
    """
    start = hashlib.blake2b(f"{os.getcwd()} {table.halves.get(key, '')}".encode(), digest_size=8)
    states: dict[str, bytes] = {}  # of archives, in which many pictures share a file

    def mark(row: int) -> int:
        found = start.copy()
        for blob in table.blobs(split, key, row):
            state = states.get(blob.path) or _state(blob)
            if not state:
                return 0
            if blob.length >= 0:
                states[blob.path] = state
            found.update(state)
            found.update(f" {blob.offset} {blob.length} {blob.path}\n".encode("utf-8", "replace"))
        return int.from_bytes(found.digest(), "little")

    count = table.count(split, key)
    return np.fromiter((mark(row) for row in range(count)), np.uint64, count)


def _state(blob: Blob) -> bytes:
    if blob.data is not None:
        return b""
    try:
        found = os.stat(blob.path)
    except OSError:
        return b""
    return f"{found.st_size} {found.st_mtime_ns}".encode()


class Sound:
    """The marks and sizes of pictures that were read in full and found sound, kept in the cache.

    what: all that soundness depends on, but the file itself. A cache that is damaged or cannot be
    written is as if it were not there.
    """

    def __init__(self, what: str) -> None:
        name = hashlib.sha256(what.encode()).hexdigest()[:24]
        self._path = cache_root() / "sound" / f"{name}.npy"
        self._table = self._read()
        self._new: list[NDArray] = []

    def _read(self) -> NDArray:
        with contextlib.suppress(OSError, ValueError, EOFError):
            if self._path.stat().st_size <= _MOST * _SOUND.itemsize:
                found = np.load(self._path, allow_pickle=False)
                ordered = found.dtype == _SOUND and found.ndim == 1
                if ordered and (found["mark"][1:] > found["mark"][:-1]).all():
                    return found
        return np.empty(0, _SOUND)

    def sizes(self, wanted: MARKS) -> NDArray[np.int64]:
        """Return height and width of each mark, [N, 2]; 0 if it is not known."""
        sizes = np.zeros((len(wanted), 2), np.int64)
        if len(self._table):
            places = np.searchsorted(self._table["mark"], wanted).clip(max=len(self._table) - 1)
            there = (self._table["mark"][places] == wanted) & (wanted != 0)
            sizes[there, 0] = self._table["height"][places[there]]
            sizes[there, 1] = self._table["width"][places[there]]
        return sizes

    def add(self, wanted: MARKS, sizes: NDArray[np.int64]) -> None:
        """Remember sound pictures: their marks, and height and width [N, 2]; size 0 is passed."""
        keep = (wanted != 0) & (sizes > 0).all(1)
        height, width = sizes[keep].T
        new = np.rec.fromarrays([wanted[keep], height, width], dtype=_SOUND)
        self._new.append(np.asarray(new))

    def save(self) -> None:
        """Write what was added; does nothing if the cache cannot be written."""
        if not sum(map(len, self._new)):
            return
        whole = np.concatenate([*self._new, self._table])
        _, first = np.unique(whole["mark"], return_index=True)
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            number, draft = tempfile.mkstemp(prefix=".draft-", dir=self._path.parent)
            try:
                with os.fdopen(number, "wb") as file:
                    np.save(file, whole[first][-_MOST:], allow_pickle=False)
                os.replace(draft, self._path)
            except BaseException:
                os.unlink(draft)
                raise
