"""Label and instance maps that training would trip over are refused before it, by name."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from patients import before_training, checked, noise, one_of, save
from PIL import Image

from dragoman.data import DataSettings, open_data
from dragoman.errors import DataError, SettingsError

COUNT = 30


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Nothing is remembered from one test to the next."""
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def city(tmp_path):
    """Label maps of the classes 0 to 4, photos and instance maps, as SPADE and pix2pixHD lie."""
    for number in range(COUNT):
        classes = np.roll(np.repeat(np.arange(5, dtype=np.uint8), 7)[:32], number)
        classes = np.repeat(classes[:, None], 32, 1)
        save(tmp_path / "train_label" / f"{number:02}.png", classes)
        save(tmp_path / "train_img" / f"{number:02}.png", noise(number))
        save(tmp_path / "train_inst" / f"{number:02}.png", classes * 3)
    return tmp_path


def refused(folder: Path, **options) -> str:
    """The lines with which training and check both refuse a folder."""
    settings = DataSettings(str(folder), size=32, **options)
    with pytest.raises(DataError) as caught:
        open_data(settings).check()
    lines = checked(folder, size=32, **options).lines()
    assert all(line in str(caught.value) for line in lines[:20])
    assert sorted(lines) == sorted(before_training(folder, size=32, **options).lines())
    return "\n".join(lines)


def test_a_sound_set_is_not_refused(city):
    data = open_data(DataSettings(str(city), size=32))
    data.check()
    assert data.facts.channels == {"a": 5, "b": 3}
    batch = data.rows("train", [0, 1])
    assert batch["instance"].dtype == torch.int64
    assert torch.equal(batch["instance"], 3 * batch["map"])


def test_class_numbers_out_of_range_name_file_number_and_flag(city):
    words = refused(city, classes="a=4")
    assert (
        "train_label/00.png holds the class 4, but label has the classes 0 to 3; train with "
        "--classes 5 or, if it means no class, --unlabelled 4"
    ) in words


def test_more_classes_than_the_maps_hold_are_told(city):
    findings = checked(city, size=32, classes="a=9")
    one = one_of(findings, "absent_class")
    assert one.level == "warning"
    assert "classes of a that occur nowhere in train: 4 of 9 (5, 6, 7, 8)" in one.message
    assert one.fix == "nothing, if they are meant; else --classes a=5"
    open_data(DataSettings(str(city), size=32, classes="a=9")).check()


def test_classes_of_what_is_no_label_map(city):
    plain = DataSettings(str(city), size=32)
    for name, settings in (
        ("classes", replace(plain, classes="b=4")),
        ("unlabelled", replace(plain, unlabelled="b=4")),
    ):
        words = f"--{name} is for label maps, of which 'b' is none; use --kind b=labels"
        with pytest.raises(SettingsError, match=words):
            open_data(settings)
    assert open_data(DataSettings(str(city), size=32, classes="5")).facts.channels["a"] == 5


def test_label_maps_of_blurred_numbers(city):
    path = city / "train_label" / "00.png"
    with Image.open(path) as picture:
        picture.save(path.with_suffix(".jpg"))
    path.unlink()
    assert "00.jpg is a JPEG, which blurs class numbers; save label maps as PNG" in refused(city)


def test_the_usual_number_for_no_class_is_not_taken_for_one(city):
    for number in range(COUNT):
        save(city / "train_label" / f"{number:02}.png", np.full((32, 32), 255, np.uint8))
    classes = (np.arange(1024).reshape(32, 32) % 5).astype(np.uint8)
    save(city / "train_label" / "03.png", classes)
    with pytest.raises(
        DataError,
        match=r"train_label holds the class 255, but none from 5 to 254; use --unlabelled a=255 if "
        r"it means no class, as is usual, or --classes a=256",
    ):
        open_data(DataSettings(str(city), size=32))
    assert open_data(DataSettings(str(city), size=32, classes="a=256")).facts.channels["a"] == 256
    data = open_data(DataSettings(str(city), size=32, unlabelled="a=255"))
    assert data.facts.channels["a"] == 5
    data.check()
    batch = data.rows("train", [0])
    assert (batch["map"] == -1).all()
    assert (batch["a"] == -1).all(), "no class at all: every channel is off"


