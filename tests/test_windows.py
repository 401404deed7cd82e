"""Pictures in windows: the same pixels as the whole, in little memory."""

import errno
import io
import itertools
import os
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from noisy import names
from PIL import Image

from dragoman.data import stores, windows
from dragoman.data.raster import read_raster
from dragoman.data.sinks import open_sink
from dragoman.data.stores import Memory, Plain, scratch_store
from dragoman.data.windows import bands, open_windows
from dragoman.data.writing import write_raster
from dragoman.errors import DataError

DEPTHS = ("uint8", "uint16", "int16", "float32")
HEIGHT, WIDTH = 133, 201


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch):
    """Let small pictures be read as large ones are."""
    monkeypatch.setattr(windows, "SMALL", 0)


def noise(dtype: str, channels: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    values = np.random.default_rng(0).random((height, width, channels))
    return (values * 250 - (100 if dtype in ("int16", "float32") else 0)).astype(dtype)


def check(path: Path, indices: bool = False, scratch: Path | None = None) -> type:
    """Compare windows with the whole; returns the kind of store that was used."""
    whole = read_raster(path, indices)
    with open_windows(path, indices, scratch=scratch) as found:
        assert found.header == whole.header
        assert found.icc == whole.icc
        height, width = found.height, found.width
        for y0, y1, x0, x1 in [
            (0, height, 0, width),
            (5, 77, 3, width - 1),
            (height - 1, height, 0, 1),
            (2, 2, 0, 5),
        ]:
            window = found.read(y0, y1, x0, x1)
            assert window.dtype == whole.pixels.dtype
            assert window.flags.c_contiguous
            assert np.array_equal(window, whole.pixels[y0:y1, x0:x1])
            window[...] = 0  # a copy
        raster = found.raster(1, 9, 2, 30)
        assert (raster.header.height, raster.header.width) == (8, 28)
        assert np.array_equal(raster.pixels, whole.pixels[1:9, 2:30])
        if indices:
            assert raster.colours is not None
            assert whole.colours is not None
            assert np.array_equal(raster.colours, whole.colours)
        return type(found._store)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("packed", [None, "zlib", "lzw", "zstd"])
@pytest.mark.parametrize("dtype", DEPTHS)
def test_tiff_in_strips_and_tiles(tmp_path, dtype, packed, order):
    path = tmp_path / "x.tif"
    for channels, tile, planar in itertools.product((1, 3, 6), (None, (64, 48)), (False, True)):
        array = noise(dtype, channels)
        how: dict[str, Any] = {"photometric": "minisblack"}
        if channels == 3 and dtype.startswith("u"):
            how["photometric"] = "rgb"
        if channels > 1:
            how["planarconfig"] = "separate" if planar else "contig"
        array = array[..., 0] if channels == 1 else array
        tifffile.imwrite(
            path,
            array.transpose(2, 0, 1) if planar and channels > 1 else array,
            compression=packed,
            predictor=bool(packed),
            tile=tile,
            rowsperstrip=None if tile else 40,
            byteorder=order,
            metadata=None,
            **how,
        )
        assert check(path, scratch=tmp_path) is Plain, "it was not read as a whole"
        assert names(tmp_path) == ["x.tif"]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", DEPTHS)
@pytest.mark.parametrize("axes", ["yx", "yxc", "cyx"])
def test_npy_is_read_where_it_lies(tmp_path, dtype, order, axes):
    array = noise(dtype, 5)
    array = {"yx": array[..., 0], "yxc": array, "cyx": array.transpose(2, 0, 1)}[axes]
    np.save(tmp_path / "x.npy", np.ascontiguousarray(array, np.dtype(dtype).newbyteorder(order)))
    assert check(tmp_path / "x.npy") is Plain


def _turned(path: Path) -> None:
    tifffile.imwrite(path, noise("uint8", 3), extratags=[(274, "H", 1, 6, True)], metadata=None)


def _associated(path: Path) -> None:
    tifffile.imwrite(path, noise("uint8", 4), photometric="rgb", extrasamples=[1], metadata=None)


def _palette(path: Path) -> None:
    write_raster(path, noise("uint8", 1) % 7, colours=np.arange(21, dtype=np.uint8).reshape(7, 3))


ODD = {
    "turned": _turned,
    "associated": _associated,
    "alpha": lambda p: write_raster(p, noise("uint16", 4), alpha=True),
    "white": lambda p: tifffile.imwrite(p, noise("uint8", 1)[..., 0], photometric="miniswhite"),
    "pages": lambda p: tifffile.imwrite(
        p, noise("uint8", 4).transpose(2, 0, 1), photometric="minisblack", metadata=None
    ),
    "jpeg": lambda p: tifffile.imwrite(p, noise("uint8", 3), photometric="rgb", compression="jpeg"),
    "palette": _palette,
    "bits": lambda p: tifffile.imwrite(p, noise("uint8", 1)[..., 0] > 9, metadata=None),
    "long": lambda p: tifffile.imwrite(p, noise("uint16", 1)[..., 0].astype(np.int32)),
    "imagej": lambda p: tifffile.imwrite(p, noise("uint16", 3).transpose(2, 0, 1), imagej=True),
}


@pytest.mark.parametrize("kind", ODD)
def test_tiff_whose_numbers_are_not_the_pixels_is_read_as_a_whole(tmp_path, kind):
    ODD[kind](tmp_path / "x.tif")
    check(tmp_path / "x.tif")
    if kind == "palette":
        check(tmp_path / "x.tif", indices=True)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".npz", ".npy"])
