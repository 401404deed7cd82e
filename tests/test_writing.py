"""Writing one picture: read back it is the same, other programs read it, and it is whole."""

import io
import os
import stat
import threading

import imagecodecs
import numpy as np
import pytest
import tifffile
from hostile_files import SRGB, pixels
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms, JpegImagePlugin

from dragoman.data.raster import MOST_CHANNELS, read_header, read_raster
from dragoman.data.writing import check_can_hold, write_raster
from dragoman.errors import DataError

GREY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]
SCREEN = [
    (".png", "uint8", (1, 2, 3, 4)),
    (".png", "uint16", (1, 2, 3, 4)),
    (".bmp", "uint8", (1, 3)),
    (".webp", "uint8", (3, 4)),
]
DEPTHS = ("uint8", "uint16", "int16", "float32")


@st.composite
def rasters(draw, dtype: str, channels: tuple[int, ...]):
    """Pixels [H, W, C] with sides around those where layouts change their mind."""
    sides = st.one_of(st.integers(1, 24), st.sampled_from([63, 64, 65, 66, 70]))
    shape = draw(sides), draw(sides), draw(st.sampled_from(channels))
    elements = {"allow_nan": False, "allow_infinity": False} if dtype == "float32" else {}
    return draw(arrays(dtype, shape, elements=elements))


@pytest.mark.parametrize(("suffix", "dtype", "channels"), SCREEN)
@settings(max_examples=40)
@given(data=st.data())
def test_screen_formats_give_back_what_was_written(tmp_path_factory, suffix, dtype, channels, data):
    pixels = data.draw(rasters(dtype, channels))
    path = tmp_path_factory.mktemp("w") / f"x{suffix}"
    write_raster(path, pixels, quality=10)
    back = read_raster(path)
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.header == read_header(path)
    assert (back.header.channels, back.header.dtype) == (pixels.shape[2], dtype)
    assert back.header.alpha == (pixels.shape[2] in (2, 4))


@pytest.mark.parametrize("dtype", DEPTHS)
@pytest.mark.parametrize("suffix", [".tif", ".npy", ".npz"])
@settings(max_examples=40)
@given(data=st.data(), planar=st.booleans(), alpha=st.booleans())
def test_every_depth_and_channel_count_comes_back(
    tmp_path_factory, suffix, dtype, data, planar, alpha
):
    pixels = data.draw(rasters(dtype, (1, 2, 3, 4, 5, 7, 63, 64)))
    path = tmp_path_factory.mktemp("w") / f"x{suffix}"
    write_raster(path, pixels, planar=planar, alpha=alpha)
    back = read_raster(path)
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.header == read_header(path)
    assert back.pixels.flags.c_contiguous
    if suffix == ".tif":
        assert back.header.planar == (planar and pixels.shape[2] > 1)
        assert back.header.alpha == (alpha and pixels.shape[2] > 1)


def test_one_channel_is_written_as_one(tmp_path):
    grey = pixels(1)
    for suffix in (".png", ".jpg", ".bmp", ".tif"):
        path = tmp_path / f"x{suffix}"
        write_raster(path, grey[..., None])
        with Image.open(path) as picture:
            assert picture.mode == "L"
    np.testing.assert_array_equal(np.load(_written(tmp_path / "x.npy", grey[..., None])), grey)


def _written(path, array, **options):
    write_raster(path, array, **options)
    return path


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_other_programs_read_16_bit_png(tmp_path, channels):
    array = pixels(channels, "uint16")
    path = _written(tmp_path / "x.png", array, icc=SRGB if channels > 2 else GREY_PROFILE)
    np.testing.assert_array_equal(imagecodecs.png_decode(path.read_bytes()), array)
    with Image.open(path) as picture:
        assert picture.info["icc_profile"][16:20] == (b"RGB " if channels > 2 else b"GRAY")
        picture.load()


