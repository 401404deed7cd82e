"""The description beside packed shards: what the tars alone do not tell."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dragoman.data.table import PICTURE_KEYS, PIXEL_KEYS
from dragoman.data.tar_members import tellable
from dragoman.errors import DataError

DESCRIPTION = "dragoman.json"
_FORM = {"format": "dragoman shards", "version": 1}
_MOST_BYTES = 64_000_000
_KEYS = (*PICTURE_KEYS, *PIXEL_KEYS)


@dataclass(frozen=True)
class Description:
    """What `pack` knew of a table.

    name: of the data set. pairing: with which it was packed. titles: names of the domains by
    batch key. halves, kinds, label_sets: as of the table. splits: the tars of each. counts:
    pictures by split and key. partners: by split.
    """

    name: str
    pairing: str
    titles: dict[str, str]
    halves: dict[str, str]
    kinds: dict[str, str]
    label_sets: dict[str, tuple[str, ...]]
    splits: dict[str, tuple[str, ...]]
    counts: dict[str, dict[str, int]]
    partners: dict[str, bool]

    def save(self, path: Path) -> None:
        """Write the description as JSON."""
        path.write_text(json.dumps(_FORM | asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Description | None:
        """Return the description in a folder, None if there is none; raises DataError."""
        path = folder / DESCRIPTION
        try:
            if not path.is_file():
                return None
            if path.stat().st_size > _MOST_BYTES:
                raise _damaged(path, "it is too large")
            told = json.loads(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
        except (ValueError, RecursionError):
            raise _damaged(path, "it is not valid JSON") from None
        if not isinstance(told, dict) or told.get("format") != _FORM["format"]:
            raise _damaged(path, "it does not describe shards")
        if told.get("version") != _FORM["version"]:
            raise DataError(
                f"{path} is of version {told.get('version')!a}, which this dragoman cannot "
                "read; install a newer one"
            )
        try:
            return cls(**_checked(told))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(path, f"{str(error)!a} is missing or wrong") from None


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path} is damaged ({why}); pack the data again, or remove it")


def _checked(told: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a Description; raises an error named after what is wrong."""
    splits = {_text(split): _texts(tars) for split, tars in told["splits"].items()}
    if "train" not in splits or any(
        ".." in Path(t).parts or Path(t).anchor for s in splits.values() for t in s
    ):
        raise ValueError("splits")
    counts = {
        split: {_key(key): _count(count) for key, count in told["counts"][split].items()}
        for split in splits
    }
    partners = {split: told["partners"][split] for split in splits}
    if not all(isinstance(value, bool) for value in partners.values()):
        raise ValueError("partners")
    halves = {_key(key): half for key, half in told["halves"].items()}
    if not set(halves.values()) <= {"left", "right"}:
        raise ValueError("halves")
    if told["pairing"] not in ("paired", "unpaired"):
        raise ValueError("pairing")
    return {
        "name": _text(told["name"]),
        "pairing": told["pairing"],
        "titles": {_key(key): _text(title) for key, title in told["titles"].items()},
        "halves": halves,
        "kinds": {_key(key): _text(kind) for key, kind in told["kinds"].items()},
        "label_sets": {_text(k): _texts(classes) for k, classes in told["label_sets"].items()},
        "splits": splits,
        "counts": counts,
        "partners": partners,
    }


def _key(key: str) -> str:
    if key not in _KEYS:
        raise ValueError(key)
    return key


def _count(count: Any) -> int:
    if not isinstance(count, int) or count < 0:
        raise ValueError("counts")
    return count


def _text(text: Any) -> str:
    if not isinstance(text, str) or not tellable(text):
        raise ValueError(ascii(text)[:80])
    return text


def _texts(texts: Any) -> tuple[str, ...]:
    if not isinstance(texts, list):
        raise ValueError(ascii(texts)[:80])
    return tuple(_text(text) for text in texts)
