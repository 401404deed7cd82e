"""Emoji as pairs of line drawing and colour, or as people in six skin tones, one or all."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.cache import built, require
from dragoman.data.catalogue import EACH_TONE, GENDERS, OPENMOJI, TONES
from dragoman.data.embedded import Embedded
from dragoman.data.sizes import Size
from dragoman.data.source import INTS, found_in, reduce
from dragoman.data.table import UNKNOWN
from dragoman.errors import SettingsError

_REVISION = "1"  # raise it when what is built changes


class OpenMoji(Embedded):
    """One or two domains of OpenMoji in one size, with the groups as labels.

    With the domain `tones` each family of people has six rows, one for each tone; the picture of
    any other domain is the same in all six. The label sets are then tone, gender and group.
    """

    def _open(self, name: str, domains: list[str]) -> None:
        from dragoman.data.openmoji_build import build_choice, painter, part_of, split_of

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
        folder = built(kind, version, painter(self.edition.tile, choice, tones), note)
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
        self.label_sets = {"group": groups}
        if self._repeated > 1:
            self.label_sets = {"tone": TONES, "gender": GENDERS, "group": groups}
        self._group = np.array([groups.index(entry["group"]) for entry in entries])
        self._gender, self._forms = _forms(self._codes.tolist())
        self._split = np.array([split_of(code) for code in self._codes])
        # In unpaired training an emoji is in one domain only; if there is but `tones`, in one tone.
        self._alone = domains == [EACH_TONE]
        parts = len(TONES) if self._alone else len(domains)
        self._part = np.array([part_of(code, parts) for code in self._codes])

    def _rows(self, split: str, key: str) -> INTS:
        """Numbers of the pictures of a domain in a split: of the entry or, if each comes in all
        tones, of the entry times their number plus that of the tone.
        """
        chosen, apart = self._split == split, self._unpaired and split == "train"
        if apart and not self._alone:
            chosen &= self._part == list(self.domains).index(key)
        first = np.flatnonzero(chosen)[:, None] * self._repeated
        rows = (first + np.arange(self._repeated)).reshape(-1)
        if apart and self._alone:
            rows = rows[self._part[rows // len(TONES)] == rows % len(TONES)]
        return rows

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a domain has in a split."""
        return len(self._rows(split, key))

    def pictures(
        self,
        split: str,
        key: str,
        rows: INTS,
        places: NDArray[np.float64] | None,
        size: Size,
    ) -> NDArray:
        """Return pictures [B, C, *size]; they fill their frame and are never cropped."""
        entries, tones = np.divmod(self._rows(split, key)[rows], self._repeated)
        layers = [self._layer(layer, entries, tones) for layer in self.domains[key].name.split("+")]
        return reduce(np.concatenate(layers, 1), min(size), "drawing")

    def _layer(self, name: str, entries: INTS, tones: INTS) -> NDArray:
        arrays = self._arrays[name]
        if len(arrays) == 1:
            return arrays[0][entries]
        return np.stack([arrays[tone][n] for n, tone in zip(entries, tones, strict=True)])

    def things(self, split: str, key: str) -> INTS:
        """Return a number for each emoji, or for each in each tone."""
        return self._rows(split, key)

    def titles(self, split: str, key: str) -> list[str]:
        """Return the hexcode of each picture, with the tone if each comes in all: 1F466_dark."""
        entries, tones = np.divmod(self._rows(split, key), self._repeated)
        if self._repeated == 1:
            return [str(code) for code in self._codes[entries]]
        return [f"{self._codes[n]}_{TONES[tone]}" for n, tone in zip(entries, tones, strict=True)]

    def labels(self, split: str, rows: INTS) -> INTS:
        """Return the class of each picture in each label set, [B, label sets].

        Of people in all tones tone, gender (-1 where an emoji has no such forms) and group.
        """
        first = next(iter(self.domains))
        entries, tones = np.divmod(self._rows(split, first)[rows], self._repeated)
        if self._repeated == 1:
            return self._group[entries][:, None]
        if not self.partners(split) and EACH_TONE not in self.domains[first].name.split("+"):
            tones = np.full_like(tones, UNKNOWN)  # a line drawing alone has none
        return np.stack([tones, self._gender[entries], self._group[entries]], 1)

    def counterparts(self, split: str, rows: INTS, label_set: str, target: int) -> INTS:
        """Return the same emoji in another tone, or of another gender in the same tone, or -1.

        Nothing has counterparts in another group.
        """
        own = self._rows(split, next(iter(self.domains)))
        entries, tones = np.divmod(own[rows], self._repeated)
        labels = self.labels(split, rows)[:, list(self.label_sets).index(label_set)]
        wanted = np.where(labels == target, own[rows], UNKNOWN)
        if label_set == "tone":
            wanted = entries * self._repeated + target
        elif label_set == "gender":
            forms = self._forms[entries, target]
            wanted = np.where(forms < 0, UNKNOWN, forms * self._repeated + tones)
        return found_in(own, np.where(labels == UNKNOWN, UNKNOWN, wanted))


def _forms(codes: list[str]) -> tuple[INTS, INTS]:
    """Return the gender of each emoji, [N], and the emoji that shows the same in each, [N, 3].

    -1 where it has no such forms.
    """
    from dragoman.data.openmoji_build import form_of

    found: dict[str, list[int]] = {}
    genders = np.full(len(codes), UNKNOWN, np.int64)
    for number, code in enumerate(codes):
        thing, gender = form_of(code)
        genders[number] = GENDERS.index(gender)
        found.setdefault(thing, [UNKNOWN] * len(GENDERS))[genders[number]] = number
    forms = np.array([found[form_of(code)[0]] for code in codes], np.int64)
    none = (forms >= 0).sum(1) < 2
    genders[none], forms[none] = UNKNOWN, UNKNOWN
    return genders, forms


def _need_tones(domains: list[str]) -> bool:
    """True if the domains are of the people in skin tones; raises SettingsError on a mixture."""
    tones = [domain for domain in domains if domain in (*TONES, EACH_TONE)]
    if tones and "colour" in domains:
        raise SettingsError(
            f"colour goes with line only; with {tones[0]} use line or one of {', '.join(TONES)}"
        )
    return bool(tones)
