"""Keeps what was measured of a user's pictures, so that the next start need not read them again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from weakref import WeakKeyDictionary

from dragoman.data.cache import cache_root
from dragoman.data.file_table import file_states
from dragoman.data.table import Table

MOST_BYTES = 1 << 16  # of a remembered fact
_STATES: WeakKeyDictionary[Table, str] = WeakKeyDictionary()  # looked up once for each opening
_VERSION = 1  # raise it when what is measured changes


def remembered(table: Table, what: str, measure: Callable[[], list]) -> list:
    """Return `measure()`, or what it gave before for the same files in the same state.

    what: names the fact and all settings it depends on. Where the cache folder cannot be written,
    it is measured every time.
    """
    if table not in _STATES:
        _STATES[table] = hashlib.sha1(file_states(table).tobytes()).hexdigest()
    states = _STATES[table]
    key = hashlib.sha1(repr((_VERSION, what, table.digest(), states)).encode()).hexdigest()
    path = cache_root() / "facts" / f"{key}.json"
    known = _read(path)
    if known is not None:
        return known
    fact = measure()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps({"fact": fact}), encoding="utf-8")
        os.replace(draft, path)
    return fact


def _read(path: Path) -> list | None:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        fact = json.loads(raw)["fact"] if len(raw) <= MOST_BYTES else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return fact if isinstance(fact, list) else None
