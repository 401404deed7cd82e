"""Any number of domains as one key: the pictures of each, one domain after another, with labels."""

from abc import abstractmethod
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dragoman.data.catalogue import Domain
from dragoman.data.sizes import Size
from dragoman.data.source import INTS, Source, found_in
from dragoman.data.wrapping import Wrapping
from dragoman.errors import SettingsError

SET = "domain"  # the name of the label set


class Aligned(Source):
    """A source of which it is known what each picture shows, so that all domains can be matched."""

    @abstractmethod
    def things(self, split: str, key: str) -> INTS:
        """Return a number for what each picture of a key shows; all keys agree in them."""

    @abstractmethod
    def titles(self, split: str, key: str) -> list[str]:
        """Return a name for each picture of a key."""

    def names(self, split: str) -> list[str]:
        """Return a name for each picture of the first domain."""
        return self.titles(split, next(iter(self.domains)))


class ManyDomains(Wrapping):
    """The pictures of all keys of a source as those of the key image.

    Rows are domain by domain; the class of a picture, in the label set `domain`, is its domain.
    """

    def __init__(self, source: Aligned) -> None:
        super().__init__(source)
        self._aligned, self._keys = source, tuple(source.domains)
        self.domains = {"image": _joined(source.domains)}
        self.label_sets = {SET: self._keys}
        self._starts = cache(self._counted)

    def _counted(self, split: str) -> INTS:
        """The first row of each domain, and the number of all rows."""
        return np.cumsum([0, *(self._inner.count(split, key) for key in self._keys)])

    def _domain(self, split: str, rows: INTS) -> INTS:
        """The number of the domain of each row."""
        return np.searchsorted(self._starts(split)[1:], rows, side="right")

    def count(self, split: str, key: str) -> int:
        """Return how many pictures all domains have in a split."""
        return int(self._starts(split)[-1])

    def partners(self, split: str) -> bool:
        """True, as there is but one key."""
        return True

    def pictures(
        self, split: str, key: str, rows: INTS, places: NDArray[np.float64] | None, size: Size
    ) -> NDArray:
        """Return the pictures of these rows as stored, [B, C, *size]."""
        domain, starts = self._domain(split, rows), self._starts(split)
        planes = self.domains["image"].planes
        found = np.empty((len(rows), planes, *size), self.domains["image"].dtype)
        for number in np.unique(domain):
            here = domain == number
            crops = None if places is None else places[here]
            own = rows[here] - starts[number]
            found[here] = self._inner.pictures(split, self._keys[number], own, crops, size)
        return found

    def names(self, split: str) -> list[str]:
        """Return a name for each picture, which ends in its domain, as 45.2N120.5W_relief."""
        return [f"{name}_{key}" for key in self._keys for name in self._aligned.titles(split, key)]

    def digest(self) -> str:
        """Changes if a domain has other pictures, or there are other domains."""
        return Source.digest(self)

    def labels(self, split: str, rows: INTS) -> INTS:
        """Return the number of the domain of each picture, [B, 1]."""
        return self._domain(split, rows)[:, None]

    def counterparts(self, split: str, rows: INTS, label_set: str, target: int) -> INTS:
        """Return the numbers of the pictures that show the same thing in another domain, or -1."""
        things = [self._aligned.things(split, key) for key in self._keys]
        found = found_in(things[target], np.concatenate(things)[rows])
        return np.where(found < 0, -1, self._starts(split)[target] + found)


def _joined(domains: dict[str, Domain]) -> Domain:
    """Return one domain for the pictures of all; raises SettingsError if they are not alike."""
    for name, domain in domains.items():
        if domain.kind == "labels":
            raise SettingsError(
                f"domains that / joins are pictures of one key, but {name} is a label map; leave "
                "it out"
            )
    for (one, first), (other, second) in pairwise(domains.items()):
        if (first.channels, first.dtype) != (second.channels, second.dtype):
            raise SettingsError(
                f"the domains {one} and {other} cannot be joined by /, as they differ: "
                f"{one} has {first.channels} channels of {first.dtype}, {other} has "
                f"{second.channels} of {second.dtype}; name domains that are stored alike"
            )
    kinds = {domain.kind for domain in domains.values()}
    kind = kinds.pop() if len(kinds) == 1 else "drawing"
    first = next(iter(domains.values()))
    return replace(first, name="/".join(domains), kind=kind, rule="")
