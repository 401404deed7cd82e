"""Data sets of the library datasets: local parquet, image folders, and what may not happen."""

from typing import Any

import datasets
import datasets.config
import numpy as np
import pytest

from dragoman.data import open_data
from dragoman.data.names import Names
from dragoman.data.packing import pack_named
from dragoman.data.splits import hold_out
from dragoman.data.tables import open_table
from dragoman.errors import DataError, SettingsError
from tests.parquets import image, opened, pairs, parquet, tree
from tests.tars import alike, contents, pictures, png, save, settings_of


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def test_parquet_with_splits(tmp_path):
    root = tmp_path / "my set"
    for split, count in (("train", 5), ("validation", 2), ("test", 3)):
        pairs(root / "data" / f"{split}-00000-of-00001.parquet", count, 10 * count)
    before = tree(root)
    table = opened(root)
    assert (table.name, table.keys, table.splits) == (
        "my-set",
        ("a", "b"),
        ("train", "val", "test"),
    )
    assert [table.count(split, "b") for split in table.splits] == [5, 2, 3]
    assert pictures(table, "val", "a") == [[png(20)], [png(21)]]
    assert pictures(table, "test", "b") == [[png(1030 + n)] for n in range(3)]
    assert list(table.names("train")) == ["0", "1", "2", "3", "4"]
    assert table.blobs("train", "a", 4)[0].name == f"{root}:train/4/a.png"
    assert (table.halves, table.problems, table.label_sets) == ({}, [], {})
    assert table.partners("train")
    assert table.folders("b") == f"{root}/b"
    assert tree(root) == before, "nothing is written into the user's folder"


def test_splits_that_are_lacking_go_by_the_hash_of_the_rows(tmp_path):
    table = opened(pairs(tmp_path / "x.parquet", 60))
    rows = hold_out(Names.of(str(n).encode() for n in range(60)), ("test", "val"))
    for split in table.splits:
        assert list(table.names(split)) == [str(row) for row in rows[split]]
        assert pictures(table, split, "a") == [[png(row)] for row in rows[split]]
    pairs(tmp_path / "two" / "train.parquet", 60)
    pairs(tmp_path / "two" / "test.parquet", 7)
    two = opened(tmp_path / "two")
    assert two.count("test", "a") == 7
    assert two.count("train", "a") + two.count("val", "a") == 60


def test_a_folder_of_the_library_is_read(tmp_path):
    features = datasets.Features(
        {"image": datasets.Image(), "kind": datasets.ClassLabel(names=["x", "y"])}
    )
    columns = {"image": [image(png(n)) for n in range(12)], "kind": [n % 2 for n in range(12)]}
    one = datasets.Dataset.from_dict(columns, features)
    one.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": one, "test": one}).save_to_disk(tmp_path / "two")
    parquet(tmp_path / "x.parquet", dict(features), **columns)
    assert contents(opened(tmp_path / "one")) == contents(opened(tmp_path / "x.parquet"))
    assert opened(tmp_path / "two").count("test", "image") == 12
    assert opened(tmp_path / "one").label_sets == {"kind": ("x", "y")}


@pytest.mark.parametrize("kind", ["plain struct", "binary"])
def test_parquet_that_others_wrote(tmp_path, kind):
    rows = [png(n) for n in range(9)]
    column = rows if kind == "binary" else [image(row) for row in rows]
    table = opened(parquet(tmp_path / "x.parquet", photo=column, caption=["x"] * 9))
    assert table.keys == ("image",)
    assert [len(pictures(table, split, "image")) for split in table.splits] == [
        table.count(split, "image") for split in table.splits
    ]
    assert {one for split in table.splits for (one,) in pictures(table, split, "image")} == {*rows}


