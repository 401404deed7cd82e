"""Reading one picture of a screen format or of NumPy: exact, upright, with what belongs to it."""

import io
import struct
import threading
import zlib

import imagecodecs
import numpy as np
import pytest
from hostile_files import (
    SRGB,
    chunk,
    corpus,
    interlaced,
    npy,
    npz,
    pixels,
    png,
    rle_bmp,
    saved,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from dragoman.data.blob import Blob
from dragoman.data.raster import SUFFIXES, Header, Raster, on_white, read_header, read_raster
from dragoman.errors import DataError


def raster(name: str, data: bytes, **options) -> Raster:
    """Read bytes; the header must say the same as that of the pixels."""
    found = read_raster(Blob(name, data=data), **options)
    options.pop("least", None)
    assert found.header == read_header(Blob(name, data=data), **options)
    assert found.pixels.flags.c_contiguous
    assert found.pixels.dtype.name == found.header.dtype
    return found


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        *(("BMP", mode) for mode in ("1", "L", "P", "RGB")),
        *(("WEBP", mode) for mode in ("RGB", "RGBA")),
        *(("JPEG", mode) for mode in ("L", "RGB", "CMYK")),
    ],
)
def test_pillow_agrees(kind, mode):
    data = saved(pixels(4) if mode == "RGBA" else pixels(), kind, mode)
    found = raster(f"x.{kind.lower()}", data)
    with Image.open(io.BytesIO(data)) as picture:
        picture = picture.convert("RGB") if mode in ("P", "CMYK") else picture
        expected = np.asarray(picture.convert("L") if mode == "1" else picture)
    np.testing.assert_array_equal(found.pixels, expected.reshape(found.pixels.shape))
    assert found.header == Header(
        *expected.shape[:2],
        channels=1 if expected.ndim == 2 else expected.shape[2],
        dtype="uint8",
        format=kind,
        alpha=mode in ("LA", "RGBA"),
        palette=mode == "P",
    )


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_is_exact(channels):
    array = pixels(channels, "uint16")
    data = bytes(imagecodecs.png_encode(array))
    found = raster("x.png", data)
    np.testing.assert_array_equal(found.pixels, array.reshape(found.pixels.shape))
    assert (found.header.dtype, found.header.alpha) == ("uint16", channels in (2, 4))


def test_interlaced_png_of_8_and_16_bits():
    for array in (pixels(3), pixels(1), pixels(3, "uint16"), pixels(1, "uint16")):
        found = raster("x.png", interlaced(array))
        np.testing.assert_array_equal(found.pixels, array.reshape(found.pixels.shape))
        if array.dtype == np.uint8:
            with Image.open(io.BytesIO(interlaced(array))) as picture:
                np.testing.assert_array_equal(np.asarray(picture), array)


def test_palettes_as_colours_and_as_numbers():
    picture = Image.fromarray(pixels()).quantize(40)
    colours = np.asarray(picture.convert("RGB"))
    for kind in ("PNG", "BMP"):
        found = raster(f"x.{kind.lower()}", saved(picture, kind))
        np.testing.assert_array_equal(found.pixels, colours)
        assert found.colours is None
        numbers = raster(f"x.{kind.lower()}", saved(picture, kind), indices=True)
        np.testing.assert_array_equal(numbers.pixels[..., 0], np.asarray(picture))
        assert numbers.colours is not None
        assert (numbers.header.channels, numbers.header.palette) == (1, True)
        np.testing.assert_array_equal(numbers.colours[numbers.pixels[..., 0]], colours)
    found = raster("x.bmp", rle_bmp(), indices=True)
    np.testing.assert_array_equal(found.pixels[..., 0], [[0] * 4 + [1] * 4, [1] * 8])


