"""Reading TIFF: what tifffile, Pillow, ImageJ and scanners write, exact, or a reason why not."""

import io
import logging
import struct
import sys

import numpy as np
import pytest
import tifffile
from hostile_files import SRGB, pages, pixels, saved, tiff
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from test_raster import raster

from dragoman.data.blob import Blob
from dragoman.data.raster import on_white, read_raster
from dragoman.errors import DataError

PACKINGS = [None, "lzw", "zlib", "zstd", "packbits"]


def subsampled() -> bytes:
    """A TIFF that says it has one colour for each two by two pixels."""
    tag = struct.Struct("<HHIHH").pack
    return tiff(pixels(), photometric="ycbcr").replace(tag(530, 3, 2, 1, 1), tag(530, 3, 2, 2, 2))


@settings(max_examples=250)
@given(
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    channels=st.sampled_from([1, 2, 3, 4, 6, 64]),
    packing=st.sampled_from(PACKINGS),
    predictor=st.booleans(),
    tile=st.sampled_from([None, (16, 16), (16, 48), (32, 32)]),
    planar=st.booleans(),
    byteorder=st.sampled_from("<>"),
    big=st.booleans(),
    rows=st.sampled_from([None, 1, 5, 24]),
)
def test_tifffile_agrees(dtype, channels, packing, predictor, tile, planar, byteorder, big, rows):
    array = pixels(channels, dtype)
    options = {"tile": tile} if tile else {"rowsperstrip": rows}
    if packing in ("lzw", "zlib", "zstd"):
        options |= {"predictor": predictor}
    if channels > 1:
        options |= {"planarconfig": "separate" if planar else "contig"}
    stored = np.moveaxis(array, -1, 0) if planar and channels > 1 else array
    options |= {"photometric": "minisblack", "byteorder": byteorder, "bigtiff": big}
    data = tiff(stored, compression=packing, **options)
    found = raster("x.tif", data)
    np.testing.assert_array_equal(found.pixels, array.reshape(found.pixels.shape))
    assert found.header.planar == (planar and channels > 1)
    assert not found.header.alpha


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("packing", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd"])
def test_pillow_agrees(mode, packing):
    picture = Image.fromarray(pixels(1, {"I;16": "uint16", "F": "float32"}.get(mode, "uint8")))
    if mode not in ("I;16", "F"):
        picture = Image.fromarray(pixels(4 if mode == "RGBA" else 3)).convert(mode)
    data = saved(picture, "TIFF", compression=packing)
    found = raster("x.tif", data)
    with Image.open(io.BytesIO(data)) as opened:
        shown = opened.convert("RGB") if mode in ("P", "CMYK") else opened
        expected = np.asarray(shown.convert("L") if mode == "1" else shown)
    np.testing.assert_array_equal(found.pixels, expected.reshape(found.pixels.shape))
    assert found.header.alpha == (mode == "RGBA")
    assert found.header.palette == (mode == "P")


def test_brightness_and_colour_apart():
    data = tiff(pixels(), photometric="ycbcr")
    expected = Image.fromarray(pixels(), "YCbCr").convert("RGB")
    np.testing.assert_array_equal(raster("x.tif", data).pixels, np.asarray(expected))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("colour", ["rgb", "ycbcr"])
def test_jpeg_inside(channels, tile, colour):
    options = {"photometric": colour if channels == 3 else "minisblack", "compression": "jpeg"}
    data = tiff(pixels(channels), tile=tile, **options)
    expected = tifffile.imread(io.BytesIO(data))
    found = raster("x.tif", data)
    difference = np.abs(found.pixels.astype(int) - expected.reshape(found.pixels.shape))
    assert difference.max() <= 1, "two builds of the same decoder"
    assert found.header.channels == channels


def test_jpeg_inside_with_tables_of_the_page():
    data = saved(pixels(), "TIFF", compression="jpeg", quality=95)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.pages.first.jpegtables
    with Image.open(io.BytesIO(data)) as picture:
        expected = np.asarray(picture)
    np.testing.assert_array_equal(raster("x.tif", data).pixels, expected)


def test_cut_off_jpeg_inside_is_refused():
    data = tiff(pixels(), compression="jpeg", photometric="rgb")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        place = page.dataoffsets[0] + page.databytecounts[0] // 2
    cut = data[:place] + bytes(len(data) - place)
    with pytest.raises(DataError, match=r"^x\.tif is damaged"):
        read_raster(Blob("x.tif", data=cut))


@pytest.mark.parametrize("turn", range(10))
def test_orientation_is_obeyed(turn):
    data = tiff(pixels(), extratags=[(274, 3, 1, turn, True)])
    exif = Image.Exif()
    exif[0x0112] = turn
    with Image.open(io.BytesIO(saved(pixels(), "PNG", exif=exif))) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(raster("x.tif", data).pixels, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_counting_from_white(dtype):
    array = pixels(1, dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    found = raster("x.tif", tiff(array, photometric="miniswhite"))
    expected = low + high - array.astype(int)
    np.testing.assert_array_equal(found.pixels[..., 0], expected)
    if dtype == "uint8":
        with Image.open(io.BytesIO(tiff(array, photometric="miniswhite"))) as picture:
            np.testing.assert_array_equal(found.pixels[..., 0], np.asarray(picture))


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_one_bit(photometric):
    bits = pixels(1) % 2 == 1
    data = tiff(bits, photometric=photometric)
    seen = bits if photometric == "minisblack" else ~bits
    np.testing.assert_array_equal(raster("x.tif", data).pixels[..., 0], seen * 255)
    np.testing.assert_array_equal(raster("x.tif", data, indices=True).pixels[..., 0], seen)
    with Image.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), seen)


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14])
def test_few_and_odd_bits(bits):
    array = pixels(1, "uint16") % 2**bits
    stored = array.astype(np.uint8) if bits < 8 else array
    data = tiff(stored, bitspersample=bits)
    found = raster("x.tif", data, indices=True)
    np.testing.assert_array_equal(found.pixels[..., 0], array)
    scale = 255 // (2**bits - 1) if bits < 8 else 1
    np.testing.assert_array_equal(raster("x.tif", data).pixels[..., 0], array * scale)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_palettes(dtype):
    count = 2 ** (8 * np.dtype(dtype).itemsize)
    numbers = pixels(1, dtype)
    table = np.random.default_rng(0).integers(0, 65536, (3, count)).astype(np.uint16)
    data = tiff(numbers, photometric="palette", colormap=table)
    colours = (table >> 8).astype(np.uint8).T
    np.testing.assert_array_equal(raster("x.tif", data).pixels, colours[numbers])
    found = raster("x.tif", data, indices=True)
    np.testing.assert_array_equal(found.pixels[..., 0], numbers)
    assert found.colours is not None
    np.testing.assert_array_equal(found.colours, colours)
    eight = tiff(numbers, photometric="palette", colormap=table >> 8)  # as some write it
    np.testing.assert_array_equal(raster("x.tif", eight).pixels, colours[numbers])