def test_pictures_are_not_decoded_but_by_us(tmp_path, monkeypatch):
    columns = {"image": [image(png(n, "L") if n else b"no picture") for n in range(9)]}
    path = parquet(tmp_path / "x.parquet", {"image": datasets.Image()}, **columns)

    def never(*_, **__):
        raise AssertionError("decoded by the library")

    monkeypatch.setattr(datasets.Image, "decode_example", never)
    table = opened(path)
    assert table.count("train", "image") > 5
    data = open_data(settings_of(data=f"hf:{path}", size=8, load_size=8))
    with pytest.raises(DataError, match=r"x.parquet:train/0/image.png "):
        data.rows("train", [0])
    assert data.rows("train", [1])["image"].shape == (1, 1, 8, 8)


def test_endings_go_by_content_and_then_by_name(tmp_path):
    heads = {
        b"\x89PNG...": ".png",
        b"\xff\xd8\xff...": ".jpg",
        b"RIFF....WEBP": ".webp",
        b"BM...": ".bmp",
        b"II*\0...": ".tif",
        b"MM\0*...": ".tif",
        b"\x93NUMPY...": ".npy",
        b"PK\x03\x04...": ".npz",
        b"?": ".tiff",
    }
    path = parquet(tmp_path / "x.parquet", image=[image(head, "x.tiff") for head in heads])
    table = opened(path)
    got = {
        blob.data: blob.suffix
        for split in table.splits
        for row in range(table.count(split, "image"))
        for blob in table.blobs(split, "image", row)
    }
    assert got == heads


def test_an_image_folder_with_classes(tmp_path):
    root = tmp_path / "pets"
    for n in range(12):
        save(root / "train" / ("cat", "dog")[n % 2] / f"{n}.png", n)
    for n in range(4):
        save(root / "test" / ("cat", "dog")[n % 2] / f"{n}.png", 100 + n)
    before = tree(root)
    table = opened(root)
    assert table.label_sets == {"label": ("cat", "dog")}
    for split in table.splits:
        labels = table.labels(split, np.arange(table.count(split, "image")))[:, 0]
        for row, label in enumerate(labels.tolist()):
            file = table.blobs(split, "image", row)[0].file
            assert file is not None
            assert file.parent.name == ("cat", "dog")[label]
            assert file.is_relative_to(root)
    assert table.count("test", "image") == 4
    assert tree(root) == before


def test_batches_and_packs_of_an_image_folder(tmp_path):
    for n in range(12):
        save(tmp_path / "own" / ("cat", "dog")[n % 2] / f"{n}.png", n)
    data = open_data(settings_of(data=f"hf:{tmp_path / 'own'}", size=8, load_size=8))
    batch = data.rows("train", range(3))
    assert batch["image"].shape == (3, 3, 8, 8)
    assert batch["label"].tolist() == [0, 0, 0]
    told = pack_named(settings_of(data=f"hf:{tmp_path / 'own'}"), tmp_path / "out")
    assert told.startswith("wrote 12 samples in 3 shards")
    alike(open_table(settings_of(data=str(tmp_path / "out"))), opened(tmp_path / "own"))


def test_columns_are_named(tmp_path):
    path = parquet(
        tmp_path / "x.parquet",
        red=[image(png(n)) for n in range(12)],
        nir=[image(png(100 + n)) for n in range(12)],
        Out=[image(png(200 + n)) for n in range(12)],
        species=["cat", "dog", None, ""] * 3,
        age=[10, 9, 9, None] * 3,
    )
    with pytest.raises(DataError) as caught:
        opened(path)
    assert str(caught.value) == (
        f"hf:{path} has the pictures red, nir, Out, but none called a, b or image; name them by "
        "--columns a=red,b=Out or --columns image=red"
    )
    table = opened(path, columns="a=red+nir,b=Out,label=species+age")
    assert table.keys == ("a", "b")
    assert table.label_sets == {"species": ("cat", "dog"), "age": ("9", "10")}
    for split in table.splits:
        rows = [int(name) for name in table.names(split)]
        assert pictures(table, split, "a") == [[png(n), png(100 + n)] for n in rows]
        assert pictures(table, split, "b") == [[png(200 + n)] for n in rows]
        wanted = [[(0, 1, -1, -1)[n % 4], (1, 0, 0, -1)[n % 4]] for n in rows]
        assert table.labels(split, np.arange(len(rows))).tolist() == wanted