def test_16_bit_png_of_many_rows_is_written_in_bands(tmp_path):
    array = np.random.default_rng(0).integers(0, 65536, (700, 1200, 3)).astype(np.uint16)
    array[:, 600:] = np.arange(600, dtype=np.uint16)[:, None]  # what filters are for
    path = _written(tmp_path / "x.png", array)
    np.testing.assert_array_equal(imagecodecs.png_decode(path.read_bytes()), array)
    assert path.stat().st_size < 0.6 * array.nbytes


@pytest.mark.parametrize("dtype", DEPTHS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("planar", [False, True])
def test_tifffile_reads_what_is_written(tmp_path, dtype, channels, planar):
    array = pixels(channels, dtype)
    path = _written(tmp_path / "x.tif", array, planar=planar, alpha=channels == 4)
    read = tifffile.imread(path)
    np.testing.assert_array_equal(
        np.moveaxis(read, 0, -1) if planar and channels > 1 else read, array
    )
    with tifffile.TiffFile(path) as file:
        assert file.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        colour = channels in (3, 4) and dtype.startswith("u")
        expected = tifffile.PHOTOMETRIC.RGB if colour else tifffile.PHOTOMETRIC.MINISBLACK
        assert file.pages.first.photometric == expected


@pytest.mark.parametrize(
    ("channels", "dtype", "mode"),
    [
        (1, "uint8", "L"),
        (3, "uint8", "RGB"),
        (4, "uint8", "RGBA"),
        (1, "uint16", "I;16"),
        (1, "float32", "F"),
    ],
)
def test_pillow_reads_what_tiff_it_can(tmp_path, channels, dtype, mode):
    array = pixels(channels, dtype)
    with Image.open(_written(tmp_path / "x.tif", array, alpha=channels == 4)) as picture:
        assert picture.mode == mode
        np.testing.assert_array_equal(np.asarray(picture), array)


def test_jpeg_keeps_full_colour_resolution_and_takes_its_quality(tmp_path):
    array = pixels()
    fine = _written(tmp_path / "fine.jpg", array)
    with Image.open(fine) as picture:
        assert isinstance(picture, JpegImagePlugin.JpegImageFile)
        assert {sampling[1:3] for sampling in picture.layer} == {(1, 1)}
    coarse = _written(tmp_path / "coarse.jpg", array, quality=20)
    assert coarse.stat().st_size < fine.stat().st_size
    error = np.abs(read_raster(fine).pixels.astype(int) - array)
    assert error.mean() < 3


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colour_profiles_are_kept_where_they_fit(tmp_path, suffix, dtype):
    if dtype == "uint16" and suffix in (".jpg", ".webp"):
        suffix = ".png"
    path = _written(tmp_path / f"x{suffix}", pixels(3, dtype), icc=SRGB)
    assert read_raster(path).icc == SRGB
    if suffix != ".tif":
        with Image.open(path) as picture:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
            assert "sRGB" in ImageCms.getProfileDescription(profile)
    if suffix != ".webp":
        grey = _written(tmp_path / f"grey{suffix}", pixels(1, dtype), icc=SRGB)
        assert read_raster(grey).icc is None, "a profile for RGB says nothing of grey"


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("count", [2, 5, 200, 256])
def test_palettes_come_back_with_their_numbers(tmp_path, suffix, count):
    generator = np.random.default_rng(count)
    numbers = generator.integers(0, count, (9, 14)).astype(np.uint8)
    colours = generator.integers(0, 256, (count, 3)).astype(np.uint8)
    path = _written(tmp_path / f"x{suffix}", numbers, colours=colours)
    back = read_raster(path, indices=True)
    np.testing.assert_array_equal(back.pixels[..., 0], numbers)
    assert back.colours is not None
    np.testing.assert_array_equal(back.colours[:count], colours)
    assert back.header.palette
    np.testing.assert_array_equal(read_raster(path).pixels, colours[numbers])
    with Image.open(path) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colours[numbers])


