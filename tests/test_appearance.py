"""Stored numbers to tensors and back without loss, and what people are shown."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dragoman.data.appearance import decode, encode, show, spread_colours
from dragoman.data.catalogue import EARTH, EXTENT, Domain

DEPTHS = ["uint8", "uint16", "int16"]


@settings(max_examples=60)
@given(data=st.data(), dtype=st.sampled_from(DEPTHS), channels=st.integers(1, 64))
def test_whole_numbers_come_back_exactly(data, dtype, channels):
    raw = data.draw(arrays.arrays(dtype, (2, channels, 3, 5)))
    domain = Domain("x", "values", channels, dtype=dtype)
    made = encode(domain, raw)
    assert made.dtype == np.float32
    assert np.abs(made).max() <= 1
    np.testing.assert_array_equal(decode(domain, made), raw)


@pytest.mark.parametrize("dtype", DEPTHS)
def test_every_number_of_a_depth_comes_back(dtype):
    low, high = (int(end) for end in EXTENT[dtype])
    raw = np.arange(low, high + 1).astype(dtype).reshape(1, 1, 1, -1)
    domain = Domain("x", "values", 1, dtype=dtype)
    made = encode(domain, raw)
    np.testing.assert_array_equal(decode(domain, made), raw)
    assert (made.min(), made.max()) == (-1, 1)
    assert (np.diff(made) > 0).all()


@settings(max_examples=60)
@given(
    data=st.data(),
    dtype=st.sampled_from(DEPTHS),
    ends=st.lists(st.integers(0, 255), min_size=2, max_size=2, unique=True).map(sorted),
)
def test_numbers_within_the_range_come_back_and_others_are_cut_off(data, dtype, ends):
    raw = data.draw(arrays.arrays(dtype, (1, 2, 4, 4), elements=st.integers(0, 127)))
    low, high = ends
    domain = Domain("x", "values", 2, dtype=dtype, low=(low, 0), high=(high, 127))
    back = decode(domain, encode(domain, raw))
    np.testing.assert_array_equal(back[:, 0], raw[:, 0].clip(low, high))
    np.testing.assert_array_equal(back[:, 1], raw[:, 1])


@settings(max_examples=60)
@given(
    data=st.data(),
    channels=st.integers(1, 64),
    low=st.floats(-1e4, 1e4, width=32),
    span=st.floats(1, 1e5, width=32),
)
def test_floats_come_back_to_a_millionth_of_the_range(data, channels, low, span):
    elements = st.floats(0, 1, width=32)
    raw = data.draw(arrays.arrays(np.float32, (1, channels, 2, 3), elements=elements))
    raw = raw * np.float32(span) + np.float32(low)
    ends = {"low": (low,) * channels, "high": (low + span,) * channels}
    domain = Domain("x", "values", channels, dtype="float32", **ends)
    back = decode(domain, encode(domain, raw))
    assert back.dtype == np.float32
    tolerance = 1e-6 * span + 4 * np.spacing(np.float32(abs(low) + span))
    np.testing.assert_allclose(back, raw, atol=tolerance, rtol=0)


def test_ranges_by_hand():
    domain = Domain("x", "values", 2, dtype="uint16", low=(0, 100), high=(10000, 300))
    raw = np.array([[[[2500]], [[150]]]], np.uint16)
    np.testing.assert_allclose(encode(domain, raw).ravel(), [-0.5, -0.5], atol=1e-6)
    height = EARTH.domains["height"]
    np.testing.assert_array_equal(
        decode(height, np.array([-1, 0, 0.5, 2], np.float32).reshape(4, 1, 1, 1)).ravel(),
        [-6500, 0, 3250, 6500],
    )


def test_label_maps_come_back_and_unlabelled_pixels_have_no_class():
    domain = Domain("map", "labels", 3, unlabelled=255)
    raw = np.array([[[[0, 1], [2, 255]]]], np.uint8)
    made = encode(domain, raw)
    assert made.shape == (1, 3, 2, 2)
    assert (made[0, :, 1, 1] == -1).all()
    assert made[0, :, 0, 1].tolist() == [-1, 1, -1]
    back = decode(domain, made)
    assert back[0, 0].ravel().tolist()[:3] == [0, 1, 2]
    assert back.dtype == np.uint8
    assert decode(Domain("map", "labels", 300, dtype="uint16"), made).dtype == np.uint16


@pytest.mark.parametrize(
    ("domain", "values", "wanted"),
    [
        (Domain("x", "values", 1), [-1], [0, 0, 0]),
        (Domain("x", "values", 2), [-1, 1], [0, 255, 255]),
        (Domain("x", "photo", 3), [-1, 0, 1], [0, 128, 255]),
        (Domain("x", "photo", 4, alpha="keep"), [-1, 0, 1, 1], [0, 128, 255]),
        (Domain("x", "photo", 2, alpha="keep"), [1, -1], [255, 255, 255]),
        (Domain("x", "values", 6, shown=(5, 0, 0)), [-1, 0, 0, 0, 0, 1], [255, 0, 0]),
        (Domain("x", "values", 6), [-1, 1, -1, 0, 0, 1], [0, 255, 0]),
        (Domain("x", "labels", 2, palette=((9, 8, 7), (1, 2, 3))), [-1, 1], [1, 2, 3]),
    ],
)
def test_what_people_are_shown(domain, values, wanted):
    pictures = torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)
    made = show(domain, pictures)
    assert made.shape == (1, 1, 1, 3)
    assert made.ravel().tolist() == wanted


def test_heights_have_the_colours_of_an_atlas():
    sea, land = show(EARTH.domains["height"], torch.tensor([-0.8, 0.05]).reshape(2, 1, 1, 1))
    assert sea.ravel()[2] > sea.ravel()[0]
    assert land.ravel()[1] > land.ravel()[2]


def test_spread_colours_differ():
    colours = spread_colours(35)
    assert len(set(colours)) == 35
    assert colours[0] == (0, 0, 0)
    assert spread_colours(5) == colours[:5]