def test_palette_numbers_without_a_colour_are_black():
    rows = b"".join(b"\0" + bytes(range(8)) for _ in range(3))
    data = png(8, 3, 8, 3, rows, chunk(b"PLTE", bytes(range(1, 10))))
    found = raster("x.png", data, indices=True)
    assert found.colours is not None
    assert found.colours.shape == (8, 3)
    np.testing.assert_array_equal(found.colours[2:4], [[7, 8, 9], [0, 0, 0]])
    np.testing.assert_array_equal(raster("x.png", data).pixels[0], found.colours)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_become_greys_or_stay_numbers(depth):
    most = 2**depth - 1
    numbers = np.arange(8 // depth, dtype=np.uint8) & most
    packed = sum(int(n) << (8 - depth * (i + 1)) for i, n in enumerate(numbers))
    data = png(len(numbers), 1, depth, 0, bytes([0, packed]))
    np.testing.assert_array_equal(raster("x.png", data).pixels[0, :, 0], numbers * (255 // most))
    found = raster("x.png", data, indices=True)
    np.testing.assert_array_equal(found.pixels[0, :, 0], numbers)
    key = png(len(numbers), 1, depth, 0, bytes([0, packed]), chunk(b"tRNS", bytes([0, most])))
    found = raster("x.png", key)
    assert found.header.alpha
    np.testing.assert_array_equal(found.pixels[0, :, 1], np.where(numbers == most, 0, 255))


def test_the_transparent_colour_of_a_png_becomes_a_channel():
    for array, key in ((pixels(3), (3, 6, 9)), (pixels(1), 3)):
        data = saved(array, "PNG", transparency=key)
        found = raster("x.png", data)
        mode = "RGBA" if array.ndim == 3 else "LA"
        with Image.open(io.BytesIO(data)) as picture:
            np.testing.assert_array_equal(found.pixels, np.asarray(picture.convert(mode)))
        assert (found.pixels[..., -1] == 0).any()
    deep = pixels(3, "uint16")
    key = struct.pack(">3H", *deep[0, 0])
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    found = raster("x.png", png(33, 24, 16, 2, rows, chunk(b"tRNS", key)))
    np.testing.assert_array_equal(found.pixels[..., :3], deep)
    hidden = (deep == deep[0, 0]).all(-1)
    np.testing.assert_array_equal(found.pixels[..., 3], np.where(hidden, 0, 65535))


def test_palettes_with_transparency():
    picture = Image.fromarray(pixels()).quantize(40)
    alpha = bytes(range(0, 240, 6))
    data = saved(picture, "PNG", transparency=alpha)
    found = raster("x.png", data)
    with Image.open(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(found.pixels, np.asarray(opened.convert("RGBA")))
    assert raster("x.png", data, indices=True).header.channels == 1
    opaque = saved(picture, "PNG", transparency=b"\xff" * 40)
    assert raster("x.png", opaque).header.channels == 3, "nothing of it is transparent"


@pytest.mark.parametrize("turn", range(10))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_orientation_is_obeyed(turn, kind):
    exif = Image.Exif()
    exif[0x0112] = turn  # 0 and 9 mean nothing
    data = saved(pixels(), kind, exif=exif)
    found = raster(f"x.{kind.lower()}", data)
    with Image.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(found.pixels, np.asarray(ImageOps.exif_transpose(picture)))


def test_orientation_after_the_pixels_of_a_png():
    exif = Image.Exif()
    exif[0x0112] = 8
    data = saved(pixels(), "PNG")
    late = data[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) + data[-12:]
    np.testing.assert_array_equal(raster("x.png", late).pixels, np.rot90(pixels()))


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\xff"])
def test_damaged_exif_means_nothing(exif):
    data = saved(pixels(), "PNG")
    damaged = data[:33] + chunk(b"eXIf", exif) + data[33:]
    np.testing.assert_array_equal(raster("x.png", damaged).pixels, pixels())
    jpeg = saved(pixels(), "JPEG")
    body = b"Exif\0\0" + exif
    inside = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
    np.testing.assert_array_equal(raster("x.jpg", inside).pixels, raster("x.jpg", jpeg).pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_colour_profiles_are_read_where_they_fit(kind):
    suffix = kind.lower()
    assert raster(f"x.{suffix}", saved(pixels(), kind, icc_profile=SRGB)).icc == SRGB
    assert raster(f"x.{suffix}", saved(pixels(), kind)).icc is None
    foreign = SRGB[:16] + b"CMYK" + SRGB[20:]
    assert raster(f"x.{suffix}", saved(pixels(), kind, icc_profile=foreign)).icc is None
    if kind == "JPEG":
        assert raster("x.jpg", saved(pixels(), kind, "CMYK", icc_profile=foreign)).icc is None


def test_jpegs_may_be_decoded_smaller():
    big = np.kron(pixels(), np.ones((10, 10, 1), np.uint8))
    data = saved(big, "JPEG")
    for least, size in ((24, (30, 42)), (60, (60, 83)), (120, (120, 165)), (121, (240, 330))):
        found = raster("x.jpg", data, least=least)
        assert found.pixels.shape[:2] == size
        assert (found.header.height, found.header.width) == (240, 330)
    assert raster("x.jpg", data, least=None).pixels.shape == (240, 330, 3)
    assert raster("x.png", saved(big, "PNG"), least=24).pixels.shape == (240, 330, 3)


def test_a_film_behind_a_photograph_does_not_matter():
    data = saved(pixels(), "JPEG", progressive=True)
    film = b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x0c" * 500
    np.testing.assert_array_equal(raster("x.jpg", data + film).pixels, raster("x.jpg", data).pixels)
    again = data[data.rindex(b"\xff\xda") : -2]
    for count, words in ((20, ""), (99, r"is damaged \(a JPEG of more than 64 passes\)")):
        often = data[:-2] + again * count + b"\xff\xfe\0\4\xff\xd9" + data[-2:] + film
        if words:
            with pytest.raises(DataError, match=words):
                read_raster(Blob("x.jpg", data=often))
        else:
            assert raster("x.jpg", often).pixels.shape == (24, 33, 3)


def test_the_first_picture_of_a_pair_is_the_photograph():
    photo = Image.fromarray(pixels())
    data = saved(photo, "MPO", save_all=True, append_images=[photo.rotate(180)])
    with Image.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(raster("x.jpg", data).pixels, np.asarray(picture))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.png", corpus()["animated.png"], "is an animation of 2 pictures; save each in a file"),
        ("x.webp", corpus()["animated.webp"], "is an animation; save each"),
        ("x.png", saved(pixels(), "GIF"), "is not a readable PNG, JPEG, WebP or BMP"),
        ("x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not a readable PNG, JPEG, WebP or BMP"),
        ("x.tif", saved(pixels(), "PNG"), "is really a PNG file; rename it to end in .png"),
        ("x.npy", saved(pixels(), "JPEG"), "is really a JPEG file; rename it to end in .jpg"),
        ("x.png", npy(pixels()), "is really a NPY file; rename it to end in .npy"),
        ("x.jpg", corpus()["tiled.tif"], "is really a TIFF file; rename it to end in .tif"),
        ("x.png", npz(x=pixels()), "is a zip archive, not a picture"),
        ("x.tif", b"GIF89a", "is not a readable TIFF"),
        ("x.jpg", b"", "is empty"),
        ("x.jpg", b"\xff\xd8\xff", "is damaged"),
        ("x.png", saved(pixels(), "PNG")[:-30], "is cut off"),
        ("x.jpg", saved(pixels(), "JPEG")[:-30], "is damaged .image file is truncated"),
        ("x.webp", saved(pixels(), "WEBP")[:-30], "is damaged"),
        ("x.bmp", saved(pixels(), "BMP")[:-30], "is damaged"),
    ],
)
def test_unfit_files_are_refused_by_name(name, data, words):
    with pytest.raises(DataError, match=words) as caught:
        read_raster(Blob(f"some/{name}", data=data))
    assert str(caught.value).startswith(f"some/{name} ")
    assert str(caught.value).isprintable()


def test_the_ending_need_not_tell_the_screen_formats_apart(tmp_path):
    for kind in ("PNG", "JPEG", "WEBP", "BMP"):
        for ending in (".png", ".jpg", ".webp", ".bmp", "", ".dat"):
            assert raster("x" + ending, saved(pixels(), kind)).header.format == kind
    assert raster("x", npy(pixels())).header.format == "NPY"
    assert set(SUFFIXES) >= {
        ".png",
        ".jpg",
        ".jpeg",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".npy",
        ".npz",
    }


def test_a_part_of_an_archive_is_read_as_a_file_is(tmp_path):
    data = saved(pixels(), "PNG")
    (tmp_path / "shard.tar").write_bytes(b"before" + data + b"after")
    blob = Blob(str(tmp_path / "shard.tar"), offset=6, length=len(data), member="x.png")
    np.testing.assert_array_equal(read_raster(blob).pixels, pixels())
    short = Blob(str(tmp_path / "shard.tar"), offset=6, length=len(data) + 99, member="x.png")
    with pytest.raises(DataError, match=r"shard\.tar:x\.png is cut off; copy .*shard\.tar again"):
        read_raster(short)


def test_limits_hold_for_pixels_and_for_bytes():
    data = saved(pixels(), "PNG")
    assert raster("x.png", data, limit=24 * 33).pixels.shape == (24, 33, 3)
    with pytest.raises(DataError, match=r"33x24 pixels, more than the limit of 0\.000791 million"):
        read_header(Blob("x.png", data=data), limit=24 * 33 - 1)
    many = np.zeros((70, 80, 5), np.float32)
    assert raster("x.npy", npy(many), limit=7000).pixels.shape == (70, 80, 5)
    with pytest.raises(DataError, match=r"takes 0\.112 MB unpacked, more than 16 bytes for each"):
        read_header(Blob("x.npy", data=npy(many)), limit=6999)


def test_pillows_own_limit_is_neither_used_nor_changed(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for name, data in corpus().items():
        if name in ("RGB.png", "photo.jpg", "lossless.webp", "RGB.bmp", "cmyk.tif", "P.png"):
            assert raster(name, data).pixels.shape[-1] == 3
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_transparency_is_laid_over_white(dtype):
    white = {"uint8": 255, "uint16": 65535, "int16": 32767, "float32": 1.0}[dtype]
    colours = np.linspace(0, white, 12).astype(dtype).reshape(2, 2, 3)
    alpha = np.array([[0, white], [white, white / 2]]).astype(dtype)[..., None]
    header = Header(2, 2, 4, dtype, "TIFF", True, False)
    laid = on_white(Raster(np.concatenate([colours, alpha], -1), header, b"icc"))
    assert (laid.header.channels, laid.header.alpha, laid.icc) == (3, False, b"icc")
    assert laid.pixels.dtype == dtype
    assert (laid.pixels[0, 0] == white).all()
    np.testing.assert_array_equal(laid.pixels[0, 1], colours[0, 1])
    half = colours[1, 1].astype(float) / 2 + white / 2
    np.testing.assert_allclose(laid.pixels[1, 1], half, atol=white / 250)
    opaque = Raster(colours, Header(2, 2, 3, dtype, "TIFF", False, False))
    assert on_white(opaque) is opaque


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_white_behind_8_bits_is_what_pillow_makes(seed):
    rgba = np.random.default_rng(seed).integers(0, 256, (16, 16, 4)).astype(np.uint8)
    white = Image.new("RGBA", (16, 16), "white")
    white.alpha_composite(Image.fromarray(rgba))
    laid = on_white(raster("x.png", saved(rgba, "PNG"))).pixels.astype(int)
    assert np.abs(laid - np.asarray(white.convert("RGB"))).max() <= 1


def test_text_and_other_parts_of_a_png_do_not_matter():
    start, rest = saved(pixels(), "PNG")[:33], saved(pixels(), "PNG")[33:]
    bomb = zlib.compress(bytes(3 << 20))
    for extra in (
        chunk(b"zTXt", b"k\0\0" + bomb),
        chunk(b"iTXt", b"k\0\1\0\0\0" + bomb),
        chunk(b"tEXt", b"transparency\0" + b"x" * 99),
        chunk(b"tEXt", b"icc_profile\0hello"),
        chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(9 << 20))),
        chunk(b"gAMA", b""),
        chunk(b"acTL", struct.pack(">II", 1, 0)),
        chunk(b"tIME", b"") + b"\0\0\0\1ohNo\0\0\0\0\0",
    ):
        found = raster("x.png", start + extra + rest)
        np.testing.assert_array_equal(found.pixels, pixels())
        assert found.icc is None


def test_threads_read_at_once():
    wanted = {n: read_raster(Blob(n, data=d)) for n, d in corpus().items() if _readable(n, d)}
    wrong: list[str] = []

    def read(names: list[str]) -> None:
        for name in names:
            found = read_raster(Blob(name, data=corpus()[name]))
            if not np.array_equal(found.pixels, wanted[name].pixels):
                wrong.append(name)

    orders = [np.random.default_rng(n).permutation(list(wanted)).tolist() for n in range(6)]
    threads = [threading.Thread(target=read, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wanted) > 60
    assert not wrong


def _readable(name: str, data: bytes) -> bool:
    try:
        read_header(Blob(name, data=data))
    except DataError:
        return False
    return True
