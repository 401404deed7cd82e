"""Any size and aspect to the size of a batch: resize, crop, pad and buckets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dragoman.data.catalogue import EXTENT
from dragoman.data.order import BucketOrder
from dragoman.data.settings import DataSettings
from dragoman.data.sizes import (
    bucket_sizes,
    cut,
    loaded_size,
    mirrored,
    nearest_bucket,
    nominal,
    resized,
)
from dragoman.errors import DataError, SettingsError


@pytest.mark.parametrize(
    ("aspect", "size", "wanted"),
    [
        ("1:1", 64, (64, 64)),
        ("4:3", 192, (192, 256)),
        ("3:4", 192, (256, 192)),
        ("16:9", 144, (144, 256)),
        ("1:1", None, (256, 256)),
    ],
)
def test_the_size_is_the_shorter_side(aspect, size, wanted):
    assert nominal(DataSettings("x", size=size, aspect=aspect)) == wanted


@pytest.mark.parametrize("aspect", ["wide", "4", "4:0", "9:1", "-1:1", "nan:1", ":"])
def test_an_aspect_that_is_none_is_refused(aspect):
    with pytest.raises(SettingsError, match="--aspect must be WIDTH:HEIGHT, such as 4:3"):
        nominal(DataSettings("x", aspect=aspect))


def test_buckets_have_their_own_aspects():
    with pytest.raises(SettingsError, match="buckets has several aspects of its own"):
        nominal(DataSettings("x", aspect="4:3", fit="buckets"))


@given(side=st.integers(8, 1024))
def test_buckets_keep_about_the_area_of_the_square(side):
    sizes = bucket_sizes(side)
    assert (side, side) in sizes
    step = 16 if side % 16 == 0 else side & -side
    for height, width in sizes:
        assert height % step == width % step == 0
        assert 0.5 < height * width / side**2 < 1.6 or side < 4 * step
    assert nearest_bucket(100, 100, sizes) == sizes.index((side, side))


def test_a_picture_goes_to_the_nearest_aspect():
    sizes = bucket_sizes(256)
    assert sizes[nearest_bucket(1000, 2000, sizes)] == (176, 368)
    assert sizes[nearest_bucket(5000, 100, sizes)] == (368, 176)
    assert sizes[nearest_bucket(300, 410, sizes)] == (224, 288)


@settings(max_examples=80)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    fit=st.sampled_from(["crop", "native", "resize", "pad", "buckets"]),
    place=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
)
def test_every_fit_gives_the_size(height, width, size, fit, place):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 2)).astype(np.uint16)
    to = loaded_size(height, width, size, fit, "x.png", 10**6)
    assert cut(resized(pixels, to), size, np.array(place)).shape == (*size, 2)
    assert cut(resized(pixels, to), size, None).shape == (*size, 2)
    if fit == "pad":
        assert to[0] <= min(height, size[0])
        assert to[1] <= min(width, size[1])
    elif fit == "native":
        assert to == (height, width)
    elif fit != "resize":
        assert to[0] >= size[0]
        assert to[1] >= size[1]
        assert size[0] == to[0] or size[1] == to[1], "no more is lost than must be"


@given(height=st.integers(1, 40), width=st.integers(1, 40), more=st.integers(0, 90))
def test_padding_and_cropping_back_is_the_identity(height, width, more):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)
    padded = mirrored(pixels, (height + more, width + 2 * more))
    assert padded.shape == (height + more, width + 2 * more, 3)
    np.testing.assert_array_equal(padded[:height, :width], pixels)
    wanted = np.pad(pixels, ((0, more), (0, 2 * more), (0, 0)), mode="symmetric")
    np.testing.assert_array_equal(padded, wanted)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_resizing_keeps_depth_and_agrees_with_pillow(dtype):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (20, 30, 5)).astype(dtype)
    made = resized(pixels, (11, 17))
    assert (made.shape, made.dtype) == ((11, 17, 5), dtype)
    bicubic = Image.Resampling.BICUBIC
    for channel in range(5):
        plain = Image.fromarray(pixels[..., channel].astype(np.float32)).resize((17, 11), bicubic)
        np.testing.assert_allclose(
            made[..., channel].astype(float),
            np.asarray(plain).clip(*EXTENT.get(np.dtype(dtype).name, (-1e9, 1e9))),
            atol=0.51 if dtype != np.float32 else 1e-4,
        )
    colour = generator.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    plain = Image.fromarray(colour).resize((17, 11), bicubic)
    np.testing.assert_array_equal(resized(colour, (11, 17)), np.asarray(plain))


def test_class_numbers_are_never_mixed():
    numbers = np.array([0, 200, 3, 90], np.uint8)[
        np.random.default_rng(0).integers(0, 4, (9, 9, 1))
    ]
    made = resized(numbers, (31, 4), nearest=True)
    assert set(np.unique(made)) <= {0, 200, 3, 90}
    big = resized(numbers, (18, 18), nearest=True)
    np.testing.assert_array_equal(big[::2, ::2], numbers)
    np.testing.assert_array_equal(big[1::2, 1::2], numbers)


def test_a_strip_is_refused_before_it_is_enlarged():
    with pytest.raises(DataError, match=r"^s.png is 100000x1 pixels, too long and narrow.*fit pad"):
        loaded_size(1, 100_000, (256, 256), "crop", "s.png", 10**7)
    assert loaded_size(1, 100_000, (256, 256), "pad", "s.png", 10**7) == (1, 256)


@settings(max_examples=40)
@given(
    counts=st.lists(st.integers(0, 30), min_size=1, max_size=4).filter(any),
    batch=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_an_epoch_of_buckets_shows_every_picture_in_its_bucket(counts, batch, seed):
    buckets = np.repeat(np.arange(len(counts)), counts)
    order = BucketOrder(seed, buckets, batch)
    shown = []
    for number in range(order.per_epoch):
        bucket, rows = order.of(number)
        assert len(rows) == batch
        assert (buckets[rows] == bucket).all()
        shown.append(rows)
    seen = np.concatenate(shown)
    assert set(seen) == set(range(len(buckets)))
    assert len(seen) - len(buckets) < batch * len(counts)
    again = BucketOrder(seed, buckets, batch)
    last = order.per_epoch + 1  # started anywhere, the same batches come
    assert np.array_equal(again.of(last)[1], order.of(last)[1])