def test_256_classes_are_taken_as_they_are(city):
    classes = (np.arange(1024).reshape(32, 32) % 256).astype(np.uint8)
    save(city / "train_label" / "03.png", classes)
    assert open_data(DataSettings(str(city), size=32)).facts.channels["a"] == 256


def test_unlabelled_pixels_are_in_no_class(city):
    data = open_data(DataSettings(str(city), size=32, classes="a=5", unlabelled="a=2", flip=False))
    batch = data.rows("train", [0])
    holes = batch["instance"][0] == 3 * 2
    assert holes.any()
    assert torch.equal(batch["map"][0] == -1, holes)
    assert torch.equal((batch["a"][0] == -1).all(0), holes)
    assert ((batch["a"][0] == 1).sum(0) == (~holes).long()).all()


@pytest.mark.parametrize("classes", ["a=5", None])
def test_label_maps_that_are_stored_as_colours(city, classes):
    save(city / "train_label" / "03.png", noise(3))
    words = refused(city, classes=classes)
    assert (
        "train_label/03.png must hold one whole class number a pixel, it has 3 channels of uint8; "
        "save it as a palette or grey picture of class numbers"
    ) in words


def test_label_maps_of_floats(city):
    (city / "train_label" / "03.png").unlink()
    tifffile.imwrite(city / "train_label" / "03.tif", np.ones((32, 32), np.float32))
    assert "03.tif must hold one whole class number a pixel, it has 1 channels" in refused(city)


def test_negative_classes_name_a_remedy_that_can_be_typed(city):
    (city / "train_label" / "03.png").unlink()
    tifffile.imwrite(city / "train_label" / "03.tif", np.full((32, 32), -1, np.int16))
    assert (
        "03.tif holds the class -1, but label has the classes 0 to 4; if it means no class, save "
        "another number there, as 255 with --unlabelled 255"
    ) in refused(city)


def test_a_picture_without_instance_map(city):
    (city / "train_inst" / "03.png").unlink()
    words = refused(city)
    assert "train_label/03.png has no partner in " in words
    assert words.endswith("train_inst")


def test_no_instance_maps_in_one_of_the_splits(city):
    for kind in ("label", "img"):
        shutil.copytree(city / f"train_{kind}", city / f"val_{kind}")
    with pytest.raises(DataError, match=r"has the folder train_inst but none of that kind for val"):
        open_data(DataSettings(str(city), size=32))


def test_instance_maps_of_another_size(city):
    save(city / "train_inst" / "03.png", np.zeros((32, 40), np.uint8))
    assert "train_inst/03.png is 40x32" in refused(city)


@pytest.mark.parametrize(
    ("folder", "low", "words"),
    [
        (
            "train_inst",
            -7,
            "holds the instance number -7; number objects from 0 on, the same number for all",
        ),
        ("train_map", -2, "holds the class -2; classes are numbered from 0 on, and -1 stands for"),
    ],
)
def test_negative_numbers_of_layers(city, folder, low, words):
    for number in range(COUNT):
        pixels = np.zeros((32, 32), np.int16)
        pixels[0, 0] = low if number == 3 else 0
        (city / folder).mkdir(exist_ok=True)
        (city / folder / f"{number:02}.png").unlink(missing_ok=True)
        tifffile.imwrite(city / folder / f"{number:02}.tif", pixels)
    assert f"{folder}/03.tif {words}" in refused(city)


def test_a_map_beside_the_pictures_may_have_pixels_of_no_class(city):
    (city / "train_map").mkdir()
    for number in range(COUNT):
        tifffile.imwrite(city / "train_map" / f"{number:02}.tif", np.full((32, 32), -1, np.int16))
    data = open_data(DataSettings(str(city), size=32))
    data.check()
    assert (data.rows("train", [0])["map"] == -1).all()


def test_instance_maps_of_colours(city):
    save(city / "train_inst" / "03.png", noise(3))
    assert (
        "train_inst/03.png must hold one whole number a pixel as instance, it has 3 channels of "
        "uint8; save it as a grey or palette picture"
    ) in refused(city)