def test_other_formats_are_unpacked_into_a_scratch_file(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, np.asfortranarray(noise("uint8", 3)))
    else:
        write_raster(path, noise("uint8", 3))
    assert check(path, scratch=tmp_path / "scratch") is Plain
    assert names(tmp_path) == [path.name]


def test_small_pictures_stay_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "SMALL", 1 << 26)
    for suffix in (".png", ".tif", ".npy"):
        write_raster(tmp_path / f"x{suffix}", noise("uint8", 3))
        assert check(tmp_path / f"x{suffix}") is Memory


def test_label_maps_keep_their_palette(tmp_path):
    colours = np.random.default_rng(1).integers(0, 255, (9, 3), np.uint8)
    write_raster(tmp_path / "x.png", noise("uint8", 1) % 9, colours=colours)
    check(tmp_path / "x.png", indices=True)


@pytest.mark.parametrize("form", ["npy", "plain", "packed"])
def test_windows_need_little_memory(tmp_path, form):
    path = tmp_path / ("x.npy" if form == "npy" else "x.tif")
    array = np.zeros((2048, 2048, 4), np.float32)
    array[::7, ::5] = 3.5
    if form == "npy":
        np.save(path, array)
    else:
        tiles = {"tile": (256, 256), "compression": "zlib"}
        how: dict[str, Any] = tiles if form == "packed" else {}
        tifffile.imwrite(path, array, photometric="minisblack", planarconfig="contig", **how)
    del array
    tracemalloc.start()
    try:
        with open_windows(path, scratch=tmp_path) as found:
            assert found.read(100, 400, 1000, 1300)[5, 0, 0] == 3.5
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 << 20, "of 64 MB"


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
@pytest.mark.parametrize("packed", [None, "zlib"])
def test_what_is_no_number_is_found_before_anything_is_made(tmp_path, suffix, packed):
    array = noise("float32", 1)
    array[[3, 130], [200, 7]] = np.nan
    array[60, 60] = np.inf
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    else:
        tifffile.imwrite(path, array[..., 0], compression=packed)
    with pytest.raises(DataError) as whole:
        read_raster(path)
    with pytest.raises(DataError, match=r"x\.\w+ has 3 values that are no finite numbers") as parts:
        open_windows(path, scratch=tmp_path)
    assert str(parts.value) == str(whole.value)
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("packed", [None, "zlib", "lzw"])
@pytest.mark.parametrize("seed", range(12))
def test_damaged_tiff_is_refused_in_one_sentence_or_read(tmp_path, packed, seed):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, noise("uint8", 3), photometric="rgb", compression=packed, tile=(64, 64))
    data, rng = bytearray(path.read_bytes()), np.random.default_rng(seed)
    if seed % 3 == 0:
        data = data[: int(len(data) * rng.uniform(0.1, 0.99))]
    else:
        for place in rng.integers(0, len(data), 40 if seed % 2 else 1):
            data[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    told = f"{path} "
    try:
        with open_windows(path, scratch=tmp_path) as found:
            found.read(0, found.height, 0, found.width)
    except DataError as error:
        told = str(error)
    assert told.startswith(f"{path} ")
    assert "\n" not in told
    assert names(tmp_path) == ["x.tif"]


def test_a_file_that_is_cut_off_meanwhile(tmp_path):
    np.save(tmp_path / "x.npy", noise("uint8", 3))
    with open_windows(tmp_path / "x.npy") as found:
        os.truncate(tmp_path / "x.npy", 20_000)
        assert found.read(0, 9, 0, 9).shape == (9, 9, 3)
        with pytest.raises(DataError, match=r"x.npy is cut off; copy it again"):
            found.read(0, HEIGHT, 0, WIDTH)


def test_where_no_scratch_file_can_be(tmp_path, monkeypatch):
    write_raster(tmp_path / "x.png", noise("uint8", 3))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"no scratch file can be made in .*file"):
        open_windows(tmp_path / "x.png", scratch=tmp_path / "file")

    class Full(io.FileIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        tempfile, "TemporaryFile", lambda dir, buffering: Full(f"{dir}/scratch", "w+")
    )
    words = f"cannot write a scratch file in {tmp_path}: No space left on device"
    write_raster(tmp_path / "x.tif", noise("uint8", 3))
    for suffix in (".png", ".tif"):
        with pytest.raises(DataError, match=words):
            open_windows(tmp_path / f"x{suffix}", scratch=tmp_path)
    sink = open_sink(tmp_path / "out.png", HEIGHT, WIDTH, 3, "uint8")
    with pytest.raises(DataError, match=words):
        sink.write(0, 0, noise("uint8", 3))
    sink.abort()
    (tmp_path / "scratch").unlink()
    assert names(tmp_path) == ["file", "x.png", "x.tif"]


