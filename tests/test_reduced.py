"""Pairs for super-resolution from one picture: what low is made of, and what is refused."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dragoman.cli import main
from dragoman.data import DataSettings, open_data
from dragoman.data.appearance import decode
from dragoman.data.doctor import check
from dragoman.data.listing import preview
from dragoman.data.packing import pack_data
from dragoman.data.reduced import SIGMA, smaller
from dragoman.errors import DragomanError, SettingsError

CONTIGUOUS: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
REDUCTIONS = ("bicubic", "gaussian", "area")
DTYPES = (np.uint8, np.uint16, np.int16, np.float32)


def noise(shape, dtype, seed: int = 0) -> np.ndarray:
    """Pictures of noise over most of what a depth holds."""
    values = np.random.default_rng(seed).random(shape)
    if dtype == np.float32:
        return (values * 3 - 1).astype(dtype)
    extent = np.iinfo(dtype)
    return (extent.min + values * (int(extent.max) - int(extent.min))).astype(dtype)


def by_pillow(pictures: np.ndarray, scale: int) -> np.ndarray:
    """What Pillow makes of each channel as floats, [B, C, h, w]."""
    size = (pictures.shape[3] // scale, pictures.shape[2] // scale)
    planes = [
        [np.asarray(Image.fromarray(plane.astype(np.float32)).resize(size, 3)) for plane in one]
        for one in pictures
    ]
    return np.array(planes, np.float64)


def test_bicubic_is_what_pillow_writes_into_a_small_file():
    pictures = noise((3, 3, 24, 40), np.uint8)
    made = smaller(pictures, 4, "bicubic")
    for one, low in zip(pictures, made, strict=True):
        file = Image.fromarray(one.transpose(1, 2, 0)).resize((10, 6), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(low.transpose(1, 2, 0), np.asarray(file))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bicubic_of_any_depth_and_channels(dtype):
    pictures = noise((2, 5, 12, 24), dtype)
    made = smaller(pictures, 3, "bicubic")
    assert (made.shape, made.dtype) == ((2, 5, 4, 8), dtype)
    wanted = by_pillow(pictures, 3)
    if dtype != np.float32:
        wanted = wanted.clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    np.testing.assert_allclose(made, wanted, atol=1e-4 if dtype == np.float32 else 0.51)


@pytest.mark.parametrize("dtype", DTYPES)
def test_area_is_the_mean_of_each_cell(dtype):
    pictures = noise((2, 4, 8, 24), dtype)
    made = smaller(pictures, 4, "area")
    means = pictures.astype(np.float64).reshape(2, 4, 2, 4, 6, 4).mean((3, 5))
    assert made.dtype == dtype
    np.testing.assert_allclose(made, means, atol=1e-5 if dtype == np.float32 else 0.5001)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_gaussian_weighs_about_the_middle_of_each_cell(scale):
    """Against the definition, written out: mirrored borders, sigma 0.4 * scale."""
    side, sigma = 4 * scale, SIGMA * scale
    pictures = noise((1, 2, side, side), np.float32)
    far = 4 * scale
    wide = np.pad(pictures[0].astype(np.float64), ((0, 0), (far, far), (far, far)), "symmetric")
    places = np.arange(-far, side + far)
    lines = []
    for number in range(4):
        distance = np.abs(places - ((number + 0.5) * scale - 0.5))
        weights = np.exp(-(distance**2) / (2 * sigma**2)) * (distance <= 3 * sigma)
        lines.append(weights / weights.sum())
    rows = np.array(lines)
    np.testing.assert_allclose(
        smaller(pictures, scale, "gaussian")[0], rows @ wide @ rows.T, atol=1e-5
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@settings(max_examples=25)
@given(
    scale=st.sampled_from([2, 3, 4, 8]),
    cells=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    channels=st.sampled_from([1, 3, 4]),
    dtype=st.sampled_from(DTYPES),
    level=st.integers(0, 255),
)
def test_every_reduction_keeps_a_level_and_commutes_with_mirroring(
    reduction, scale, cells, channels, dtype, level
):
    shape = (2, channels, cells[0] * scale, cells[1] * scale)
    even = smaller(np.full(shape, level, dtype), scale, reduction)
    assert even.shape == (2, channels, *cells)
    np.testing.assert_allclose(even, level, rtol=1e-6)
    pictures = noise(shape, dtype, level)
    mirrored = smaller(np.ascontiguousarray(pictures[..., ::-1]), scale, reduction)[..., ::-1]
    plain = smaller(pictures, scale, reduction).astype(np.float64)
    np.testing.assert_allclose(mirrored, plain, atol=1e-4 if dtype == np.float32 else 1)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_slope_stays_where_it_is(reduction):
    """The middle of a small pixel lies on the middle of its cell: nothing is shifted."""
    ramp = np.broadcast_to(np.arange(96, dtype=np.float32), (1, 1, 96, 96))
    made = smaller(np.ascontiguousarray(ramp), 4, reduction)[0, 0, 12]
    np.testing.assert_allclose(made[4:-4], np.arange(24)[4:-4] * 4 + 1.5, atol=1e-3)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_batches_hold_a_picture_and_the_same_made_smaller(reduction):
    data = open_data(DataSettings("earth64:relief", scale=4, reduction=reduction))
    assert data.name == "earth64-relief-x4" + ("" if reduction == "bicubic" else f"_{reduction}")
    batches = data.batches(batch=6, seed=3)
    for _ in range(3):
        batch = next(batches)
        assert set(batch) == {"low", "high", "index"}
        low, high = (decode(data.domains[key], batch[key].numpy()) for key in ("low", "high"))
        assert (low.shape, high.shape) == ((6, 3, 16, 16), (6, 3, 64, 64))
        np.testing.assert_array_equal(low, smaller(high, 4, reduction))
    batches.close()
    whole = data.rows("test", [5, 7])
    np.testing.assert_array_equal(
        whole["high"], open_data(DataSettings("earth64:relief")).rows("test", [5, 7])["image"]
    )
    np.testing.assert_array_equal(
        decode(data.domains["low"], whole["low"].numpy()),
        data._source.pictures("test", "low", np.array([5, 7]), None, (64, 64)),
    )


def test_pictures_come_in_the_order_and_variation_of_the_plain_set():
    plain = open_data(DataSettings("earth64:relief"))
    data = open_data(DataSettings("earth64:relief", scale=2))
    assert data.counts == plain.counts
    assert data.digest == plain.digest
    assert list(data.names("val")) == list(plain.names("val"))
    assert data.partners("train")
    wanted, found = plain.batches(batch=8, seed=1, start=2), data.batches(batch=8, seed=1, start=2)
    ranks = [data.batches(batch=4, seed=1, start=2, rank=rank, world=2) for rank in (0, 1)]
    for _ in range(2):
        one, two = next(wanted), next(found)
        assert torch.equal(one["image"], two["high"])
        parts = [next(rank) for rank in ranks]
        assert torch.equal(torch.cat([part["low"] for part in parts]), two["low"])
    for batches in (wanted, found, *ranks):
        batches.close()


def test_facts_tell_the_size_of_low():
    data = open_data(DataSettings("earth128:relief", scale=8))
    assert data.facts.channels == {"low": 3, "high": 3}
    assert (data.facts.size, data.facts.scale, data.shapes) == ((16, 16), 8, [(16, 16)])
    plain = open_data(DataSettings("earth128:relief"))
    assert (plain.facts.size, plain.facts.scale) == ((128, 128), 1)
    halved = open_data(DataSettings("earth128:relief", scale=8, size=64))
    assert halved.facts.size == (8, 8)


def test_the_size_of_a_stage_is_that_of_high():
    data = open_data(DataSettings("earth128:relief", scale=4))
    batches = data.batches(batch=2, seed=0, size=64)
    batch = next(batches)
    batches.close()
    assert batch["high"].shape[2:] == (64, 64)
    assert batch["low"].shape[2:] == (16, 16)
    with pytest.raises(SettingsError, match="--scale 8 does not divide; use --size 8, 16, 32, 64"):
        open_data(DataSettings("earth64:relief", scale=8)).batches(batch=2, seed=0, size=4)


def own(folder: Path, height: int = 40, width: int = 56, dtype=np.uint16, channels: int = 5):
    """A folder of single pictures of noise, and of masks that belong to them."""
    for number in range(12):
        for name, count in (("train", channels), ("train_mask", 0)):
            path = folder / "set" / name / f"{number:02}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = noise((height, width, count) if count else (height, width), dtype, number)
            tifffile.imwrite(path, pixels, **(CONTIGUOUS if count else {}))
    return str(folder / "set")


def test_own_deep_pictures_and_their_layers(tmp_path):
    data = open_data(DataSettings(own(tmp_path), size=24, scale=3, range="full"))
    assert data.facts.channels == {"low": 5, "high": 5}
    data.check()
    batches = data.batches(batch=4, seed=0)
    batch = next(batches)
    batches.close()
    assert {key: tuple(value.shape[1:]) for key, value in batch.items()} == {
        "low": (5, 8, 8),
        "high": (5, 24, 24),
        "mask": (1, 24, 24),
        "index": (),
    }
    low, high = (decode(data.domains[key], batch[key].numpy()) for key in ("low", "high"))
    assert high.dtype == np.uint16
    np.testing.assert_array_equal(low, smaller(high, 3, "bicubic"))


@pytest.mark.parametrize("fit", ["crop", "native", "resize", "pad"])
def test_own_pictures_that_are_too_small_are_treated_as_ever(tmp_path, fit):
    folder = own(tmp_path, 20, 31, np.uint8, 3)
    data = open_data(DataSettings(folder, size=48, scale=4, fit=fit, aspect="4:3"))
    plain = open_data(DataSettings(folder, size=48, fit=fit, aspect="4:3"))
    batch = data.rows("train", [0, 1])
    assert torch.equal(batch["high"], plain.rows("train", [0, 1])["image"])
    assert batch["low"].shape == (2, 3, 12, 16)


def test_buckets_give_both_in_the_aspect_of_the_picture(tmp_path):
    data = open_data(DataSettings(own(tmp_path, 32, 66), size=64, scale=4, fit="buckets"))
    batches = data.batches(batch=2, seed=0)
    batch = next(batches)
    batches.close()
    high, low = batch["high"].shape[2:], batch["low"].shape[2:]
    assert tuple(high) == (48, 96)
    assert tuple(low) == (12, 24)
    assert (12, 24) in data.shapes
    with pytest.raises(SettingsError, match=r"--size gives pictures of 80 x 48 px, which --sc"):
        open_data(DataSettings(own(tmp_path, 32, 66), size=64, scale=3, fit="buckets"))


def test_labels_of_own_pictures_stay(tmp_path):
    for number in range(12):
        path = tmp_path / "animals" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise((32, 32, 3), np.uint8, number)).save(path)
    data = open_data(DataSettings(str(tmp_path / "animals"), size=16, scale=2))
    assert data.labels == ("cat", "dog")
    names = data.names("train")
    batch = data.rows("train", range(len(names)))
    assert [data.labels[n] for n in batch["label"]] == [name.split("/")[0] for name in names]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"data": "earth64:relief,satellite", "scale": 4},
            r"--scale 4 makes low and high from the same picture, but earth64-relief-satellite has "
            "a and b; name one domain or folder, such as earth64:relief",
        ),
        (
            {"data": "earth64:cover", "scale": 2},
            "--scale 2 would mix the class numbers of the label maps earth64-cover",
        ),
        (
            {"data": "earth64:relief", "scale": 5},
            "--scale must be one of 2, 3, 4, 8, or 1 for none, got 5",
        ),
        (
            {"data": "earth64:relief", "scale": 3},
            "--size gives pictures of 64 x 64 px, which --scale 3 does not divide; use --scale 2, "
            "4 or 8",
        ),
        (
            {"data": "earth64:relief", "scale": 2, "pairing": "unpaired"},
            "--scale 2 makes pairs, low and high; leave --pairing unpaired out",
        ),
        (
            {"data": "earth64:relief", "reduction": "area"},
            "--reduction area says how pictures are made smaller, but --scale is 1",
        ),
    ],
)
def test_what_cannot_be_made_smaller_is_refused(given, words):
    with pytest.raises(SettingsError, match=words):
        open_data(DataSettings(**given))
    with pytest.raises(SettingsError, match=words):
        check(DataSettings(**given))


def test_a_size_that_the_scale_does_not_divide_is_refused(tmp_path):
    folder = own(tmp_path)
    words = "--size gives pictures of 50 x 50 px, which --scale 4 does not divide; use --size 48"
    for opened in (open_data, check):
        with pytest.raises(SettingsError, match=words):
            opened(DataSettings(folder, size=50, scale=4))
    with pytest.raises(SettingsError, match=r"of 48 x 85 px, .*choose another --size, --aspect or"):
        open_data(DataSettings(folder, size=48, scale=4, aspect="16:9"))


def test_such_pairs_are_not_packed(tmp_path):
    data = open_data(DataSettings("earth64:relief", scale=4))
    with pytest.raises(DragomanError, match="--scale 4 makes low and high while training; pack"):
        pack_data(data, tmp_path / "out")


def test_preview_shows_both_in_one_size(tmp_path):
    data = open_data(DataSettings("earth64:relief", scale=8))
    sheet = preview(data, rows=1, columns=1)
    assert sheet.width == 2 * 128 + 2 + 2 * 6
    pixels = np.asarray(sheet)[26:154, 6:134]  # the first picture
    blocks = pixels.reshape(8, 16, 8, 16, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert len(np.unique(blocks[:, 0, :, 0].reshape(-1, 3), axis=0)) > 10
    out = tmp_path / "preview.png"
    with pytest.raises(SystemExit) as ended:
        main(["preview", "earth64:relief", "--scale", "4", "--rows", "2", "--out", str(out)])
    assert ended.value.code == 0
    assert out.stat().st_size > 1000


def test_gaussian_of_a_large_picture_takes_little_memory():
    pictures = noise((1, 3, 1024, 1024), np.uint8)
    tracemalloc.start()
    smaller(pictures, 8, "gaussian")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 6 * 4 * pictures.size
