"""PNG of 16 bits in any of its channel counts, which Pillow cannot write."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels
_BAND = 1 << 22  # bytes of pixels that are worked on at once
_LEVEL = 6


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def deep_png(pixels: NDArray[np.uint16], icc: bytes | None) -> Iterator[bytes]:
    """Yield the parts of a PNG file of pixels [H, W, C], 1 to 4 channels of 16 bits."""
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOURS[channels], 0, 0, 0)
    yield SIGNATURE + chunk(b"IHDR", header)
    if icc is not None:
        yield chunk(b"iCCP", b"icc\0\0" + zlib.compress(icc))
    packer = zlib.compressobj(_LEVEL)
    above = np.zeros((1, width * channels * 2), np.uint8)
    step = max(_BAND // above.size, 1)
    for start in range(0, height, step):
        band = pixels[start : start + step].astype(">u2").view(np.uint8)
        rows = band.reshape(len(band), -1)
        packed = packer.compress(_filtered(rows, above, 2 * channels).tobytes())
        above = rows[-1:]
        if packed:
            yield chunk(b"IDAT", packed)
    yield chunk(b"IDAT", packer.flush()) + chunk(b"IEND", b"")


def _filtered(rows: NDArray[np.uint8], above: NDArray[np.uint8], pixel: int) -> NDArray[np.uint8]:
    """Return rows with the filter byte in front, each with the filter that leaves least.

    above: the row before the first; pixel: bytes of one.
    """
    up = np.concatenate([above, rows[:-1]])
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, pixel:], corner[:, pixel:] = rows[:, :-pixel], up[:, :-pixel]
    guesses = {0: np.uint8(0), 1: left, 2: up, 4: _paeth(left, up, corner)}
    best, least = np.empty((len(rows), rows.shape[1] + 1), np.uint8), np.full(len(rows), np.inf)
    for kind, guess in guesses.items():
        rest = rows - guess
        size = np.abs(rest.view(np.int8).astype(np.int16)).sum(1, dtype=np.int64)
        better = size < least
        best[better, 0], best[better, 1:], least[better] = kind, rest[better], size[better]
    return best


def _paeth(
    left: NDArray[np.uint8], up: NDArray[np.uint8], corner: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return which of three neighbours is nearest to left + up - corner."""
    a, b, c = (part.astype(np.int16) for part in (left, up, corner))
    from_a, from_b, from_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest_b = np.where(from_b <= from_c, up, corner)
    return np.where((from_a <= from_b) & (from_a <= from_c), left, nearest_b)
