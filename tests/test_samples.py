"""Sheets of pictures and the samples that a run saves."""

import numpy as np
import pytest
from PIL import Image

from dragoman.errors import DataError, FileError
from dragoman.report.samples import read_samples, save_samples, saved_steps
from dragoman.report.sheet import GAP, caption_height, chosen, over_time, sheet


def flat(count, height, width, value):
    return np.full((count, height, width, 3), value, np.uint8)


# Sheets


def test_sheet_places_and_enlarges_tiles():
    a = np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape(2, 2, 3, 3)
    b = 255 - a
    pixels = np.array(sheet({"a": a, "b": b}, scale=4, captions=False))
    assert pixels.shape == (GAP + 2 * (8 + GAP), GAP + 2 * (12 + GAP), 3)
    top, left = GAP + (8 + GAP), GAP + (12 + GAP)  # second example, second column
    tile = pixels[top : top + 8, left : left + 12]
    np.testing.assert_array_equal(tile, b[1].repeat(4, axis=0).repeat(4, axis=1))
    assert (pixels[:GAP] == 255).all()
    assert (pixels[:, :GAP] == 255).all()


@pytest.mark.parametrize(("side", "factor"), [(8, 8), (64, 2), (100, 2), (128, 1), (300, 1)])
def test_small_tiles_are_enlarged_until_readable(side, factor):
    picture = sheet({"a": flat(1, side, side, 0)}, captions=False)
    assert picture.width == 2 * GAP + side * factor


def test_captions_are_written_above_and_cut_to_their_column():
    columns = {
        "a very long caption, longer than its column": flat(1, 64, 64, 0),
        "": flat(1, 8, 8, 0),
    }
    pixels = np.array(sheet(columns))
    written = np.asarray(pixels[: caption_height(128)].min(axis=(0, 2)) < 128)
    assert written[GAP : GAP + 128].any()
    assert not written[GAP + 128 :].any()


def test_grey_and_smaller_pictures_fit_in():
    low = np.array([[[[0], [255]], [[255], [0]]]], np.uint8)  # 2 x 2, one channel
    pixels = np.array(sheet({"low": low, "high": flat(1, 6, 6, 9)}, scale=1, captions=False))
    tile = pixels[GAP : GAP + 6, GAP : GAP + 6]
    np.testing.assert_array_equal(tile[..., 2], low[0, ..., 0].repeat(3, 0).repeat(3, 1))


def test_wide_pictures_keep_their_aspect():
    picture = sheet({"one": flat(2, 8, 8, 3), "six": flat(2, 8, 48, 9)}, scale=1, captions=False)
    assert picture.size == (8 + 48 + 3 * GAP, 2 * 8 + 3 * GAP)
    row = np.array(picture)[GAP, :, 0]
    assert row[GAP : GAP + 8].tolist() == [3] * 8
    assert row[2 * GAP + 8 : 2 * GAP + 56].tolist() == [9] * 48


def test_names_of_rows_stand_beside_them():
    columns = {"a": flat(2, 8, 8, 3)}
    plain = np.array(sheet(columns, scale=8, captions=False))
    named = np.array(sheet(columns, scale=8, captions=False, rows=["dark", "light and very long"]))
    margin = named.shape[1] - plain.shape[1]
    assert 0 < margin <= 64
    np.testing.assert_array_equal(named[:, margin:], plain)
    for row in (slice(0, 64), slice(64 + 2 * GAP, None)):
        assert (named[row, :margin] < 255).any()
    np.testing.assert_array_equal(sheet(columns, scale=8, captions=False, rows=["", ""]), plain)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "at least one column"),
        ({"a": flat(2, 4, 4, 0), "b": flat(3, 4, 4, 0)}, "{'a': 2, 'b': 3}"),
        ({"a": flat(2, 4, 4, 0) / 255.0}, "'a' of a sheet holds float64; give uint8"),
        ({"a": np.zeros((2, 4, 4, 5), np.uint8)}, r"shape \(2, 4, 4, 5\)"),
        ({"a": np.zeros((0, 4, 4, 3), np.uint8)}, "at least one picture"),
    ],
)
def test_sheet_says_what_is_wrong(columns, words):
    with pytest.raises(DataError, match=words):
        sheet(columns)


def test_steps_over_time_are_spread_evenly():
    assert chosen([30, 10, 20]) == [10, 20, 30]
    assert chosen(list(range(1, 16)), 8) == [1, 3, 5, 7, 9, 11, 13, 15]
    assert chosen([1, 2, 3], 1) == [3]
    outputs = {step: flat(2, 8, 8, step) for step in range(1, 16)}
    picture = over_time(flat(2, 8, 8, 100), outputs, flat(2, 8, 8, 200), scale=1)
    row = np.array(picture)[caption_height(8) + GAP + 4, GAP + 4 :: 8 + GAP, 0]
    assert row.tolist() == [100, 1, 3, 5, 7, 9, 11, 13, 15, 200]


# Samples


def test_samples_come_back_as_they_were_saved(tmp_path):
    random = np.random.default_rng(0)
    inputs = random.integers(0, 256, (3, 6, 5, 1), np.uint8)
    truth = random.integers(0, 256, (3, 12, 10, 3), np.uint8)
    outputs = {step: random.integers(0, 256, (3, 12, 10, 3), np.uint8) for step in (400, 1000000)}
    for step, made in outputs.items():
        path = save_samples(tmp_path, step, inputs, made, truth, split="val")
        assert Image.open(path).size == (3 * 80 + 4 * GAP, caption_height(80) + 3 * 96 + 4 * GAP)
    assert path.name == "step_1000000.png"
    assert saved_steps(tmp_path) == [400, 1000000]
    found = read_samples(tmp_path)
    assert found.split == "val"
    np.testing.assert_array_equal(found.inputs, inputs.repeat(3, -1))
    np.testing.assert_array_equal(found.truth, truth)
    for step, made in outputs.items():
        np.testing.assert_array_equal(found.outputs[step], made)
    assert not [p for p in (tmp_path / "samples").iterdir() if p.suffix == ".tmp"]


def test_samples_of_a_system_without_inputs(tmp_path):
    save_samples(tmp_path, 5, None, flat(2, 8, 8, 7))
    found = read_samples(tmp_path)
    assert (found.inputs, found.truth) == (None, None)
    assert found.outputs[5].shape == (2, 8, 8, 3)


def test_pictures_that_do_not_fit_are_not_decoded(tmp_path):
    save_samples(tmp_path, 5, None, flat(2, 8, 8, 7))
    Image.new("1", (9000, 9000)).save(tmp_path / "samples" / "outputs_000005.png")
    with pytest.raises(FileError, match=r"outputs_000005.png: 9000 x 9000 px do not fit"):
        read_samples(tmp_path)
    (tmp_path / "samples" / "tiles.json").write_text('{"count": 1, "output": [9000, 9000]}')
    with pytest.raises(FileError, match=r"outputs_000005.png: .* more than 64,000,000 px"):
        read_samples(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"count": -1, "output": [8, 8]}', '{"count": 2, "output": 8}']
)
def test_damaged_tiles_are_named(tmp_path, text):
    save_samples(tmp_path, 5, None, flat(2, 8, 8, 7))
    (tmp_path / "samples" / "tiles.json").write_text(text)
    with pytest.raises(FileError, match=r"tiles\.json"):
        read_samples(tmp_path)
