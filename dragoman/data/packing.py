"""Write a data set as tar shards: the files' bytes as they are, with an index and a description."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from dragoman.data.blob import Blob
from dragoman.data.domains import title
from dragoman.data.pack_description import DESCRIPTION, Description
from dragoman.data.raster import SUFFIXES
from dragoman.data.settings import DataSettings
from dragoman.data.shard_folder import SIDES
from dragoman.data.shard_scan import scan
from dragoman.data.shards import INDEX
from dragoman.data.table import UNKNOWN, Table
from dragoman.errors import DataError, FileError, SettingsError

if TYPE_CHECKING:
    from dragoman.data.batches import Data

MEGABYTES = 256  # after so many a new shard begins,
SAMPLES = 10_000  # or after so many samples
SHOWN = 20  # as many problems are listed
_LARGE = 1 << 33  # bytes that the plainest header cannot tell
_CHUNK = 4096  # labels are asked for so many samples at once
Files = dict[str, tuple[Blob, ...]]  # of a sample, by the name of the picture
Sample = tuple[dict, Files]  # what its JSON tells, and its files
Say = Callable[[str], None]


def pack_named(
    settings: DataSettings, out: Path, megabytes: int = MEGABYTES, say: Say | None = None
) -> str:
    """Pack the data set that the settings name into the folder `out`, as `pack` does."""
    from dragoman.data.batches import Data
    from dragoman.data.opening import embedded
    from dragoman.data.tables import open_table

    check_out(out)
    source = embedded(settings)
    if source is not None:
        return pack_data(Data(settings, source), out, megabytes=megabytes, say=say)
    return pack(open_table(settings), out, _roots(settings.data), megabytes=megabytes, say=say)


def pack_data(data: Data, out: Path, *, megabytes: int = MEGABYTES, say: Say | None = None) -> str:
    """Pack an embedded data set: each picture as stored, in lossless PNG or TIFF; as `pack`."""
    from dragoman.data.embedded_table import EmbeddedTable

    if data.settings.scale != 1:
        raise SettingsError(
            f"--scale {data.settings.scale} makes low and high while training; pack the pictures "
            "without it, and give it when you train on them"
        )
    with EmbeddedTable(data) as table:
        return pack(table, out, megabytes=megabytes, say=say) + table.flags


def _roots(data: str) -> list[Path]:
    """The folders that the files of own pictures may lie in."""
    text = data.removeprefix("hf:")
    whole = [text] if Path(text).exists() else text.replace("+", ",").split(",")
    return [Path(part) if Path(part).is_dir() else Path(part).parent for part in whole]


def pack(
    table: Table,
    out: Path,
    roots: Sequence[Path] = (),
    *,
    megabytes: int = MEGABYTES,
    samples: int = SAMPLES,
    say: Say | None = None,
) -> str:
    """Write the files of a table into tar shards in the new folder `out`; return what to tell.

    Each row becomes a sample; if a and b are no partners, each picture does. Bytes are copied,
    never encoded again, and equal tables give equal shards. The folder appears when it is
    complete. roots: folders out of which no symbolic link among the files may lead; without it
    each file's own folder. say: is told of each finished shard. Raises DataError for files that
    are missing or linked, and if the table has problems: they would be lost; FileError if `out`
    cannot be written, SettingsError for shards of no size.
    """
    if megabytes < 1 or samples < 1:
        raise SettingsError(f"--shard_megabytes must be at least 1, got {megabytes}")
    check_out(out)
    _refuse_problems(table)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as place:
            draft = Path(place) / out.name
            draft.mkdir()
            writer = _Writer(draft, _Inside(roots), megabytes * 1_000_000, samples, say)
            splits = {split: writer.split(split, _samples(table, split)) for split in table.splits}
            _conclude(draft, table, splits)
            if out.exists():
                out.rmdir()
            draft.rename(out)
    except OSError as error:
        raise FileError(f"cannot write {out}: {error.strerror or error}") from error
    size = sum(path.stat().st_size for path in out.iterdir())
    tars = sum(map(len, splits.values()))
    return (
        f"wrote {writer.samples} samples in {tars} shard{'s' * (tars != 1)} ({size / 1e6:.1f} MB) "
        f"to {out}; use --data {out}" + " --pairing unpaired" * (not _paired(table))
    )


def check_out(out: Path) -> None:
    """Raise FileError if a pack cannot become the folder `out`, before anything is read."""
    if out.is_dir():
        if any(out.iterdir()):
            raise FileError(f"the folder {out} is not empty; name a new one, or remove it")
    elif os.path.lexists(out):
        raise FileError(f"{out} is a file; name a new folder")


def _refuse_problems(table: Table) -> None:
    lines = table.problems
    if lines:
        more = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        told = "\n  ".join([*lines[:SHOWN], *more])
        raise DataError(
            f"{len(lines)} problem{'s' * (len(lines) > 1)} in the pictures of {table.name}; mend "
            f"or remove these files, which a pack would lose:\n  {told}"
        )


def _apart(table: Table, split: str) -> bool:
    """Whether a and b have samples of their own; halves of one file cannot."""
    return "b" in table.keys and not table.halves and not table.partners(split)


def _paired(table: Table) -> bool:
    return not any(_apart(table, split) for split in table.splits)


def _samples(table: Table, split: str) -> Iterator[Sample]:
    """Yield the samples of a split: rows, or if a and b are apart all of a, then all of b."""
    apart = _apart(table, split)
    joined = [key for key in table.keys if not (apart and key == "b")]
    count = table.count(split, joined[0])
    if any(table.count(split, key) != count for key in joined):
        raise DataError(f"{table.name} has different numbers of {', '.join(joined)} in {split}")
    names = table.names(split)
    for at in range(0, count, _CHUNK):
        rows = np.arange(at, min(at + _CHUNK, count))
        labels = table.labels(split, rows) if table.label_sets else np.empty((len(rows), 0), int)
        for row, numbers in zip(rows.tolist(), labels.tolist(), strict=True):
            sets = zip(table.label_sets.items(), numbers, strict=True)
            told = {name: None if n == UNKNOWN else classes[n] for (name, classes), n in sets}
            yield {"name": names[row], "labels": told}, _files(table, split, joined, row)
    if apart:
        for row in range(table.count(split, "b")):
            yield {}, _files(table, split, ["b"], row)


def _files(table: Table, split: str, keys: Sequence[str], row: int) -> Files:
    """The files of a row by key; those whose halves are a and b once, as SIDES."""
    files = {key: table.blobs(split, key, row) for key in keys}
    if table.halves:
        sides = [files.pop(key) for key in list(files) if key in table.halves]
        if any(side != sides[0] for side in sides):
            raise DataError(f"{sides[0][0].name} is no file of both {' and '.join(table.halves)}")
        files = {SIDES: sides[0]} | files
    return files


class _Inside:
    """Refuses files that a symbolic link leads out of the data set, and what is no file."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = [os.path.abspath(root) for root in roots]
        self._real = {root: os.path.realpath(root) for root in self._roots}

    def check(self, path: str) -> None:
        """Raise DataError if a path leads out of its root, or is no regular file."""
        whole = os.path.abspath(path)
        try:
            mode = os.stat(whole).st_mode
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
        if not stat.S_ISREG(mode):
            raise DataError(f"{path} is no regular file; remove it from the data set")
        root = next((r for r in self._roots if _below(whole, r)), os.path.dirname(whole))
        if root not in self._real:
            self._real[root] = os.path.realpath(root)
        real = os.path.realpath(whole)
        if not _below(real, self._real[root]):
            raise DataError(
                f"{path} is a symbolic link out of {root}, to {real}; put the file itself there "
                "(cp -L), or pack the folder that it lies in"
            )


