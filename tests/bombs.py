"""Small files that claim to be huge, become huge when unpacked, or take for ever."""

import io
import struct
import zipfile
import zlib

import numpy as np
from hostile_files import chunk, corpus, npy, pixels, png, saved, tiff, zipped

SIZE = 100 << 20  # bytes that a bomb unpacks to


def claims(width: int, height: int) -> dict[str, bytes]:
    """Small files that claim to be so large."""
    rows = b"\0" * 99
    jpeg = bytearray(saved(pixels(), "JPEG"))
    place = jpeg.index(b"\xff\xc0")
    jpeg[place + 5 : place + 9] = struct.pack(">HH", min(height, 65535), min(width, 65535))
    bmp = bytearray(saved(pixels(), "BMP"))
    bmp[18:26] = struct.pack("<ii", width, height)
    webp = bytearray(corpus()["lossy.webp"])
    assert webp[12:16] == b"VP8X"
    webp[24:30] = struct.pack("<I", 16383)[:3] + struct.pack("<I", 16383)[:3]
    still = bytearray(saved(pixels(), "WEBP", lossless=True))
    still[21:25] = b"\xff\xff\xff\x0f"
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({height}, {width}, 3), }}\n"
    array = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode()
    return {
        "claim.png": png(width, height, 8, 2, rows),
        "claim16.png": png(width, height, 16, 6, rows),
        "claim.jpg": bytes(jpeg),
        "claim.bmp": bytes(bmp),
        "claim.webp": bytes(webp),
        "still.webp": bytes(still),
        "claim.npy": array,
        "claim.npz": zipped(**{"a.npy": array}),
        "claim.tif": edited(tiff(pixels()), {256: width, 257: height, 278: height}),
        "tiled.tif": edited(tiff(pixels(), tile=(16, 16)), {322: 2**28, 323: 2**20}),
    }


def edited(data: bytes, changes: dict[int, int], field: int = 8) -> bytes:
    """A TIFF with other values, or other counts (field 4), in its tags."""
    changed, start = bytearray(data), struct.unpack("<I", data[4:8])[0]
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        code = struct.unpack_from("<H", data, entry)[0]
        if code in changes:
            if field == 8:
                changed[entry + 2 : entry + 4] = struct.pack("<H", 4)
                changed[entry + 4 : entry + 8] = struct.pack("<I", 1)
            changed[entry + field : entry + field + 4] = struct.pack("<I", changes[code])
    return bytes(changed)


