"""Own pictures in folders: every layout gives the same keys, splits and partners."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from laid_out import SPLITS, TWELVE, all_names, counts, fill, names_of, opened, save, value

from dragoman.data import DataSettings
from dragoman.data.recognition import recognise
from dragoman.errors import DataError, SettingsError

# SHA-1 of "11" begins at 0.093 of its range, of "08" at 0.12 and of "05" at 0.16
HELD_OUT = {"test": ["11"], "val": ["05", "08"]}


def _recognised(data, **options) -> str:
    return recognise(DataSettings(data=str(data), **options))


PAIRS = [
    ("{split}A", "{split}B", "{split}_{layer}"),
    ("{split}/A", "{split}/B", "{split}/{layer}"),
    ("{split}_A", "{split}_B", "{split}_{layer}"),
    ("{split}_label", "{split}_img", "{split}_{layer}"),
]


@pytest.mark.parametrize(("a", "b", "layer"), PAIRS)
def test_pairs_with_splits_and_layers(tmp_path, a, b, layer):
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        names = [f"deep/{number}" for number in range(count)]
        fill(tmp_path / a.format(split=split), names)
        fill(tmp_path / b.format(split=split), names, ".jpg", 100)
        for place, kind in enumerate(("map", "inst" if "label" in a else "instance", "mask")):
            folder = tmp_path / layer.format(split=split, layer=kind)
            fill(folder, names, ".tif", 20 * (place + 1))
    assert _recognised(tmp_path) == "pairs"
    table = opened(tmp_path)
    assert table.keys == ("a", "b", "map", "instance", "mask")
    assert table.problems == []
    assert counts(table) == {"train": 5, "val": 2, "test": 3}
    assert list(table.names("val")) == ["deep/0", "deep/1"]
    assert table.partners("train")
    assert table.kinds == ({"a": "labels"} if "label" in a else {})
    found = [value(table, "test", key, 2) for key in table.keys]
    assert found == [2, 102, 22, 42, 62]
    assert table.folders("b") == str(tmp_path / b.format(split="train"))
    shutil.rmtree(tmp_path / layer.format(split="val", layer="mask"))
    with pytest.raises(DataError, match=r"has the folder .*mask but none of that kind for val"):
        opened(tmp_path)


def _pairs(folder: Path) -> str:
    fill(folder / "trainA")
    fill(folder / "trainB", suffix=".jpg")
    return str(folder)


def _two_folders(folder: Path) -> str:
    fill(folder / "x")
    fill(folder / "y", suffix=".tif")
    return f"{folder}/x,{folder}/y"


def _stacks(folder: Path) -> str:
    for place in "xyz":
        fill(folder / place)
    return f"{folder}/x+{folder}/y,{folder}/z"


def _bare(folder: Path) -> str:
    for place in ("A", "B", "mask"):
        fill(folder / place)
    return str(folder)


def _flat(folder: Path) -> str:
    fill(folder)
    return str(folder)


def _train_only(folder: Path) -> str:
    fill(folder / "train")
    fill(folder / "train_mask")
    return str(folder)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (_pairs, {}),
        (_pairs, {"pairing": "unpaired"}),
        (_two_folders, {}),
        (_stacks, {}),
        (_bare, {}),
        (_flat, {}),
        (_train_only, {}),
        (_flat, {"layout": "side_by_side"}),
        (_train_only, {"layout": "side_by_side"}),
    ],
)
def test_the_same_names_are_held_out_of_every_layout(tmp_path, make, options):
    table = opened(make(tmp_path), **options)
    names = names_of(table)
    assert {split: names[split] for split in HELD_OUT} == HELD_OUT
    assert all_names(table) == TWELVE
    for split in table.splits:
        for key in table.keys:
            for row, name in enumerate(names[split]):
                for blob in table.blobs(split, key, row):
                    assert Path(blob.path).stem == name
                    assert blob.file is not None
                    assert blob.file.is_file()


def test_two_folders_may_hold_splits(tmp_path):
    for place in "xy":
        fill(tmp_path / place / "train", ["1", "2", "3"])
        fill(tmp_path / place / "val", ["4"])
        fill(tmp_path / place / "test", ["5"])
    table = opened(f"{tmp_path}/x,{tmp_path}/y")
    assert names_of(table) == {"train": ["1", "2", "3"], "val": ["4"], "test": ["5"]}
    save(tmp_path / "x" / "beside.png")
    table = opened(f"{tmp_path}/x,{tmp_path}/y")
    assert table.problems == [
        f"{tmp_path}/x has pictures beside the folder train, which are left out; move them into it"
    ]
    fill(tmp_path / "z", ["1", "2", "3"])
    with pytest.raises(DataError, match=r"x has the folder train but lacks .*z/train"):
        opened(f"{tmp_path}/x,{tmp_path}/z")


def test_stacks_keep_their_order_and_their_partners(tmp_path):
    for number, place in enumerate(("red", "nir", "b1", "b2")):
        fill(tmp_path / place, [n for n in TWELVE if n != f"0{number}"], first=20 * number)
    spec = f"{tmp_path}/red+{tmp_path}/nir,{tmp_path}/b1+{tmp_path}/b2"
    table = opened(spec)
    assert table.name == "red-nir-b1-b2"
    assert table.folders("a") == f"{tmp_path}/red+{tmp_path}/nir"
    assert all_names(table) == TWELVE[4:]
    row = list(table.names("train")).index("07")
    assert [value(table, "train", "a", row, place) for place in (0, 1)] == [6, 26]
    assert [value(table, "train", "b", row, place) for place in (0, 1)] == [46, 66]
    assert len(table.problems) == 12
    assert f"{tmp_path}/red/01.png has no partner in {tmp_path}/nir" in table.problems
    assert f"{tmp_path}/b2/00.png has no partner in {tmp_path}/red" in table.problems
    alone = opened(f"{tmp_path}/red+{tmp_path}/nir")
    assert alone.keys == ("image",)
    assert len(alone.blobs("test", "image", 0)) == 2
    loose = opened(spec, pairing="unpaired")
    assert loose.count("train", "a") + loose.count("val", "a") + loose.count("test", "a") == 10
    assert not loose.partners("train")


def test_unpaired_layers_belong_to_a(tmp_path):
    fill(tmp_path / "trainA")
    fill(tmp_path / "train_mask", TWELVE[1:])
    fill(tmp_path / "trainB", [f"other{n}" for n in range(30)])
    table = opened(tmp_path, pairing="unpaired")
    assert table.name.endswith("-unpaired")
    for split in SPLITS:
        assert table.count(split, "a") == table.count(split, "mask")
        for row in range(table.count(split, "a")):
            a, mask = (table.blobs(split, key, row)[0].path for key in ("a", "mask"))
            assert Path(a).stem == Path(mask).stem
    assert sum(table.count(split, "b") for split in SPLITS) == 30
    assert table.problems == [f"{tmp_path}/trainA/00.png has no partner in {tmp_path}/train_mask"]


def test_side_by_side_has_both_in_one_file(tmp_path):
    for split in SPLITS:
        for number in range(3):
            save(tmp_path / split / f"{number}.png", number, width=8)
    table = opened(tmp_path, layout="side_by_side")
    assert table.keys == ("a", "b")
    assert table.halves == {"a": "left", "b": "right"}
    assert table.blobs("val", "a", 2) == table.blobs("val", "b", 2)
    assert names_of(table) == {split: ["0", "1", "2"] for split in SPLITS}
    assert _recognised(tmp_path) == "single"


def test_classes_without_splits_are_held_out_by_name_within_the_class(tmp_path):
    for kind in ("cat", "dog", "10", "9"):
        fill(tmp_path / kind)
    fill(tmp_path / "owl", ["a", "b", "c"])
    assert _recognised(tmp_path) == "classes"
    table = opened(tmp_path)
    assert table.keys == ("image",)
    assert table.label_sets == {"label": ("10", "9", "cat", "dog", "owl")}
    assert table.problems == []
    where: dict[str, set[str]] = {}
    for split in table.splits:
        rows = np.arange(table.count(split, "image"))
        labels = table.labels(split, rows)
        assert labels.shape == (len(rows), 1)
        assert labels.dtype == np.int64
        for name, (label,) in zip(table.names(split), labels, strict=True):
            kind, _, short = name.partition("/")
            assert table.label_sets["label"][label] == kind
            where.setdefault(short, set()).add(split)
        assert set(labels[:, 0].tolist()) == {0, 1, 2, 3, 4}, split  # every class in every split
    assert all(len(splits) == 1 for splits in where.values())  # equal names stay together
    assert {name for name in TWELVE if where[name] == {"test"}} == {"11"}
    assert {name for name in TWELVE if where[name] == {"val"}} == {"05", "08"}


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path):
    for kind in ("10", "9", "100"):
        fill(tmp_path / "train" / kind)
        for split in ("val", "test"):
            fill(tmp_path / split / kind, ["x", "deep/y"])
    table = opened(tmp_path, layout="classes")
    assert table.label_sets == {"label": ("9", "10", "100")}
    assert table.count("val", "image") == 6
    assert table.labels("test", np.array([5, 0, 3])).tolist() == [[0], [1], [2]]
    assert list(table.names("test"))[:3] == ["10/deep/y", "10/x", "100/deep/y"]


def test_classes_of_two_keep_one_for_training(tmp_path):
    fill(tmp_path / "one", ["x", "y"])
    fill(tmp_path / "two", ["v", "w"])
    table = opened(tmp_path)
    rows = np.arange(2)
    assert sorted(table.labels("train", rows)[:, 0].tolist()) == [0, 1]
    fill(tmp_path / "two", ["x", "y"])
    for place in ("v", "w"):
        (tmp_path / "two" / f"{place}.png").unlink()
    with pytest.raises(DataError, match="has no picture left for val; add pictures to its classes"):
        opened(tmp_path)


def test_single_pictures_flat_and_nested(tmp_path):
    fill(tmp_path / "deep" / "er", ["x", "y", "z"])
    fill(tmp_path / "mask" / "deep" / "er", ["x", "y", "z"], first=50)
    assert _recognised(tmp_path) == "single"
    table = opened(tmp_path)
    assert table.keys == ("image", "mask")
    assert all_names(table) == ["deep/er/x", "deep/er/y", "deep/er/z"]
    assert value(table, "train", "mask", 0) == value(table, "train", "image", 0) + 50
    assert table.label_sets == {}
    table = opened(tmp_path, layout="single")
    assert table.problems == []


def test_single_pictures_beside_their_layers(tmp_path):
    fill(tmp_path / "image" / "deep", ["x", "y", "z"])
    fill(tmp_path / "mask" / "deep", ["x", "y", "z"], first=50)
    assert _recognised(tmp_path) == "single"
    table = opened(tmp_path)
    assert table.keys == ("image", "mask")
    assert all_names(table) == ["deep/x", "deep/y", "deep/z"]
    assert value(table, "train", "mask", 0) == value(table, "train", "image", 0) + 50
    fill(tmp_path, ["u", "v", "w"])
    with pytest.raises(SettingsError, match="too few names occur in both"):
        opened(tmp_path)  # here image is a folder of pictures among others


def test_single_pictures_with_splits_and_layers(tmp_path):
    for split, count in (("train", 4), ("val", 1), ("test", 2)):
        fill(tmp_path / split, TWELVE[:count])
        fill(tmp_path / f"{split}_instance", TWELVE[:count], ".tif", 50)
    table = opened(tmp_path)
    assert table.keys == ("image", "instance")
    assert counts(table) == {"train": 4, "val": 1, "test": 2}
    assert value(table, "test", "instance", 1) == 51
    (tmp_path / "train" / "00.png").unlink()
    assert opened(tmp_path).problems == [
        f"{tmp_path}/train_instance/00.tif has no partner in {tmp_path}/train"
    ]


def test_digest_tells_every_change_but_not_the_place(tmp_path):
    for place in ("x", "y"):
        for side in ("trainA", "trainB"):
            fill(tmp_path / place / side)
    first = opened(tmp_path / "x").digest()
    assert opened(tmp_path / "y").digest() == first
    seen = {first, opened(tmp_path / "x", layout="single").digest()}
    (tmp_path / "x" / "trainA" / "00.png").rename(tmp_path / "x" / "trainA" / "00.bmp")
    seen.add(opened(tmp_path / "x").digest())
    for side in ("trainA", "trainB"):
        (tmp_path / "y" / side / "00.png").unlink()
    seen.add(opened(tmp_path / "y").digest())
    for side in ("A", "B"):
        fill(tmp_path / "y" / f"test{side}", ["00"])
    seen.add(opened(tmp_path / "y").digest())
    assert len(seen) == 5


def test_names_of_tables_are_fit_for_folders(tmp_path):
    fill(tmp_path / "my pictures (1)")
    assert opened(tmp_path / "my pictures (1)").name == "my-pictures-1"
    fill(tmp_path / "a,b+c")
    assert opened(tmp_path / "a,b+c").name == "a-b-c"
