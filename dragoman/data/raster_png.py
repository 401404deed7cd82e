"""PNG pictures of 1 to 16 bits: chunks are checked here, Pillow unpacks the rows."""

import io
import struct
import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import PngImagePlugin

from dragoman.data.bounded import Bounded
from dragoman.data.exif import orientation, upright, upright_size
from dragoman.data.raster_header import (
    MOST_PROFILE,
    Header,
    Opened,
    Raster,
    Refused,
    check_size,
    fitting_profile,
)
from dragoman.data.writing_png import SIGNATURE, chunk

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6

_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 3, GREY_ALPHA: 2, RGB_ALPHA: 4}
_DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    PALETTE: (1, 2, 4, 8),
    **dict.fromkeys((RGB, GREY_ALPHA, RGB_ALPHA), (8, 16)),
}
_NEEDED = {b"PLTE": 768, b"tRNS": 256, b"eXIf": 1 << 20, b"iCCP": MOST_PROFILE, b"acTL": 8}
_MOST_CHUNKS = 100_000  # beside those of pixels; more are an attack on our patience
_SPARE = 1 << 20  # bytes of compressed pixels beyond what the pixels themselves take


@dataclass
class Chunks:
    """The parts of a PNG file: its first chunk, small chunks by name, places of the pixels."""

    width: int
    height: int
    depth: int
    colour: int
    start: bytes
    small: dict[bytes, bytes] = field(default_factory=dict)
    pixels: list[tuple[int, int]] = field(default_factory=list)  # first byte, length of the data

    @property
    def raw(self) -> int:
        """Bytes of the pixels as stored, with the filter byte of each row in up to 7 passes."""
        samples = 1 if self.colour == PALETTE else _CHANNELS[self.colour]
        return self.height * ((self.width * samples * self.depth + 7) // 8 + 1) + 8 * self.height

    @property
    def key(self) -> tuple[int, ...] | None:
        """The one colour that is transparent, where there is no alpha channel."""
        stored, count = self.small.get(b"tRNS", b""), {GREY: 1, RGB: 3}.get(self.colour, 0)
        return struct.unpack_from(f">{count}H", stored) if 0 < 2 * count <= len(stored) else None

    @property
    def alpha(self) -> bool:
        """True if some pixel may be transparent."""
        if self.colour == PALETTE:
            return bool(self.small.get(b"tRNS", b"").strip(b"\xff"))
        return self.colour in (GREY_ALPHA, RGB_ALPHA) or self.key is not None

    @property
    def icc(self) -> bytes | None:
        """The colour profile, unpacked to no more than a profile can have."""
        name, _, packed = self.small.get(b"iCCP", b"").partition(b"\0")
        if not name or packed[:1] != b"\0":
            return None
        try:
            return zlib.decompressobj().decompress(packed[1:], MOST_PROFILE + 1)
        except zlib.error:
            return None


def open_png(file: Bounded, indices: bool, limit: int) -> Opened:
    """Read the header of a PNG file; raises Refused for what is damaged, animated or too large."""
    chunks = _walk(file, limit)
    turn = orientation(chunks.small.get(b"eXIf"))
    height, width = upright_size(chunks.height, chunks.width, turn)
    as_numbers = indices and chunks.colour == PALETTE
    alpha = chunks.alpha and not as_numbers
    channels = 1 if as_numbers else _CHANNELS[chunks.colour]
    if alpha and chunks.colour in (GREY, RGB, PALETTE):
        channels += 1
    header = Header(
        height=height,
        width=width,
        channels=channels,
        dtype="uint16" if chunks.depth == 16 else "uint8",
        format="PNG",
        alpha=alpha,
        palette=chunks.colour == PALETTE,
    )
    check_size(height, width, channels, 2 if chunks.depth == 16 else 1, limit)

    def load() -> Raster:
        pixels, colours = _pixels(file, chunks, indices)
        if pixels.shape != (chunks.height, chunks.width, channels):
            raise Refused("is damaged (its pixels are not those of its header)")
        icc = fitting_profile(chunks.icc, channels)
        return Raster(upright(pixels, turn), header, icc, colours)

    return Opened(header, load)


def _walk(file: Bounded, limit: int) -> Chunks:
    """Find the chunks that are needed, going from one to the next without reading the others."""
    start = file.exactly(0, 33)
    if start[8:16] != b"\0\0\0\x0dIHDR" or zlib.crc32(start[12:29]) != _number(start, 29):
        raise Refused("is damaged (its PNG header is wrong)")
    width, height, depth, colour, packing, filters, interlaced = struct.unpack(
        ">IIBBBBB", start[16:29]
    )
    if depth not in _DEPTHS.get(colour, ()) or packing or filters or interlaced > 1:
        raise Refused(f"is damaged (PNG has no {depth}-bit pictures of colour type {colour})")
    check_size(height, width, 1, 1, limit)
    chunks = Chunks(width, height, depth, colour, start)
    place, others, bytes_of_pixels = 33, 0, 0
    while place + 8 <= file.size:
        file.allowance = 1 << 16
        file.seek(place)
        length, name = struct.unpack(">I4s", file.read(8))
        if name == b"IEND" or not name.isalnum():
            break  # what follows the end is none of our business
        if place + 12 + length > file.size:
            if name == b"IDAT":
                raise Refused("is cut off")
            break
        if name == b"IDAT":
            chunks.pixels.append((place + 8, length))
            bytes_of_pixels += length
        else:
            others += 1
            _keep(file, chunks, name, place + 8, length)
        if bytes_of_pixels > chunks.raw + _SPARE + chunks.raw // 8 or others > _MOST_CHUNKS:
            raise Refused("is damaged (it has more data than pixels)")
        if len(chunks.pixels) > _MOST_CHUNKS + chunks.raw // 16:
            raise Refused("is damaged (its pixels lie in too many pieces)")
        place += 12 + length
    if not chunks.pixels:
        raise Refused("is cut off (it has no pixels)")
    if colour == PALETTE and not chunks.small.get(b"PLTE"):
        raise Refused("is damaged (it has no palette)")
    _refuse_animation(chunks)
    return chunks


def _keep(file: Bounded, chunks: Chunks, name: bytes, place: int, length: int) -> None:
    late = chunks.pixels and name in (b"PLTE", b"tRNS", b"iCCP")  # too late to mean anything
    if name not in _NEEDED or name in chunks.small or late or length > _NEEDED[name]:
        return
    data = file.exactly(place, length + 4)
    if zlib.crc32(data[:-4], zlib.crc32(name)) == _number(data, length):
        chunks.small[name] = data[:-4]
    elif name in (b"PLTE", b"tRNS"):
        raise Refused(f"is damaged (checksum of {name.decode()})")


def _refuse_animation(chunks: Chunks) -> None:
    frames = chunks.small.get(b"acTL", b"")
    if len(frames) == 8 and _number(frames, 0) > 1:
        raise Refused(
            f"is an animation of {_number(frames, 0)} pictures; save each in a file of its own"
        )


def _number(data: bytes, place: int) -> int:
    return struct.unpack_from(">I", data, place)[0]


def _plain(file: Bounded, chunks: Chunks) -> bytes:
    """Return the file as a PNG of nothing but header, palette and pixels.

    Decoders read text, dates and animations too: what they never see cannot harm them. They
    check the pixels themselves, by the checksum in the compressed data.
    """
    header = chunks.start[16:29]
    if (chunks.depth, chunks.colour) == (16, GREY_ALPHA):  # Pillow would cut it to 8 bits, but
        header = header[:8] + bytes([8, RGB_ALPHA]) + header[10:]  # packs it like these 4 bytes
    parts = [SIGNATURE, chunk(b"IHDR", header)]
    if chunks.colour == PALETTE:
        parts.append(chunk(b"PLTE", chunks.small[b"PLTE"]))
    parts += [file.exactly(place - 8, length + 12) for place, length in chunks.pixels]
    parts.append(chunk(b"IEND", b""))
    return b"".join(parts)


def _pixels(file: Bounded, chunks: Chunks, indices: bool) -> tuple[NDArray, NDArray | None]:
    """Return pixels [H, W, C] and, for palette files read as numbers, the palette."""
    data = _plain(file, chunks)
    if chunks.depth == 16 and chunks.colour != GREY:
        return _with_alpha(_deep(data, chunks.colour), chunks), None
    picture = PngImagePlugin.PngImageFile(io.BytesIO(data))
    if chunks.colour == PALETTE and not indices:
        if chunks.alpha:
            picture.info["transparency"] = chunks.small[b"tRNS"]
        return np.asarray(picture.convert("RGBA" if chunks.alpha else "RGB")), None
    pixels = np.asarray(picture)  # in other words, decode
    if pixels.dtype == bool:
        pixels = (pixels.view(np.uint8) != 0) * np.uint8(255)  # Pillow's True is any byte
    if chunks.colour == PALETTE:
        return pixels[..., None], _palette(chunks, int(pixels.max()))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    pixels = _with_alpha(pixels, chunks)
    if indices and chunks.depth < 8:
        pixels = pixels // np.uint8(255 // (2**chunks.depth - 1))
    return pixels, None


def _deep(data: bytes, colour: int) -> NDArray[np.uint16]:
    """Decode 16 bits of several channels, of which Pillow gives 8: once the high, once the low.

    imagecodecs could do it at once, but each damaged file brings it closer to a crash, it prints
    warnings, and interlaced files come out wrong.
    """
    if colour == GREY_ALPHA:
        pixels = np.asarray(PngImagePlugin.PngImageFile(io.BytesIO(data)))
        return pixels.view(">u2").astype(np.uint16)
    mode, halves = "RGB" if colour == RGB else "RGBA", []
    for first in ("B", "L"):  # big-endian order takes the first byte of two, little the second
        picture = PngImagePlugin.PngImageFile(io.BytesIO(data))
        picture.tile = [tile._replace(args=f"{mode};16{first}") for tile in picture.tile]
        halves.append(np.asarray(picture).astype(np.uint16))
    return halves[0] << 8 | halves[1]


def _palette(chunks: Chunks, most: int) -> NDArray[np.uint8]:
    """Return the colours of numbers up to `most` at least; those that are not stored are black."""
    stored = np.frombuffer(chunks.small[b"PLTE"], np.uint8)
    stored = stored[: len(stored) // 3 * 3].reshape(-1, 3)
    table = np.zeros((max(len(stored), most + 1), 3), np.uint8)
    table[: len(stored)] = stored
    return table


def _with_alpha(pixels: NDArray, chunks: Chunks) -> NDArray:
    """Add the channel that the one transparent colour stands for."""
    if chunks.key is None:
        return pixels
    scale = 255 // (2**chunks.depth - 1) if chunks.depth < 8 else 1
    key = [value * scale for value in chunks.key]
    most = np.iinfo(pixels.dtype).max
    seen = np.where((pixels == key).all(-1, keepdims=True), 0, most).astype(pixels.dtype)
    return np.concatenate([pixels, seen], -1)