def test_kinds_of_transparency():
    array = pixels(4)
    plain = raster("x.tif", tiff(array, photometric="rgb", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(plain.pixels, array)
    assert plain.header.alpha
    infrared = raster("x.tif", tiff(array, photometric="rgb", extrasamples=["unspecified"]))
    np.testing.assert_array_equal(infrared.pixels, array)
    assert not infrared.header.alpha
    data = tiff(array, photometric="rgb", extrasamples=["assocalpha"])
    multiplied = raster("x.tif", data)
    assert multiplied.header.alpha
    with Image.open(io.BytesIO(data)) as picture:
        expected = np.asarray(picture.convert("RGBA")).astype(int)
    seen = array[..., 3] > 0
    assert np.abs(multiplied.pixels.astype(int) - expected)[seen].max() <= 1
    grey = raster("x.tif", tiff(pixels(2), extrasamples=["unassalpha"], planarconfig="contig"))
    assert (grey.header.channels, grey.header.alpha) == (2, True)
    assert on_white(grey).pixels.shape == (24, 33, 1)


def test_multiplied_colours_lie_on_white_as_they_should():
    colours = np.array([[[100, 50, 0, 100], [0, 0, 0, 0]]], np.uint8)  # full red at 100 of 255
    data = tiff(colours, photometric="rgb", extrasamples=["assocalpha"])
    found = raster("x.tif", data)
    np.testing.assert_array_equal(found.pixels[0, 0], [255, 128, 0, 100])
    np.testing.assert_array_equal(on_white(found).pixels[0], [[255, 205, 155], [255, 255, 255]])


@pytest.mark.parametrize("packing", [None, "zlib"])
@pytest.mark.parametrize("count", [2, 6, 64])
def test_pages_are_channels(packing, count):
    arrays = [pixels(1, "uint16", seed) for seed in range(count)]
    data = pages(arrays, compression=packing, photometric="minisblack")
    found = raster("x.tif", data)
    np.testing.assert_array_equal(found.pixels, np.stack(arrays, -1))
    assert found.header.planar
    assert not found.header.alpha


def test_reduced_copies_and_masks_are_left_out():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(pixels(), photometric="rgb", subifds=1, metadata=None)
        writer.write(pixels()[::2, ::2].copy(), photometric="rgb", subfiletype=1, metadata=None)
        writer.write(pixels()[::4, ::4].copy(), photometric="rgb", subfiletype=1, metadata=None)
        writer.write(pixels(1) > 9, photometric="mask", subfiletype=4, metadata=None)
    found = raster("x.tif", buffer.getvalue())
    np.testing.assert_array_equal(found.pixels, pixels())
    assert not found.header.planar


@pytest.mark.parametrize("axes", ["CYX", "ZYX", "TYX"])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_stacks_of_one_axis_are_channels(axes, kind):
    stack = np.stack([pixels(1, "uint16", seed) for seed in range(5)])
    data = tiff(stack, metadata={"axes": axes}, **{kind: True})
    found = raster("x.tif", data)
    np.testing.assert_array_equal(found.pixels, np.moveaxis(stack, 0, -1))
    assert found.header.planar


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_stacks_of_several_axes_are_refused(kind):
    stack = np.stack([pixels(1, "uint16", seed) for seed in range(6)]).reshape(2, 3, 24, 33)
    data = tiff(stack, metadata={"axes": "ZCYX"}, **{kind: True})
    with pytest.raises(DataError, match=r"is a stack of 2 slices and 3 channels|3 channels and 2"):
        read_raster(Blob("x.tif", data=data))


def test_colour_of_microscopes():
    found = raster("x.tif", tiff(pixels(), imagej=True, metadata={"axes": "YXS"}))
    np.testing.assert_array_equal(found.pixels, pixels())
    ome = tiff(pixels(), ome=True, metadata={"axes": "YXS"}, photometric="rgb")
    np.testing.assert_array_equal(raster("x.tif", ome).pixels, pixels())


@pytest.mark.parametrize("shape", [(80, 70, 6), (70, 20, 2), (16, 16, 6), (6, 80, 70)])
@pytest.mark.parametrize("packing", [None, "deflate"])
def test_arrays_written_whole_come_back(shape, packing):
    """What `tifffile.imwrite(path, array)` writes of many channels."""
    array = np.random.default_rng(0).integers(0, 60_000, shape).astype(np.uint16)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, compression=packing, photometric="minisblack")
    found = raster("x.tif", buffer.getvalue())
    planar = shape[0] == 6
    wanted = array.transpose(1, 2, 0) if planar else array
    assert found.header.planar == planar
    assert found.header.channels == wanted.shape[2]
    np.testing.assert_array_equal(found.pixels, wanted)


def test_pages_that_tifffile_leaves_out_are_found():
    stack = np.stack([pixels(1, "uint16", seed) for seed in range(5)])
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, shaped=True) as writer:
        writer.write(stack, photometric="minisblack", truncate=True)
    with tifffile.TiffFile(io.BytesIO(buffer.getvalue())) as file:
        assert len(file.pages) == 1
    found = raster("x.tif", buffer.getvalue())
    np.testing.assert_array_equal(found.pixels, np.moveaxis(stack, 0, -1))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pages([pixels(1), pixels(1)[:9]]), "holds 2 pictures of different size; save each"),
        (pages([pixels(3)] * 2, photometric="rgb"), "holds 2 colour pictures; save each"),
        (pages([pixels(1), pixels(1, "uint16")]), "holds 2 pages of different kind; save each"),
        (pages([pixels(1)] * 65), "holds 65 pages, more than 64 channels"),
        (tiff(pixels(1).astype(float)), "holds float64; save it as float32"),
        (tiff(pixels(1).astype(np.float16)), "holds float16; save it as float32"),
        (tiff(pixels(1).astype(complex)), "holds complex128, which is no picture"),
        (tiff(np.full((4, 4), 70000, np.uint32)), "uint32 from 70000 to 70000, which fit neither"),
        (tiff(np.full((4, 4), np.nan, np.float32)), "has 16 values that are no finite numbers"),
        (tiff(pixels(1), compression="lzma"), "is packed with LZMA; save it with LZW, deflate"),
        (tiff(pixels(1), compression="jpeg2000"), "is packed with JPEG2000; save it"),
        (tiff(pixels(3), compression="png"), "is packed with PNG; save it"),
        (saved(pixels(), "TIFF", "1", compression="group4"), "is packed with CCITTFAX4; save"),
        (saved(pixels(), "TIFF", "LAB"), "has the colours CIELAB; save it as RGB or grey"),
        (tiff(pixels(1), photometric="cfa"), "has the colours CFA"),
        (tiff(pixels(4, "uint16"), photometric="separated"), "is CMYK of 4 channels with 16 bits"),
        (tiff(pixels(5), photometric="separated"), "is CMYK of 5 channels with 8 bits"),
        (tiff(np.zeros((4, 16, 16), np.uint8), volumetric=True, tile=(4, 16, 16)), "is a volume"),
        (subsampled(), "has YCbCr of fewer colours than pixels, unpacked; save it as RGB"),
        (tiff(pixels(1, "float32"), photometric="miniswhite"), "counts from white .MINISWHITE."),
        (tiff(pixels(1))[:-100], "is cut off"),
        (tiff(pixels(1), compression="lzw")[:-100], "is cut off"),
        (b"II*\0\0\0\0\0", "is damaged .it has no page"),
        (b"II*\0\x08\0\0\0", "is cut off"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "is damaged .a page of 0 tags"),
    ],
)
def test_unfit_files_are_refused_by_name(data, words):
    with pytest.raises(DataError, match=words) as caught:
        read_raster(Blob("some/x.tif", data=data))
    assert str(caught.value).startswith("some/x.tif ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint32", "uint64"])
