"""Which picture stands where in the endless shuffled sequence, and how it is varied there.

Everything is a pure function of a seed and a position, so that training can start anywhere and
any number of processes can share the work: position p is the p-th picture since the beginning.
"""

import numpy as np
from numpy.typing import NDArray

INTS = NDArray[np.int64]

DRAWS = 6  # mirror, two for the place of the crop, brightness, contrast, saturation
_BLOCK = 4096  # draws are made for so many positions at once, since a generator costs 20 us
_SHUFFLE, _VARY = 0, 1


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


def _forget_oldest(kept: dict) -> None:
    if len(kept) > 1:
        del kept[min(kept)]
