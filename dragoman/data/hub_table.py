"""Data sets of the library `datasets` as a table: local parquet, image folders, and the Hub."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.blob import Blob
from dragoman.data.file_table import folder_name
from dragoman.data.hub_opening import label_codes, label_columns, library, opened, picture_columns
from dragoman.data.names import Names
from dragoman.data.raster import SUFFIXES
from dragoman.data.settings import DataSettings
from dragoman.data.shard_folder import Columns
from dragoman.data.splits import LACKING, hold_out
from dragoman.data.table import SPLITS, Table
from dragoman.errors import DataError

INTS = NDArray[np.int64]
PREFIX = "hf:"
_CHUNK = 1000  # rows are looked through so many at a time
_MOST_LINES = 1000
_MAGIC = (  # how encoded pictures begin
    (b"\x89PNG", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"\x93NUMPY", ".npy"),
    (b"PK\x03\x04", ".npz"),
)


class HubTable(Table):
    """Rows of a data set whose columns hold encoded pictures, which `datasets` never decodes.

    Splits that it lacks are held out of train by a hash of the rows' numbers.
    """

    def __init__(self, text: str, settings: DataSettings) -> None:
        """Open "hf:PATH" or "hf:OWNER/NAME". Raises DataError or SettingsError."""
        place = text.removeprefix(PREFIX)
        local = Path(place).exists()
        self._text, self._where = text, place if local else text
        parts = opened(place)
        columns, features = Columns.of(settings.columns), parts["train"].features
        self._columns = picture_columns(features, columns, text)
        wanted = label_columns(features, columns, text)
        self.keys, self.halves, self.problems = tuple(self._columns), {}, []
        self._apart = settings.pairing == "unpaired" and "b" in self.keys
        self._parts = {split: part.with_format("arrow") for split, part in parts.items()}
        self.label_sets, self._codes = label_codes(self._parts, features, wanted, text)
        self._root = os.path.abspath(place if Path(place).is_dir() else Path(place).parent)
        self._allowed = [self._root] if local else _caches()
        self._files: list[str] = []  # pictures that rows name by their path
        self._digest = hashlib.sha1(repr((self._columns, self.label_sets)).encode())
        self._rows = self._split_up({part: self._looked_through(part) for part in self._parts})
        self.splits = SPLITS
        name = folder_name(Path(place).resolve().name.removesuffix(".parquet") if local else place)
        self.name = f"{name}-unpaired" if self._apart else name

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a key has in a split."""
        return len(self._rows[split][key][1])

    def blobs(self, split: str, key: str, row: int) -> tuple[Blob, ...]:
        """Return the pictures of one row, read from the data set now; several are stacked."""
        part, rows = self._rows[split][key]
        number = int(rows[row])
        found = self._parts[part][number : number + 1]
        return tuple(
            [
                self._blob(f"{part}/{number}/{column}", found.column(column)[0].as_py())
                for column in self._columns[key]
            ]
        )

    def names(self, split: str) -> Names:
        """Return the number of each row in its part of the data set, as text."""
        return _numbers(self._rows[split][self.keys[0]][1])

    def partners(self, split: str) -> bool:
        """True if equal rows of all keys show the same thing."""
        return not self._apart

    def labels(self, split: str, rows: INTS) -> INTS:
        """Return the class in each label set, [len(rows), label sets]; UNKNOWN if not known."""
        part, own = self._rows[split][self.keys[0]]
        return self._codes[part][own[rows]].astype(np.int64)

    def containers(self) -> list[str]:
        """Return the files of the library, and those of pictures that lie beside them."""
        held = [file["filename"] for part in self._parts.values() for file in part.cache_files]
        return held + self._files

    def folders(self, key: str) -> str:
        """Say where the pictures of a key are."""
        return f"{self._where}/{'+'.join(self._columns[key])}"

    def digest(self) -> str:
        """Return a hash of the rows: lengths of their pictures, or paths of their files."""
        found = self._digest.copy()
        for split, by_key in self._rows.items():
            for key, (part, rows) in by_key.items():
                found.update(f"{split} {key} {part}\n".encode() + rows.tobytes())
        for codes in self._codes.values():
            found.update(codes.tobytes())
        return found.hexdigest()

    def _blob(self, name: str, value: Any) -> Blob:
        data, path = _content(value)
        if data is None:
            return Blob(self._file(path))
        suffix = _suffix(data, path)
        return Blob(self._where, member=f"{name}{suffix}", data=data)

    def _file(self, path: str) -> str:
        """Return where a file lies that a row names; raises DataError if that is elsewhere."""
        whole = os.path.normpath(os.path.join(self._root, path))
        inside = any(whole.startswith(root.rstrip(os.sep) + os.sep) for root in self._allowed)
        if "://" in path or "\0" in path or not inside:
            raise DataError(
                f"{self._text} names the file {path[:200]!a}, which lies outside of it; put all "
                "pictures into its folder"
            )
        return whole

    def _looked_through(self, part: str) -> dict[str, NDArray[np.bool_]]:
        """Tell for each key which rows hold its pictures; takes them into the digest."""
        there = {key: [np.empty(0, bool)] for key in self.keys}
        columns = [column for names in self._columns.values() for column in names]
        for rows in _chunks(self._parts[part], columns):
            usable = {column: self._usable(rows.column(column)) for column in columns}
            for key in self.keys:
                whole = np.logical_and.reduce([usable[column] for column in self._columns[key]])
                there[key].append(whole)
        return {key: np.concatenate(masks) for key, masks in there.items()}

    def _usable(self, column: Any) -> NDArray[np.bool_]:
        """Which rows of a column hold a picture; a row that names a foreign file is refused."""
        import pyarrow as pa
        import pyarrow.compute as pc

        masks = [np.empty(0, bool)]
        for chunk in column.chunks:
            data, paths = chunk, None
            if pa.types.is_struct(chunk.type):
                names = [field.name for field in chunk.type]
                inner = dict(zip(names, chunk.flatten(), strict=True))
                data, paths = inner["bytes"], inner.get("path")
            lengths = pc.call_function("binary_length", [data]).fill_null(-1)
            numbers = np.asarray(lengths.to_numpy(zero_copy_only=False), np.int64)
            self._digest.update(numbers.tobytes())
            masks.append(there := numbers >= 0)
            for row in np.flatnonzero(~there).tolist():
                path = None if paths is None else paths[row].as_py()
                if path is not None:
                    file = self._file(path)
                    inside = os.path.relpath(file, self._root)
                    self._digest.update(os.fsencode(inside) + b"\n")
                    self._files.append(file)
                    there[row] = True
        return np.concatenate(masks)

    def _split_up(
        self, found: dict[str, dict[str, NDArray[np.bool_]]]
    ) -> dict[str, dict[str, tuple[str, INTS]]]:
        """The part and rows of each split and key; tells of rows that lack a picture."""
        rows: dict[str, dict[str, tuple[str, INTS]]] = {split: {} for split in SPLITS}
        lacking = [split for split in LACKING if split not in found]
        groups = [[k for k in self.keys if k != "b"], ["b"]] if self._apart else [list(self.keys)]
        for keys in groups:
            for part, there in found.items():
                whole = np.logical_and.reduce([there[key] for key in keys])
                self._tell(part, keys, np.flatnonzero(~whole))
                chosen = np.flatnonzero(whole)
                held = hold_out(_numbers(chosen), lacking if part == "train" else [])
                held = held if part == "train" else {part: held["train"]}
                for split, numbers in held.items():
                    rows[split] |= dict.fromkeys(keys, (part, chosen[numbers]))
        for split, by_key in rows.items():
            for key, (_, numbers) in by_key.items():
                if not len(numbers):
                    raise DataError(
                        f"{self.folders(key)} has no picture left for {split}; at least 3 rows "
                        "are needed where val and test are held out of train"
                        + "".join(f"; {line}" for line in self.problems[:1])
                    )
        return rows

    def _tell(self, part: str, keys: list[str], lacking: INTS) -> None:
        names = ", ".join(column for key in keys for column in self._columns[key])
        for row in lacking[:_MOST_LINES].tolist():
            self.problems.append(
                f"{self._where}:{part}/{row} has no picture in {names}; remove the row"
            )
        if len(lacking) > _MOST_LINES:
            self.problems.append(f"{self._where}: {len(lacking) - _MOST_LINES} more such rows")


def _numbers(rows: INTS) -> Names:
    return Names.of(str(row).encode() for row in rows.tolist())


def _caches() -> list[str]:
    """The folders into which files from the Hub are loaded."""
    config = library().config
    return [os.path.abspath(place) for place in (config.HF_CACHE_HOME, config.HF_DATASETS_CACHE)]


def _chunks(part: Any, columns: list[str]) -> Iterator[Any]:
    part = part.select_columns(list(dict.fromkeys(columns)))
    return (part[at : at + _CHUNK] for at in range(0, len(part), _CHUNK))


def _content(value: Any) -> tuple[bytes | None, str]:
    """Bytes and path of a picture as `datasets` stores it."""
    if isinstance(value, dict):
        return value.get("bytes"), value.get("path") or ""
    return value, ""


def _suffix(data: bytes, path: str) -> str:
    """The ending of a picture in memory, by how it begins, or else by its name."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    for magic, suffix in _MAGIC:
        if data.startswith(magic):
            return suffix
    suffix = os.path.splitext(path)[1].lower()
    return suffix if suffix in SUFFIXES else ".png"  # whose reader refuses what is no picture
