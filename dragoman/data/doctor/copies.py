"""Find pictures that are there twice: exactly, or saved again in other quality, size or brightness.

Thumbnails that correlate are found without comparing all with all: pictures are put into buckets
by the signs of random directions of their principal components, several times over, and compared
within a bucket. What correlates is read again and compared in detail.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dragoman.data.catalogue import Domain
from dragoman.data.doctor.measuring import GRID, blocks, unit

INTS = NDArray[np.int64]

BUCKET = 512  # pictures that are compared with each other: 512 x 512 products take some ms
# A copy may fall to the other side of a direction. Of JPEGs of quality 50 among 10,000 crops of
# the Earth, four rounds missed one in a thousand, among 50,000 two.
ROUNDS = 4
COMPONENTS = 24  # principal components; later ones are noise
SAMPLED = 4_096  # thumbnails from which the components are found
# Correlation of thumbnails. JPEGs of quality 50 have 0.997 and more with their originals of 256
# pixels, and 0.99 (median) of 64; of 1,587 tiles of the Earth two reach 0.96.
CLOSE = 0.96
FAINT = 0.01  # of the range: thumbnails with less contrast are noise, and are not compared
FINE = 64  # cells a side when two pictures are compared in detail
CELL = 4  # pixels a side of a cell, at least: single pixels change much with the quality
PATCHES = 8  # of the same, in each of which they must agree
# The greatest rms of the difference in a patch, as a share of the pictures' deviation. Copies of
# 256 pixels have 0.09 (median) as JPEGs of quality 75, 0.13 at 50, 0.08 in half the size; smaller
# ones have more, so that of 64 pixels a third is missed. Squares of red and of orange have 0.26.
ALIKE = 0.25
SLIGHT = 2 / 255  # differences that quality alone makes in faint pictures
# Patches with more than that of detail. Empty sea or sky has fewer, and is alike everywhere;
# emoji have 8 and more.
LEVEL, DETAILED = 2 / 255, 8
GAINS = (0.5, 2.0)  # contrast that a copy may have, of the original's
ASPECTS = 1.03  # a copy has the same aspect, but for rounding


@dataclass(frozen=True)
class Twins:
    """Pairs of places (later, earlier): the same picture. same: in one split; across: in two."""

    same: INTS
    across: INTS


def exact(content: NDArray[np.uint64], splits: NDArray, considered: NDArray[np.bool_]) -> Twins:
    """Pair each picture with the first of the same content in its split, and in earlier splits.

    content: [N, 2]; splits: number of the split of each, ascending; considered: which count.
    """
    places = np.flatnonzero(considered)
    order = places[np.lexsort((places, content[places, 1], content[places, 0]))]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (content[order[1:]] != content[order[:-1]]).any(1)
    first = order[fresh][np.cumsum(fresh) - 1] if len(order) else order
    new_split = fresh.copy()
    new_split[1:] |= splits[order[1:]] != splits[order[:-1]]
    own_first = order[new_split][np.cumsum(new_split) - 1] if len(order) else order
    repeated = order != own_first
    leaked = splits[order] != splits[first]
    return Twins(_pairs(order[repeated], own_first[repeated]), _pairs(order[leaked], first[leaked]))


def _pairs(later: INTS, earlier: INTS) -> INTS:
    found = np.stack([later, earlier], 1) if len(later) else np.empty((0, 2), np.int64)
    return found[np.argsort(found[:, 0], kind="stable")]


def candidates(thumbs: NDArray[np.uint8], splits: NDArray, considered: NDArray[np.bool_]) -> Twins:
    """Pair each picture with the one before it whose thumbnail is most alike, if alike enough.

    thumbs: [N, 256]; splits and considered as for `exact`. Found are the best partner in the same
    split and the best in earlier ones, the most alike first.
    """
    places = np.flatnonzero(considered)
    best = {kind: np.full(len(splits), CLOSE, np.float32) for kind in ("same", "across")}
    partner = {kind: np.full(len(splits), -1, np.int64) for kind in best}
    for bucket in _buckets(thumbs, places):
        vectors = _normal(thumbs[bucket])
        alike = vectors @ vectors.T
        # Only earlier pictures, and only those of one's own split or only those of others.
        alike[bucket[:, None] <= bucket[None]] = -1
        together = splits[bucket][:, None] == splits[bucket][None]
        for kind, allowed in (("same", together), ("across", ~together)):
            chosen = np.where(allowed, alike, -1)
            column = chosen.argmax(1)
            score = chosen[np.arange(len(bucket)), column]
            better = score > best[kind][bucket]
            best[kind][bucket[better]] = score[better]
            partner[kind][bucket[better]] = bucket[column[better]]
    found = []
    for kind in ("same", "across"):
        later = np.flatnonzero(partner[kind] >= 0)
        later = later[np.argsort(-best[kind][later], kind="stable")]
        found.append(np.stack([later, partner[kind][later]], 1))
    return Twins(*found)


def _normal(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails without brightness and contrast: their products are correlations."""
    floats = thumbs.astype(np.float32)
    floats -= floats.mean(1, keepdims=True)
    return floats / np.maximum(np.linalg.norm(floats, axis=1, keepdims=True), 1e-6)


