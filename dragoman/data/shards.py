"""The offset index of tar shards: of each picture its tar, place and length, kept beside them.

With it any picture is one seek away, so that shards are shuffled exactly, shared among processes
and resumed as single files are.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.cache import built
from dragoman.data.names import Names
from dragoman.data.table import UNKNOWN
from dragoman.data.tar_members import BLOCK, TarFile, tellable
from dragoman.errors import DataError

INTS = NDArray[np.int64]
INDEX = "dragoman.index"  # beside the shards of a pack; an .npz, which would pass for a picture
_REVISION = 1  # raise it when what is indexed changes
_KEPT_FROM = 64_000_000  # bytes of shards; fewer are looked through about as fast as noted
_ARRAYS = {
    "first": np.int64,
    "tar": np.int32,
    "offset": np.int64,
    "length": np.int64,
    "ending": np.uint16,
    "labels": np.int32,
}
_TEXTS = ("about", "keys", "names")
_HEADER = re.compile(
    rb"\{'descr': '(\S+)', 'fortran_order': False, 'shape': \((\d{1,12},(?: ?\d{1,12})?)\), \} *\n"
)


@dataclass(frozen=True)
class Index:
    """Where the pictures of N samples lie, in M members of tar files.

    files: paths of the tars relative to their root; sizes: in bytes. endings: of members, such as
    "a.png". label_sets: classes by name. fields: what could hold labels. problems: a line for
    each. first: of each sample the number of its first member, [N + 1]. tar: number of its tar,
    [N]. offset, length, ending: of each member, [M]. labels: [N, label sets], UNKNOWN (-1) where
    there is none. keys: names of the samples in the tar, [N]; names: those for the user.
    """

    files: tuple[str, ...]
    sizes: tuple[int, ...]
    endings: tuple[str, ...]
    label_sets: dict[str, tuple[str, ...]]
    fields: tuple[str, ...]
    problems: tuple[str, ...]
    first: INTS
    tar: NDArray[np.int32]
    offset: INTS
    length: INTS
    ending: NDArray[np.uint16]
    labels: NDArray[np.int32]
    keys: Names
    names: Names

    def save(self, path: Path) -> None:
        """Write the index in the format .npz, with nothing but numbers in it."""
        plain = [f.name for f in fields(Index) if f.name not in (*_ARRAYS, *_TEXTS)]
        about = {name: getattr(self, name) for name in plain} | {"revision": _REVISION}
        texts = {"about": json.dumps(about).encode(), "keys": self.keys.packed()}
        if self.names is not self.keys:
            texts["names"] = self.names.packed()
        arrays: dict[str, Any] = {k: np.frombuffer(text, np.uint8) for k, text in texts.items()}
        with path.open("wb") as file:
            np.savez(file, **arrays, **{name: getattr(self, name) for name in _ARRAYS})

    def member(self, number: int) -> tuple[str, int, int]:
        """Return name, offset and length of a member by its number."""
        sample = int(np.searchsorted(self.first, number, "right")) - 1
        name = f"{self.keys[sample]}.{self.endings[self.ending[number]]}"
        return name, int(self.offset[number]), int(self.length[number])


def open_index(root: Path, files: Sequence[str], wanted: Sequence[str] | None = None) -> Index:
    """Return the index of tar files, whose paths are relative to `root`.

    It is read from the file beside the shards, or from the cache, if it still fits them, and else
    made by looking through all shards. wanted: as for `scan`. Raises DataError if there is a file
    missing, or the cache cannot be written.
    """
    from dragoman.data.shard_scan import scan

    stats = [_stat(root / file) for file in files]
    if wanted is None:
        index = load(root / INDEX)
        if index is not None and _fits(index, root, files, [size for size, _ in stats]):
            return index
    if sum(size for size, _ in stats) < _KEPT_FROM:
        return scan(root, files, wanted)
    about = [str(root.resolve()), list(zip(files, stats, strict=True)), wanted, _REVISION]
    folder = built(
        "shards",
        json.dumps(about),
        lambda draft: scan(root, files, wanted).save(draft / INDEX),
        f"looking through {len(files)} tar files in {root}, once for all",
    )
    index = load(folder / INDEX)
    return scan(root, files, wanted) if index is None else index


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    return found.st_size, found.st_mtime_ns


def load(path: Path) -> Index | None:
    """Read an index that `Index.save` wrote; None if there is none, or one that cannot be right.

    Nothing that the file claims is believed: no array is larger than the file, no number points
    out of the arrays or the tars.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            most = path.stat().st_size
            arrays = {name: _array(archive, name, kind, most) for name, kind in _ARRAYS.items()}
            texts = {
                name: _array(archive, name, np.uint8, most).tobytes()
                for name in _TEXTS
                if f"{name}.npy" in archive.namelist()
            }
        about = json.loads(texts["about"])
        if about.pop("revision") != _REVISION:
            return None
        plain: dict[str, Any] = {
            name: tuple(about[name]) for name in ("files", "sizes", "endings", "fields", "problems")
        }
        sets = {name: tuple(classes) for name, classes in about["label_sets"].items()}
        keys = _names(texts["keys"])
        names = _names(texts["names"]) if "names" in texts else keys
        index = Index(**plain, **arrays, label_sets=sets, keys=keys, names=names)
        return index if _is_sound(index) else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError):
        return None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, RecursionError):
        return None


