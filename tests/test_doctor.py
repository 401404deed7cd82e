"""The doctor of data sets: things are found where they are, and not where they are not."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dragoman.data import DataSettings, open_data
from dragoman.data.doctor import Findings, check, examine, fatal, known, subject
from dragoman.data.doctor.telling import told
from dragoman.data.domains import describe
from dragoman.data.tables import open_table

COUNTS = {"train": 16, "val": 12, "test": 12}
SIZE = 64


@pytest.fixture(scope="session")
def tiles():
    """Tiles of relief (a) and satellite (b): by split and key, uint8 [N, 64, 64, 3]."""
    source = open_data(DataSettings(data="earth64:relief,satellite"))._source
    found = {}
    for split, count in COUNTS.items():
        rows = np.linspace(0, source.count(split, "a") - 1, count).astype(np.int64)
        for key in "ab":
            stored = source.pictures(split, key, rows, None, source.size)
            found[split, key] = np.ascontiguousarray(stored.transpose(0, 2, 3, 1))
    return found


@pytest.fixture(scope="session")
def sound(tiles, tmp_path_factory):
    """A folder of pairs of which nothing is to be said; must not be changed."""
    folder = tmp_path_factory.mktemp("sound")
    for (split, key), pictures in tiles.items():
        for number, picture in enumerate(pictures):
            _save(folder / f"{split}{key.upper()}" / f"{number:02}.png", picture)
    return folder


@pytest.fixture
def pairs(sound, tmp_path):
    """A copy of the sound folder, to be spoilt."""
    return Path(shutil.copytree(sound, tmp_path / "pairs"))


@pytest.fixture(autouse=True)
def cache(tiles, tmp_path_factory, monkeypatch):
    """A cache of its own for each test, once the embedded set is built."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DRAGOMAN_CACHE", str(folder))
    return folder


