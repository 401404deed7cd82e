"""What is measured of each picture, from one decoding, and kept for all pictures in arrays."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dragoman.data.catalogue import EXTENT, Domain
from dragoman.data.doctor.subject import Look

GRID = 16  # cells a side of the thumbnail: enough to tell pictures apart, 256 bytes each
MOST_VALUES = 1_000_000  # kept of a split and key for percentiles
MOST_PER_PICTURE = 4_096  # values of a channel; neighbouring pixels tell nothing new
MEANS = 8  # channels whose mean is kept for each picture
CODES = 1 << 17  # class numbers are counted from -65536 to 65535
ZERO = CODES // 2
FLAT = 2  # levels of 8 bits that a picture of one colour may vary by, as JPEG makes it do
FLOATS = NDArray[np.float32]


@dataclass
class Measures:
    """What is known of the pictures of a split and key; arrays by place, which is not the row.

    rows: the row of each. read: it could be. size: height and width as stored. stored: channels
    as stored. flat: of one colour. grey: three equal channels as stored. content: a hash of the
    pixels. thumb: means of 16x16 cells, scaled to 0-255; contrast: their range, of the domain's.
    means: of the first channels. values: some of each picture, [rows, per picture, channels].
    low, high: of each channel. ids: how many pixels have each class number, from -65536 on.
    areas: share of a picture that a mask covers.
    """

    rows: NDArray[np.int64]
    channels: int
    per_picture: int
    numbers: bool
    read: NDArray[np.bool_] = field(init=False)
    size: NDArray[np.uint32] = field(init=False)
    stored: NDArray[np.uint16] = field(init=False)
    flat: NDArray[np.bool_] = field(init=False)
    grey: NDArray[np.bool_] = field(init=False)
    content: NDArray[np.uint64] = field(init=False)
    thumb: NDArray[np.uint8] = field(init=False)
    contrast: FLOATS = field(init=False)
    means: FLOATS = field(init=False)
    values: FLOATS = field(init=False)
    low: NDArray[np.float64] = field(init=False)
    high: NDArray[np.float64] = field(init=False)
    ids: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.rows)
        self.read, self.flat, self.grey = (np.zeros(count, bool) for _ in range(3))
        self.size = np.zeros((count, 2), np.uint32)
        self.stored = np.zeros(count, np.uint16)
        self.content = np.zeros((count, 2), np.uint64)
        self.thumb = np.zeros((0 if self.numbers else count, GRID * GRID), np.uint8)
        self.contrast = np.zeros(count, np.float32)
        self.means = np.zeros((count, min(MEANS, self.channels)), np.float32)
        self.values = np.empty((count, self.per_picture, self.channels), np.float32)
        self.low = np.full(self.channels, np.inf)
        self.high = np.full(self.channels, -np.inf)
        self.ids = np.zeros(CODES if self.numbers else 0, np.int64)
        self._lock = threading.Lock()

    def take(self, place: int, look: Look, domain: Domain | None) -> None:
        """Measure one picture; called by threads, each for places of its own."""
        pixels = look.pixels
        self.size[place], self.stored[place] = (look.height, look.width), look.channels
        if pixels is None:
            return
        if self.numbers:
            self._count(pixels)
        if look.trouble is not None:
            return
        self.content[place] = _content(pixels)
        if self.numbers:
            self.flat[place] = bool((pixels == pixels[0, 0]).all())
        else:
            self._look_at(place, pixels, look, domain)
        self.read[place] = True

    def _count(self, pixels: NDArray) -> None:
        found, counts = _ids(pixels)
        with self._lock:
            self.ids[found + ZERO] += counts

    def _look_at(self, place: int, pixels: NDArray, look: Look, domain: Domain | None) -> None:
        cells = blocks(pixels, GRID)
        self.means[place] = cells.mean((0, 1))[: self.means.shape[1]]
        bright = unit(cells, domain).mean(2)
        dark, light = float(bright.min()), float(bright.max())
        self.contrast[place] = light - dark
        if light > dark:
            self.thumb[place] = np.rint((bright - dark) * (255 / (light - dark))).reshape(-1)
        low, high = extremes(pixels)
        with self._lock:
            np.minimum(self.low, low, out=self.low)
            np.maximum(self.high, high, out=self.high)
        self.flat[place] = (high - low).max() <= (FLAT if pixels.dtype == np.uint8 else 0)
        flat = pixels.reshape(-1, pixels.shape[2])
        # Another first pixel in each picture, or the same columns would be met in all.
        first = int(self.content[place, 0]) % len(flat)
        step = np.arange(self.per_picture) * len(flat) // self.per_picture
        picked = flat[(first + step) % len(flat)]
        self.values[place] = picked
        if look.channels == 3 and pixels.shape[2] == 3 and not self.flat[place]:
            self.grey[place] = _equal_channels(picked) and _equal_channels(flat)


def measures(rows: NDArray[np.int64], domain: Domain | None, key: str) -> Measures:
    """Make room for the pictures of a split and key; domain None: a layer of pixels."""
    numbers = domain is None or domain.kind == "labels"
    channels = 1 if domain is None else domain.planes
    per_picture = min(MOST_PER_PICTURE, MOST_VALUES // max(1, len(rows) * channels))
    return Measures(rows, channels, 0 if numbers else max(1, per_picture), numbers)


def unit(values: NDArray, domain: Domain | None) -> NDArray:
    """Scale [..., C] so that the range of the domain, or else of the depth, becomes 0 to 1."""
    if domain is None:
        return values
    low, high = domain.low, domain.high
    if not low:
        extent = EXTENT.get(domain.dtype, (0.0, 1.0))
        low, high = (extent[0],), (extent[1],)
    return (values - np.array(low)) / (np.array(high) - np.array(low))


def blocks(pixels: NDArray, grid: int) -> NDArray[np.float64]:
    """Return the mean of each of grid x grid cells of [H, W, C]: [grid, grid, C].

    Cells differ by a pixel where the grid does not divide the picture; of a picture with fewer
    pixels than cells, pixels are repeated.
    """
    height, width, channels = pixels.shape
    top, left = (np.arange(grid) * side // grid for side in (height, width))
    tall = np.diff(top, append=height).clip(min=1)
    wide = np.diff(left, append=width).clip(min=1)
    # Sums of small integers in wider ones are several times faster than in floats, and sums of
    # slices than np.add.reduceat.
    kind = np.float64 if pixels.dtype.kind == "f" else np.int64
    kind = np.uint32 if pixels.dtype == np.uint8 else kind
    flat = pixels.reshape(height, -1)
    bands = zip(top.tolist(), tall.tolist(), strict=True)
    rows = np.stack([flat[at : at + high].sum(0, dtype=kind) for at, high in bands])
    cells = np.add.reduceat(rows.reshape(grid, width, channels), left, axis=1, dtype=np.float64)
    return cells / (tall[:, None] * wide)[..., None]


def extremes(pixels: NDArray) -> tuple[NDArray, NDArray]:
    """Return the least and greatest value of each channel of [H, W, C], as float64."""
    rows = pixels.reshape(len(pixels), -1)  # in two steps, since numpy is slow on short axes
    shape = pixels.shape[1:]
    low, high = rows.min(0).reshape(shape).min(0), rows.max(0).reshape(shape).max(0)
    return low.astype(np.float64), high.astype(np.float64)


def _ids(pixels: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers that occur, and how often; those beyond what can be counted at the ends."""
    flat = pixels.reshape(-1)
    if flat.dtype == np.uint8:
        counts = np.bincount(flat, minlength=256)
        found = np.flatnonzero(counts)
        return found, counts[found]
    found, counts = np.unique(flat.astype(np.int64).clip(-ZERO, ZERO - 1), return_counts=True)
    return found, counts


def _content(pixels: NDArray) -> NDArray[np.uint64]:
    start = f"{pixels.shape} {pixels.dtype}".encode()
    found = hashlib.sha1(start)
    found.update(np.ascontiguousarray(pixels).data)
    return np.frombuffer(found.digest()[:16], np.uint64)


def _equal_channels(flat: NDArray) -> bool:
    return bool((flat[:, 0] == flat[:, 1]).all() and (flat[:, 0] == flat[:, 2]).all())
