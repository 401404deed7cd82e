"""Turn the stored pictures of a data set into batches of tensors."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dragoman.data.appearance import encode, jitter, show
from dragoman.data.catalogue import Domain
from dragoman.data.domain_labels import lone_classes, lone_line, need_labels
from dragoman.data.order import (
    DRAWS,
    BalancedOrder,
    BucketOrder,
    Order,
    PartOrder,
    ReferenceOrder,
)
from dragoman.data.prefetch import prefetch
from dragoman.data.settings import DataSettings
from dragoman.data.sizes import Size
from dragoman.data.source import INTS, Source
from dragoman.data.table import UNKNOWN
from dragoman.errors import DataError, SettingsError, choose

if TYPE_CHECKING:
    from torch import Tensor

    from dragoman.system import Facts

SHOWN = 20  # as many problems of own pictures are listed


class Data:
    """An opened data set.

    name: short, fit for the name of a folder. domains: by batch key. layers: further batch keys
    of numbers that belong to the same pixels. counts: pictures by split (of the larger domain, if
    they differ). labels: names of the classes in batch["label"]; label_sets: of all label sets.
    unseen: numbers of the classes, of the label set unseen_set, that are left out of training.
    """

    def __init__(self, settings: DataSettings, source: Source) -> None:
        self.settings, self._source = settings, source
        self.name, self.domains, self.layers = source.name, source.domains, source.layers
        self.label_sets: Mapping[str, tuple[str, ...]] = source.label_sets
        self.labels = next(iter(self.label_sets.values()), ())
        self.unseen, self.unseen_set = source.unseen, source.unseen_set
        self._first = next(iter(self.domains))
        self.counts = {
            split: max(source.count(split, key) for key in self.domains) for split in source.splits
        }
        not_photos = [d.name for d in self.domains.values() if d.kind != "photo"]
        if settings.colour and not_photos:
            raise SettingsError(
                f"--colour varies the colours of photographs, but {not_photos[0]} is none; "
                "leave --colour at 0"
            )
        if settings.balanced:
            need_labels("--balanced draws every class equally often", self.name, self.label_sets)
            if settings.fit == "buckets":
                raise SettingsError(
                    "--balanced draws by class and --fit buckets by aspect; use one of the two"
                )

    @property
    def facts(self) -> Facts:
        """What a system may know of the data."""
        from dragoman.system import Facts

        return Facts(
            channels={key: domain.channels for key, domain in self.domains.items()},
            size=self._read(self._source.size),
            labels=len(self.labels),
            images=self.counts["train"],
            label_sets={name: len(classes) for name, classes in self.label_sets.items()},
            scale=self._source.scale,
            maps=tuple(key for key, domain in self.domains.items() if domain.kind == "labels"),
            classes=dict(self.label_sets),
        )

    @property
    def shapes(self) -> list[Size]:
        """Heights and widths that the pictures a system reads may have in training."""
        return [self._read(shape) for shape in self._source.shapes]

    def _read(self, size: Size) -> Size:
        """The size of what a system reads: in super-resolution, low."""
        return size[0] // self._source.scale, size[1] // self._source.scale

    def check(self) -> None:
        """Look through own pictures; raise one DataError that names all that are unfit."""
        lines = self._source.unfit()
        if lines:
            more = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
            raise DataError(
                "\n  ".join(
                    [
                        f"{len(lines)} problem{'s' * (len(lines) > 1)} in the pictures of "
                        f"{self.settings.data}; mend or remove these files:",
                        *lines[:SHOWN],
                        *more,
                    ]
                )
            )

    def check_classes(self, sets: Sequence[str] = ()) -> None:
        """Raise a DataError that names what in these label sets is unfit to be domains.

        These are classes of too few pictures, but for those left out of training, and classes of a
        table that hold the same pictures. Without any label set it is the first.
        """
        lines: list[str] = []
        for label_set in sets or list(self.label_sets)[:1]:
            known = self.label_sets[label_set]
            unseen = self.unseen if label_set == self.unseen_set else ()
            found = list(lone_classes(known, self.classes("train", label_set), unseen))
            lines += [lone_line(self.name, label_set, name, count) for name, count in found]
            lines += self._source.equal_classes(label_set)
        if lines:
            raise DataError("\n  ".join(lines[:SHOWN]))

    def counterparts(
        self, split: str, rows: Iterable[int], label_set: str, target: str | int
    ) -> INTS:
        """Return the pictures that show the same thing in another class, as numbers in the split.

        target: name or number of a class of that label set; classes in other sets are the same.
        -1 where the split has no such picture, or it is not known which it is. Raises
        SettingsError for a label set or class that is not there.
        """
        need_labels("counterparts are pictures of another class", self.name, self.label_sets)
        classes = self.label_sets[choose("label set", label_set, self.label_sets)]
        if isinstance(target, str) or not 0 <= target < len(classes):
            target = classes.index(choose(f"class of '{label_set}'", str(target), classes))
        chosen = np.fromiter(rows, np.int64)
        return self._source.counterparts(self._known(split), chosen, label_set, target)

    def names(self, split: str) -> Sequence[str]:
        """Return the name of each picture of a split, as it is numbered in batch["index"]."""
        return self._source.names(self._known(split))

    @property
    def digest(self) -> str:
        """Changes if pictures are added, removed or come into another split."""
        return self._source.digest()

    def partners(self, split: str) -> bool:
        """True if all domains of a row of this split show the same thing."""
        return self._source.partners(self._known(split))

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a domain has in a split."""
        return self._source.count(self._known(split), choose("batch key", key, self.domains))

    def batches(
        self,
        *,
        batch: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        split: str = "train",
        size: int | None = None,
        references: int = 0,
        label_set: str | None = None,
        known: Sequence[str] = (),
    ) -> Generator[dict[str, Tensor], None, None]:
        """Return endless batches, shuffled and varied, from number `start` on.

        Batch n depends on the settings, the seed and n alone. Process `rank` of `world` gets its
        share of the batch of `world * batch` pictures that one process would get. size: pictures
        with another shorter side than in the settings. references: for each picture of the batch
        so many of one class (it may be among them), which is drawn uniformly:
        `reference` [B, references, C, H, W] and `reference_label` [B]. label_set: of which classes
        are drawn, for references and if balanced; without it the first. known: label sets, of
        which pictures of no class are left out.
        Close the iterator to end its thread.
        """
        if batch < 1 or not 0 <= rank < world:
            raise SettingsError(
                f"batch {batch} must be at least 1 and rank {rank} one of {world} processes"
            )
        side = min(self._source.size) if size is None else size
        for shape in self._source.shapes:
            self._source.check_size(_like(shape, side, self._source.size))
        kept = self.labelled(split, known)
        orders = self._orders(split, seed, kept, label_set)
        buckets = self._source.buckets(split)
        mixed = None if buckets is None else BucketOrder(seed, buckets[kept], world * batch)
        refer = self._reference_order(split, seed, references, label_set)
        own = rank * batch + np.arange(batch)

        def make(number: int) -> dict[str, Tensor]:
            positions = number * world * batch + own
            rows = {key: order.rows(positions) for key, order in orders.items()}
            draws = {key: order.draws(positions) for key, order in orders.items()}
            shape = self._source.size
            if mixed is not None:
                bucket, chosen = mixed.of(number)
                shape = self._source.shapes[bucket]
                joined = self._source.partners(split)
                for key in rows if joined else [self._first]:
                    rows[key] = kept[chosen[own]]
            shape = _like(shape, side, self._source.size)
            made = self._batch(split, rows, draws, shape)
            if refer is not None:
                made |= self._references(split, shape, *refer.of(positions))
            return made

        return prefetch(make, start)

    def split(self, name: str, batch: int = 32) -> Iterator[dict[str, Tensor]]:
        """Return the pictures of a split once, in order and unvaried; the last batch may be short.

        If one domain has fewer pictures than the other, it begins again.
        """
        count = self.counts[self._known(name)]
        starts = range(0, count, batch)
        return (self.rows(name, range(at, min(at + batch, count))) for at in starts)

    def rows(self, split: str, numbers: Iterable[int]) -> dict[str, Tensor]:
        """Return the pictures of these numbers of a split as one batch, unvaried."""
        chosen = np.fromiter(numbers, np.int64)
        if (chosen < 0).any():
            raise ValueError("a picture of no number, such as a counterpart that is not there")
        keys = (*self.domains, *self.layers)
        counts = {key: self._source.count(self._known(split), key) for key in keys}
        rows = {key: chosen % count for key, count in counts.items()}
        return self._batch(split, rows, None, self._source.size)

    def show(self, key: str, pictures: Tensor) -> NDArray[np.uint8]:
        """Return pictures [B, C, H, W] of a domain for people: uint8 [B, H, W, 3]."""
        return show(self.domains[choose("batch key", key, self.domains)], pictures)

    def _known(self, split: str) -> str:
        if not self.counts[choose("split", split, self.counts)]:
            raise DataError(f"the data set {self.name} has no pictures in its split {split}")
        return split

    def _orders(self, split: str, seed: int, kept: INTS, label_set: str | None) -> dict[str, Order]:
        """One common order of partners, or an order for each domain; layers go with the first.

        kept: the pictures of the first domain that are drawn.
        """
        alone = not self._source.partners(split)
        streams = {key: stream if alone else 0 for stream, key in enumerate(self.domains)}
        streams |= dict.fromkeys(self.layers, 0)
        orders = {
            key: Order(seed, stream, self._source.count(split, key))
            for key, stream in streams.items()
        }
        joined = [key for key, stream in streams.items() if stream == 0]
        if len(kept) < self._source.count(split, self._first):
            orders |= dict.fromkeys(joined, PartOrder(seed, 0, kept))
        if self.settings.balanced:
            classes = np.full(self._source.count(split, self._first), UNKNOWN)
            classes[kept] = self.classes(split, label_set or next(iter(self.label_sets)))[kept]
            if not (classes >= 0).any():
                raise DataError(
                    f"--balanced draws by class, but no picture of {self.name} in its split "
                    f"{split} has a known one; leave it out"
                )
            orders |= dict.fromkeys(joined, BalancedOrder(seed, 0, classes))
        return orders

    def labelled(self, split: str, sets: Sequence[str]) -> INTS:
        """Return the numbers of the pictures of a split that have a class in all of these sets.

        Raises DataError if there are none.
        """
        kept = np.full(self._source.count(self._known(split), self._first), True)
        for label_set in sets:
            kept &= self.classes(split, label_set) >= 0
        if not kept.any():
            raise DataError(
                f"no picture of {self.name} in its split {split} has a class of "
                f"{' and '.join(repr(one) for one in sets)}, from which to learn; label some"
            )
        return np.flatnonzero(kept)

    def classes(self, split: str, label_set: str) -> INTS:
        """Return the class, in a label set, of each picture of a split; -1 where it is unknown."""
        sets = list(self.label_sets)
        return self._classes(self._known(split), sets.index(choose("label set", label_set, sets)))

    def _classes(self, split: str, place: int) -> INTS:
        """The classes of all pictures of a split in the label set at that place; -1: unknown."""
        rows = np.arange(self._source.count(split, self._first))
        labels = self._source.labels(split, rows)
        return np.full(len(rows), UNKNOWN) if labels is None else labels[:, place]

    def _reference_order(
        self, split: str, seed: int, count: int, label_set: str | None
    ) -> ReferenceOrder | None:
        if not count:
            return None
        if count < 0:
            raise SettingsError(f"references {count} must be 0 or more pictures")
        need_labels("references are pictures of a class", self.name, self.label_sets)
        if "image" not in self.domains:
            raise SettingsError(
                f"references are pictures of the key image, but {self.name} has "
                f"{' and '.join(self.domains)}; name one domain, or join several by /"
            )
        sets = list(self.label_sets)
        place = 0 if label_set is None else sets.index(choose("label set", label_set, sets))
        classes = self._classes(split, place)
        if not (classes >= 0).any():
            raise DataError(
                f"no picture of {self.name} in its split {split} has a class of '{sets[place]}', "
                "to which references could belong; label some"
            )
        return ReferenceOrder(seed, classes, count)

    def _references(
        self, split: str, size: Size, classes: INTS, rows: INTS, draws: NDArray
    ) -> dict[str, Tensor]:
        """The pictures of these rows [B, R], varied by their draws [B, R, DRAWS]."""
        import torch

        flat = draws.reshape(-1, draws.shape[-1])
        raw = self._raw(split, "image", rows.reshape(-1), flat, size)
        pictures = torch.from_numpy(self._encoded("image", raw, flat))
        return {
            "reference": pictures.unflatten(0, rows.shape),
            "reference_label": torch.from_numpy(classes),
        }

    def _batch(
        self, split: str, rows: dict[str, INTS], draws: dict[str, NDArray] | None, size: Size
    ) -> dict[str, Tensor]:
        import torch

        def drawn(key: str) -> NDArray | None:
            return None if draws is None else draws[key]

        read = {
            key: self._raw(split, key, rows[key], drawn(key), size) for key in self._source.stored
        }
        raw = self._source.completed(read)
        batch: dict[str, NDArray] = {}
        for key, domain in self.domains.items():
            batch[key] = self._encoded(key, raw[key], drawn(key))
            if domain.kind == "labels" and "map" not in batch and "map" not in self.layers:
                batch["map"] = _classes(domain, raw[key])
        for key in self.layers:
            mask = key == "mask"
            batch[key] = raw[key].astype(np.float32) if mask else raw[key][:, 0].astype(np.int64)
        batch["index"] = rows[self._first]
        labels = self._source.labels(split, rows[self._first])
        if labels is not None:
            batch["label"] = np.ascontiguousarray(labels[:, 0])
            if labels.shape[1] > 1:
                batch["labels"] = labels
        return {key: torch.from_numpy(value) for key, value in batch.items()}

    def _encoded(self, key: str, raw: NDArray, draws: NDArray | None) -> NDArray:
        """Stored numbers as pictures in [-1, 1], their colours varied by their draws."""
        pictures = encode(self.domains[key], raw)
        if draws is not None and self.settings.colour:
            pictures = jitter(pictures, draws[:, 3:DRAWS], self.settings.colour)
        return pictures

    def _raw(self, split: str, key: str, rows: INTS, draws: NDArray | None, size: Size) -> NDArray:
        """Stored numbers of pictures, cropped and mirrored by their draws."""
        places = draws[:, 1:3] if draws is not None and self.settings.crop == "random" else None
        raw = self._source.pictures(split, key, rows, places, size)
        if draws is not None and self.settings.flip:
            mirrored = draws[:, 0] < 0.5
            raw[mirrored] = raw[mirrored][..., ::-1]
        return raw


def _like(shape: Size, side: int, nominal: Size) -> Size:
    """A shape as much larger or smaller as `side` is than the shorter side of `nominal`."""
    factor = side / min(nominal)
    return round(shape[0] * factor), round(shape[1] * factor)


def _classes(domain: Domain, raw: NDArray) -> INTS:
    """Class numbers [B, H, W]; -1 where there is none."""
    numbers = raw[:, 0].astype(np.int64)
    return (
        numbers
        if domain.unlabelled is None
        else np.where(numbers == domain.unlabelled, -1, numbers)
    )


__all__ = ["Data", "Domain"]
