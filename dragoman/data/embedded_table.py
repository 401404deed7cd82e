"""An embedded data set as a table, so that it can be packed: its pictures as files in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from dragoman.data.blob import Blob
from dragoman.data.catalogue import EXTENT
from dragoman.data.table import Table
from dragoman.data.writing import write_raster

if TYPE_CHECKING:
    from dragoman.data.batches import Data


class EmbeddedTable(Table):
    """The pictures of an opened data set, unvaried, in the size of its settings.

    To be used in a `with`, since pictures are written into a temporary folder first.
    """

    def __init__(self, data: Data) -> None:
        self._data, self._source = data, data._source
        self.name, self.keys = data.name, tuple(data.domains)
        self.splits = tuple(data.counts)
        self.halves, self.problems = {}, []
        self.kinds = {key: domain.kind for key, domain in data.domains.items()}
        self.label_sets = dict(data.label_sets)
        self._names = {split: self._source.names(split) for split in self.splits}
        self._scratch = tempfile.TemporaryDirectory(prefix="dragoman-")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()

    @property
    def flags(self) -> str:
        """What to add to --data so that the packed pictures mean what they did before."""
        size = min(self._source.size)
        given = [f"--size {size} --load_size {size}"]
        domains = self._data.domains
        ranges = {
            key: "/".join(f"{a:g}:{b:g}" for a, b in zip(domain.low, domain.high, strict=True))
            for key, domain in domains.items()
            if domain.low and (domain.low[0], domain.high[0]) != EXTENT.get(domain.dtype)
        }
        settings = {
            "classes": {k: str(d.channels) for k, d in domains.items() if d.kind == "labels"},
            "range": ranges,
            "unit": {k: d.unit for k, d in domains.items() if d.unit},
        }
        for name, values in settings.items():
            if values:
                given.append(f"--{name} {','.join(f'{k}={v}' for k, v in values.items())}")
        return " " + " ".join(given)

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a key has in a split."""
        return self._source.count(split, key)

    def blobs(self, split: str, key: str, row: int) -> tuple[Blob, ...]:
        """Return one picture as a PNG, or as a TIFF if a PNG cannot hold it."""
        domain = self._data.domains[key]
        raw = self._source.pictures(split, key, np.array([row]), None, self._source.size)[0]
        png = raw.dtype == np.uint8 and len(raw) in (1, 3)
        suffix = ".png" if png else ".tif"
        palette = np.array(domain.palette, np.uint8) if domain.palette and png else None
        file = Path(self._scratch.name) / f"picture{suffix}"
        write_raster(file, np.ascontiguousarray(raw.transpose(1, 2, 0)), colours=palette)
        data = file.read_bytes()
        return (Blob(self.name, member=f"{split}/{key}/{row}{suffix}", data=data),)

    def names(self, split: str) -> Sequence[str]:
        """Return the name of each picture of the first key."""
        return self._names[split]

    def partners(self, split: str) -> bool:
        """True if equal rows of all keys show the same thing."""
        return self._source.partners(split)

    def labels(self, split: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the class in each label set, [len(rows), label sets]."""
        found = self._source.labels(split, rows)
        return np.empty((len(rows), 0), np.int64) if found is None else found

    def folders(self, key: str) -> str:
        """Name the domain of a key."""
        return self._data.domains[key].name

    def digest(self) -> str:
        """Return a hash that changes if pictures are added, removed or come into another split."""
        return self._data.digest
