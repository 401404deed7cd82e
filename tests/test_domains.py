"""What own files are found to hold: channels, depth, range, classes; and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from dragoman.data import DataSettings, open_data
from dragoman.errors import DataError, DragomanError, SettingsError

COUNT = 12
CONTIGUOUS: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}


def pair(folder: Path, a, b, count: int = COUNT) -> Path:
    """Write pairs whose pixels the functions a and b make of a number; returns the folder."""
    for number in range(count):
        for key, make in (("A", a), ("B", b)):
            pixels = make(number)
            deep = pixels.dtype != np.uint8 or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4))
            path = folder / f"train{key}" / f"{number:02}.{'tif' if deep else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if deep:
                tifffile.imwrite(path, pixels, **(CONTIGUOUS if pixels.ndim == 3 else {}))
            else:
                Image.fromarray(pixels).save(path)
    return folder


def opened(folder: Path | str, **over):
    return open_data(DataSettings(str(folder), size=16, crop="fixed", **over))


def ramp(dtype, channels: int = 0, top: float = 1.0):
    """Pictures of 16 x 16 px that rise with their number; the last reaches `top`."""

    def make(number: int) -> np.ndarray:
        line = np.linspace(0, top * (number + 1) / COUNT, 256).reshape(16, 16)
        picture = line if not channels else np.stack([line * (c + 1) for c in range(channels)], -1)
        return picture.astype(dtype)

    return make


GREY, COLOUR = ramp(np.uint8, top=255), ramp(np.uint8, 3, top=80)


@pytest.mark.parametrize(
    ("make", "kind", "channels", "dtype"),
    [
        (GREY, "photo", 1, "uint8"),
        (COLOUR, "photo", 3, "uint8"),
        (ramp(np.uint16, top=4095), "values", 1, "uint16"),
        (ramp(np.int16, top=9000), "values", 1, "int16"),
        (ramp(np.float32, 6), "values", 6, "float32"),
        (ramp(np.uint8, 7, top=30), "values", 7, "uint8"),
    ],
)
def test_kind_channels_and_depth_are_found(tmp_path, make, kind, channels, dtype):
    data = opened(pair(tmp_path, make, GREY))
    domain = data.domains["a"]
    assert (domain.kind, domain.channels, domain.dtype) == (kind, channels, dtype)
    assert data.facts.channels == {"a": channels, "b": 1}
    batch = data.rows("train", [0, 1])
    assert batch["a"].shape == (2, channels, 16, 16)
    assert batch["a"].min() >= -1
    assert batch["a"].max() <= 1
    assert domain.name == "A"


def test_twelve_bits_in_sixteen_fill_the_range(tmp_path):
    """What others turn black."""
    data = opened(pair(tmp_path, ramp(np.uint16, top=4095), GREY))
    domain = data.domains["a"]
    assert domain.low == (0,)
    assert 3000 < domain.high[0] <= 4095
    bright = max(float(batch["a"].max()) for batch in data.split("train"))
    assert bright == 1


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("a=full", (), ()),
        ("a=0:10000", (0, 0), (10000, 10000)),
        ("a=-5:5/0:1e3", (-5, 0), (5, 1000)),
        ("full", (), ()),
    ],
)
def test_given_ranges(tmp_path, text, low, high):
    data = opened(pair(tmp_path, ramp(np.uint16, 2, top=999), GREY), range=text)
    assert (data.domains["a"].low, data.domains["a"].high) == (low, high)


def test_percentiles_of_the_training_split(tmp_path):
    def spiky(number: int) -> np.ndarray:
        picture = np.full((16, 16), 100, np.uint16)
        picture[0, :8] = 200
        picture[0, 0] = 60000
        return picture

    data = opened(pair(tmp_path, spiky, GREY), range="a=percentiles:1:99")
    assert (data.domains["a"].low, data.domains["a"].high) == ((100,), (200,))
    everything = opened(tmp_path).domains["a"]
    assert (everything.low, everything.high) == ((100,), (60000,))


def test_a_constant_channel_has_a_range_around_it(tmp_path):
    data = opened(pair(tmp_path, lambda n: np.full((16, 16), 7, np.int16), GREY))
    assert (data.domains["a"].low, data.domains["a"].high) == ((6.5,), (7.5,))
    assert data.rows("train", [0])["a"].abs().max() == 0


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"range": "a=1:1"}, r"--range a=1:1 must be LOW:HIGH with LOW below HIGH"),
        ({"range": "a=wide"}, "--range a=wide must be LOW:HIGH"),
        ({"range": "a=0:1/0:2/0:3"}, "names 3 ranges; give one, or one for each of the 2 channels"),
        ({"range": "a=percentiles:50:200"}, "percentiles lie from 0 to 100"),
        ({"range": "c=0:1"}, r"--range 'c=0:1' must be VALUE for all pictures, or a=VALUE"),
        ({"kind": "a=photos"}, r"unknown kind 'photos' .did you mean 'photo'"),
        ({"alpha": "b=yes"}, "unknown alpha 'yes'"),
        ({"shown": "a=1+2+3"}, "--shown a=1\\+2\\+3 must name three channels from 1 to 2"),
        ({"kind": "a=labels"}, "no picture of .* can be read|must hold one whole class number"),
        ({"kind": "b=labels", "classes": "b=many"}, "--classes must be a whole number from 1"),
        ({"kind": "b=labels", "unlabelled": "b=-1"}, "--unlabelled must be a whole number from 0"),
    ],
)
def test_settings_that_cannot_be(tmp_path, over, words):
    pair(tmp_path, ramp(np.uint16, 2, top=999), GREY)
    with pytest.raises(DragomanError, match=words):
        opened(tmp_path, **over).rows("train", range(3))


def test_floats_have_no_full_range(tmp_path):
    pair(tmp_path, ramp(np.float32), GREY)
    with pytest.raises(SettingsError, match="float32 has no full range; give LOW:HIGH"):
        opened(tmp_path, range="a=full")


def test_pictures_of_another_form_are_refused_by_name(tmp_path):
    pair(tmp_path, ramp(np.uint16, top=999), COLOUR)
    tifffile.imwrite(tmp_path / "trainA" / "03.tif", np.zeros((16, 16), np.float32))
    tifffile.imwrite(tmp_path / "trainA" / "04.tif", np.zeros((16, 16, 2), np.uint16), **CONTIGUOUS)
    data = opened(tmp_path)
    rows = {name: row for row, name in enumerate(data.names("train"))}
    with pytest.raises(DataError, match=r"03.tif holds float32, but pictures of A hold uint16"):
        data.rows("train", [rows["03"]])
    with pytest.raises(DataError, match=r"04.tif has 2 channels, but pictures of A have 1"):
        data.rows("train", [rows["04"]])


def rgba(number: int) -> np.ndarray:
    picture = np.full((16, 16, 4), 40 * number % 256, np.uint8)
    picture[:, :8, 3] = 0
    picture[:, 8:, 3] = 255
    return picture


def test_transparency_is_laid_over_white_kept_or_refused(tmp_path):
    pair(tmp_path, rgba, COLOUR)
    white = opened(tmp_path, flip=False).rows("train", [0])["a"]
    assert white.shape[1] == 3
    assert (white[..., :8] == 1).all()
    kept = opened(tmp_path, alpha="a=keep")
    assert kept.facts.channels == {"a": 4, "b": 3}
    alpha = kept.rows("train", [0])["a"][0, 3]
    assert (alpha[:, :8] == -1).all()
    assert (alpha[:, 8:] == 1).all()
    with pytest.raises(DataError, match=r"has transparency, which --alpha refuse forbids"):
        opened(tmp_path, alpha="a=refuse").rows("train", [0])


def numbers(number: int) -> np.ndarray:
    picture = (np.arange(256).reshape(16, 16) + number) % 5
    return picture.astype(np.uint8)


def test_label_maps_are_counted_and_checked(tmp_path):
    pair(tmp_path, numbers, COLOUR)
    data = opened(tmp_path, kind="a=labels", flip=False)
    assert data.facts.channels == {"a": 5, "b": 3}
    batch = data.rows("train", [0])
    assert torch.equal(batch["map"], batch["a"].argmax(1))
    assert batch["a"].sum(1).unique().tolist() == [-3]
    fewer = opened(tmp_path, kind="a=labels", classes="a=4")
    with pytest.raises(
        DataError, match=r"holds the class 4, but A has the classes 0 to 3; train with --c"
    ):
        fewer.rows("train", [0])
    without = opened(tmp_path, kind="a=labels", classes="a=4", unlabelled="a=4", flip=False)
    batch = without.rows("train", [0])
    assert (batch["map"] == -1).sum() == (numbers(0) == 4).sum()
    assert (batch["a"].amax(1) == -1).sum() == (numbers(0) == 4).sum()


def test_palettes_are_colours_or_numbers(tmp_path):
    pair(tmp_path, GREY, COLOUR)
    colours = [(10 * n, 255 - 10 * n, 3) for n in range(5)]
    for path in (tmp_path / "trainA").iterdir():
        picture = Image.fromarray(numbers(int(path.stem)), "P")
        picture.putpalette([level for colour in colours for level in colour])
        picture.save(path)
    assert opened(tmp_path).facts.channels["a"] == 3
    data = opened(tmp_path, kind="a=labels", flip=False)
    assert data.domains["a"].palette == tuple(colours)
    shown = data.show("a", data.rows("train", [0])["a"])
    assert shown.reshape(-1, 3)[:3].tolist() == [list(colour) for colour in colours[:3]]


def test_too_many_classes_are_no_label_map(tmp_path):
    pair(tmp_path, lambda n: np.full((16, 16), 60000, np.uint16), COLOUR)
    with pytest.raises(DataError, match=r"holds the class 60000.*--unlabelled a=60000"):
        opened(tmp_path, kind="a=labels")


def test_stacked_channels_keep_their_order(tmp_path):
    for name, level in (("red", 10), ("nir", 20), ("out", 30)):
        for number in range(4):
            path = tmp_path / name / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.full((16, 16), level + number, np.uint8)).save(path)
    data = opened(f"{tmp_path}/red+{tmp_path}/nir,{tmp_path}/out")
    assert data.facts.channels == {"a": 2, "b": 1}
    assert data.domains["a"].kind == "values"
    for split in ("train", "val", "test"):
        batch = data.rows(split, [0])
        number = int(data.names(split)[0])
        levels = ((batch["a"][0, :, 0, 0] + 1) * 127.5).round().int().tolist()
        assert levels == [10 + number, 20 + number]
    Image.fromarray(np.zeros((8, 16), np.uint8)).save(tmp_path / "nir" / "2.png")
    again = opened(f"{tmp_path}/red+{tmp_path}/nir,{tmp_path}/out")
    split = next(s for s in ("train", "val", "test") if "2" in again.names(s))
    row = list(again.names(split)).index("2")
    with pytest.raises(DataError, match=r"nir/2.png is 16x8 pixels, but .*red/2.png, with which"):
        again.rows(split, [row])
