"""Emoji as pairs of line drawing and colour, or as people in six skin tones, one or all."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.cache import built, require
from dragoman.data.catalogue import EACH_TONE, OPENMOJI, TONES, Edition, set_name, stacks
from dragoman.data.settings import DataSettings
from dragoman.data.sizes import Size
from dragoman.data.source import Source, reduce
from dragoman.data.table import UNKNOWN
from dragoman.errors import SettingsError

_REVISION = "1"  # raise it when what is built changes


class OpenMoji(Source):
    """One or two domains of OpenMoji in one size, with the groups as labels.

    With the domain `tones` each family of people has six rows, one for each tone, which is a
    second label; the picture of any other domain is the same in all six.
    """

    def __init__(self, name: str, edition: Edition, domains: list[str], settings: DataSettings):
        from dragoman.data.openmoji_build import build_choice, half_of, painter, split_of

        self._unpaired, self.tile = settings.pairing == "unpaired", edition.tile
        self.name = set_name(name, domains, self._unpaired)
        side = settings.size or edition.size
        self.size = (side, side)
        self.shapes = [self.size]
        self.check_size(self.size)
        self.domains = stacks(OPENMOJI, domains)
        layers = [layer for domain in domains for layer in domain.split("+")]
        tones = _need_tones(layers)
        self._repeated = len(TONES) if EACH_TONE in layers else 1
        version = f"{require(OPENMOJI.packages)} revision {_REVISION}"
        note = "choosing the emoji of the data set openmoji, once for all (about 15 seconds)"
        choice = json.loads(
            (built("openmoji", version, build_choice, note) / "choice.json").read_text()
        )
        kind = f"{name}-{'tones' if tones else 'pairs'}"
        note = f"drawing the data set {kind}, once for all (5 to 30 seconds)"
        folder = built(kind, version, painter(edition.tile, choice, tones), note)
        self._arrays = {
            layer: [
                np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r"))
                for name in (TONES if layer == EACH_TONE else [layer])
            ]
            for layer in layers
        }
        entries: list[dict[str, Any]] = choice["families" if tones else "pairs"]
        self._codes = np.array([entry["base" if tones else "code"] for entry in entries])
        groups = tuple(sorted({entry["group"] for entry in choice["pairs"]}))
        self.label_sets = {"group": groups} | ({"tone": TONES} if self._repeated > 1 else {})
        self._labels = np.array([groups.index(entry["group"]) for entry in entries])
        self._split = np.array([split_of(code) for code in self._codes])
        self._half = np.array([half_of(code) for code in self._codes])

    def _rows(self, split: str, key: str) -> NDArray[np.int64]:
        """Numbers of the pictures of a domain in a split: of the entry or, if each comes in all
        tones, of the entry times their number plus that of the tone.
        """
        chosen = self._split == split
        if self._unpaired and split == "train":
            chosen &= self._half == list(self.domains).index(key)
        first = np.flatnonzero(chosen)[:, None] * self._repeated
        return (first + np.arange(self._repeated)).reshape(-1)

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
        entries, tones = np.divmod(self._rows(split, key)[rows], self._repeated)
        layers = [self._layer(layer, entries, tones) for layer in self.domains[key].name.split("+")]
        return reduce(np.concatenate(layers, 1), min(size), "drawing")

    def _layer(self, name: str, entries: NDArray[np.int64], tones: NDArray[np.int64]) -> NDArray:
        arrays = self._arrays[name]
        if len(arrays) == 1:
            return arrays[0][entries]
        return np.stack([arrays[tone][n] for n, tone in zip(entries, tones, strict=True)])

    def names(self, split: str) -> list[str]:
        """Return the hexcode of each picture, with the tone if each comes in all: 1F466_dark."""
        entries, tones = np.divmod(self._rows(split, next(iter(self.domains))), self._repeated)
        if self._repeated == 1:
            return [str(code) for code in self._codes[entries]]
        return [f"{self._codes[n]}_{TONES[tone]}" for n, tone in zip(entries, tones, strict=True)]

    def labels(self, split: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the group, and the tone if each comes in all, of pictures: [B, label sets]."""
        first = next(iter(self.domains))
        entries, tones = np.divmod(self._rows(split, first)[rows], self._repeated)
        if not self.partners(split) and EACH_TONE not in self.domains[first].name.split("+"):
            tones = np.full_like(tones, UNKNOWN)  # a line drawing alone has none
        return np.stack([self._labels[entries], tones][: len(self.label_sets)], 1)


def _need_tones(domains: list[str]) -> bool:
    """True if the domains are of the people in skin tones; raises SettingsError on a mixture."""
    tones = [domain for domain in domains if domain in (*TONES, EACH_TONE)]
    if tones and "colour" in domains:
        raise SettingsError(
            f"colour goes with line only; with {tones[0]} use line or one of {', '.join(TONES)}"
        )
    return bool(tones)