def _buckets(thumbs: NDArray[np.uint8], places: INTS) -> Iterator[INTS]:
    """Yield sets of places that may be alike; each set ascends."""
    if len(places) < 2:
        return
    bits = max(0, int(np.ceil(np.log2(len(places) / BUCKET))))
    if not bits:
        yield places
        return
    directions = _components(thumbs[places[:: -(-len(places) // SAMPLED)]])
    coordinates = np.concatenate(
        [
            _normal(thumbs[part]) @ directions
            for part in np.array_split(places, 1 + len(places) // 8192)
        ]
    )
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        turned = coordinates @ rng.standard_normal((directions.shape[1], bits), np.float32)
        signs = turned > np.median(turned, axis=0)
        codes = signs @ (1 << np.arange(bits))
        # Where many are alike a bucket is large; the first coordinate puts neighbours together.
        order = np.lexsort((turned[:, 0], codes))
        edges = np.flatnonzero(np.diff(codes[order])) + 1
        for bucket in np.split(order, edges):
            for piece in np.array_split(bucket, -(-len(bucket) // (4 * BUCKET))):
                yield np.sort(places[piece])


def _components(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Directions [256, COMPONENTS] along which thumbnails vary most, each by as much."""
    vectors = _normal(thumbs)
    scale, axes = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    scale, axes = scale[-COMPONENTS:], axes[:, -COMPONENTS:]
    return (axes / np.sqrt(np.maximum(scale, 1e-9 * scale[-1]))).astype(np.float32)


def alike(one: NDArray, other: NDArray, domain: Domain) -> bool:
    """True if two pictures [H, W, C] are the same but for quality, size, brightness, contrast."""
    (height, width), (high, wide) = one.shape[:2], other.shape[:2]
    if one.shape[2] != other.shape[2] or not 1 / ASPECTS < width * high / height / wide < ASPECTS:
        return False
    side = FINE
    while side > GRID and side * CELL > min(height, width, high, wide):
        side //= 2
    x, y = (unit(blocks(pixels, side), domain) for pixels in (one, other))
    x, y = x - x.mean((0, 1)), y - y.mean((0, 1))
    square = float((x**2).mean())
    if (_patches(x).std((1, 3)).max(2) > LEVEL).sum() < DETAILED:
        return False
    gain = float((x * y).mean()) / square
    if not GAINS[0] < gain < GAINS[1]:
        return False
    rest = float((_patches(y / gain - x) ** 2).mean((1, 3, 4)).max()) ** 0.5
    return rest <= max(ALIKE * square**0.5, SLIGHT)


def _patches(cells: NDArray) -> NDArray:
    """Cut [side, side, C] into patches, [PATCHES, patch, PATCHES, patch, C]."""
    patch = len(cells) // PATCHES
    return cells.reshape(PATCHES, patch, PATCHES, patch, -1)
