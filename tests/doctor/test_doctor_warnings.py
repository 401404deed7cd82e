"""Warnings and notes: each is given where it is due, and only there."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from patients import COUNTS, checked, codes_of, noise, one_of, save
from PIL import Image

from dragoman.data import DataSettings, open_data


@pytest.fixture
def classes(tmp_path):
    """Twelve pictures of cats and twelve of dogs, as single pictures with a CSV."""

    def make(cats: int, dogs: int, unknown: int = 0) -> dict[str, str]:
        names = ["cat"] * cats + ["dog"] * dogs + [""] * unknown
        for number in range(len(names)):
            save(tmp_path / "set" / "train" / f"{number:03}.png", noise(number, 16, 16))
            if number < 4:
                save(tmp_path / "set" / "val" / f"{number:03}.png", noise(1000 + number, 16, 16))
                save(tmp_path / "set" / "test" / f"{number:03}.png", noise(2000 + number, 16, 16))
        rows = [f"train/{number:03}.png,{name}" for number, name in enumerate(names)]
        rows += [f"{split}/{n:03}.png,cat" for split in ("val", "test") for n in range(4)]
        table = tmp_path / "set" / "all.csv"
        splits = [row.split("/")[0] for row in rows]
        lines = [f"{row},{split}" for row, split in zip(rows, splits, strict=True)]
        table.write_text("\n".join(["image,label,split", *lines]))
        return {"data": str(table), "layout": "manifest"}

    return make


def _deep(folder: Path, most: int) -> None:
    for number in range(12):
        scaled = noise(number, channels=1).astype(np.uint16) * (most // 255)
        save(folder / f"{number:02}.png", scaled)


def test_absent_and_rare_classes_of_pixels(maps):
    options = {"size": 32, "kind": "a=labels", "unlabelled": "a=255"}
    assert codes_of(checked(maps, classes="a=3", **options)) == []
    findings = checked(maps, classes="a=5", **options)
    one = one_of(findings, "absent_class")
    assert one.message == "classes of a that occur nowhere in train: 2 of 5 (3, 4)"
    assert one.fix == "nothing, if they are meant; else --classes a=3"
    path = maps / "trainA" / "00.png"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[20, 20] = 3
    save(path, pixels)
    findings = checked(maps, classes="a=4", **options)
    one = one_of(findings, "rare_class")
    assert one.level == "note"
    assert one.message == "classes of a with less than 0.1% of the pixels of train: 1 of 4 (3)"
    shares = findings.statistics["a"]["splits"]["train"]
    assert shares["unlabelled"] == pytest.approx(32 / 1024)
    assert sum(shares["classes"].values()) + shares["unlabelled"] == pytest.approx(1, abs=1e-4)


def test_label_maps_of_one_class_are_but_a_note(maps):
    save(maps / "trainA" / "03.png", np.full((32, 32), 2, np.uint8))
    options = {"size": 32, "kind": "a=labels", "classes": "a=3", "unlabelled": "a=255"}
    one = one_of(checked(maps, **options), "constant")
    assert (one.level, one.count) == ("note", 1)
    assert one.message == "label maps of a single class: 1 of the 30 of a"


def test_balance_of_classes(classes):
    assert codes_of(checked(**classes(12, 10), size=16)) == []
    findings = checked(**classes(40, 4), size=16)
    one = one_of(findings, "imbalance")
    assert one.message == "classes of 'label' are uneven: cat has 40 pictures in train, dog 4"
    assert dict(one.detail) == {"cat": 40, "dog": 4}
    assert findings.statistics["labels"]["label"]["train"] == {"cat": 40, "dog": 4, "": 0}


def test_classes_of_one_picture_and_pictures_of_no_class(classes):
    findings = checked(**classes(9, 1, 3), size=16)
    assert codes_of(findings) == ["few_of_class", "unlabelled"]
    few, unknown = findings.found
    assert few.message == "classes of 'label' with fewer than 2 pictures in train: 1 of 2 (dog)"
    assert unknown.message == "pictures of no known class in 'label': 3 of 21"


def test_splits_of_one_picture(pairs):
    for number in range(1, 12):
        for key in "AB":
            (pairs / f"val{key}" / f"{number:02}.png").unlink()
    one = one_of(checked(pairs), "few")
    assert one.message == "val has 1 picture, too few to judge by"
    assert one.level == "warning"


def test_pictures_of_one_colour(pairs):
    save(pairs / "trainA" / "03.png", np.full((64, 64, 3), (9, 200, 30), np.uint8))
    save(pairs / "testA" / "04.png", np.full((64, 64, 3), (9, 200, 30), np.uint8))
    spotted = np.full((64, 64, 3), 80, np.uint8)
    spotted[10, 10] = 90
    save(pairs / "trainA" / "05.png", spotted)
    findings = checked(pairs)
    one = one_of(findings, "constant")
    assert one.message == "pictures of one colour: 2 of the 40 of a"
    assert one.examples == (f"{pairs}/trainA/03.png", f"{pairs}/testA/04.png")
    assert "leak" not in codes_of(findings), "empty pictures are told of once"


def test_small_pictures(sound):
    findings = checked(sound, size=None)
    assert codes_of(findings) == ["small", "small"]
    one = findings.found[0]
    assert one.message == (
        "pictures smaller than the 256x256 pixels of training (--size 256, the default), to which "
        "they are enlarged: all of the 40 of a"
    )
    assert one.fix == "--size 64"
    assert one.examples == ()
    assert codes_of(checked(sound, size=None, fit="pad")) == []


def test_long_pictures_and_several_sizes(pairs):
    for key in "AB":
        save(pairs / f"train{key}" / "03.png", noise(ord(key), 64, 260))
    findings = checked(pairs)
    assert codes_of(findings) == ["aspect", "aspect", "sizes", "sizes"]
    assert findings.found[0].message == (
        "pictures up to 4.1 times longer than those of training, which lose most when cropped: 1 "
        "of the 40 of a"
    )
    assert findings.found[2].level == "note"
    assert findings.found[2].message == (
        "pictures of a come in 2 sizes, from 64x64 to 260x64 pixels"
    )
    assert codes_of(checked(pairs, fit="pad")) == ["sizes", "sizes"]
    distorted = checked(pairs, fit="resize").found[0].message
    assert "which are distorted" in distorted


def test_grey_pictures_in_three_channels(pairs):
    for path in sorted((pairs / "trainB").iterdir())[:6]:
        save(path, np.asarray(Image.open(path).convert("L").convert("RGB")))
    one = one_of(checked(pairs), "grey")
    assert (one.level, one.key, one.count) == ("note", "b", 6)
    assert one.message == "grey pictures in three equal channels: 6 of the 40 of b"
    for path in sorted((pairs / "trainB").iterdir())[:6]:
        save(path, np.asarray(Image.open(path).convert("L")))
    assert "grey" not in codes_of(checked(pairs)), "what is stored in one channel is well stored"


def test_numbers_of_twelve_bits(tmp_path):
    _deep(tmp_path, 4080)
    settings = {"size": 32, "layout": "single"}
    note = one_of(checked(tmp_path, **settings), "bits")
    assert note.level == "note"
    assert note.message.startswith("image has 12 bits in files of 16: its greatest value is ")
    assert note.fix == "--range image=0:4095 takes all that 12 bits can hold"
    warning = one_of(checked(tmp_path, range="full", **settings), "bits")
    assert warning.level == "warning"
    assert "so that pictures are nearly black in the range in use" in warning.message
    _deep(tmp_path, 65_280)
    assert "bits" not in codes_of(checked(tmp_path, **settings))


def test_values_beyond_the_range(tmp_path):
    _deep(tmp_path, 65_280)
    settings = {"size": 32, "layout": "single"}
    assert "clipped" not in codes_of(checked(tmp_path, **settings))
    one = one_of(checked(tmp_path, range="image=0:30000", **settings), "clipped")
    assert one.detail["share"] > 0.2
    assert (
        "of the values of image lie beyond its range and are cut off; they go from " in one.message
    )
    assert "--range image=percentiles" in one.fix


def test_splits_of_another_brightness(pairs):
    for path in (pairs / "testA").iterdir():
        save(path, np.asarray(Image.open(path)) // 3)
    findings = checked(pairs)
    assert codes_of(findings) == ["splits_differ"]
    one = findings.found[0]
    assert (one.split, one.key) == ("test", "a")
    assert one.message.startswith("test differs from train in a: the mean of channel ")


def test_b_shifted_by_three_pixels(pairs, tiles):
    for split in COUNTS:
        for number, picture in enumerate(tiles[split, "b"]):
            rolled = np.roll(picture, (3, -4), (0, 1))
            save(pairs / f"{split}B" / f"{number:02}.png", rolled)
    findings = checked(pairs)
    assert codes_of(findings) == ["shift"]
    one = findings.found[0]
    assert one.message == (
        "b is shifted by about 3 pixels down and 4 pixels left against a, in a sample of 16 pairs "
        "of train"
    )
    assert (one.detail["down"], one.detail["right"]) == (3, -4)
    assert codes_of(checked(pairs, pairing="unpaired")) == []


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
        save(tmp_path / "trainA" / f"{number:02}.png", a[number].copy())
        save(tmp_path / "trainB" / f"{number:02}.png", np.roll(b[number], away, (0, 1)))
    one = one_of(checked(tmp_path), "scattered")
    assert one.detail["median"] >= 4
    assert "are off by" in one.message
    for number in range(60):
        save(tmp_path / "trainB" / f"{number:02}.png", b[number - 7].copy())
    one = one_of(checked(tmp_path), "unrelated")
    assert one.level == "note"
    assert "share no edges" in one.message
    for number in range(60):
        save(tmp_path / "trainB" / f"{number:02}.png", b[number].copy())
    codes = codes_of(checked(tmp_path))
    assert not {"shift", "scattered", "unrelated"} & set(codes)


def test_copies_within_a_split(pairs):
    shutil.copy(pairs / "trainA" / "03.png", pairs / "trainA" / "09.png")
    with Image.open(pairs / "trainA" / "04.png") as picture:
        picture.save(pairs / "trainA" / "10.bmp")  # other bytes, the same pixels
    (pairs / "trainA" / "10.png").unlink()
    findings = checked(pairs)
    assert codes_of(findings) == ["duplicate"]
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
    findings = checked(pairs)
    assert codes_of(findings) == ["near_duplicate", "sizes", "sizes"]
    assert findings.found[0].count == 2
    assert f"{pairs}/trainA/09.jpg = {pairs}/trainA/03.png" in findings.found[0].examples


def test_leaks_between_splits(pairs):
    shutil.copy(pairs / "trainA" / "03.png", pairs / "testA" / "05.png")
    with Image.open(pairs / "trainA" / "04.png") as picture:
        picture.save(pairs / "testA" / "06.jpg", quality=85)
    (pairs / "testA" / "06.png").unlink()
    shutil.copy(pairs / "valB" / "07.png", pairs / "testB" / "07.png")
    findings = checked(pairs)
    assert codes_of(findings) == ["leak", "leak"]
    first, second = findings.found
    assert first.message == (
        "LEAK, pictures of test that are also in train: 2 of the 12 of a; scores on test will be "
        "better than the truth"
    )
    assert first.detail == {"exact": 1, "with": "train"}
    assert first.examples[0] == f"{pairs}/testA/05.png = {pairs}/trainA/03.png"
    assert "also in val: 1 of the 12 of b" in second.message