def _below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep)


class _Writer:
    """Writes samples into numbered tars. samples: how many in all."""

    def __init__(
        self, folder: Path, inside: _Inside, most_bytes: int, most_samples: int, say: Say | None
    ) -> None:
        self._folder, self._inside, self._say = folder, inside, say
        self._most_bytes, self._most_samples = most_bytes, most_samples
        self.samples = 0

    def split(self, split: str, samples: Iterator[Sample]) -> tuple[str, ...]:
        """Write all samples of a split; return the names of its tars."""
        tars: list[str] = []
        number, sample = 0, next(samples, None)
        while sample is not None:
            tars.append(f"{split}-{len(tars):06d}.tar")
            with tarfile.open(self._folder / tars[-1], "w") as tar:
                first = number
                while sample is not None and number - first < self._most_samples:
                    self._write(tar, f"{number:06d}", *sample)
                    number, sample = number + 1, next(samples, None)
                    if tar.offset >= self._most_bytes:
                        break
            self.samples += number - first
            if self._say is not None:
                self._say(f"{tars[-1]}: {self.samples} samples so far")
        return tuple(tars)

    def _write(self, tar: tarfile.TarFile, stem: str, told: dict, files: Files) -> None:
        for key, blobs in files.items():
            for place, blob in enumerate(blobs):
                if blob.suffix not in SUFFIXES:
                    raise DataError(f"{blob.name} ends in none of {', '.join(SUFFIXES)}; rename it")
                channel = f".{place}" if len(blobs) > 1 else ""
                with self._opened(blob) as file:
                    end = file.seek(0, os.SEEK_END)
                    size = end if blob.length < 0 else blob.length
                    if blob.offset + size > end:
                        raise DataError(f"{blob.name} is cut off; copy {blob.path} again")
                    file.seek(blob.offset)
                    _add(tar, f"{stem}.{key}{channel}{blob.suffix}", file, size)
        if told:
            text = json.dumps(told).encode()
            _add(tar, f"{stem}.json", io.BytesIO(text), len(text))

    def _opened(self, blob: Blob) -> BinaryIO:
        if blob.data is not None:
            return blob.open()
        self._inside.check(blob.path)
        try:
            return open(blob.path, "rb")
        except OSError as error:
            raise DataError(f"{blob.name} cannot be read ({error.strerror})") from error


def _add(tar: tarfile.TarFile, name: str, file: BinaryIO, size: int) -> None:
    """Add a member that tells nothing of when and by whom it was made."""
    member = tarfile.TarInfo(name)
    member.size = size
    tar.format = tarfile.USTAR_FORMAT if size < _LARGE else tarfile.PAX_FORMAT
    tar.addfile(member, file)


def _conclude(draft: Path, table: Table, splits: dict[str, tuple[str, ...]]) -> None:
    """Look through the tars, write index and description, and force everything to the disk."""
    index = scan(draft, sorted(tar for tars in splits.values() for tar in tars))
    if index.problems:
        raise DataError(index.problems[0])
    index.save(draft / INDEX)
    name = table.name
    if table.halves and not all(map(table.partners, table.splits)):
        name = name.removesuffix("-unpaired")  # such a pack can be opened as pairs too
    about = Description(
        name=name,
        pairing="paired" if _paired(table) else "unpaired",
        titles={key: title(table, key) for key in table.keys},
        halves=dict(table.halves),
        kinds=dict(table.kinds),
        label_sets=dict(table.label_sets),
        splits=splits,
        counts={s: {key: table.count(s, key) for key in table.keys} for s in table.splits},
        partners={split: table.partners(split) for split in table.splits},
    )
    about.save(draft / DESCRIPTION)
    for path in draft.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
