"""Tells of pictures that are there twice, in one split or, which is worse, in two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dragoman.data.doctor.copies import FAINT, INTS, Twins, alike, candidates, exact
from dragoman.data.doctor.findings import MOST_EXAMPLES, Finding
from dragoman.data.doctor.statistics import ByPlace
from dragoman.data.doctor.subject import Subject
from dragoman.data.doctor.sweep import swept

MOST_COMPARED = 1_000  # pairs that are read again and compared in detail: some seconds


def doubling(subject: Subject, measured: ByPlace) -> Iterator[Finding]:
    """Yield what is there twice: first leaks between splits, then copies within a split."""
    found: list[Finding] = []
    for key in subject.domains:
        splits = [split for split in subject.splits if (key, split) in measured]
        if splits:
            found += _Key(subject, key, splits, measured).findings()
    yield from sorted(found, key=lambda one: one.code != "leak")


class _Key:
    """All pictures of a key, one after another in the order of splits."""

    def __init__(
        self, subject: Subject, key: str, splits: Sequence[str], measured: ByPlace
    ) -> None:
        self.subject, self.key, self.splits = subject, key, splits
        own = [measured[key, split] for split in splits]
        self.split = np.repeat(np.arange(len(own)), [len(one.rows) for one in own])
        self.rows = np.concatenate([one.rows for one in own])
        self.content = np.concatenate([one.content for one in own])
        usable = np.concatenate([one.read & ~one.flat for one in own])
        self.exact = exact(self.content, self.split, usable)
        self.near, self.compared = Twins(*[np.empty((0, 2), np.int64)] * 2), True
        if subject.domains[key].kind != "labels":
            usable[self.exact.same[:, 0]] = False
            usable &= np.concatenate([one.contrast for one in own]) > FAINT
            self._find_near(np.concatenate([one.thumb for one in own]), usable)

    def _find_near(self, thumbs: NDArray[np.uint8], usable: NDArray[np.bool_]) -> None:
        found = candidates(thumbs, self.split, usable)
        leaked = set(self.exact.across[:, 0].tolist())
        across = np.array([pair for pair in found.across.tolist() if pair[0] not in leaked])
        pairs = np.concatenate([across.reshape(-1, 2).astype(np.int64), found.same])
        self.compared = len(pairs) <= MOST_COMPARED
        pairs = pairs[:MOST_COMPARED]
        same = np.fromiter(swept(self._alike, pairs.tolist()), bool, len(pairs))
        crossing = self.split[pairs[:, 0]] != self.split[pairs[:, 1]]
        pairs, crossing = pairs[same], crossing[same]
        order = np.argsort(pairs[:, 0], kind="stable")
        pairs, crossing = pairs[order], crossing[order]
        self.near = Twins(pairs[~crossing], pairs[crossing])

    def _alike(self, pair: list[int]) -> bool:
        pictures = []
        for place in pair:
            split, row = self.splits[self.split[place]], int(self.rows[place])
            (_, look) = next(self.subject.looks(split, (self.key,), row, 256))
            if look.pixels is None:
                return False
            pictures.append(look.pixels)
        return alike(pictures[0], pictures[1], self.subject.domains[self.key])

    def findings(self) -> Iterator[Finding]:
        """Leaks, then copies within a split."""
        across = np.concatenate([self.exact.across, self.near.across])
        for later in range(1, len(self.splits)):
            for earlier in range(later):
                between = across[
                    (self.split[across[:, 0]] == later) & (self.split[across[:, 1]] == earlier)
                ]
                if len(between):
                    yield self._leak(self.splits[later], self.splits[earlier], between)
        for split, name in enumerate(self.splits):
            yield from self._within(name, "duplicate", self.exact.same, split)
            yield from self._within(name, "near_duplicate", self.near.same, split)

    def _leak(self, later: str, earlier: str, pairs: INTS) -> Finding:
        total = int((self.split == self.splits.index(later)).sum())
        count = len(np.unique(pairs[:, 0]))
        return Finding(
            "warning",
            "leak",
            f"LEAK, pictures of {later} that are also in {earlier}: {self._least()}{count:,} of "
            f"the {total:,} of {self.key}; scores on {later} will be better than the truth",
            count,
            self._names(pairs),
            f"remove these pictures from {later}, or from {earlier}",
            self.key,
            later,
            {"exact": int(np.isin(pairs[:, 0], self.exact.across[:, 0]).sum()), "with": earlier},
        )

    def _within(self, name: str, code: str, pairs: INTS, split: int) -> Iterator[Finding]:
        own = pairs[self.split[pairs[:, 0]] == split]
        if not len(own):
            return
        near = code == "near_duplicate"
        words = "nearly the same as another" if near else "there a second time"
        least = self._least() if near else ""
        yield Finding(
            "warning",
            code,
            f"pictures {words}: {least}{len(own):,} of {self.key} in {name}",
            len(own),
            self._names(own),
            "keep one of each, unless this is meant",
            self.key,
            name,
        )

    def _least(self) -> str:
        return "" if self.compared else "at least "

    def _names(self, pairs: INTS) -> tuple[str, ...]:
        def title(place: int) -> str:
            return self.subject.title(
                self.splits[self.split[place]], self.key, int(self.rows[place])
            )

        return tuple(f"{title(a)} = {title(b)}" for a, b in pairs[:MOST_EXAMPLES].tolist())
