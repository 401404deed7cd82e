"""Labels as domains: classes that are left out of training, and those with too few pictures."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dragoman.data.settings import DataSettings
from dragoman.data.sizes import Size
from dragoman.data.source import INTS, Source, found_in
from dragoman.data.wrapping import Wrapping
from dragoman.errors import DataError, SettingsError, choose

Sets = Mapping[str, tuple[str, ...]]  # classes by label set
FEWEST = 2  # pictures of a class from which it can be learnt


def unseen_classes(settings: DataSettings, name: str, sets: Sets) -> tuple[str, tuple[int, ...]]:
    """Return the label set and the numbers of its classes that --unseen names; "" and () if none.

    A class without its set is one of the first set that has it. name: of the data set. Raises
    SettingsError for unknown ones, for classes of several sets, or if fewer than two are left.
    """
    words = [word.strip() for word in (settings.unseen or "").split(",") if word.strip()]
    if not words:
        return "", ()
    need_labels("--unseen leaves out classes", name, sets)
    found = [_of_set(word, sets) for word in words]
    named = list(dict.fromkeys(label_set for label_set, _ in found))
    if len(named) > 1:
        raise SettingsError(
            f"--unseen {settings.unseen} names classes of '{named[0]}' and of '{named[1]}'; name "
            "those of one label set"
        )
    classes = sets[named[0]]
    numbers = {classes.index(choose(f"class of '{named[0]}'", word, classes)) for _, word in found}
    if len(classes) - len(numbers) < 2:
        raise SettingsError(
            f"--unseen {settings.unseen} leaves {len(classes) - len(numbers)} of the "
            f"{len(classes)} classes of '{named[0]}' to learn from, but at least 2 are needed; "
            "name fewer"
        )
    return named[0], tuple(sorted(numbers))


def _of_set(word: str, sets: Sets) -> tuple[str, str]:
    """The label set and the class that a word names; the class may be unknown."""
    for label_set, classes in sets.items():  # names may hold equals signs
        if word in classes:
            return label_set, word
    label_set, equals, own = (part.strip() for part in word.partition("="))
    return (label_set, own) if equals and label_set in sets else (next(iter(sets)), word)


def need_labels(what: str, name: str, sets: Sets) -> None:
    """Raise SettingsError if pictures have no labels, which `what` needs."""
    if not sets:
        raise SettingsError(
            f"{what}, but the pictures of {name} have none; use a folder for each class, a table "
            "of --labels, or embedded domains joined by /"
        )


def lone_classes(
    classes: Sequence[str], labels: INTS, unseen: Sequence[int] = ()
) -> Iterator[tuple[str, int]]:
    """Yield each class, but for the unseen, with too few pictures to learn from, and how many.

    labels: of one label set, of all training pictures.
    """
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    for number, (name, count) in enumerate(zip(classes, counts.tolist(), strict=True)):
        if count < FEWEST and number not in unseen:
            yield name, count


def lone_line(place: str, label_set: str, name: str, count: int) -> str:
    """Say that a class has too few pictures, and what to do. place: where the pictures are."""
    return (
        f"the class '{name}' of '{label_set}' has {count or 'no'} picture{'' if count else 's'} in "
        f"train of {place}, but needs {FEWEST} as a domain; add some, give them another class, or "
        f"leave it out of training with --unseen '{name}'"
    )


def lone_domain_line(place: str, count: int) -> str:
    """Say that one of two piles has too few pictures to train on. place: where its pictures are."""
    return (
        f"{place} has {count or 'no'} picture{'' if count else 's'} in train, but needs {FEWEST} "
        "as a domain; add some (val and test are taken out of it, unless they have folders)"
    )


def without_unseen(source: Source, settings: DataSettings) -> Source:
    """Return the source without the classes of --unseen in its training split."""
    label_set, unseen = unseen_classes(settings, source.name, source.label_sets)
    return Seen(source, label_set, unseen) if unseen else source


class Seen(Wrapping):
    """A source whose training split lacks some classes of a label set.

    Pictures of no known class stay. If a and b are no partners, those of b stay too, as labels are
    of a.
    """

    def __init__(self, source: Source, label_set: str, unseen: tuple[int, ...]) -> None:
        super().__init__(source)
        self.unseen, self.unseen_set = unseen, label_set
        place, first = list(source.label_sets).index(label_set), next(iter(source.domains))
        labels = source.labels("train", np.arange(source.count("train", first)))
        assert labels is not None  # as there are label sets
        self._kept = np.flatnonzero(~np.isin(labels[:, place], unseen))
        if not len(self._kept):
            names = source.label_sets[label_set]
            raise DataError(
                f"{source.name} has no training pictures but those of --unseen "
                f"{','.join(names[number] for number in unseen)}; leave fewer classes out"
            )
        apart = () if source.partners("train") else tuple(source.domains)[1:]
        self._fewer = {key for key in (*source.domains, *source.layers) if key not in apart}

    def _own(self, split: str, rows: INTS) -> INTS:
        """The numbers of these pictures of the first domain in the whole source."""
        return self._kept[rows] if split == "train" else rows

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a key has in a split."""
        fewer = split == "train" and key in self._fewer
        return len(self._kept) if fewer else self._inner.count(split, key)

    def pictures(
        self, split: str, key: str, rows: INTS, places: NDArray[np.float64] | None, size: Size
    ) -> NDArray:
        """Return the pictures of these numbers as stored, [B, planes, *size]."""
        own = self._own(split, rows) if key in self._fewer else rows
        return self._inner.pictures(split, key, own, places, size)

    def names(self, split: str) -> Sequence[str]:
        """Return the name of each picture."""
        names = self._inner.names(split)
        return [names[row] for row in self._kept.tolist()] if split == "train" else names

    def labels(self, split: str, rows: INTS) -> INTS | None:
        """Return the classes of these pictures, [B, label sets]."""
        return self._inner.labels(split, self._own(split, rows))

    def counterparts(self, split: str, rows: INTS, label_set: str, target: int) -> INTS:
        """Return the numbers of the pictures that show the same thing in another class, or -1."""
        found = self._inner.counterparts(split, self._own(split, rows), label_set, target)
        return found_in(self._kept, found) if split == "train" else found

    def buckets(self, split: str) -> INTS | None:
        """Return which of `shapes` each picture of a split goes to; None if all have one size."""
        found = self._inner.buckets(split)
        return found[self._kept] if found is not None and split == "train" else found

    def digest(self) -> str:
        """Changes with the pictures, and with the classes that are left out."""
        of = "" if self.unseen_set == next(iter(self.label_sets)) else f" of {self.unseen_set}"
        text = f"{self._inner.digest()} without {self.unseen}{of}"
        return hashlib.sha1(text.encode()).hexdigest()
