"""Pictures written block by block: the same files, in little memory, whole or not at all."""

import itertools
import tracemalloc

import numpy as np
import pytest
from noisy import names

from dragoman.data.raster import read_raster
from dragoman.data.sinks import Sink, open_sink
from dragoman.data.writing import write_raster
from dragoman.errors import DataError

HEIGHT, WIDTH = 133, 201


def noise(dtype: str, channels: int) -> np.ndarray:
    values = np.random.default_rng(0).random((HEIGHT, WIDTH, channels))
    return (values * 250 - (100 if dtype in ("int16", "float32") else 0)).astype(dtype)


def fill(sink: Sink, array: np.ndarray) -> None:
    """Write blocks, the last first."""
    places = itertools.product(range(0, HEIGHT, 50), range(0, WIDTH, 70))
    for y, x in reversed(list(places)):
        sink.write(y, x, array[y : y + 50, x : x + 70])


CASES = [
    (".png", "uint8", 3, {}),
    (".png", "uint8", 4, {"alpha": True}),
    (".png", "uint16", 3, {"icc": None}),
    (".png", "uint8", 1, {"colours": np.arange(768, dtype=np.uint8).reshape(256, 3)}),
    (".jpg", "uint8", 3, {"quality": 30}),
    (".webp", "uint8", 3, {}),
    (".bmp", "uint8", 1, {}),
    (".tif", "uint8", 1, {}),
    (".tif", "float32", 6, {"planar": True}),
    (".tif", "int16", 2, {"alpha": True}),
    (".npy", "int16", 1, {}),
    (".npy", "float32", 5, {}),
    (".npy", "uint16", 5, {"planar": True}),
    (".npz", "float32", 2, {}),
]


@pytest.mark.parametrize(("suffix", "dtype", "channels", "how"), CASES)
def test_a_picture_in_blocks_is_the_file_that_is_written_at_once(
    tmp_path, suffix, dtype, channels, how
):
    path, array = tmp_path / f"deep/x{suffix}", noise(dtype, channels)
    with open_sink(path, HEIGHT, WIDTH, channels, dtype, **how) as sink:
        fill(sink, array)
        assert not path.exists()
        assert all(name.startswith("deep/.") for name in names(tmp_path))
    assert names(tmp_path) == [f"deep/x{suffix}"]
    write_raster(tmp_path / f"at_once{suffix}", array, **how)
    one, other = read_raster(path), read_raster(tmp_path / f"at_once{suffix}")
    assert one.header == other.header
    assert np.array_equal(one.pixels, other.pixels)
    if suffix in (".npy", ".png", ".tif"):
        assert path.read_bytes() == (tmp_path / f"at_once{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".npy", ".tif"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_picture_given_up_leaves_the_older_file_as_it_was(tmp_path, suffix, error):
    path = tmp_path / f"x{suffix}"
    path.write_text("older")

    def give_up() -> None:
        with open_sink(path, HEIGHT, WIDTH, 3, "uint8") as sink:
            sink.write(0, 0, noise("uint8", 3)[:50])
            raise error

    with pytest.raises(error):
        give_up()
    assert names(tmp_path) == [path.name]
    assert path.read_text() == "older"
    with open_sink(path, HEIGHT, WIDTH, 3, "uint8") as sink:
        fill(sink, noise("uint8", 3))
        assert path.read_text() == "older"
    assert np.array_equal(read_raster(path).pixels, noise("uint8", 3))


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_a_sink_that_cannot_be(tmp_path, suffix):
    with pytest.raises(DataError, match=r"cannot write 9 channels of uint8 as .jpg; .tif"):
        open_sink(tmp_path / "x.jpg", 9, 9, 9, "uint8")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"(cannot write|no scratch file can be made in) .*file"):
        open_sink(tmp_path / f"file/x{suffix}", 9, 9, 3, "uint8")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(DataError, match=r"cannot write .*folder"):
        open_sink(tmp_path / f"folder{suffix}", 9, 9, 3, "uint8").close()
    assert names(tmp_path) == ["file"]


def test_blocks_need_little_memory(tmp_path):
    block = np.ones((256, 256, 4), np.float32)
    tracemalloc.start()
    try:
        with open_sink(tmp_path / "x.npy", 2048, 2048, 4, "float32") as sink:
            for y, x in itertools.product(range(0, 2048, 256), repeat=2):
                sink.write(y, x, block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20, "of 64 MB"
    assert np.load(tmp_path / "x.npy", mmap_mode="r").shape == (2048, 2048, 4)