# Stores


@given(
    st.data(),
    st.sampled_from(DEPTHS),
    st.sampled_from("<>"),
    st.booleans(),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 4),
)
def test_what_is_written_is_read(data, dtype, order, planar, height, width, channels):
    depth = np.dtype(dtype).newbyteorder(order)
    held = np.zeros((height, width, channels), dtype)
    with scratch_store(None, held.shape, depth).file as file:
        file.truncate(7 + held.nbytes)
        store = Plain(file, "x", 7, held.shape, depth, planar)
        for number in range(1, 4):
            y0, x0 = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
            y1, x1 = data.draw(st.integers(y0, height)), data.draw(st.integers(x0, width))
            block = np.full((y1 - y0, x1 - x0, channels), number * 50, dtype)
            block += np.arange(block.size, dtype=dtype).reshape(block.shape) % 40
            store.write(y0, x0, block)
            held[y0:y1, x0:x1] = block
            assert np.array_equal(store.read(0, height, 0, width), held)
            assert np.array_equal(store.read(y0, y1, x0, x1), block)


def test_bands_cover_all_rows():
    assert list(bands(5, 2)) == [(0, 2), (2, 4), (4, 5)]
    assert list(bands(4, 2)) == [(0, 2), (2, 4)]


def test_scratch_files_have_no_name(tmp_path):
    store = scratch_store(tmp_path, (100, 100, 3), np.dtype(np.uint8))
    store.write(0, 0, np.ones((100, 100, 3), np.uint8))
    assert names(tmp_path) == [], "so nothing stays, whatever ends the program"
    store.close()
    with Image.new("L", (3, 2)) as small:
        held = Memory(np.array(small)[..., None])
    held.write(1, 1, np.full((1, 2, 1), 9, np.uint8))
    assert held.read(0, 2, 0, 3)[..., 0].tolist() == [[0, 0, 0], [0, 9, 9]]
    assert isinstance(store, stores.Plain)