def _save(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def _noise(seed: int, height: int = 32, width: int = 32, channels: int = 3) -> np.ndarray:
    """A picture unlike all others: smooth noise of full contrast."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, channels), np.uint8)
    planes = [
        np.asarray(Image.fromarray(small[..., c]).resize((width, height), Image.Resampling.BICUBIC))
        for c in range(channels)
    ]
    return planes[0] if channels == 1 else np.stack(planes, -1)


def _settings(data: object, options: dict[str, Any]) -> DataSettings:
    values: dict[str, Any] = {"data": str(data), "size": SIZE, **options}
    return DataSettings(**values)


def _check(data: object, **options: Any) -> Findings:
    limit = options.pop("limit", 0)
    return check(_settings(data, options), limit)


def _before_training(data: object, say=None, **options: Any) -> Findings:
    settings = _settings(data, options)
    table = open_table(settings)
    return examine(table, describe(table, settings), settings, fatal_only=True, say=say)


def _codes(findings: Findings) -> list[str]:
    return [one.code for one in findings.found]


def _one(findings: Findings, code: str):
    found = [one for one in findings.found if one.code == code]
    assert len(found) == 1, _codes(findings)
    return found[0]


def test_nothing_is_cried_over_sound_pictures(sound):
    findings = _check(sound)
    assert (findings.verdict, findings.found) == ("well", ())
    assert findings.examined == 2 * sum(COUNTS.values())
    assert _before_training(sound).lines() == []


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        ("earth64:relief,satellite", []),
        ("earth64:height,cover", ["constant"]),
        ("openmoji64:line,colour", ["leak", "near_duplicate", "near_duplicate"]),
    ],
)
def test_embedded_sets_are_as_they_are(data, codes, monkeypatch):
    """Label maps of one class there are; and some emoji share one drawing, even across splits."""
    monkeypatch.delenv("DRAGOMAN_CACHE")
    findings = check(DataSettings(data=data))
    assert _codes(findings) == codes
    for one in findings.found:
        assert one.count < 40
    if "leak" in codes:
        assert _one(findings, "leak").examples == ("line 1F7E7 = line 1F7E5",), "square, square"


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _spoil_partner(folder: Path) -> None:
    (folder / "trainB" / "03.png").unlink()
    _save(folder / "valA" / "alone.png", _noise(1, 64, 64))


def _spoil_name(folder: Path) -> None:
    shutil.copy(folder / "trainA" / "03.png", folder / "trainA" / "03.bmp")


def _spoil_files(folder: Path) -> None:
    _truncate(folder / "trainA" / "03.png")
    (folder / "testB" / "04.png").write_bytes(b"")


def _spoil_size(folder: Path) -> None:
    _save(folder / "trainB" / "03.png", _noise(1, 64, 80))


def _spoil_depth(folder: Path) -> None:
    _save(folder / "trainB" / "03.png", np.full((64, 64), 40_000, np.uint16))


def _spoil_pixels(folder: Path) -> None:
    for key in "AB":
        _save(folder / f"train{key}" / "03.png", _noise(ord(key), 128, 128))


def _spoil_strip(folder: Path) -> None:
    for key in "AB":
        _save(folder / f"train{key}" / "03.png", _noise(ord(key), 2, 3000))


def _spoil_folder(folder: Path) -> None:
    (folder / "trainA" / "03.png").unlink()
    (folder / "trainA" / "03.png").mkdir()


@pytest.mark.parametrize(
    ("spoil", "code", "lines", "fix"),
    [
        (
            _spoil_partner,
            "partner",
            ["trainA/03.png has no partner in", "valA/alone.png has no partner in"],
            "--pairing unpaired",
        ),
        (_spoil_name, "same_name", ["trainA/03.png has the same name as"], "keep one of each"),
        (
            _spoil_files,
            "unreadable",
            ["trainA/03.png is ", "testB/04.png is empty"],
            "copy them again",
        ),
        (
            _spoil_size,
            "size",
            ["trainA/03.png is 64x64 pixels, but its partner ", "trainB/03.png is 80x64"],
            "crop or resize",
        ),
        (
            _spoil_depth,
            "mixed",
            ["trainB/03.png holds uint16, but pictures of B hold uint8; convert it"],
            "convert them",
        ),
        (
            _spoil_pixels,
            "too_large",
            ["trainA/03.png has 128x128 pixels, more than the limit of 0.006 million"] * 1,
            "--max_megapixels",
        ),
        (
            _spoil_strip,
            "shape",
            ["trainA/03.png is 3000x2 pixels, too long and narrow to bring its shorter side to 72"],
            "--fit pad",
        ),
        (_spoil_folder, "left_out", ["trainA/03.png is a folder, not a picture"], "rename"),
    ],
)
def test_what_is_fatal_is_found_with_its_fix_both_before_training_and_by_check(
    pairs, spoil, code, lines, fix
):
    spoil(pairs)
    options = {"max_megapixels": 0.006} if code in ("too_large", "shape") else {}
    before, whole = _before_training(pairs, **options), _check(pairs, **options)
    assert before.verdict == whole.verdict == "fatal"
    for findings in (before, whole):
        one = _one(findings, code)
        assert fix in one.fix
        for words in lines:
            assert any(words in line for line in one.examples), one.examples
        assert one.count == len(one.examples)
    assert sorted(before.lines()) == sorted(whole.lines())
    assert whole.examined < 100


def test_everything_is_told_at_once(pairs):
    for spoil in (_spoil_size, _spoil_files, _spoil_depth, _spoil_partner):
        spoil(pairs)
    # 03 lost its partner, so that it is no longer there to be damaged or of another size
    assert _codes(_before_training(pairs)) == ["partner", "unreadable"]
    _save(pairs / "trainB" / "05.png", _noise(2, 64, 80))
    _save(pairs / "trainB" / "06.png", np.full((64, 64), 40_000, np.uint16))
    findings = _check(pairs)
    assert _codes(findings)[:4] == ["partner", "unreadable", "mixed", "size"]
    assert len(findings.lines()) == 5


def _stacks(folder: Path) -> str:
    for number in range(12):
        _save(folder / "red" / f"{number}.png", _noise(number, channels=1))
        _save(folder / "nir" / f"{number}.png", _noise(100 + number, channels=1))
        _save(folder / "photo" / f"{number}.png", _noise(200 + number))
    return f"{folder}/red+{folder}/nir,{folder}/photo"


def test_stacks_must_have_one_size(tmp_path):
    data = _stacks(tmp_path)
    assert not _check(data, size=32).of("fatal")
    _save(tmp_path / "nir" / "3.png", _noise(7, 32, 40, 1))
    one = _one(_check(data, size=32), "size")
    assert one.examples == (
        f"{tmp_path}/nir/3.png is 40x32 pixels, but {tmp_path}/red/3.png, with which it is "
        "stacked, is 32x32",
    )
    assert _before_training(data, size=32).lines() == list(one.examples)


def test_halves_must_be_even(tmp_path):
    for number in range(40):
        _save(tmp_path / f"{number}.png", _noise(number, 32, 64 + (number == 3)))
    findings = _check(tmp_path, size=32, layout="side_by_side")
    assert _codes(findings) == ["shape"]
    lines = findings.lines()
    assert len(lines) == 2, "for a and for b"
    assert "3.png is 65 pixels wide, which cannot be halved into a and b" in lines[0]
    assert _before_training(tmp_path, size=32, layout="side_by_side").lines() == lines


def test_values_that_are_no_numbers(tmp_path):
    for number in range(12):
        values = _noise(number, channels=1).astype(np.float32)
        values[0, 0] = np.nan if number in (3, 4) else 0
        np.save(tmp_path / f"{number}.npy", values)
    one = _one(_check(tmp_path, size=32), "not_finite")
    assert one.count == 2
    assert "3.npy has 1 values that are no finite numbers (NaN, inf)" in one.examples[0]
    assert "numpy.nan_to_num" in one.fix


@pytest.fixture
def maps(tmp_path):
    """Label maps of the classes 0 to 2, with 255 where nothing is known, and photos."""
    for number in range(30):
        classes = np.repeat(np.arange(3, dtype=np.uint8), 11)[:32, None].repeat(32, 1)
        classes = np.roll(classes, number, 0)
        classes[:4, :8] = 255
        for key, pixels in (("A", classes), ("B", _noise(number))):
            _save(tmp_path / f"train{key}" / f"{number:02}.png", pixels)
    return tmp_path


def test_class_numbers_beyond_the_count_come_with_their_histogram(maps):
    options = {"size": 32, "kind": "a=labels", "classes": "a=3"}
    assert not _check(maps, unlabelled="a=255", **options).of("fatal")
    findings = _check(maps, **options)
    one = _one(findings, "no_class")
    assert one.count == 30
    assert "trainA/00.png holds the class 255, but A has the classes 0 to 2" in one.examples[0]
    histogram = one.detail["histogram"]["a"]
    assert list(histogram) == ["0", "1", "2", "255"]
    assert histogram["255"] == 30 * 32
    assert sum(histogram.values()) == 30 * 32 * 32
    text = told(findings, 5)
    assert "pixels of each number in a: 0: " in text
    assert "255: 960" in text


def test_negative_class_numbers(maps):
    for number in range(30):
        (maps / "trainA" / f"{number:02}.png").unlink()
        np.save(maps / "trainA" / f"{number:02}.npy", np.full((32, 32), number % 3 - 1, np.int16))
    one = _one(_check(maps, size=32, kind="a=labels", classes="a=3"), "no_class")
    assert "holds the class -1" in one.examples[0]
    assert one.detail["histogram"]["a"]["-1"] == 10 * 32 * 32


def test_absent_and_rare_classes_of_pixels(maps):
    options = {"size": 32, "kind": "a=labels", "unlabelled": "a=255"}
    assert _codes(_check(maps, classes="a=3", **options)) == []
    findings = _check(maps, classes="a=5", **options)
    one = _one(findings, "absent_class")
    assert one.message == "classes of a that occur nowhere in train: 2 of 5 (3, 4)"
    assert one.fix == "nothing, if they are meant; else --classes a=3"
    path = maps / "trainA" / "00.png"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[20, 20] = 3
    _save(path, pixels)
    findings = _check(maps, classes="a=4", **options)
    one = _one(findings, "rare_class")
    assert one.level == "note"
    assert one.message == "classes of a with less than 0.1% of the pixels of train: 1 of 4 (3)"
    shares = findings.statistics["a"]["splits"]["train"]
    assert shares["unlabelled"] == pytest.approx(32 / 1024)
    assert sum(shares["classes"].values()) + shares["unlabelled"] == pytest.approx(1, abs=1e-4)


def test_label_maps_of_one_class_are_but_a_note(maps):
    _save(maps / "trainA" / "03.png", np.full((32, 32), 2, np.uint8))
    options = {"size": 32, "kind": "a=labels", "classes": "a=3", "unlabelled": "a=255"}
    one = _one(_check(maps, **options), "constant")
    assert (one.level, one.count) == ("note", 1)
    assert one.message == "label maps of a single class: 1 of the 30 of a"


def test_rows_of_labels_that_name_no_picture(tmp_path):
    folder, labels = tmp_path / "set", tmp_path / "labels.csv"
    for number in range(12):
        _save(folder / f"{number:02}.png", _noise(number))
    rows = [f"{number:02}.png,{'ab'[number % 2]}" for number in range(12)]
    labels.write_text("\n".join(["file,kind", *rows]))
    findings = _check(folder, size=32, layout="single", labels=str(labels))
    assert findings.verdict == "warning", _codes(findings)
    assert "row" not in _codes(findings)
    labels.write_text("\n".join(["file,kind", *rows, "nowhere.png,a"]))
    one = _one(_check(folder, size=32, layout="single", labels=str(labels)), "row")
    assert "labels.csv line 14: " in one.examples[0]
    assert "'nowhere' is no picture of " in one.examples[0]


@pytest.fixture
def classes(tmp_path):
    """Twelve pictures of cats and twelve of dogs, as single pictures with a CSV."""

    def make(cats: int, dogs: int, unknown: int = 0) -> dict[str, str]:
        names = ["cat"] * cats + ["dog"] * dogs + [""] * unknown
        for number in range(len(names)):
            _save(tmp_path / "set" / "train" / f"{number:03}.png", _noise(number, 16, 16))
            if number < 4:
                _save(tmp_path / "set" / "val" / f"{number:03}.png", _noise(1000 + number, 16, 16))
                _save(tmp_path / "set" / "test" / f"{number:03}.png", _noise(2000 + number, 16, 16))
        rows = [f"train/{number:03}.png,{name}" for number, name in enumerate(names)]
        rows += [f"{split}/{n:03}.png,cat" for split in ("val", "test") for n in range(4)]
        table = tmp_path / "set" / "all.csv"
        splits = [row.split("/")[0] for row in rows]
        lines = [f"{row},{split}" for row, split in zip(rows, splits, strict=True)]
        table.write_text("\n".join(["image,label,split", *lines]))
        return {"data": str(table), "layout": "manifest"}

    return make


def test_balance_of_classes(classes):
    assert _codes(_check(**classes(12, 10), size=16)) == []
    findings = _check(**classes(40, 4), size=16)
    one = _one(findings, "imbalance")
    assert one.message == "classes of 'label' are uneven: cat has 40 pictures in train, dog 4"
    assert dict(one.detail) == {"cat": 40, "dog": 4}
    assert findings.statistics["labels"]["label"]["train"] == {"cat": 40, "dog": 4, "": 0}


def test_classes_of_one_picture_and_pictures_of_no_class(classes):
    findings = _check(**classes(9, 1, 3), size=16)
    assert _codes(findings) == ["few_of_class", "unlabelled"]
    few, unknown = findings.found
    assert few.message == "classes of 'label' with fewer than 2 pictures in train: 1 of 2 (dog)"
    assert unknown.message == "pictures of no known class in 'label': 3 of 21"


def test_splits_of_one_picture(pairs):
    for number in range(1, 12):
        for key in "AB":
            (pairs / f"val{key}" / f"{number:02}.png").unlink()
    one = _one(_check(pairs), "few")
    assert one.message == "val has 1 picture, too few to judge by"
    assert one.level == "warning"


def test_pictures_of_one_colour(pairs):
    _save(pairs / "trainA" / "03.png", np.full((64, 64, 3), (9, 200, 30), np.uint8))
    _save(pairs / "testA" / "04.png", np.full((64, 64, 3), (9, 200, 30), np.uint8))
    spotted = np.full((64, 64, 3), 80, np.uint8)
    spotted[10, 10] = 90
    _save(pairs / "trainA" / "05.png", spotted)
    findings = _check(pairs)
    one = _one(findings, "constant")
    assert one.message == "pictures of one colour: 2 of the 40 of a"
    assert one.examples == (f"{pairs}/trainA/03.png", f"{pairs}/testA/04.png")
    assert "leak" not in _codes(findings), "empty pictures are told of once"


def test_small_pictures(sound):
    findings = _check(sound, size=None)
    assert _codes(findings) == ["small", "small"]
    one = findings.found[0]
    assert one.message == (
        "pictures smaller than the 256x256 pixels of training (--size 256, the default), to which "
        "they are enlarged: all of the 40 of a"
    )
    assert one.fix == "--size 64"
    assert one.examples == ()
    assert _codes(_check(sound, size=None, fit="pad")) == []


def test_long_pictures_and_several_sizes(pairs):
    for key in "AB":
        _save(pairs / f"train{key}" / "03.png", _noise(ord(key), 64, 260))
    findings = _check(pairs)
    assert _codes(findings) == ["aspect", "aspect", "sizes", "sizes"]
    assert findings.found[0].message == (
        "pictures up to 4.1 times longer than those of training, which lose most when cropped: 1 "
        "of the 40 of a"
    )
    assert findings.found[2].level == "note"
    assert findings.found[2].message == (
        "pictures of a come in 2 sizes, from 64x64 to 260x64 pixels"
    )
    assert _codes(_check(pairs, fit="pad")) == ["sizes", "sizes"]
    distorted = _check(pairs, fit="resize").found[0].message
    assert "which are distorted" in distorted


def test_grey_pictures_in_three_channels(pairs):
    for path in sorted((pairs / "trainB").iterdir())[:6]:
        _save(path, np.asarray(Image.open(path).convert("L").convert("RGB")))
    one = _one(_check(pairs), "grey")
    assert (one.level, one.key, one.count) == ("note", "b", 6)
    assert one.message == "grey pictures in three equal channels: 6 of the 40 of b"
    for path in sorted((pairs / "trainB").iterdir())[:6]:
        _save(path, np.asarray(Image.open(path).convert("L")))
    assert "grey" not in _codes(_check(pairs)), "what is stored in one channel is well stored"


def _deep(folder: Path, most: int) -> None:
    for number in range(12):
        scaled = _noise(number, channels=1).astype(np.uint16) * (most // 255)
        _save(folder / f"{number:02}.png", scaled)


def test_numbers_of_twelve_bits(tmp_path):
    _deep(tmp_path, 4080)
    settings = {"size": 32, "layout": "single"}
    note = _one(_check(tmp_path, **settings), "bits")
    assert note.level == "note"
    assert note.message.startswith("image has 12 bits in files of 16: its greatest value is ")
    assert note.fix == "--range image=0:4095 takes all that 12 bits can hold"
    warning = _one(_check(tmp_path, range="full", **settings), "bits")
    assert warning.level == "warning"
    assert "so that pictures are nearly black in the range in use" in warning.message
    _deep(tmp_path, 65_280)
    assert "bits" not in _codes(_check(tmp_path, **settings))


def test_values_beyond_the_range(tmp_path):
    _deep(tmp_path, 65_280)
    settings = {"size": 32, "layout": "single"}
    assert "clipped" not in _codes(_check(tmp_path, **settings))
    one = _one(_check(tmp_path, range="image=0:30000", **settings), "clipped")
    assert one.detail["share"] > 0.2
    assert (
        "of the values of image lie beyond its range and are cut off; they go from " in one.message
    )
    assert "--range image=percentiles" in one.fix


def test_splits_of_another_brightness(pairs):
    for path in (pairs / "testA").iterdir():
        _save(path, np.asarray(Image.open(path)) // 3)
    findings = _check(pairs)
    assert _codes(findings) == ["splits_differ"]
    one = findings.found[0]
    assert (one.split, one.key) == ("test", "a")
    assert one.message.startswith("test differs from train in a: the mean of channel ")


def test_b_shifted_by_three_pixels(pairs, tiles):
    for split in COUNTS:
        for number, picture in enumerate(tiles[split, "b"]):
            rolled = np.roll(picture, (3, -4), (0, 1))
            _save(pairs / f"{split}B" / f"{number:02}.png", rolled)
    findings = _check(pairs)
    assert _codes(findings) == ["shift"]
    one = findings.found[0]
    assert one.message == (
        "b is shifted by about 3 pixels down and 4 pixels left against a, in a sample of 16 pairs "
        "of train"
    )
    assert (one.detail["down"], one.detail["right"]) == (3, -4)
    assert _codes(_check(pairs, pairing="unpaired")) == []


def test_pairs_shifted_each_in_its_own_way_or_wrongly_paired(tmp_path, monkeypatch):
    monkeypatch.delenv("DRAGOMAN_CACHE")
    source = open_data(DataSettings(data="openmoji64:line,colour"))._source
    rows = np.linspace(0, source.count("train", "a") - 1, 60).astype(np.int64)
    a, b = (
        source.pictures("train", key, rows, None, source.size).transpose(0, 2, 3, 1) for key in "ab"
    )
    rng = np.random.default_rng(0)
    for number in range(60):
        away = rng.integers(-8, 9, 2)
        _save(tmp_path / "trainA" / f"{number:02}.png", a[number].copy())
        _save(tmp_path / "trainB" / f"{number:02}.png", np.roll(b[number], away, (0, 1)))
    one = _one(_check(tmp_path), "scattered")
    assert one.detail["median"] >= 4
    assert "are off by" in one.message
    for number in range(60):
        _save(tmp_path / "trainB" / f"{number:02}.png", b[number - 7].copy())
    one = _one(_check(tmp_path), "unrelated")
    assert one.level == "note"
    assert "share no edges" in one.message
    for number in range(60):
        _save(tmp_path / "trainB" / f"{number:02}.png", b[number].copy())
    codes = _codes(_check(tmp_path))
    assert not {"shift", "scattered", "unrelated"} & set(codes)


def test_copies_within_a_split(pairs):
    shutil.copy(pairs / "trainA" / "03.png", pairs / "trainA" / "09.png")
    with Image.open(pairs / "trainA" / "04.png") as picture:
        picture.save(pairs / "trainA" / "10.bmp")  # other bytes, the same pixels
    (pairs / "trainA" / "10.png").unlink()
    findings = _check(pairs)
    assert _codes(findings) == ["duplicate"]
    one = findings.found[0]
    assert one.message == "pictures there a second time: 2 of a in train"
    assert one.examples == (
        f"{pairs}/trainA/09.png = {pairs}/trainA/03.png",
        f"{pairs}/trainA/10.bmp = {pairs}/trainA/04.png",
    )


def test_copies_in_another_quality_size_or_brightness(pairs):
    with Image.open(pairs / "trainA" / "03.png") as picture:
        picture.save(pairs / "trainA" / "09.jpg", quality=80)
        large = picture.resize((128, 128), Image.Resampling.BICUBIC)
        darker = large.point(lambda value: value * 0.8)
        darker.save(pairs / "trainA" / "10.png")
    (pairs / "trainA" / "09.png").unlink()
    with Image.open(pairs / "trainB" / "10.png") as picture:
        picture.resize((128, 128)).save(pairs / "trainB" / "10.png")
    findings = _check(pairs)
    assert _codes(findings) == ["near_duplicate", "sizes", "sizes"]
    assert findings.found[0].count == 2
    assert f"{pairs}/trainA/09.jpg = {pairs}/trainA/03.png" in findings.found[0].examples


def test_leaks_between_splits(pairs):
    shutil.copy(pairs / "trainA" / "03.png", pairs / "testA" / "05.png")
    with Image.open(pairs / "trainA" / "04.png") as picture:
        picture.save(pairs / "testA" / "06.jpg", quality=85)
    (pairs / "testA" / "06.png").unlink()
    shutil.copy(pairs / "valB" / "07.png", pairs / "testB" / "07.png")
    findings = _check(pairs)
    assert _codes(findings) == ["leak", "leak"]
    first, second = findings.found
    assert first.message == (
        "LEAK, pictures of test that are also in train: 2 of the 12 of a; scores on test will be "
        "better than the truth"
    )
    assert first.detail == {"exact": 1, "with": "train"}
    assert first.examples[0] == f"{pairs}/testA/05.png = {pairs}/trainA/03.png"
    assert "also in val: 1 of the 12 of b" in second.message


def test_statistics(pairs, tiles):
    statistics = _check(pairs).statistics
    channels = statistics["b"]["splits"]["test"]["channels"]
    values = tiles["test", "b"].reshape(-1, 3).astype(float)
    for channel, numbers in enumerate(channels):
        own = values[:, channel]
        assert (numbers["min"], numbers["max"]) == (own.min(), own.max())
        assert numbers["mean"] == pytest.approx(own.mean(), abs=1)
        assert numbers["std"] == pytest.approx(own.std(), abs=1)
        assert numbers["p50"] == pytest.approx(np.median(own), abs=2)
    assert statistics["a"]["splits"]["train"]["width"] == {"min": 64, "median": 64, "max": 64}


def test_limit_examines_some_rows_of_each_split(pairs):
    _spoil_files(pairs)
    findings = _check(pairs, limit=4)
    assert findings.examined == 3 * 4 * 2
    assert findings.pictures["train"] == {"a": 16, "b": 16}
    assert "examined 24 of 80" in told(findings, 5)


def test_masks_and_instances_belong_to_the_first_key(tmp_path):
    for number in range(12):
        _save(tmp_path / "train" / "A" / f"{number:02}.png", _noise(number))
        _save(tmp_path / "train" / "B" / f"{number:02}.png", _noise(100 + number))
        inside = np.zeros((32, 32 + (number == 3)), np.uint8)
        inside[:8] = 255
        _save(tmp_path / "train" / "mask" / f"{number:02}.png", inside)
    findings = _check(tmp_path, size=32)
    one = _one(findings, "size")
    assert "03.png is 32x32 pixels, but its partner " in one.examples[0]
    assert "mask/03.png is 33x32" in one.examples[0]
    assert findings.statistics["mask"]["splits"]["train"]["inside"] == pytest.approx(0.25)
    assert _before_training(tmp_path, size=32).lines() == list(one.examples)


def _count_reading(monkeypatch) -> list[str]:
    """From now on, gather the names of files that the doctor decodes."""
    read, found = subject.read_raster, []

    def counted(blob, *rest):
        found.append(Path(blob.path).name)
        return read(blob, *rest)

    monkeypatch.setattr(subject, "read_raster", counted)
    return found


def test_sound_files_are_read_once_and_altered_ones_again(pairs, monkeypatch):
    read = _count_reading(monkeypatch)
    assert _before_training(pairs).lines() == []
    assert len(read) == 80
    assert _before_training(pairs).lines() == []
    assert len(read) == 80, "a second start reads nothing"
    _save(pairs / "trainB" / "03.png", _noise(1, 64, 80))
    assert len(_before_training(pairs).lines()) == 1
    assert read[80:] == ["03.png", "03.png"], "only the pair that was altered"
    assert len(_before_training(pairs).lines()) == 1, "what is wrong stays wrong"
    _save(pairs / "trainB" / "03.png", _noise(1, 64, 64))
    assert _before_training(pairs).lines() == []


def test_a_check_spares_the_start_the_reading(pairs, monkeypatch):
    _check(pairs)
    read = _count_reading(monkeypatch)
    assert _before_training(pairs).lines() == []
    assert not read
    assert _before_training(pairs, fit="pad").lines() == []
    assert len(read) == 80, "with other settings other files may be unfit"


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"no array at all" * 40])
def test_a_damaged_memory_is_made_anew(pairs, cache, monkeypatch, content):
    _before_training(pairs)
    shutil.rmtree(cache / "facts")
    (memory,) = (cache / "sound").iterdir()
    memory.write_bytes(content)
    read = _count_reading(monkeypatch)
    assert _before_training(pairs).lines() == []
    assert len(read) == 80


def test_a_memory_with_a_pickle_is_not_opened(pairs, cache):
    _before_training(pairs)
    shutil.rmtree(cache / "facts")
    (memory,) = (cache / "sound").iterdir()
    np.save(memory, np.array([{"not": "data"}], object), allow_pickle=True)
    assert _before_training(pairs).lines() == []


def test_without_a_cache_files_are_read_every_time(pairs, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path / "file"))
    read = _count_reading(monkeypatch)
    for _ in range(2):
        assert _before_training(pairs).lines() == []
    assert len(read) == 160


def test_of_very_many_files_some_are_decoded_and_all_headers_read(pairs, monkeypatch):
    monkeypatch.setattr(fatal, "MOST_DECODED", 40)
    _save(pairs / "trainB" / "03.png", _noise(1, 64, 80))
    (pairs / "testA" / "05.png").write_bytes(b"")
    said, read = [], _count_reading(monkeypatch)
    findings = _before_training(pairs, say=said.append)
    assert said == [
        f"80 files: decoding 40 of them, and the headers of all; 'dragoman check {pairs}' decodes "
        "all"
    ]
    assert len(read) == 40
    assert sorted(_codes(findings)) == ["size", "unreadable"]


def test_marks_change_with_the_file(pairs):
    table = open_table(DataSettings(data=str(pairs), size=SIZE))
    before = known.marks(table, "train", "a")
    assert len(set(before.tolist())) == 16
    assert (before != 0).all()
    path = pairs / "trainA" / "03.png"
    os.utime(path, ns=(0, 12345))
    after = known.marks(table, "train", "a")
    assert np.flatnonzero(before != after).tolist() == [3]
    path.unlink()
    assert known.marks(table, "train", "a")[3] == 0


def test_json_has_all_and_its_keys_stay(pairs):
    _spoil_size(pairs)
    content = json.loads(_check(pairs).as_json())
    assert list(content) == [
        "version",
        "data",
        "verdict",
        "fatal",
        "warning",
        "note",
        "pictures",
        "examined",
        "findings",
        "statistics",
    ]
    assert (content["version"], content["verdict"], content["fatal"]) == (1, "fatal", 1)
    finding = content["findings"][0]
    assert finding == {
        "level": "fatal",
        "code": "size",
        "key": "",
        "split": "",
        "count": 1,
        "message": "pairs, stacks or layers that differ in size: 1",
        "examples": [
            f"{pairs}/trainA/03.png is 64x64 pixels, but its partner {pairs}/trainB/03.png is 80x64"
        ],
        "fix": "crop or resize both to the same pixels, or remove them",
        "detail": {},
    }
    split = content["statistics"]["a"]["splits"]["train"]
    assert list(split) == ["pictures", "read", "height", "width", "channels"]
    assert list(split["channels"][0]) == ["mean", "std", "min", "p1", "p50", "p99", "max"]


def test_json_keeps_to_the_number_of_examples(pairs):
    for number in range(6):
        _save(pairs / "trainB" / f"{number:02}.png", _noise(number, 64, 80))
    content = json.loads(_check(pairs).as_json(examples=2))
    assert (content["findings"][0]["count"], len(content["findings"][0]["examples"])) == (6, 2)


def test_the_text_is_ordered_and_fits_a_terminal(pairs):
    _save(pairs / "trainB" / "03.png", np.asarray(Image.open(pairs / "trainB" / "02.png")))
    _spoil_files(pairs)
    shutil.copy(pairs / "trainA" / "08.png", pairs / "testA" / "08.png")
    findings = _check(pairs)
    text = told(replace(findings, data="pairs"), 1)
    lines = text.replace(f"{pairs}/", "").splitlines()
    assert lines[0] == "pairs: train 16; val 12; test 12 of a, b; examined 80"
    heads = [line for line in lines if line and line[0] != " "][1:]
    assert heads == [
        "FATAL: training would be refused",
        "WARNINGS: training works, but look at these first",
        "STATISTICS",
        "found: 1 fatal, 2 warnings",
    ]
    assert "  - files that cannot be read: 2" in lines
    assert "    ... and 1 more" in lines
    assert max(map(len, lines)) <= 100
    assert lines[-2] == ""
    numbers = next(line for line in lines if line.startswith("                   1 "))
    assert len(numbers.split()) == 8