@pytest.mark.parametrize(
    ("name", "array", "options", "words"),
    [
        ("x.jpg", pixels(1, "uint16"), {}, "1 channel of uint16 as .jpg; .png, .tif, .tiff"),
        ("x.png", pixels(5), {}, "5 channels of uint8 as .png; .tif, .tiff, .npy, .npz can hold"),
        ("x.webp", pixels(1), {}, "1 channel of uint8 as .webp; .png"),
        ("x.bmp", pixels(4), {}, "4 channels of uint8 as .bmp; .png, .webp"),
        ("x.gif", pixels(3), {}, "cannot write .gif; write one of .png"),
        ("x", pixels(3), {}, "cannot write files without ending; write one of .png"),
        ("x.tif", np.zeros((4, 4, 65), np.uint8), {}, "cannot write 65 channels of uint8; 1 to 64"),
        ("x.npy", np.zeros((4, 4)), {}, "1 channels of float64; 1 to 64 channels of uint8, uint16"),
        ("x.npy", np.zeros((0, 4), np.uint8), {}, r"an array \(0, 4, 1\) is no picture"),
        ("x.jpg", np.zeros((1, 65501), np.uint8), {}, "a side of 65501 pixels as .jpg, which has"),
        ("x.webp", np.zeros((16384, 1, 3), np.uint8), {}, "a side of 16384 pixels as .webp"),
        ("x.bmp", pixels(1), {"colours": np.zeros((256, 3))}, "a palette as .bmp; write .png"),
        ("x.png", pixels(3), {"colours": np.zeros((256, 3))}, "a palette of 256 colours for 3"),
        ("x.png", pixels(1), {"colours": np.zeros((3, 3))}, "the number .* with a palette of 3"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_any_work(
    tmp_path, name, array, options, words
):
    with pytest.raises(DataError, match=words) as caught:
        write_raster(tmp_path / "new" / name, array, **options)
    assert str(caught.value).startswith(str(tmp_path / "new" / name))
    assert not (tmp_path / "new").exists()


def test_every_depth_can_be_held_by_some_format():
    for dtype in DEPTHS:
        for channels in range(1, MOST_CHANNELS + 1):
            check_can_hold(".TIF", dtype, channels)
            check_can_hold(".npy", dtype, channels)
    for suffix, dtype, counts in SCREEN:
        for channels in counts:
            check_can_hold(suffix, dtype, channels)


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    path = _written(tmp_path / "a" / "b" / "x.png", pixels())
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataError, match=r"^cannot write .*x\.png: No space left on device$"):
        write_raster(path, pixels(3, seed=1))
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["x.png"]

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_raster(path, pixels(3, seed=1))
    assert [entry.name for entry in path.parent.iterdir()] == ["x.png"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_places_that_cannot_be_written_are_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot write .*: (File exists|Not a directory)"):
        write_raster(tmp_path / "file" / "x.png", pixels())
    (tmp_path / "x.png").mkdir()
    with pytest.raises(DataError, match=r"cannot write .*: Is a directory"):
        write_raster(tmp_path / "x.png", pixels())
    with pytest.raises(DataError, match=r"cannot write .*: File name too long"):
        write_raster(tmp_path / ("x" * 300 + ".png"), pixels())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "x.png"]
    long = tmp_path / ("x" * 251 + ".png")  # as long as a name may be
    write_raster(long, pixels())
    assert long.is_file()


def test_many_threads_write_the_same_name(tmp_path):
    versions = [pixels(3, "uint16", seed) for seed in range(8)]
    path = tmp_path / "x.tif"
    threads = [threading.Thread(target=write_raster, args=(path, array)) for array in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(np.array_equal(read_raster(path).pixels, array) for array in versions)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.tif"]


def test_other_byte_orders_and_views_are_written_right(tmp_path):
    array = pixels(3, "uint16")
    for name in ("x.png", "x.tif", "x.npy"):
        path = _written(tmp_path / name, array.astype(">u2")[::-1, ::2])
        np.testing.assert_array_equal(read_raster(path).pixels, array[::-1, ::2])
