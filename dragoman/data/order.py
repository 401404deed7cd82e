"""Which picture stands where in the endless shuffled sequence, and how it is varied there.

Everything is a pure function of a seed and a position, so that training can start anywhere and
any number of processes can share the work: position p is the p-th picture since the beginning.
"""

import numpy as np
from numpy.typing import NDArray

INTS = NDArray[np.int64]

DRAWS = 6  # mirror, two for the place of the crop, brightness, contrast, saturation
_BLOCK = 4096  # draws are made for so many positions at once, since a generator costs 20 us
_SHUFFLE, _VARY, _MIX, _BALANCE, _REFER = range(5)


class Order:
    """The endless sequence of one domain: epochs of permutations, and uniform draws.

    stream: sequences of equal seed and stream agree; unpaired domains have a stream each. part:
    further numbers that tell the streams within a stream apart.
    """

    def __init__(self, seed: int, stream: int, count: int, part: tuple[int, ...] = ()) -> None:
        self._key, self._count = (seed, stream, *part), count
        self._epochs: dict[int, INTS] = {}
        self._blocks: dict[int, NDArray[np.float64]] = {}

    def rows(self, positions: INTS) -> INTS:
        """Return the number, in [0, count), of the picture at each position."""
        epochs, places = np.divmod(positions, self._count)
        found = np.empty_like(positions)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            found[here] = self._epoch(int(epoch))[places[here]]
        return found

    def draws(self, positions: INTS) -> NDArray[np.float64]:
        """Return numbers uniform in [0, 1) for each position, [len(positions), DRAWS]."""
        blocks, places = np.divmod(positions, _BLOCK)
        found = np.empty((len(positions), DRAWS))
        for block in np.unique(blocks):
            here = blocks == block
            found[here] = self._block(int(block))[places[here]]
        return found

    def _epoch(self, number: int) -> INTS:
        if number not in self._epochs:
            _forget_oldest(self._epochs)
            generator = np.random.default_rng([*self._key, _SHUFFLE, number])
            self._epochs[number] = generator.permutation(self._count)
        return self._epochs[number]

    def _block(self, number: int) -> NDArray[np.float64]:
        if number not in self._blocks:
            _forget_oldest(self._blocks)
            generator = np.random.default_rng([*self._key, _VARY, number])
            self._blocks[number] = generator.random((_BLOCK, DRAWS))
        return self._blocks[number]


class BalancedOrder(Order):
    """As `Order`, but every class comes equally often: once in as many positions as classes.

    The pictures of a class come in epochs of permutations of their own. labels: the class of each
    picture, of which at least one is known; those of none (below 0) never come.
    """

    def __init__(self, seed: int, stream: int, labels: INTS) -> None:
        super().__init__(seed, stream, len(labels))
        self._own = list(_by_class(labels).values())
        self._turns = Order(seed, stream, len(self._own), (_BALANCE, 0))
        self._orders = [
            Order(seed, stream, len(own), (_BALANCE, number))
            for number, own in enumerate(self._own, start=1)
        ]

    def rows(self, positions: INTS) -> INTS:
        """Return the number of the picture at each position."""
        turns, rounds = self._turns.rows(positions), positions // len(self._own)
        found = np.empty_like(positions)
        for turn in np.unique(turns):
            here = turns == turn
            found[here] = self._own[turn][self._orders[turn].rows(rounds[here])]
        return found


class PartOrder(Order):
    """As `Order`, of some of the pictures only. rows: their numbers."""

    def __init__(self, seed: int, stream: int, rows: INTS) -> None:
        super().__init__(seed, stream, len(rows))
        self._part = rows

    def rows(self, positions: INTS) -> INTS:
        """Return the number of the picture at each position."""
        return self._part[super().rows(positions)]


class ReferenceOrder:
    """For each position a class, and some pictures of it that show what it looks like.

    Classes are drawn uniformly from those that have pictures, the pictures of a class uniformly,
    all different; if a class has fewer than `count`, they come again in turn. labels: the class of
    each picture, of which at least one is known.
    """

    def __init__(self, seed: int, labels: INTS, count: int) -> None:
        self._seed, self._count = seed, count
        self._own = list(_by_class(labels).items())

    def of(self, positions: INTS) -> tuple[INTS, INTS, NDArray[np.float64]]:
        """Return classes [B], pictures [B, count] and their draws [B, count, DRAWS] in [0, 1)."""
        found = [self._at(position) for position in positions.tolist()]
        classes, rows, draws = zip(*found, strict=True)
        return np.array(classes, np.int64), np.stack(rows), np.stack(draws)

    def _at(self, position: int) -> tuple[int, INTS, NDArray[np.float64]]:
        generator = np.random.default_rng([self._seed, 0, _REFER, position])
        number, own = self._own[generator.integers(len(self._own))]
        chosen = generator.choice(len(own), min(self._count, len(own)), replace=False)
        draws = generator.random((self._count, DRAWS))
        return number, own[np.resize(chosen, self._count)], draws


def _by_class(labels: INTS) -> dict[int, INTS]:
    """The numbers of the pictures of each class that has some."""
    order = np.argsort(labels, kind="stable")
    numbers, first = np.unique(labels[order], return_index=True)
    found = zip(numbers.tolist(), np.split(order, first[1:]), strict=True)
    return {number: own for number, own in found if number >= 0}


class BucketOrder:
    """Endless batches whose pictures are all of one bucket, and which pictures they hold.

    Every epoch shuffles the pictures, fills batches within each bucket (the last one of a bucket
    is filled up from its beginning) and shuffles the batches. batch: pictures of all processes.
    """

    def __init__(self, seed: int, buckets: INTS, batch: int) -> None:
        self._seed, self._buckets, self._batch = seed, buckets, batch
        counts = np.bincount(buckets)
        self.per_epoch = int((-(-counts // batch)).sum())
        self._epochs: dict[int, tuple[INTS, INTS]] = {}

    def of(self, number: int) -> tuple[int, INTS]:
        """Return the bucket of a batch and the pictures in it, [batch]."""
        epoch, place = divmod(number, self.per_epoch)
        if epoch not in self._epochs:
            _forget_oldest(self._epochs)
            self._epochs[epoch] = self._epoch(epoch)
        kinds, rows = self._epochs[epoch]
        return int(kinds[place]), rows[place]

    def _epoch(self, epoch: int) -> tuple[INTS, INTS]:
        generator = np.random.default_rng([self._seed, _MIX, epoch])
        shuffled = generator.permutation(len(self._buckets))
        kinds, rows = [], []
        for bucket in np.unique(self._buckets):
            own = shuffled[self._buckets[shuffled] == bucket]
            batches = -(-len(own) // self._batch)
            rows.append(np.resize(own, (batches, self._batch)))
            kinds.append(np.full(batches, bucket))
        mixed = generator.permutation(self.per_epoch)
        return np.concatenate(kinds)[mixed], np.concatenate(rows)[mixed]


def _forget_oldest(kept: dict) -> None:
    if len(kept) > 1:
        del kept[min(kept)]