def _array(archive: zipfile.ZipFile, name: str, dtype: Any, most: int) -> NDArray:
    """Read one array; raises ValueError if it is not as `Index.save` writes it."""
    entry = archive.getinfo(f"{name}.npy")
    stored = entry.compress_type == zipfile.ZIP_STORED
    if not stored or entry.file_size != entry.compress_size or entry.file_size > most:
        raise ValueError(name)
    with archive.open(entry) as file:
        content = file.read()
    start = 10 + int.from_bytes(content[8:10], "little")
    # The header is a Python expression, which is matched here but never evaluated.
    told = _HEADER.fullmatch(content[10:start])
    if content[:8] != b"\x93NUMPY\1\0" or told is None or told[1] != np.dtype(dtype).str.encode():
        raise ValueError(name)
    shape = [int(count) for count in told[2].split(b",") if count]
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def _names(packed: bytes) -> Names:
    """Texts that each end in a line break; raises ValueError if they are not plain text."""
    if not tellable(packed.decode().replace("\n", "")):
        raise ValueError("control characters")
    return Names.lines(packed)


def _is_sound(index: Index) -> bool:
    """Whether all numbers of an index point to something, and all its texts are texts."""
    texts = [*index.files, *index.endings, *index.fields, *index.problems]
    for name, classes in index.label_sets.items():
        texts += [name, *classes]
    if not all(isinstance(text, str) and tellable(text) for text in texts):
        return False
    count, members, sets = len(index.tar), len(index.offset), len(index.label_sets)
    shapes = (len(index.first), len(index.length), len(index.ending), index.labels.shape)
    if shapes != (count + 1, members, members, (count, sets)):
        return False
    if not len(index.keys) == len(index.names) == count or len(index.sizes) != len(index.files):
        return False
    if not all(isinstance(size, int) and 0 <= size < 1 << 62 for size in index.sizes):
        return False
    if index.first[0] != 0 or index.first[-1] != members or (np.diff(index.first) < 1).any():
        return False
    if not count:
        return True
    inside = _within(index.tar, 0, len(index.files)) and _within(
        index.ending, 0, len(index.endings)
    )
    if not inside or index.offset.min() < BLOCK or index.length.min() < 0:
        return False
    ends = np.array(index.sizes, np.int64)[np.repeat(index.tar, np.diff(index.first))]
    if (index.length > ends).any() or (index.offset > ends - index.length).any():
        return False
    most = [len(classes) for classes in index.label_sets.values()]
    return index.labels.min(initial=0) >= UNKNOWN and bool((index.labels < most).all())


def _within(numbers: NDArray, low: int, high: int) -> bool:
    return bool(numbers.min() >= low and numbers.max() < high)


def _fits(index: Index, root: Path, files: Sequence[str], sizes: Sequence[int]) -> bool:
    """Whether an index still is that of the tars: their names, sizes, first and last members."""
    if index.files != tuple(files) or index.sizes != tuple(sizes) or not len(index.tar):
        return False
    starts = np.flatnonzero(np.diff(index.tar, prepend=-1))
    ends = np.append(starts[1:], len(index.tar))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        try:
            with TarFile(root / files[index.tar[start]]) as tar:
                edges = (int(index.first[start]), int(index.first[end]) - 1)
                if not all(tar.has(*index.member(number)) for number in edges):
                    return False
        except DataError:
            return False
    return True


def label_codes(index: Index, sets: Mapping[str, tuple[str, ...]]) -> NDArray[np.int32]:
    """Return the classes of all samples, numbered as in `sets`: [N, sets].

    Raises KeyError with the class that `sets` lacks.
    """
    codes = np.full((len(index.tar), len(sets)), UNKNOWN, np.int32)
    own = list(index.label_sets)
    for place, (name, classes) in enumerate(sets.items()):
        if name not in own:
            continue
        numbers = {text: number for number, text in enumerate(classes)}
        order = [*(numbers[text] for text in index.label_sets[name]), UNKNOWN]
        codes[:, place] = np.array(order, np.int32)[index.labels[:, own.index(name)]]
    return codes
