"""Picture files of every kind, and what an attacker, a bad disk or a bad writer makes of them."""

import functools
import io
import struct
import zipfile
import zlib

import imagecodecs
import numpy as np
import tifffile
from numpy.random import Generator
from PIL import Image, ImageCms

SIDE = 24, 33  # height and width of the pictures below
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pixels(channels: int = 3, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Pixels [H, W, C], or [H, W] for one channel, that use the depth and pack a little."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0 : SIDE[0], 0 : SIDE[1]]
    smooth = (x // 4 + y // 3)[..., None] * np.arange(1, channels + 1)
    noisy = smooth + generator.integers(0, 3, (*SIDE, channels))
    scale = {"uint8": 3, "uint16": 700, "int16": 300}.get(dtype, 1.5)
    array = (noisy * scale - (5000 if dtype == "int16" else 0)).astype(dtype)
    return array[..., 0] if channels == 1 else array


def saved(array: np.ndarray | Image.Image, kind: str, mode: str = "", **options) -> bytes:
    """The bytes of a file by Pillow."""
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    buffer = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(array: np.ndarray, **options) -> bytes:
    """The bytes of a TIFF file by tifffile."""
    buffer = io.BytesIO()
    options.setdefault("photometric", "rgb" if array.shape[-1] == 3 else "minisblack")
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def pages(arrays: list[np.ndarray], **options) -> bytes:
    """The bytes of a TIFF file of several pages, each on its own."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for array in arrays:
            writer.write(array, contiguous=False, metadata=None, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG file of given rows, each with its filter byte; chunks come before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def interlaced(array: np.ndarray) -> bytes:
    """An interlaced PNG (Adam7) of grey or RGB, of 8 or 16 bits."""
    height, width = array.shape[:2]
    depth, array = 8 * array.itemsize, array.astype(array.dtype.newbyteorder(">"))
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    parts = [array[y::down, x::right] for y, x, down, right in (*passes, (1, 0, 2, 1))]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    header = struct.pack(">IIBBBBB", width, height, depth, 0 if array.ndim == 2 else 2, 0, 0, 1)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def npy(array: np.ndarray) -> bytes:
    """The bytes of an NPY file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    """The bytes of a packed NPZ file."""
    return zipped(**{f"{name}.npy": npy(array) for name, array in arrays.items()})


def zipped(**members: bytes) -> bytes:
    """A zip file of members of any content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def rle_bmp() -> bytes:
    """A run-length BMP of 8x2 pixels with a palette of two colours."""
    rows = b"\x08\x01\0\0" + b"\x04\0\x04\x01\0\0" + b"\0\1"
    palette = b"\0\0\0\0" + b"\x10\x20\x30\0"
    start = 14 + 40 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, 8, 2, 1, 8, 1, len(rows), 0, 0, 2, 0)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + palette + rows


@functools.cache
def corpus() -> dict[str, bytes]:
    """Sound files of every kind that is read, and some that are refused, by file name."""
    return _screen() | _tiffs() | _arrays()


def _screen() -> dict[str, bytes]:
    colour, grey = pixels(), pixels(1)
    photo = Image.fromarray(colour)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    files = {
        f"{mode}.png": saved(colour, "PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")
    }
    files |= {
        "deep1.png": saved(pixels(1, "uint16"), "PNG"),
        "deep2.png": bytes(imagecodecs.png_encode(pixels(2, "uint16"))),
        "deep3.png": bytes(imagecodecs.png_encode(pixels(3, "uint16"))),
        "deep4.png": bytes(imagecodecs.png_encode(pixels(4, "uint16"))),
        "grey4.png": png(4, 2, 4, 0, b"\0\x01\x23" * 2, chunk(b"tRNS", b"\0\3")),
        "interlaced.png": interlaced(colour),
        "interlaced_deep.png": interlaced(pixels(3, "uint16")),
        "full.png": saved(photo, "PNG", exif=exif, icc_profile=SRGB, dpi=(72, 72)),
        "key.png": saved(photo, "PNG", transparency=(3, 6, 9)),
        "animated.png": saved(photo, "PNG", save_all=True, append_images=[photo.rotate(180)]),
        "grey.jpg": saved(grey, "JPEG"),
        "photo.jpg": saved(photo, "JPEG", exif=exif, icc_profile=SRGB),
        "progressive.jpg": saved(photo, "JPEG", progressive=True, quality=90),
        "cmyk.jpg": saved(photo, "JPEG", "CMYK"),
        "pair.jpg": saved(photo, "MPO", save_all=True, append_images=[photo]),
        "lossy.webp": saved(photo, "WEBP", exif=exif, icc_profile=SRGB),
        "lossless.webp": saved(photo, "WEBP", lossless=True),
        "alpha.webp": saved(pixels(4), "WEBP"),
        "animated.webp": saved(photo, "WEBP", save_all=True, append_images=[photo.rotate(180)]),
        "rle.bmp": rle_bmp(),
    }
    files |= {f"{mode}.bmp": saved(colour, "BMP", mode) for mode in ("1", "L", "P", "RGB", "RGBA")}
    return files


def _tiffs() -> dict[str, bytes]:
    files, colour, grey = {}, pixels(), pixels(1)
    for packing in (None, "lzw", "zlib", "zstd", "packbits"):
        for dtype in ("uint8", "uint16", "int16", "float32"):
            for predictor in (False, True):
                if packing in ("lzw", "zlib", "zstd") or not predictor:
                    name = f"{packing}_{dtype}_{predictor}.tif"
                    options = {"compression": packing, "predictor": predictor, "rowsperstrip": 7}
                    files[name] = tiff(
                        pixels(3, dtype),
                        photometric="minisblack",
                        planarconfig="contig",
                        **options,
                    )
    files |= {
        "jpeg.tif": tiff(colour, compression="jpeg"),
        "jpeg_grey.tif": tiff(grey, compression="jpeg", tile=(16, 16)),
        "ycbcr.tif": saved(colour, "TIFF", compression="jpeg"),
        "tiled.tif": tiff(colour, tile=(16, 16), compression="zlib", predictor=True),
        "raw_tiled.tif": tiff(pixels(5, "uint16"), tile=(16, 32), planarconfig="contig"),
        "big_endian.tif": tiff(pixels(2, "uint16"), byteorder=">", planarconfig="contig"),
        "big.tif": tiff(colour, bigtiff=True, compression="lzw"),
        "planar.tif": tiff(np.moveaxis(colour, -1, 0), photometric="rgb", planarconfig="separate"),
        "pages.tif": pages([pixels(1, "uint16", seed) for seed in range(4)]),
        "packed_pages.tif": pages([grey, grey], compression="zlib"),
        "pyramid.tif": _pyramid(),
        "palette.tif": saved(colour, "TIFF", "P"),
        "white.tif": tiff(grey, photometric="miniswhite"),
        "bits.tif": saved(colour, "TIFF", "1"),
        "fax.tif": saved(colour, "TIFF", "1", compression="group4"),
        "alpha.tif": tiff(pixels(4), photometric="rgb", extrasamples=["assocalpha"]),
        "cmyk.tif": saved(colour, "TIFF", "CMYK"),
        "lab.tif": saved(colour, "TIFF", "LAB"),
        "twelve.tif": tiff(pixels(1, "uint16") & 0xFFF, bitspersample=12),
        "imagej.tif": tiff(
            pixels(1, "uint16")[None] + np.arange(3, dtype="uint16")[:, None, None],
            imagej=True,
            metadata={"axes": "CYX"},
        ),
        "stack.tif": tiff(
            np.stack([grey] * 6).reshape(2, 3, *SIDE), imagej=True, metadata={"axes": "ZCYX"}
        ),
        "ome.tif": tiff(np.stack([grey] * 3), ome=True, metadata={"axes": "CYX"}),
        "doubles.tif": tiff(grey.astype(np.float64)),
        "icc.tif": tiff(colour, iccprofile=SRGB, compression="zlib"),
        "lzma.tif": tiff(colour, compression="lzma"),
    }
    return files


def _pyramid() -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(pixels(), photometric="rgb", compression="zlib", metadata=None)
        half = pixels()[::2, ::2].copy()
        writer.write(half, photometric="rgb", subfiletype=1, metadata=None)
    return buffer.getvalue()


def _arrays() -> dict[str, bytes]:
    files = {}
    for dtype in ("uint8", "uint16", "int16", "float32", "int64", "bool", "float64", "complex64"):
        files[f"{dtype}.npy"] = npy(pixels(3, "uint8").astype(dtype))
    grey = pixels(1, "int16")
    files |= {
        "fortran.npy": npy(np.asfortranarray(pixels(2, "float32"))),
        "planes.npy": npy(np.zeros((3, 5, 80), "uint16")),
        "big_endian.npy": npy(grey.astype(">i2")),
        "pickle.npy": npy(np.array([{"a": 1}], dtype=object)),
        "one.npz": npz(arr_0=grey),
        "two.npz": npz(first=grey, second=grey),
        "stored.npz": zipped(**{"x.npy": npy(grey)}),
        "none.npz": zipped(**{"../../etc/readme.txt": b"no array"}),
    }
    return files


ODD = (0, 1, 2, 3, 7, 8, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)


def _flip(generator: Generator, data: bytes) -> bytes:
    flipped, count = bytearray(data), int(generator.integers(1, 9))
    reach = len(data) if generator.random() < 0.5 else min(len(data), 200)
    for place in generator.integers(0, max(reach, 1), count if data else 0):
        flipped[place] ^= 1 << int(generator.integers(8))
    return bytes(flipped)


def _cut(generator: Generator, data: bytes) -> bytes:
    return data[: int(generator.integers(0, len(data) + 1))]


def _double(generator: Generator, data: bytes) -> bytes:
    start, end = sorted(int(n) for n in generator.integers(0, len(data) + 1, 2))
    return data[:end] + data[start:end] * int(generator.integers(1, 4)) + data[end:]


def _drop(generator: Generator, data: bytes) -> bytes:
    start, end = sorted(int(n) for n in generator.integers(0, len(data) + 1, 2))
    return data[:start] + data[end:]


def _splice(generator: Generator, data: bytes) -> bytes:
    other = list(corpus().values())[int(generator.integers(len(corpus())))]
    start, end = int(generator.integers(len(data) + 1)), int(generator.integers(len(other) + 1))
    return data[:start] + other[end:]


def _edit(generator: Generator, data: bytes) -> bytes:
    """Put an odd number into a field of the header, or of the directory of a TIFF."""
    size, order = int(generator.choice([1, 2, 4, 8])), str(generator.choice(["<", ">"]))
    value = int(generator.choice(np.array(ODD, np.int64))) % 256**size
    place = int(generator.integers(0, max(min(len(data), 120), 1)))
    if data[:4] == b"II*\0" and generator.random() < 0.8:
        start = int.from_bytes(data[4:8], "little") + 2
        count = int.from_bytes(data[start - 2 : start], "little") or 1
        part, order = int(generator.choice([0, 2, 4, 8])), "<"
        size = 2 if part < 4 else 4
        value %= 256**size
        place = start + 12 * int(generator.integers(count)) + part
    field = struct.pack(order + {1: "B", 2: "H", 4: "I", 8: "Q"}[size], value)
    return data[:place] + field + data[place + size :]


def _append(generator: Generator, data: bytes) -> bytes:
    return data + _foreign(generator)


def _prepend(generator: Generator, data: bytes) -> bytes:
    return _foreign(generator) + data


def _foreign(generator: Generator) -> bytes:
    things = (
        zipped(**{"run.py": b"raise SystemExit(3)"}),
        b"<html><script>alert(1)</script></html>",
        b"#!/bin/sh\nexit 3\n",
        b"GIF89a" + bytes(40),
        generator.bytes(int(generator.integers(1, 300))),
        bytes(int(generator.integers(1, 300))),
    )
    return things[int(generator.integers(len(things)))]


def _blank(generator: Generator, data: bytes) -> bytes:
    start, end = sorted(int(n) for n in generator.integers(0, len(data) + 1, 2))
    return data[:start] + bytes([int(generator.choice([0, 255]))]) * (end - start) + data[end:]


MUTATIONS = (_flip, _cut, _double, _drop, _splice, _edit, _append, _prepend, _blank, _edit, _flip)


def with_checksums(data: bytes) -> bytes:
    """A PNG whose checksums are right again, so that damage comes further than to them."""
    fixed, place = bytearray(data), 8
    while place + 12 <= len(fixed):
        end = place + 8 + int.from_bytes(fixed[place : place + 4], "big")
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[place + 4 : end]))
        place = end + 4
    return bytes(fixed)


def case(seed: int) -> tuple[str, bytes]:
    """A file name and hostile content; the same for the same seed."""
    generator = np.random.default_rng(seed)
    name = str(generator.choice(list(corpus())))
    data = corpus()[name]
    for number in generator.integers(0, len(MUTATIONS), int(generator.integers(1, 4))):
        data = MUTATIONS[number](generator, data)
    if data[:8] == b"\x89PNG\r\n\x1a\n" and generator.random() < 0.7:
        data = with_checksums(data)
    if generator.random() < 0.05:
        stem = name.rpartition(".")[0]
        name = stem + str(generator.choice([".png", ".jpg", ".tif", ".npy", ".npz", ".webp", ""]))
    return name, data
