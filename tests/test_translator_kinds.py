"""The translator takes pictures of every depth and kind, and loads what was saved before."""

import json
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noisy import COLOUR, GREY, HEIGHT, MAP, SIX, noisy, photograph
from PIL import Image

from dragoman.data.catalogue import METRES, Domain
from dragoman.data.raster import read_raster
from dragoman.data.writing import write_raster
from dragoman.errors import DataError, FileError, SettingsError
from dragoman.pipeline import load
from dragoman.saved import read_domain

DEEP = {"name": "deep", "kind": "values", "channels": 1, "dtype": "uint16"}
FLOAT = {**HEIGHT, "name": "float", "dtype": "float32", "low": [-1.0], "high": [3.0]}


def metres(width: int = 20, height: int = 12) -> np.ndarray:
    """Heights, int16 [H, W]."""
    return (photograph(width, height, 1).astype(np.int16) - 128) * 50


@pytest.mark.parametrize(
    ("a", "b", "picture"),
    [
        (HEIGHT, COLOUR, metres()),
        (COLOUR, HEIGHT, photograph(20, 12)),
        (DEEP, FLOAT, metres().astype(np.uint16)),
        (FLOAT, DEEP, metres().astype(np.float32) / 9999),
        (SIX, MAP, np.concatenate([photograph(20, 12)] * 2, 2)),
    ],
)
def test_arrays_have_the_depth_and_channels_of_their_domains(a, b, picture):
    translator = noisy(a, b)
    made = translator(picture)
    planes = translator.target.planes
    assert made.dtype == np.dtype(translator.target.dtype)
    assert made.shape == ((12, 20) if planes == 1 else (12, 20, planes))
    swapped = picture.astype(picture.dtype.newbyteorder())
    assert np.array_equal(translator(swapped), made), "in any order of bytes"
    if picture.ndim == 2:
        assert np.array_equal(translator(picture[..., None]), made)
    apart = np.repeat(picture, 2, 1)[:, ::2]
    assert np.array_equal(translator(apart), made), "wherever it lies in memory"


@pytest.mark.parametrize(
    ("a", "picture", "words"),
    [
        (HEIGHT, metres().astype(np.int32), "height must be int16, this one is int32; or give a"),
        (HEIGHT, metres().astype(np.uint16), "height must be int16, this one is uint16"),
        (FLOAT, metres().astype(np.float64), "float must be float32, this one is float64"),
        (FLOAT, np.full((4, 4), np.nan, np.float32), "has 16 values that are no finite numbers"),
        (SIX, photograph(4, 4), r"\[height, width, 6\], this one has shape \[4, 4, 3\]"),
        (COLOUR, np.array([[["a"] * 3]]), "photo must be uint8, this one is <U1"),
        (MAP, np.full((4, 4), -1), "classes 0 to 3, this one has -1"),
        (MAP, np.zeros((4, 4), np.float32), "a label map must hold whole numbers"),
    ],
)
def test_arrays_that_do_not_fit(a, picture, words):
    with pytest.raises(DataError, match=words) as caught:
        noisy(a, COLOUR)(picture)
    assert "\n" not in str(caught.value)


def test_pixels_without_class_are_taken():
    translator = noisy({**MAP, "unlabelled": 255}, COLOUR)
    numbers = np.arange(20 * 12).reshape(12, 20) % 4
    numbers[3, 4] = 255
    assert translator(numbers).shape == (12, 20, 3)
    assert noisy({**MAP, "unlabelled": 255}, COLOUR)(np.full((4, 4), 255)).shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("domain", "array", "mode"),
    [
        (DEEP, metres().clip(0).astype(np.uint16), "I;16"),
        (HEIGHT, metres(), "I"),
        (FLOAT, metres().astype(np.float32) / 9999, "F"),
    ],
)
def test_pillow_s_deep_modes(domain, array, mode):
    translator = noisy(domain, domain)
    wide = array.astype(np.int32) if mode == "I" else array
    picture = Image.fromarray(wide)
    assert picture.mode == mode
    made = translator(picture)
    assert (made.mode, made.size) == (mode, (20, 12))
    assert np.array_equal(np.asarray(made), translator(array))