def bombs() -> dict[str, bytes]:
    """Files that are small but would become huge, or take for ever."""
    zeros = zlib.compress(bytes(SIZE), 9)
    header = struct.pack(">IIBBBBB", 1000, 1000, 8, 2, 0, 0, 0)
    start, rest = saved(pixels(), "PNG")[:33], saved(pixels(), "PNG")[33:]
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(60_000):
            archive.writestr(f"{number}.npy", b"")
    shape = npy(np.zeros((1000, 1000), np.uint8))[:128]
    strip = tiff(np.zeros((1000, 1000), np.uint8), compression="zlib", rowsperstrip=1000)
    strip = edited(strip, {273: len(strip), 279: len(zeros)})
    inside = _huge_jpeg_strip()
    return {
        "rows.png": png(1000, 1000, 8, 2, b"")[:8]
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zeros)
        + chunk(b"IEND", b""),
        "text.png": start + chunk(b"zTXt", b"k\0\0" + zeros) + rest,
        "translated.png": start + chunk(b"iTXt", b"k\0\1\0\0\0" + zeros) + rest,
        "profile.png": start + chunk(b"iCCP", b"k\0\0" + zeros) + rest,
        "chunks.png": start + chunk(b"tEXt", b"a\0b") * 200_000 + rest,
        "pixels.png": start + chunk(b"IDAT", b"") * 200_000 + rest,
        "passes.jpg": _passes(900, 900, 1500),
        "segments.jpg": saved(pixels(), "JPEG")[:2]
        + (b"\xff\xec\xff\xff" + bytes(65533)) * 600
        + saved(pixels(), "JPEG")[2:],
        "parts.jpg": saved(pixels(), "JPEG")[:2]
        + b"\xff\xfe\0\2" * 7_000_000
        + saved(pixels(), "JPEG")[2:],
        "zeros.npz": zipped(**{"a.npy": shape + bytes(SIZE)}),
        "more.npz": zipped(**{"a.npy": npy(np.zeros((9, 9), np.uint8)) + bytes(SIZE)}),
        "members.npz": many.getvalue(),
        "nested.npy": b"\x93NUMPY\1\0" + struct.pack("<H", 9000) + b"{" + b"(" * 8999,
        "header.npy": b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + b"{" * 99,
        "axes.npy": b"\x93NUMPY\1\0"
        + struct.pack("<H", 9000)
        + (b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9," * 4400)[:8990].ljust(
            9000
        ),
        "deflate.tif": strip + zeros,
        "strip.tif": inside,
        "circle.tif": _circle(),
        "chain.tif": _chain(5000),
        "pages.tif": _overlapping(),
        "tags.tif": b"II*\0\x08\0\0\0\xff\xff" + bytes(range(12)) * 65535 + bytes(4),
        "counts.tif": edited(
            tiff(pixels(), rowsperstrip=1), {273: 2**31, 279: 2**31, 258: 2**31}, 4
        ),
        "same.tif": _same_tags(),
        "big.tif": _big(2**63),
        "channels.tif": edited(tiff(pixels(1)), {277: 65535}),
        "bits.tif": edited(tiff(pixels(1)), {258: 65535}),
        "lengths.tif": edited(tiff(pixels(1), compression="lzw"), {279: 2**32 - 1}),
        "entities.tif": tiff(pixels(1), description=_laughs(), metadata=None),
    }


def _passes(width: int, height: int, count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = saved(np.zeros((height, width, 3), np.uint8), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def _huge_jpeg_strip() -> bytes:
    """A TIFF of 33x24 pixels with a JPEG of 65000x65000 inside."""
    data = bytearray(tiff(pixels(), compression="jpeg", photometric="rgb"))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", 65000, 65000)
    return bytes(data)


def _circle() -> bytes:
    """A TIFF whose only page is followed by itself."""
    data = bytearray(tiff(pixels(1), metadata=None))
    start = struct.unpack("<I", data[4:8])[0]
    after = start + 2 + 12 * struct.unpack_from("<H", data, start)[0]
    data[after : after + 4] = struct.pack("<I", start)
    return bytes(data)


def _chain(count: int) -> bytes:
    """A TIFF of very many pages of one tag."""
    tag = struct.pack("<HHII", 256, 4, 1, 1)
    parts = [struct.pack("<H", 1) + tag + struct.pack("<I", 8 + 18 * n) for n in range(1, count)]
    return b"II*\0\x08\0\0\0" + b"".join(parts) + struct.pack("<H", 1) + tag + bytes(4)


def _overlapping() -> bytes:
    """A TIFF of 1000 pages of 4000 tags, nearly all of which they share."""
    tags = struct.pack("<HHHIH", 4000, 256, 4, 1, 1) * 4000
    after = (struct.pack("<HI", 4000, 8 + 12 * page) + bytes(6) for page in range(1, 1001))
    return b"II*\0\x08\0\0\0" + tags + b"".join(after)


def _same_tags() -> bytes:
    """A TIFF of 4000 tags that all name the same 15 MB."""
    tags = b"".join(struct.pack("<HHII", 273, 3, 7 << 20, 60_000) for _ in range(4000))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 4000) + tags + bytes(4) + bytes(15 << 20)


def _big(count: int) -> bytes:
    """A BigTIFF of a tag with a count of any size."""
    tags = struct.pack("<HHQQ", 273, 16, count, 16) + struct.pack("<HHQQ", 256, 4, 1, 9)
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2) + tags + bytes(8)


def _laughs() -> str:
    """A description in OME-XML whose entities grow tenfold nine times."""
    parts = [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)]
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{"".join(parts)}]><OME>&a9;</OME>'