def test_an_only_column_of_classes_is_the_label(tmp_path):
    features = {
        "image": datasets.Image(),
        "fine": datasets.ClassLabel(names=["p", "q", "r"]),
        "n": datasets.Value("int64"),
    }
    columns = {"image": [image(png(n)) for n in range(9)], "fine": [2, -1, 0] * 3, "n": [1] * 9}
    table = opened(parquet(tmp_path / "x.parquet", features, **columns))
    assert table.label_sets == {"fine": ("p", "q", "r")}
    left = [int(name) for name in table.names("train")]
    got = table.labels("train", np.arange(len(left)))[:, 0].tolist()
    assert got == [(2, -1, 0)[n % 3] for n in left]
    features["coarse"] = datasets.ClassLabel(names=["s"])
    columns["coarse"] = [0] * 9
    assert opened(parquet(tmp_path / "y.parquet", features, **columns)).label_sets == {}
    rows = [image(png(n)) for n in range(9)]
    plain = parquet(tmp_path / "z.parquet", image=rows, label=[-1, 5, 12] * 3)
    assert opened(plain).label_sets == {"label": ("5", "12")}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            "a=imag,b=text",
            r"--columns a=imag: hf:.* has no such column \(did you mean 'image'\?\); it",
        ),
        (
            "a=image,b=text",
            "--columns b=text: that column of hf:.* holds no encoded pictures; those",
        ),
        (
            "image=image,label=txt",
            r"--columns label=txt: .*\(did you mean 'text'\?\); it has image, t",
        ),
        (
            "image=image,label=score",
            "--columns label=score: that column of .* holds no classes, which",
        ),
        ("image", "--columns image must be BATCH_KEY=NAME, as a=input,b=target,label=species"),
    ],
)
def test_columns_that_cannot_be_are_refused(tmp_path, columns, words):
    path = parquet(
        tmp_path / "x.parquet",
        image=[image(png(n)) for n in range(9)],
        text=["x"] * 9,
        score=[0.5] * 9,
    )
    with pytest.raises(SettingsError, match=words):
        opened(path, columns=columns)


def test_too_many_classes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("dragoman.data.hub_opening.MOST_CLASSES", 5)
    columns: dict[str, Any] = {
        "image": [image(png(n)) for n in range(9)],
        "url": [str(n) for n in range(9)],
    }
    path = parquet(tmp_path / "x.parquet", **columns)
    with pytest.raises(
        DataError, match=r"the column url of hf:.* has more than 5 different values, t"
    ):
        opened(path, columns="label=url")


def test_unpaired_rows_and_rows_without_picture(tmp_path):
    a = [image(png(n)) if n % 5 else None for n in range(30)]
    b = [image(png(100 + n)) if n % 6 else None for n in range(30)]
    b[1] = image(None)
    path = parquet(tmp_path / "x.parquet", a=a[::-1], b=b[::-1])
    table = opened(path)
    assert sum(table.count(split, "a") for split in table.splits) == 19
    assert len(table.problems) == 11
    assert table.problems[1] == f"{path}:train/5 has no picture in a, b; remove the row"
    apart = opened(path, pairing="unpaired")
    assert apart.name == "x-unpaired"
    assert not apart.partners("train")
    assert sum(apart.count(split, "a") for split in apart.splits) == 24
    assert sum(apart.count(split, "b") for split in apart.splits) == 24
    everything = {one for split in apart.splits for (one,) in pictures(apart, split, "b")}
    assert everything == {png(100 + n) for n in range(2, 30) if n % 6}
    monkey = parquet(tmp_path / "y.parquet", image=[image(None)] * 9)
    with pytest.raises(
        DataError, match=r"y.parquet/image has no picture left for train; at least 3 r"
    ):
        opened(monkey)


def test_problems_are_many_but_not_endless(tmp_path):
    rows = [image(png(n)) for n in range(9)] + [image(None)] * 1500
    problems = opened(parquet(tmp_path / "x.parquet", image=rows)).problems
    assert len(problems) == 1001
    assert problems[-1].endswith("x.parquet: 500 more such rows")