@pytest.mark.parametrize(
    ("a", "b", "mode", "words"),
    [
        (DEEP, COLOUR, "L", "pictures of deep are uint16 of 1 channels, this one is L; give an a"),
        (DEEP, COLOUR, "F", "pictures of deep are uint16"),
        (FLOAT, COLOUR, "I", "pictures of float are float32"),
        ({**DEEP, "channels": 3}, COLOUR, "I;16", "uint16 of 3 channels, this one is I;16"),
        (SIX, COLOUR, "RGB", "give an array: PIL pictures have no 6 channels"),
        (COLOUR, SIX, "RGB", "give an array: PIL pictures have no 6 channels"),
        (COLOUR, {**DEEP, "channels": 3}, "RGB", "PIL pictures have no 3 channels of uint16"),
    ],
)
def test_what_pillow_cannot_hold(a, b, mode, words):
    with pytest.raises(DataError, match=words):
        noisy(a, b)(Image.new(mode, (8, 8)))


def test_numbers_of_pillow_beyond_the_depth():
    with pytest.raises(DataError, match="holds numbers from -32768 to 32767, this one from 0 to 4"):
        noisy(HEIGHT, COLOUR)(
            Image.fromarray(np.full((4, 4), 40000, np.int32) * np.eye(4, dtype=np.int32))
        )


def test_label_maps_of_pillow_have_colours():
    palette = ((0, 0, 0), (250, 0, 0), (0, 240, 0), (9, 9, 230))
    made = noisy(COLOUR, {**MAP, "palette": palette})(Image.fromarray(photograph(20, 12)))
    assert made.mode == "P"
    assert np.array_equal(np.asarray(made.convert("RGB")), np.array(palette)[np.asarray(made)])


def test_transparency_of_pillow_is_treated_as_in_training(tmp_path):
    clear = np.dstack(
        [photograph(20, 12), np.linspace(0, 255, 240).reshape(12, 20).astype(np.uint8)]
    )
    write_raster(tmp_path / "x.png", clear, alpha=True)
    picture = Image.open(tmp_path / "x.png")
    translator = noisy()
    made = translator(picture)
    assert made.mode == "RGB"
    assert np.array_equal(np.asarray(made), translator(tmp_path / "x.png")), "laid over white"
    assert not np.array_equal(np.asarray(made), translator(clear[..., :3].copy()))
    with pytest.raises(DataError, match="has transparency, which --alpha refuse forbade in train"):
        noisy({**COLOUR, "alpha": "refuse"}, COLOUR)(picture)
    four = {"name": "clear", "kind": "photo", "channels": 4, "alpha": "keep"}
    kept = noisy(four, four)
    assert kept(picture).mode == "RGBA"
    assert np.array_equal(np.asarray(kept(picture)), kept(clear))
    assert kept(Image.fromarray(photograph(20, 12))).mode == "RGBA", "opaque"


def test_a_path_gives_an_array(tmp_path):
    translator = noisy(HEIGHT, GREY)
    write_raster(tmp_path / "x.tif", metres())
    for path in (tmp_path / "x.tif", str(tmp_path / "x.tif")):
        made = translator(path, seed=3)
        assert isinstance(made, np.ndarray)
        assert np.array_equal(made, translator(metres(), seed=3))
    with pytest.raises(DataError, match=r"none.tif cannot be read \(No such file"):
        translator(tmp_path / "none.tif")


def test_settings_of_tiles_are_checked():
    translator = noisy()
    with pytest.raises(SettingsError, match="--tile must be at least 16, got 3"):
        translator(photograph(8, 8), tile=3)
    with pytest.raises(SettingsError, match="--norms must be one of fast, exact"):
        translator(photograph(8, 8), norms="best")
    with pytest.raises(SettingsError, match="unknown argument 'tiles'; known: tile, context, "):
        translator(photograph(8, 8), tiles=3)


