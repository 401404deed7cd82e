"""Emoji as pairs of line drawing and colour, or as people in six skin tones."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.cache import built, require
from dragoman.data.catalogue import OPENMOJI, TONES, Edition, set_name, stacks
from dragoman.data.settings import DataSettings
from dragoman.data.sizes import Size
from dragoman.data.source import Source, reduce
from dragoman.errors import SettingsError

_REVISION = "1"  # raise it when what is built changes


class OpenMoji(Source):
    """One or two domains of OpenMoji in one size, with the groups as labels."""

    def __init__(self, name: str, edition: Edition, domains: list[str], settings: DataSettings):
        from dragoman.data.openmoji_build import build_choice, half_of, painter, split_of

        self._unpaired, self.tile = settings.pairing == "unpaired", edition.tile
        self.name = set_name(name, domains, self._unpaired)
        side = settings.size or edition.size
        self.size = (side, side)
        self.shapes = [self.size]
        self.check_size(self.size)
        self.domains = stacks(OPENMOJI, domains)
        tones = _need_tones([layer for domain in domains for layer in domain.split("+")])
        version = f"{require(OPENMOJI.packages)} revision {_REVISION}"
        note = "choosing the emoji of the data set openmoji, once for all (about 15 seconds)"
        choice = json.loads(
            (built("openmoji", version, build_choice, note) / "choice.json").read_text()
        )
        kind = f"{name}-{'tones' if tones else 'pairs'}"
        note = f"drawing the data set {kind}, once for all (5 to 30 seconds)"
        folder = built(kind, version, painter(edition.tile, choice, tones), note)
        self._arrays = {
            key: [
                np.asarray(np.load(folder / f"{layer}.npy", mmap_mode="r"))
                for layer in domain.name.split("+")
            ]
            for key, domain in self.domains.items()
        }
        entries: list[dict[str, Any]] = choice["families" if tones else "pairs"]
        self._codes = np.array([entry["base" if tones else "code"] for entry in entries])
        groups = tuple(sorted({entry["group"] for entry in choice["pairs"]}))
        self.label_sets = {"group": groups}
        self._labels = np.array([groups.index(entry["group"]) for entry in entries])
        self._split = np.array([split_of(code) for code in self._codes])
        self._half = np.array([half_of(code) for code in self._codes])

    def _rows(self, split: str, key: str) -> NDArray[np.int64]:
        """Numbers, in the stored arrays, of the pictures of a domain in a split."""
        chosen = self._split == split
        if self._unpaired and split == "train":
            chosen &= self._half == list(self.domains).index(key)
        return np.flatnonzero(chosen)

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a domain has in a split."""
        return len(self._rows(split, key))

    def partners(self, split: str) -> bool:
        """False for unpaired training; held-out pictures always keep their partners."""
        return not self._unpaired or split != "train"

    def pictures(
        self,
        split: str,
        key: str,
        rows: NDArray[np.int64],
        places: NDArray[np.float64] | None,
        size: Size,
    ) -> NDArray:
        """Return pictures [B, C, *size]; they fill their frame and are never cropped."""
        chosen = self._rows(split, key)[rows]
        layers = [array[chosen] for array in self._arrays[key]]
        return reduce(np.concatenate(layers, 1), min(size), "drawing")

    def names(self, split: str) -> list[str]:
        """Return the hexcode of each picture."""
        return [str(code) for code in self._codes[self._rows(split, next(iter(self.domains)))]]

    def labels(self, split: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the group of each picture as a number, [B, 1]."""
        return self._labels[self._rows(split, next(iter(self.domains)))[rows]][:, None]


def _need_tones(domains: list[str]) -> bool:
    """True if the domains are of the people in skin tones; raises SettingsError on a mixture."""
    tones = [domain for domain in domains if domain in TONES]
    if tones and "colour" in domains:
        raise SettingsError(
            f"colour goes with line only; with {tones[0]} use line or one of {', '.join(TONES)}"
        )
    return bool(tones)
