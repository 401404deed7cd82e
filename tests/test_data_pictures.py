"""Reading one picture: upright, on white, in 8 bits, and refused by name if that cannot be."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dragoman.data.pictures import is_grey, read
from dragoman.errors import DataError


def test_exif_orientation_transparency_and_palettes(tmp_path):
    y, x = np.mgrid[0:8, 0:12]
    pixels = np.stack([x, y, x * 0 + 3], -1).astype(np.uint8)
    turned = Image.fromarray(pixels).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    turned.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "turned.png", 3), pixels.transpose(2, 0, 1))
    rgba = Image.fromarray(
        np.dstack([pixels, np.where(np.arange(12) < 6, 0, 255) + pixels[..., 0] * 0]).astype(
            np.uint8
        )
    )
    rgba.save(tmp_path / "clear.png")
    clear = read(tmp_path / "clear.png", 3)
    assert (clear[:, :, :6] == 255).all()
    np.testing.assert_array_equal(clear[:, :, 6:], pixels.transpose(2, 0, 1)[:, :, 6:])
    rgb = Image.fromarray(pixels).quantize(96)
    rgb.save(tmp_path / "palette.png")
    assert not is_grey(tmp_path / "palette.png")
    expected = np.asarray(rgb.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(read(tmp_path / "palette.png", 3), expected)


def _png16(path: Path, channels: int = 3) -> None:
    """Write a 4x4 PNG of 16 bits per channel by hand; Pillow cannot."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 4, 4, 16, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = (b"\0" + b"\x12\x34" * 4 * channels) * 4
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _huge(path: Path) -> None:
    """A PNG of a few bytes that claims 30,000 x 30,000 pixels."""
    _png16(path)
    content = bytearray(path.read_bytes())
    content[16:25] = struct.pack(">IIB", 30_000, 30_000, 8)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    path.write_bytes(bytes(content))


def _truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    Image.fromarray(noise.astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:6000])


def _pages(path: Path) -> None:
    page = Image.new("L", (8, 8))
    page.save(path, save_all=True, append_images=[page])


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("rgb.png", _png16, "more than 8 bits per channel"),
        ("grey.png", lambda p: _png16(p, 1), "more than 8 bits per channel"),
        ("rgba.png", lambda p: _png16(p, 4), "more than 8 bits per channel"),
        (
            "deep.tif",
            lambda p: tifffile.imwrite(p, np.ones((8, 8, 3), np.uint16), photometric="rgb"),
            "more than 8 bits per channel",
        ),
        ("float.tif", lambda p: tifffile.imwrite(p, np.ones((8, 8), np.float32)), "8 bits per"),
        ("bomb.png", _huge, "more than 80 million pixels"),
        ("short.png", _truncated, "damaged"),
        ("empty.jpg", lambda p: p.write_bytes(b""), "is empty"),
        ("text.jpg", lambda p: p.write_text("no picture"), "not a readable PNG"),
        ("folder.png", lambda p: p.mkdir(), "is not a file"),
        ("pages.tif", _pages, "holds 2 pictures"),
        ("gif.png", lambda p: Image.new("L", (8, 8)).save(p, "GIF"), "not a readable PNG"),
    ],
)
def test_unfit_files_are_refused_by_name(tmp_path, name, write, words):
    path = tmp_path / name
    write(path)
    with pytest.raises(DataError, match=words) as caught:
        read(path, 3)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_long_strip_is_refused_before_it_is_enlarged(tmp_path):
    Image.new("L", (100_000, 1)).save(tmp_path / "strip.png")
    with pytest.raises(DataError, match="100000x1 pixels, too long and narrow"):
        read(tmp_path / "strip.png", 1, 256)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "TIFF"]))
def test_flipped_bits_never_escape(tmp_path_factory, seed, kind):
    generator = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("bits") / "x.png"
    Image.fromarray(generator.integers(0, 256, (24, 24, 3)).astype(np.uint8)).save(path, kind)
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    places = generator.integers(0, min(len(content), 400), 4)
    content[places] ^= (1 << generator.integers(0, 8, 4)).astype(np.uint8)
    path.write_bytes(content.tobytes())
    try:
        picture = read(path, 3, 32)
    except DataError as error:
        said = str(error)
    else:
        said = str(path)
        assert picture.shape[0] == 3
        assert min(picture.shape[1:]) == 32
    assert said.startswith(str(path))