@pytest.mark.parametrize("kind", ["array", "tensor", "pil", "path"])
def test_every_kind_in_tiles_equals_the_whole(tmp_path, kind):
    translator = noisy(norm="none")
    array = photograph(100, 70)
    write_raster(tmp_path / "x.png", array)
    picture: Any = {
        "array": array,
        "tensor": torch.from_numpy(array / np.float32(127.5) - 1).permute(2, 0, 1),
        "pil": Image.fromarray(array),
        "path": tmp_path / "x.png",
    }[kind]
    whole, tiled = (translator(picture, seed=2, tile=tile) for tile in (0, 48))
    assert type(whole) is type(tiled)
    difference = np.abs(np.asarray(whole, float) - np.asarray(tiled, float))
    assert difference.max() <= (0.02 if kind == "tensor" else 1)
    assert not np.array_equal(np.asarray(tiled), np.asarray(translator(picture, seed=3, tile=48)))


def test_twins_share_weights_and_may_run_at_once():
    translator = noisy()
    twins = [translator.twin() for _ in range(3)]
    weights = next(translator.system.parameters())
    assert all(next(t.system.parameters()).data_ptr() == weights.data_ptr() for t in twins)
    picture = photograph(40, 40)
    wanted, made = translator(picture), {}

    def run(number: int) -> None:
        made[number] = [twins[number](picture) for _ in range(5)]

    threads = [threading.Thread(target=run, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, wanted) for ones in made.values() for one in ones)


# What was saved


@pytest.mark.parametrize(
    "domain",
    [
        Domain("height", "values", 1, dtype="int16", low=(-1.5,), high=(2.0,), unit="m"),
        Domain("x", "labels", 3, ("a", "b", "c"), ((0, 0, 0), (1, 2, 3), (4, 5, 6))),
        Domain("six", "values", 6, dtype="uint16", shown=(3, 2, 1)),
        Domain("clear", channels=4, alpha="keep", unlabelled=None),
    ],
)
def test_domains_survive_being_saved(domain):
    assert read_domain(json.loads(json.dumps(asdict(domain)))) == domain


def test_translators_saved_before_still_load(tmp_path):
    before = {"name": "height", "kind": "metres", "channels": 1, "classes": [], "palette": []}
    folder = noisy(HEIGHT, COLOUR).save(tmp_path / "saved")
    config = json.loads((folder / "config.json").read_text())
    config["domains"]["a"] = before
    del config["facts"]["images"]
    config["facts"] |= {"images": 7, "labels": 0}
    (folder / "config.json").write_text(json.dumps(config))
    translator = load(folder, "cpu")
    assert translator.source.kind == "values"
    assert (translator.source.dtype, translator.source.unit) == ("int16", "m")
    assert (translator.source.low, translator.source.high) == ((-METRES,), (METRES,))
    assert np.array_equal(translator(metres()), noisy(HEIGHT, COLOUR)(metres()))


def _changed(folder: Path, **over: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["domains"]["a"] |= over
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    "over",
    [
        {"kind": "secret"},
        {"dtype": "complex128"},
        {"dtype": "float32", "low": [], "high": []},
        {"alpha": "maybe"},
        {"channels": 10**15},
        {"channels": 2},
        {"channels": True},
        {"channels": "3"},
        {"low": [1]},
        {"low": [1, 1, 1], "high": [0, 1, 2]},
        {"low": ["a", "b", "c"], "high": [1, 2, 3]},
        {"low": [float("nan")] * 3, "high": [1, 2, 3]},
        {"palette": [[1, 2]]},
        {"palette": [[0, 0, 256]]},
        {"palette": 5},
        {"name": ["x"]},
        {"unit": 3},
        {"more": 1},
        {"kind": "labels", "dtype": "float32"},
        {"kind": "labels", "palette": [[0, 0, 0]]},
        {"shown": [1, 2, 99]},
        {"unlabelled": "none"},
        {"classes": [1, 2, 3]},
    ],
)
def test_domains_that_make_no_sense_are_refused(tmp_path, over):
    folder = noisy().save(tmp_path / "saved")
    _changed(folder, **over)
    with pytest.raises(FileError, match=r"config.json (does not describe a trans|is damaged)") as e:
        load(folder, "cpu")
    assert "\n" not in str(e.value)


def test_what_it_reads_is_what_it_wrote(tmp_path):
    translator = noisy(COLOUR, HEIGHT)
    write_raster(tmp_path / "x.tif", translator(photograph(20, 12)))
    back = noisy(HEIGHT, COLOUR)
    assert np.array_equal(back(tmp_path / "x.tif"), back(read_raster(tmp_path / "x.tif").pixels))
