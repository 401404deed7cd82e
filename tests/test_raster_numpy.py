"""Arrays as pictures: NPY and NPZ of any order, depth and axis, or a reason why not."""

import struct

import numpy as np
import pytest
from hostile_files import npy, npz, pixels, zipped
from test_raster import raster

from dragoman.data.blob import Blob
from dragoman.data.raster import read_raster
from dragoman.errors import DataError


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("endian", ["<", ">"])
def test_numpy_arrays(dtype, order, endian):
    array = np.asarray(pixels(5, dtype), np.dtype(dtype).newbyteorder(endian), order=order)
    for name, data in (("x.npy", npy(array)), ("x.npz", npz(x=array))):
        found = raster(name, data)
        np.testing.assert_array_equal(found.pixels, pixels(5, dtype))
        assert found.header.format == name[2:].upper()


@pytest.mark.parametrize(
    ("shape", "size", "planar"),
    [
        ((70, 80), (70, 80, 1), False),
        ((3, 70, 80), (70, 80, 3), True),
        ((64, 70, 65), (70, 65, 64), True),
        ((64, 70, 64), (64, 70, 64), False),
        ((3, 32, 32), (3, 32, 32), False),
        ((70, 80, 3), (70, 80, 3), False),
        ((100, 100, 64), (100, 100, 64), False),
        ((1, 1), (1, 1, 1), False),
    ],
)
def test_which_axis_of_an_array_is_the_channels(shape, size, planar):
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    found = raster("x.npy", npy(array))
    assert found.pixels.shape == size
    assert found.header.planar == planar
    expected = array.reshape(size) if array.ndim == 2 or not planar else array.transpose(1, 2, 0)
    np.testing.assert_array_equal(found.pixels, expected)


def test_old_headers_of_arrays():
    body = np.arange(6, dtype="<i2").tobytes()
    for header in (
        b"{'descr': '<i2', 'fortran_order': False, 'shape': (2L, 3L), }\n",
        b'{"shape": (2, 3,), "fortran_order": False, "descr": "<i2"}',
    ):
        for start in (
            b"\1\0" + struct.pack("<H", len(header)),
            b"\2\0" + struct.pack("<I", len(header)),
        ):
            found = raster("x.npy", b"\x93NUMPY" + start + header + body)
            np.testing.assert_array_equal(found.pixels[..., 0], [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize(
    ("array", "indices", "expected"),
    [
        (np.array([[True, False]]), False, ("uint8", [255, 0])),
        (np.array([[True, False]]), True, ("uint8", [1, 0])),
        (np.array([[-128, 127]], np.int8), False, ("int16", [-128, 127])),
        (np.array([[0, 65535]], np.int64), False, ("uint16", [0, 65535])),
        (np.array([[-1, 32767]], np.int32), False, ("int16", [-1, 32767])),
        (np.array([[7, 7]], np.uint32), True, ("uint16", [7, 7])),
        (np.array([[1, 2]], ">u8"), True, ("uint16", [1, 2])),
    ],
)
def test_depths_that_are_not_kept_become_one_that_holds_them(array, indices, expected):
    for name, data in (("x.npy", npy(array)), ("x.npz", npz(x=array))):
        found = raster(name, data, indices=indices)
        assert (found.header.dtype, found.pixels[0, :, 0].tolist()) == expected


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.npy", npy(np.array([[-1, 32768]])), "int64 from -1 to 32768, which fit neither"),
        ("x.npy", npy(np.zeros((2, 2))), "holds float64; save it as float32"),
        ("x.npy", npy(np.zeros((2, 2), np.float16)), "holds float16; save it as float32"),
        ("x.npy", npy(np.zeros((2, 2), complex)), "holds complex128, which is no picture"),
        ("x.npy", npy(np.array([["a"]])), "holds no plain numbers; save one array"),
        ("x.npy", npy(np.array([{}], object)), "holds no plain numbers; .* without pickle"),
        ("x.npy", npy(np.zeros(3, "i4,f4")), "holds no plain numbers"),
        ("x.npy", npy(np.zeros(9, np.uint8)), "is an array of 1 axes; save a picture as"),
        ("x.npy", npy(np.zeros((2, 2, 2, 2), np.uint8)), "is an array of 4 axes"),
        ("x.npy", npy(np.zeros((99, 9, 99), np.uint8)), "99x9x99, of which neither the first nor"),
        ("x.npy", npy(np.zeros((0, 9), np.uint8)), "is damaged .a picture of 9x0 pixels"),
        ("x.npy", npy(np.zeros((9, 9, 0), np.uint8)), "has 0 channels, not 1 to 64"),
        ("x.npy", npy(np.full((2, 3), np.nan, np.float32)), "has 6 values that are no finite"),
        ("x.npz", npz(a=np.zeros((2, 2), np.float32) + np.inf), "has 4 values that are no finite"),
        ("x.npy", npy(np.zeros((9, 9)))[:-1], "holds float64"),
        ("x.npy", npy(np.zeros((9, 9), np.uint8))[:-1], "is cut off .it has 80 of 81 bytes"),
        ("x.npz", npz(a=np.zeros((2, 2)), b=np.zeros((2, 2))), r"holds 2 arrays \(a, b\); save"),
        ("x.npz", zipped(**{"a.txt": b""}), "holds no array"),
        ("x.npz", zipped(**{"a.npy": b"abc"}), "is no NPY array"),
    ],
)
def test_unfit_arrays_are_refused_by_name(name, data, words):
    with pytest.raises(DataError, match=words) as caught:
        read_raster(Blob(f"some/{name}", data=data))
    assert str(caught.value).startswith(f"some/{name} ")
    assert str(caught.value).isprintable()
