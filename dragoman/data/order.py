"""Which picture stands where in the endless shuffled sequence, and how it is varied there.

Everything is a pure function of a seed and a position, so that training can start anywhere and
any number of processes can share the work: position p is the p-th picture since the beginning.
"""

import numpy as np
from numpy.typing import NDArray

INTS = NDArray[np.int64]

DRAWS = 6  # mirror, two for the place of the crop, brightness, contrast, saturation
_BLOCK = 4096  # draws are made for so many positions at once, since a generator costs 20 us
_SHUFFLE, _VARY, _MIX = 0, 1, 2


class Order:
    """The endless sequence of one domain: epochs of permutations, and uniform draws.

    stream: sequences of equal seed and stream agree; unpaired domains have a stream each.
    """

    def __init__(self, seed: int, stream: int, count: int) -> None:
        self._key, self._count = (seed, stream), count
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
