"""What made the pictures of a folder, kept beside them: others do not pass for them later."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dragoman.checkpoint import write
from dragoman.controls import COUNTED
from dragoman.data.raster import SUFFIXES
from dragoman.errors import FileError, SettingsError
from dragoman.run import read_json
from dragoman.saved import generating
from dragoman.translating.options import Options

if TYPE_CHECKING:
    from dragoman.pipeline import Translator

NAME = ".dragoman.json"  # hidden: so no translation or training takes it for one of the pictures
# Options that change pixels. Others change names (answers, format), or the last digits at most.
PIXELS = ("seed", "tile", "context", "overlap", "norms", "quality", "alpha")


@dataclass(frozen=True)
class Record:
    """What pictures depend on besides what was given.

    translator: a digest of its weights and of what they mean. options, controls: what is not as by
    default; of pictures a digest. since: files that are older, in ns, were made otherwise.
    """

    translator: str
    options: dict[str, Any]
    controls: dict[str, Any]
    since: int = 0

    def alike(self, other: Record) -> bool:
        """True if both make the same pictures."""
        return self.differences(other) == []

    def differences(self, other: Record) -> list[str]:
        """What the other, older one says otherwise, in words."""
        found = []
        if self.translator != other.translator:
            found.append("the translator was another one or had learned less")
        usual = {field.name: field.default for field in fields(Options)}
        pairs = ((self.options, other.options, usual), (self.controls, other.controls, {}))
        for now, before, defaults in pairs:
            for name in dict.fromkeys((*now, *before)):
                was, wanted = (side.get(name, defaults.get(name)) for side in (before, now))
                if was != wanted:
                    flag = "the answer" if name == COUNTED else f"--{name}"
                    found.append(f"{flag} was {_told(was, wanted)}")
        return found


def _told(was: Any, wanted: Any) -> str:
    """A value in words, on one line: records are not trusted."""
    if was is None:
        return "not given"
    if isinstance(was, dict):  # the digest of pictures
        return "given" if wanted is None else "of other pictures"
    return " ".join(str(was).split())[:200]


def record_of(translator: Translator, options: Options) -> Record:
    """What the pictures of a translator depend on that goes by its controls and these options."""
    usual = Options()
    chosen = {name: getattr(options, name) for name in PIXELS}
    controls, none = translator.system.controls, translator.system.Controls()
    plain = {name: _plain(value) for name, value in vars(controls).items()}
    return Record(
        _fingerprint(translator),
        {name: value for name, value in chosen.items() if value != getattr(usual, name)},
        {name: value for name, value in plain.items() if value != getattr(none, name, None)},
    )


def _plain(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    digest = hashlib.blake2b(str(list(value.shape)).encode(), digest_size=16)
    digest.update(_bytes(value))
    return {"pictures": digest.hexdigest()}


def _fingerprint(translator: Translator) -> str:
    system, config = translator.system, translator.config
    about = [
        config["system"],
        vars(system.settings),
        asdict(system.facts),
        config["domains"],
    ]
    words = json.dumps(about, sort_keys=True, default=str).encode()
    digest = hashlib.blake2b(words, digest_size=16)
    for name, tensor in sorted(generating(system).items()):
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    plain = tensor.detach().cpu().contiguous().flatten()
    return memoryview(plain.view(torch.uint8).numpy())


def read_record(folder: Path) -> Record | None:
    """The record of a folder, None if there is none; raises FileError for one that is damaged."""
    path = folder / NAME
    if not path.is_file():
        return None
    remedy = "remove it, or name another folder"
    saved = read_json(path, remedy)
    kinds = {"translator": str, "options": dict, "controls": dict, "since": int}
    if not all(type(saved.get(name)) is kind for name, kind in kinds.items()):
        raise FileError(f"{path} is damaged; {remedy}")
    return Record(**{name: saved[name] for name in kinds})


def stale_before(folder: Path, now: Record, again: bool) -> int:
    """The time, in ns, before which what lies in the folder was made otherwise; 0: nothing was.

    Raises SettingsError if its pictures were made otherwise and are not to be made again.
    """
    before = read_record(folder)
    if before is None:
        return 0
    different = now.differences(before)
    if different and not again and _holds_pictures(folder):
        raise SettingsError(
            f"{folder} holds pictures that were made otherwise: {', '.join(different)}; name "
            "another folder, or use --again true to make them anew"
        )
    return 0 if different else before.since


def check_single(places: Iterable[str], translator: Translator, options: Options) -> None:
    """Raise SettingsError if a file to be made anew is of a folder whose pictures are others."""
    for place in map(Path, places):
        before = read_record(place.parent) if place.exists() else None
        if before is not None and (different := record_of(translator, options).differences(before)):
            raise SettingsError(
                f"{place} lies among pictures that were made otherwise: {', '.join(different)}; "
                "name another place"
            )


def keep_record(folder: Path, now: Record, again: bool, places: Iterable[str]) -> None:
    """Write down what makes the pictures of a folder, before the first of them is made.

    places: of all pictures. Where some are there that nothing is known of, nothing is written,
    unless they are made again. Raises FileError if the folder cannot be written to.
    """
    before = read_record(folder)
    if before is not None and now.alike(before):
        return
    if before is None and not again and folder.is_dir() and any(map(os.path.exists, places)):
        return
    anew = before is not None or again

    def fill(draft: Path) -> None:
        # The clock of the disk, which also tells when pictures were made.
        since = draft.stat().st_mtime_ns if anew else 0
        draft.write_text(json.dumps({**asdict(now), "since": since}, indent=1) + "\n", "utf-8")

    try:
        write(folder / NAME, fill)
    except FileError as error:
        reason = getattr(error.__cause__, "strerror", None) or error.__cause__
        raise FileError(f"cannot write into {folder} ({reason}); name another folder") from error


def _holds_pictures(folder: Path) -> bool:
    """True if there is any picture below a folder, whoever made it."""
    return any(
        name.lower().endswith(SUFFIXES) and not name.startswith(".")
        for _, _, names in os.walk(folder)
        for name in names
    )
