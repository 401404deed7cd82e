"""Estimate by how many pixels b lies off a, from where their edges agree best.

Edges (gradient magnitudes) are what pictures of different kinds share: relief and photo, drawing
and colour. They are correlated at all shifts by Fourier transforms, whitened halfway, so that
broad brightness counts less and sharp edges more. A single pair is often ambiguous; the sum over
a sample of pairs is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE = 64  # pairs: of 64 pixels and more they gave the right shift in every set that was tried
LEAST_PAIRS = 8  # with edges in both
SIDE = 256  # pixels: of larger pictures the middle is compared
LEAST_SIDE = 32  # smaller pictures have too few pixels for a peak to stand out
REACH = 4  # shifts up to a quarter of the side are tried
NEAR = 3  # pixels around a peak that belong to it
# Height of the peak of the sum, in standard deviations of the rest: 12 to 110 for pairs of the
# same place or thing (relief, satellite, class maps, heights, line drawings and their colours),
# 3 to 5 for pictures that have nothing in common.
CERTAIN = 8.0
# Greatest rival elsewhere, and the value where there is no shift, as a share of the peak: up to
# 0.4 and 0.35 where all pairs of earth tiles had been shifted by 3 pixels.
RIVAL = 0.6
# Shading and half a pixel of resampling move the peak by 1 pixel where nothing is off.
LEAST_SHIFT = 2
# Pairs that are clear on their own: their rival is below half of their peak. If more than 40% of
# the sample are and lie off by different shifts, it is told; of wrong pairs at most 19% were.
CLEAR, MANY = 0.5, 0.4
AGREEING = 0.6  # share of the clear pairs within a pixel of their median, if all are moved alike
# Peaks below this are those of pictures that share nothing; one in twenty is clear by chance.
UNRELATED, CHANCE = 5.0, 0.1

Surface = NDArray[np.float32]


@dataclass(frozen=True)
class Shift:
    """How b lies to a. pairs: in the sample, with edges. certainty: standard deviations.

    down, right: pixels that b is moved if all pairs are moved alike, as `consistent` says. clear:
    pairs whose shift is clear on their own; agreeing: the share of them that are moved alike;
    median: of the pixels that each of them is off.
    """

    pairs: int
    certainty: float
    down: int
    right: int
    consistent: bool
    clear: int
    agreeing: float
    median: float

    @property
    def moved(self) -> bool:
        """All pairs are moved alike, by enough to matter."""
        return self.consistent and max(abs(self.down), abs(self.right)) >= LEAST_SHIFT

    @property
    def scattered(self) -> bool:
        """Pairs are off, each in its own way."""
        many = self.clear >= max(LEAST_PAIRS, MANY * self.pairs)
        return many and self.agreeing < AGREEING and self.median >= LEAST_SHIFT

    @property
    def unrelated(self) -> bool:
        """Nothing in b lies where it lies in a, nor nearby."""
        few = self.clear <= CHANCE * self.pairs
        return self.pairs >= SAMPLE // 2 and self.certainty < UNRELATED and few


def surface(a: NDArray, b: NDArray, numbers: tuple[bool, bool]) -> Surface | None:
    """Return how well the edges of two pictures [H, W, C] agree at each shift of b.

    [2 reach + 1] squared, no shift in the middle, in standard deviations; None if one has no
    edges. numbers: which of them are label maps.
    """
    height, width = (min(SIDE, side) for side in a.shape[:2])
    if min(height, width) < LEAST_SIDE:
        return None
    top, left = (a.shape[0] - height) // 2, (a.shape[1] - width) // 2
    part = np.s_[top : top + height, left : left + width]
    window = np.outer(*(np.hanning(side + 2)[1:-1].astype(np.float32) for side in (height, width)))
    reach = min(height, width) // REACH
    room = (height + reach, width + reach)  # so that no shift within reach wraps round
    spectra = []
    for picture, numbered in zip((a, b), numbers, strict=True):
        strength = np.sqrt(_edges(picture[part], numbered))
        mean = (strength * window).sum() / window.sum()
        strength = (strength - mean) * window
        if not strength.any():
            return None
        spectra.append(np.fft.rfft2(strength, room))
    product = spectra[1] * spectra[0].conj()
    size = np.sqrt(np.abs(product))
    whole = np.fft.irfft2(product / (size + 1e-9 * size.max()), room)
    shifts = np.arange(-reach, reach + 1)
    near = whole[shifts[:, None], shifts[None]]
    spread = near.std()
    return (near - near.mean()) / spread if spread > 0 else None


def _edges(picture: NDArray, numbers: bool) -> NDArray[np.float32]:
    """Strength of edges [H, W]: gradients, or borders between different numbers."""
    down, right = (np.zeros(picture.shape[:2], np.float32) for _ in range(2))
    if numbers:
        plane = picture[..., 0]
        down[1:] = plane[1:] != plane[:-1]
        right[:, 1:] = plane[:, 1:] != plane[:, :-1]
        # A border belongs to the pixels on both of its sides, or it would lie half a pixel off.
        return np.maximum(down, np.roll(down, -1, 0)) + np.maximum(right, np.roll(right, -1, 1))
    total = np.zeros(picture.shape[:2], np.float32)
    for channel in range(picture.shape[2]):
        plane = picture[..., channel].astype(np.float32)
        spread = plane.std()
        if spread > 0:
            down[1:-1] = plane[2:] - plane[:-2]
            right[:, 1:-1] = plane[:, 2:] - plane[:, :-2]
            total += np.hypot(down, right) / spread
    return total


def estimate(surfaces: Sequence[Surface]) -> Shift | None:
    """Return the shift of a sample of pairs of one size; None if there are too few."""
    if len(surfaces) < LEAST_PAIRS:
        return None
    place, certainty, rival, still = _peak(np.sum(surfaces, axis=0))
    alone = [_peak(one) for one in surfaces]
    clear = np.array([where for where, _, second, _ in alone if second < CLEAR]).reshape(-1, 2)
    agreeing = 1.0
    if len(clear):
        middle = np.median(clear, axis=0)
        agreeing = float((np.abs(clear - middle) <= 1).all(1).mean())
        if len(clear) >= LEAST_PAIRS:  # the sum may be off by a pixel more than the pairs are
            place = (round(middle[0]), round(middle[1]))
    off = max(map(abs, place)) >= LEAST_SHIFT
    return Shift(
        pairs=len(surfaces),
        certainty=round(certainty, 1),
        down=place[0],
        right=place[1],
        consistent=certainty >= CERTAIN
        and rival <= RIVAL
        and agreeing >= AGREEING
        and not (off and still > RIVAL),
        clear=len(clear),
        agreeing=round(agreeing, 2),
        median=float(np.median(np.abs(clear).max(1))) if len(clear) else 0.0,
    )


def _peak(values: Surface) -> tuple[tuple[int, int], float, float, float]:
    """Place of the peak, height in deviations of the rest, shares of its rival and of no shift."""
    reach = len(values) // 2
    y, x = divmod(int(values.argmax()), values.shape[1])
    rest = np.ones(values.shape, bool)
    rest[max(0, y - NEAR) : y + NEAR + 1, max(0, x - NEAR) : x + NEAR + 1] = False
    top, others = float(values[y, x]), values[rest]
    certainty = (top - float(others.mean())) / max(float(others.std()), 1e-9)
    return (
        (y - reach, x - reach),
        certainty,
        float(others.max()) / top,
        float(values[reach, reach]) / top,
    )
