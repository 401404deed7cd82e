"""Tiles of the Earth, cut on the fly from rasters mapped into memory."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragoman.data.cache import built, require
from dragoman.data.catalogue import EARTH
from dragoman.data.embedded import Embedded
from dragoman.data.sizes import Size
from dragoman.data.source import INTS, reduce
from dragoman.data.table import SPLITS

# Pixels, of which a finer edition has more; no tile crosses the border of a block of 20 degrees.
BLOCK, GUARD = 300, 22
LEAST_LAND = 0.3
TEST = {(0, 3), (0, 9), (1, 10), (1, 12), (2, 5), (2, 14), (3, 6), (3, 9)}  # row, column of blocks
VAL = {(0, 12), (0, 14), (1, 8), (3, 15), (4, 6)}
_REVISION = "1"  # raise it when what is built changes


def earth_folder() -> Path:
    """Return the folder of the rasters; builds it at the first call (about 15 s)."""
    from dragoman.data.earth_build import build_earth

    version = f"{require(EARTH.packages)} revision {_REVISION}"
    note = "building the data set earth, once for all (about 20 seconds)"
    return built("earth", version, build_earth, note)


def fine_folder() -> Path:
    """Return the folder of the relief at its full resolution; built at the first call."""
    from dragoman.data.earth_build import build_fine

    version = f"{require(EARTH.packages)} revision {_REVISION}"
    note = "building the fine relief of the data set earth, once for all (a few seconds)"
    return built("earthfine", version, build_fine, note)


class Earth(Embedded):
    """One or two layers of the Earth, or stacks of layers, in tiles of one edition."""

    def _open(self, name: str, domains: list[str]) -> None:
        from dragoman.data.earth_build import LAND_UNIT

        edition = self.edition
        if edition.dense:
            self.splits = (*SPLITS, "val_dense", "test_dense")
        self._block, self._guard = BLOCK * edition.factor, GUARD * edition.factor
        folder = earth_folder()
        self._sums = np.asarray(np.load(folder / "land_sums.npy", mmap_mode="r"))
        # `_land_above` tells of a fine raster four pixels for each of the coarse ones.
        self._least = LEAST_LAND * LAND_UNIT * edition.tile**2
        folder = fine_folder() if edition.factor > 1 else folder
        self._tiles = {
            key: [self._windows(folder, layer) for layer in domain.name.split("+")]
            for key, domain in self.domains.items()
        }
        self._positions = {split: self._grid(split) for split in self.splits}

    def _windows(self, folder: Path, layer: str) -> NDArray:
        """All tiles of a layer as a view: [rows, columns, C, tile, tile]."""
        raster = np.asarray(np.load(folder / f"{layer}.npy", mmap_mode="r"))
        raster = raster[None] if raster.ndim == 2 else raster
        tile = self.edition.tile
        windows = np.lib.stride_tricks.sliding_window_view(raster, (tile, tile), (1, 2))
        return windows.transpose(1, 2, 0, 3, 4)

    def _has_land(self, y: INTS, x: INTS) -> NDArray[np.bool_]:
        end_y, end_x = y + self.edition.tile, x + self.edition.tile
        above = self._land_above
        # Sums may be unsigned and wrap round; their difference is exact all the same.
        land = above(end_y, end_x) - above(y, end_x) - above(end_y, x) + above(y, x)
        return land >= self._least

    def _land_above(self, y: INTS, x: INTS) -> NDArray[np.uint32]:
        """The land above and left of these corners, in parts of a pixel of this edition.

        It is known at the corners of coarse pixels. Where a raster twice as fine has corners
        between them it is the mean of those around, as if each pixel were covered evenly; their
        sum is four times that, as there are four fine pixels in a coarse one.
        """
        sums = self._sums
        if self.edition.factor == 1:
            return sums[y, x]
        top, left, bottom, right = y // 2, x // 2, (y + 1) // 2, (x + 1) // 2
        return sums[top, left] + sums[top, right] + sums[bottom, left] + sums[bottom, right]

    def _grid(self, split: str) -> INTS:
        """Upper left corners of the tiles of a split, [N, 2], by block, then row, then column."""
        kind, _, dense = split.partition("_")
        tile = self.edition.tile
        guard = 0 if kind == "train" else self._guard
        stride = self.edition.stride if kind == "train" else self.edition.dense if dense else tile
        inside = np.arange(guard, self._block - guard - tile + 1, stride)
        blocks = [(r, c) for r in range(6) for c in range(18)]
        wanted = [block for block in blocks if _split_of(block) == kind]
        corner = np.stack(np.meshgrid(inside, inside, indexing="ij"), -1).reshape(-1, 2)
        tiles = (np.array(wanted)[:, None] * self._block + corner).reshape(-1, 2).astype(np.int64)
        return tiles[self._has_land(tiles[:, 0], tiles[:, 1])]

    def _corners(self, split: str, key: str) -> INTS:
        """Corners of a domain; in unpaired training each domain has blocks of its own.

        Of two, a has the even blocks and b the odd ones.
        """
        tiles = self._positions[split]
        if not self._unpaired or split != "train":
            return tiles
        keys = list(self.domains)
        return tiles[(tiles // self._block).sum(1) % len(keys) == keys.index(key)]

    def _moved(self, corners: INTS, places: NDArray[np.float64]) -> INTS:
        """Move tiles by up to half a stride within their blocks, unless that loses the land."""
        half, within = self.edition.stride // 2, corners % self._block
        low = np.maximum(-half, -within)
        high = np.minimum(half, self._block - self.edition.tile - within)
        moved = corners + low + (places * (high - low + 1)).astype(np.int64)
        keep = self._has_land(moved[:, 0], moved[:, 1])
        return np.where(keep[:, None], moved, corners)

    def count(self, split: str, key: str) -> int:
        """Return how many tiles a domain has in a split."""
        return len(self._corners(split, key))

    def pictures(
        self, split: str, key: str, rows: INTS, places: NDArray[np.float64] | None, size: Size
    ) -> NDArray:
        """Return tiles [B, C, *size], moved by `places` if given."""
        corners = self._corners(split, key)[rows]
        if places is not None:
            corners = self._moved(corners, places)
        y, x = corners.T
        layers = [windows[y, x] for windows in self._tiles[key]]
        tiles = layers[0] if len(layers) == 1 else np.concatenate(layers, 1)
        return reduce(tiles, min(size), self.domains[key].kind)

    def things(self, split: str, key: str) -> INTS:
        """Return a number for the place of each tile."""
        return self._corners(split, key) @ np.array([1 << 20, 1])

    def titles(self, split: str, key: str) -> list[str]:
        """Return latitude and longitude of the middle of each tile, as 45.2N120.5W."""
        middle = self._corners(split, key) + self.edition.tile / 2
        middle /= 15 * self.edition.factor
        named = []
        for lat, lon in zip(60 - middle[:, 0], middle[:, 1] - 180, strict=True):
            named.append(
                f"{abs(lat):.1f}{'S' if lat < 0 else 'N'}{abs(lon):.1f}{'W' if lon < 0 else 'E'}"
            )
        return named


def _split_of(block: tuple[int, int]) -> str:
    return "test" if block in TEST else "val" if block in VAL else "train"