def test_depths_that_are_not_kept_become_one_that_holds_them(dtype):
    array = (pixels(1, "int16") % 100).astype(dtype)
    found = raster("x.tif", tiff(array))
    np.testing.assert_array_equal(found.pixels[..., 0], array)
    assert found.header.dtype == ("int16" if dtype == "int8" else "uint16")


def test_left_out_tiles_have_the_value_of_no_data():
    array = pixels(1, "int16")
    options = {"tile": (16, 16), "compression": "zlib"}
    data = bytearray(tiff(array, extratags=[(42113, 2, 0, "-99", True)], **options))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        tags = file.pages.first.tags
        for code in (324, 325):  # places and lengths of the tiles
            place = tags[code].valueoffset + 4
            size = struct.calcsize(tags[code].dataformat)
            data[place - 4 + size : place - 4 + 2 * size] = bytes(size)
    found = raster("x.tif", bytes(data)).pixels[..., 0]
    np.testing.assert_array_equal(found[:16, 16:32], -99)
    np.testing.assert_array_equal(found[16:], array[16:])


def test_profiles_are_read_where_they_fit():
    assert raster("x.tif", tiff(pixels(), iccprofile=SRGB)).icc == SRGB
    assert raster("x.tif", tiff(pixels(1), iccprofile=SRGB)).icc is None


def test_without_tifffile_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DataError, match=r"^x\.tif needs the package tifffile; type: pip install"):
        read_raster(Blob("x.tif", data=tiff(pixels())))


def test_what_tifffile_logs_of_our_files_is_kept_back(caplog):
    data = bytearray(tiff(pixels(1), rowsperstrip=4))
    start = struct.unpack("<I", data[4:8])[0]
    for entry in range(
        start + 2, start + 2 + 12 * struct.unpack("<H", data[start : start + 2])[0], 12
    ):
        if data[entry : entry + 2] == struct.pack("<H", 305):  # Software
            data[entry + 2 : entry + 4] = struct.pack("<H", 99)  # of no known type
    with caplog.at_level(logging.DEBUG):
        tifffile.TiffFile(io.BytesIO(bytes(data)))
        assert caplog.records, "tifffile complains"
        caplog.clear()
        np.testing.assert_array_equal(raster("x.tif", bytes(data)).pixels[..., 0], pixels(1))
        assert not caplog.records
        logging.getLogger("tifffile").warning("somebody else's")
        assert caplog.records
