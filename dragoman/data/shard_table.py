"""Tar shards as a table: those that `dragoman pack` wrote, and any in the layout of WebDataset."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragoman.data.blob import Blob
from dragoman.data.file_table import folder_name
from dragoman.data.names import Names
from dragoman.data.pack_description import Description
from dragoman.data.settings import DataSettings
from dragoman.data.shard_folder import (
    Columns,
    find_shards,
    pick,
    roles_of,
    splits_of,
)
from dragoman.data.shards import INDEX, Index, label_codes, open_index
from dragoman.data.splits import LACKING, hold_out
from dragoman.data.table import SPLITS, Table
from dragoman.errors import DataError, SettingsError, did_you_mean

INTS = NDArray[np.int64]
_MOST_LINES = 1000  # about samples that lack something


class ShardTable(Table):
    """Pictures in tar files, each read by its place and length.

    A sample is the members that share their name up to its first dot and lie together; what
    follows the dot tells the batch key, as in 000123.a.png, 000123.map.png, 000123.jpg (image).
    """

    def __init__(self, paths: list[Path], settings: DataSettings) -> None:
        """Open tar files, or folders of them. Raises DataError or SettingsError."""
        columns = Columns.of(settings.columns)
        self._root, files = find_shards(paths)
        self._about = Description.load(self._root)
        tars = splits_of(self._root, files, self._about)
        self._paired = settings.pairing == "paired"
        if self._paired and self._about is not None and self._about.pairing == "unpaired":
            raise SettingsError(
                f"{self._root} was packed with a and b apart; use --pairing unpaired"
            )
        self._index = _opened(self._root, files, columns)
        self.problems = list(self._index.problems)
        self._tars = [str(self._root / file) for file in files]
        roles = roles_of(self._index, columns, self._root)
        self.keys = tuple(roles)
        self.halves = self._halves(roles)
        self.kinds = {} if self._about is None else self._about.kinds
        self.label_sets, self._codes = self._labelled(columns)
        self._picks = {key: pick(self._index, role) for key, role in roles.items()}
        self._rows = self._split_up(self._usable(), tars)
        self.splits = tuple(self._rows)
        self.name = folder_name(self._title(paths))
        if self._about is not None and not columns.pictures:
            self._compare(self._about)

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a key has in a split."""
        return len(self._rows[split][key])

    def blobs(self, split: str, key: str, row: int) -> tuple[Blob, ...]:
        """Return the members of one picture; several are stacked along the channels."""
        index, sample = self._index, int(self._rows[split][key][row])
        path, stem = self._tars[index.tar[sample]], index.keys[sample]
        return tuple(
            [
                Blob(
                    path,
                    int(index.offset[member]),
                    int(index.length[member]),
                    f"{stem}.{index.endings[index.ending[member]]}",
                )
                for member in self._picks[key].members[sample].tolist()
            ]
        )

    def names(self, split: str) -> Names:
        """Return the name of each sample of the first key."""
        return self._index.names.take(self._rows[split][self.keys[0]])

    def partners(self, split: str) -> bool:
        """True if equal rows of all keys show the same thing."""
        apart = "b" in self.keys
        if self._about is not None and (self._about.pairing == "unpaired" or not apart):
            return self._about.partners[split]
        return self._paired or not apart

    def labels(self, split: str, rows: INTS) -> INTS:
        """Return the class in each label set, [len(rows), label sets]; UNKNOWN if not known."""
        return self._codes[self._rows[split][self.keys[0]][rows]].astype(np.int64)

    def containers(self) -> list[str]:
        """Return the paths of all tars."""
        return self._tars

    def folders(self, key: str) -> str:
        """Say where the pictures of a key are."""
        titles = {} if self._about is None else self._about.titles
        return f"{self._root}/{titles.get(key, key)}"

    def digest(self) -> str:
        """Return a hash of names, lengths and classes in each split, not of where the tars are."""
        index = self._index
        found = hashlib.sha1(repr((self.keys, self.label_sets, index.endings)).encode())
        for split, by_key in self._rows.items():
            for key, rows in by_key.items():
                found.update(f"{split} {key} {len(rows)}\n".encode())
                members = self._picks[key].members[rows]
                found.update(index.length[members].tobytes() + index.ending[members].tobytes())
            found.update(self.names(split).packed())
            found.update(self._codes[by_key[self.keys[0]]].tobytes())
        return found.hexdigest()

    def _title(self, paths: list[Path]) -> str:
        if self._about is not None:
            name, apart = self._about.name, self._about.pairing == "unpaired"
        else:
            stems = [p.resolve().name.removesuffix(".tar") for p in paths[:2]]
            name, apart = "-".join(stems), False
        return name if self._paired or apart or "b" not in self.keys else f"{name}-unpaired"

    def _halves(self, roles: dict[str, dict[int, int]]) -> dict[str, str]:
        """Say which halves a and b are, if they are of the same pictures."""
        a, b = roles.get("a", {}), roles.get("b", {})
        if a.keys().isdisjoint(b):
            return {}
        if a != b:
            raise DataError(
                f"{self._root} has pictures of a and b side by side (ab) among single ones; keep "
                "the two apart"
            )
        told = {} if self._about is None else self._about.halves
        return {key: told.get(key, half) for key, half in (("a", "left"), ("b", "right"))}

    def _labelled(self, columns: Columns) -> tuple[dict[str, tuple[str, ...]], NDArray[np.int32]]:
        """The label sets wanted, numbered as the description says, and the classes of samples."""
        sets = {} if self._about is None else dict(self._about.label_sets)
        sets |= {name: c for name, c in self._index.label_sets.items() if name not in sets}
        if columns.labels is not None:
            sets = {name: sets[name] for name in columns.labels}
        try:
            return sets, label_codes(self._index, sets)
        except KeyError as error:
            raise DataError(
                f"{self._root} has the class {error} that its dragoman.json does not name; pack "
                "the data again, or remove dragoman.json"
            ) from None

    def _usable(self) -> dict[str, NDArray[np.bool_]]:
        """Which samples each key takes its pictures from; tells of those that lack something."""
        whole = {key: picks.whole for key, picks in self._picks.items()}
        apart = "b" in self.keys and len(self.keys) > 1 and not self._paired
        joined = np.logical_and.reduce([w for key, w in whole.items() if key != "b" or not apart])
        if not apart and not joined.any() and all(whole[key].any() for key in self.keys):
            raise SettingsError(
                f"no sample of {self._root} has all of {', '.join(self.keys)}; for pictures that "
                "are no pairs use --pairing unpaired"
            )
        masks = {key: whole["b"] if apart and key == "b" else joined for key in self.keys}
        used = np.logical_or.reduce(list(masks.values()))
        broken = [(self._picks[key].counts > 0) & ~masks[key] for key in self.keys]
        self._tell(np.flatnonzero(~used | np.logical_or.reduce(broken)), apart)
        return masks

    def _tell(self, samples: INTS, apart: bool) -> None:
        """Add a line for each sample that is left out."""
        index = self._index
        for sample in samples[:_MOST_LINES].tolist():
            where = f"{self._tars[index.tar[sample]]}:{index.keys[sample]}"
            self.problems.append(f"{where} {self._fault(sample, apart)}")
        if len(samples) > _MOST_LINES:
            self.problems.append(
                f"{self._root}: {len(samples) - _MOST_LINES} more samples that lack something"
            )

    def _fault(self, sample: int, apart: bool) -> str:
        index = self._index
        first, last = index.first[sample : sample + 2]
        endings = ", ".join(index.endings[e] for e in index.ending[first:last])
        for key, picks in self._picks.items():
            count, depth = int(picks.counts[sample]), picks.members.shape[1]
            if count and not picks.whole[sample]:
                return (
                    f"has {count} files for {key} ({endings}), not just channel "
                    f"{', '.join(map(str, range(depth)))}; remove some, or name one by --columns"
                )
        lacking = [key for key, picks in self._picks.items() if not picks.counts[sample]]
        lacking = [key for key in lacking if not (apart and key == "b")] or lacking
        return f"has no {lacking[0]} (only {endings}); add it, or remove the sample"

    def _split_up(
        self, masks: dict[str, NDArray[np.bool_]], tars: dict[str, list[int]]
    ) -> dict[str, dict[str, INTS]]:
        """The samples of each split and key; splits that no shard is named for come from train."""
        groups = {id(mask): mask for mask in masks.values()}
        parts = {name: self._group(mask, tars) for name, mask in groups.items()}
        splits = list(next(iter(parts.values())))
        for split in splits if self._about is None else ["train"]:
            for key, mask in masks.items():
                if not len(parts[id(mask)][split]):
                    raise DataError(
                        f"{self.folders(key)} has no picture left for {split}; at least 3 samples "
                        "are needed where val and test are held out of train"
                        + "".join(f"; {line}" for line in self.problems[:1])
                    )
        return {split: {k: parts[id(m)][split] for k, m in masks.items()} for split in splits}

    def _group(self, mask: NDArray[np.bool_], tars: dict[str, list[int]]) -> dict[str, INTS]:
        found = {}
        for split, numbers in tars.items():
            there = np.zeros(len(self._index.files), bool)
            there[numbers] = True
            found[split] = np.flatnonzero(mask & there[self._index.tar])
        lacking = [split for split in LACKING if split not in found]
        if self._about is not None or not lacking:
            return found
        train = found["train"]
        held = hold_out(self._index.names.take(train), lacking)
        found |= {split: train[rows] for split, rows in held.items()}
        return {split: found[split] for split in SPLITS}

    def _compare(self, about: Description) -> None:
        """Tell if there are more or fewer pictures than when the shards were packed."""
        for split, by_key in about.counts.items():
            for key in self.keys:
                there, packed = self.count(split, key), by_key.get(key, 0)
                if there != packed:
                    self.problems.append(
                        f"{self._root} has {there} pictures of {key} in {split}, but its "
                        f"dragoman.json counts {packed}; pack the data again"
                    )


def _opened(root: Path, files: list[str], columns: Columns) -> Index:
    """Open the index with the label sets that the columns name."""
    wanted = columns.labels
    if wanted is None:
        return open_index(root, files)
    if (root / INDEX).is_file():
        index = open_index(root, files)
        if set(wanted) <= set(index.label_sets):
            return index
    index = open_index(root, files, wanted)
    for name in wanted:
        if not index.label_sets[name]:
            known = ", ".join(index.fields) or "none"
            raise SettingsError(
                f"--columns label={name}: no sample of {root} has it"
                f"{did_you_mean(name, index.fields)}; there are {known}"
            )
    return index
