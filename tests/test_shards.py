"""Tar shards as a table: those of `pack` and any WebDataset."""

import os

import numpy as np
import pytest

from dragoman.data.file_table import file_states
from dragoman.data.names import Names
from dragoman.data.settings import DataSettings
from dragoman.data.shard_scan import scan
from dragoman.data.shards import INDEX
from dragoman.data.splits import hold_out
from dragoman.data.tables import open_table
from dragoman.errors import DataError, SettingsError
from tests.tars import classified, contents, opened, pair, pairs, pictures, png, write_tar


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path):
    """Shards of a train and a test split with classes."""
    return classified(tmp_path / "data")


def test_pairs_by_key(tmp_path):
    folder = pairs(tmp_path / "my data", train=5, val=2, test=3)
    table = opened(folder, layout="auto")
    assert (table.name, table.keys, table.splits) == (
        "my-data",
        ("a", "b"),
        ("train", "val", "test"),
    )
    assert [table.count(split, "b") for split in table.splits] == [5, 2, 3]
    assert list(table.names("test")) == ["000007", "000008", "000009"]
    assert pictures(table, "test", "b") == [[png(1000 + n)] for n in (7, 8, 9)]
    assert table.blobs("val", "a", 1)[0].name == f"{folder}/val-000000.tar:000006.a.png"
    assert (table.problems, table.halves, table.label_sets) == ([], {}, {})
    assert table.partners("train")
    assert table.folders("a") == f"{folder}/a"


def test_a_foreign_webdataset_is_pictures_with_classes(tmp_path):
    for shard in range(2):
        members = [
            m
            for n in range(20)
            for m in (
                (f"img{shard}-{n}.jpg", png(20 * shard + n)),
                (f"img{shard}-{n}.cls", b"%d\n" % (2 * (n % 6))),
                (f"img{shard}-{n}.caption.txt", b"a picture"),
            )
        ]
        write_tar(tmp_path / f"{shard:05d}.tar", members)
    table = opened(tmp_path)
    assert table.keys == ("image",)
    assert table.label_sets == {"label": ("0", "2", "4", "6", "8", "10")}, "by number"
    names = [f"img{s}-{n}" for s in range(2) for n in range(20)]
    rows = hold_out(Names.of(name.encode() for name in names), ("test", "val"))
    for split in ("train", "val", "test"):
        assert list(table.names(split)) == [names[row] for row in rows[split]]
        assert pictures(table, split, "image") == [[png(row)] for row in rows[split]]
        got = table.labels(split, np.arange(len(rows[split])))
        assert got.tolist() == [[row % 20 % 6] for row in rows[split]]


@pytest.mark.parametrize("columns", ["a=input.png,b=Target.PNG", "a=input,b=target"])
def test_columns_name_other_endings(tmp_path, columns):
    members = [
        (f"{n}.{e}", png(10 * n + k))
        for n in range(9)
        for k, e in enumerate(("input.png", "Target.png"))
    ]
    write_tar(tmp_path / "train.tar", members)
    with pytest.raises(DataError) as caught:
        opened(tmp_path)
    assert str(caught.value) == (
        f"the samples of {tmp_path} hold input.png, target.png, but none of a, b and image; name "
        "them by --columns a=input.png,b=target.png or --columns image=input.png"
    )
    table = opened(tmp_path, columns=columns)
    assert table.keys == ("a", "b")
    got = {png for row in pictures(table, "train", "b") for png in row}
    assert got <= {data for name, data in members if "Target" in name}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("a=inpt.png", "--columns a=inpt.png: no sample of .* has it .did you mean 'input.png'"),
        ("input.png", "--columns input.png must be BATCH_KEY=NAME, as a=input,b=target,label="),
        ("a=input+input,b=x", r"--columns a=input\+input must name different columns, at most 64"),
        ("a=input+,b=x", "--columns a=input.,b=x has an empty name; write a=NAME.NAME,b=NAME"),
        ("c=input.png", "--columns 'c=input.png' must be"),
    ],
)
def test_columns_that_cannot_be_are_refused(tmp_path, columns, words):
    write_tar(tmp_path / "train.tar", [(f"{n}.input.png", b"") for n in range(9)])
    with pytest.raises(SettingsError, match=words):
        opened(tmp_path, columns=columns)


def test_stacks_are_ordered_by_their_channels(tmp_path):
    members = []
    for n in range(6):
        parts = [(f"{n}.a.{c}.tif", b"%d-%d" % (n, c)) for c in (2, 0, 1)]
        members += [*parts, (f"{n}.b.png", png(n)), (f"{n}.map.png", b"m%d" % n)]
    write_tar(tmp_path / "train.tar", members)
    table = opened(tmp_path)
    assert table.keys == ("a", "b", "map")
    for row, name in enumerate(table.names("train")):
        assert pictures(table, "train", "a")[row] == [f"{name}-{c}".encode() for c in range(3)]
    named = opened(tmp_path, columns="a=a.2+b,b=map")
    row = list(named.names("train")).index(table.names("train")[0])
    name = table.names("train")[0]
    assert pictures(named, "train", "a")[row] == [f"{name}-2".encode(), png(int(name))]


def test_stacks_are_not_endless(tmp_path):
    write_tar(tmp_path / "train.tar", [(f"{n}.a.64.png", b"") for n in range(9)])
    with pytest.raises(
        DataError, match=r"hold a.64.png, but at most 64 files are stacked, which ar"
    ):
        opened(tmp_path)


def test_side_by_side_pictures_are_halves(tmp_path):
    write_tar(tmp_path / "x.tar", [(f"{n}.ab.jpg", png(n)) for n in range(8)])
    write_tar(tmp_path / "y" / "x.tar", [(f"{n}.jpg", png(n)) for n in range(8)])
    for table in (opened(tmp_path), opened(tmp_path / "y", columns="a=jpg,b=jpg")):
        assert table.halves == {"a": "left", "b": "right"}
        assert table.keys == ("a", "b")
        assert table.blobs("train", "a", 0) == table.blobs("train", "b", 0)
    write_tar(tmp_path / "x.tar", [*pair(1), ("2.ab.png", b"")])
    with pytest.raises(DataError, match=r"has pictures of a and b side by side \(ab\) among sing"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("files", "counts"),
    [
        (["train-0.tar", "val-0.tar", "test-0.tar"], [4, 4, 4]),
        (["imagenet-train-0.tar", "imagenet-train-1.tar", "imagenet-val-0.tar"], [7, 4, 1]),
        (["train/0.tar", "validation/0.tar", "test/0.tar"], [4, 4, 4]),
        (["training_0.tar", "valid_0.tar", "testing_0.tar"], [4, 4, 4]),
        (["trainer.tar", "contest.tar", "0.tar"], [9, 1, 2]),
    ],
)
def test_splits_go_by_the_names_of_the_shards(tmp_path, files, counts):
    for number, file in enumerate(files):
        write_tar(tmp_path / file, [(f"{number}{n}.jpg", png(n)) for n in range(4)])
    table = opened(tmp_path, layout="auto")
    assert [table.count(split, "image") for split in ("train", "val", "test")] == counts


def test_a_shard_of_no_split_among_others_is_refused(tmp_path):
    pairs(tmp_path, train=3, extra=3)
    with pytest.raises(
        DataError, match=r"has shards of splits, but extra-000000.tar names none; re"
    ):
        opened(tmp_path)
    (tmp_path / "extra-000000.tar").rename(tmp_path / "test-000000.tar")
    (tmp_path / "train-000000.tar").unlink()
    with pytest.raises(DataError, match=r"has no shards for train; name them train-000000.tar and"):
        opened(tmp_path)


def test_single_tars_can_be_named(tmp_path):
    pairs(tmp_path, train=6, val=3, test=3, other=5)
    chosen = ",".join(str(tmp_path / f"{split}-000000.tar") for split in ("train", "val", "test"))
    table = open_table(DataSettings(data=chosen))
    assert [table.count(split, "a") for split in table.splits] == [6, 3, 3]
    alone = open_table(DataSettings(data=str(tmp_path / "other-000000.tar")))
    assert sum(alone.count(split, "a") for split in alone.splits) == 5
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no tar file; shards are files such as train-000000"):
        opened(tmp_path / "empty", layout="shards")


def test_keys_that_each_shard_counts_anew_carry_its_name(tmp_path):
    for shard in range(3):
        write_tar(tmp_path / f"train-{shard}.tar", [m for n in range(4) for m in pair(n)])
    table = opened(tmp_path)
    everything = [name for split in table.splits for name in table.names(split)]
    assert sorted(everything) == [f"train-{s}/{n:06d}" for s in range(3) for n in range(4)]


def test_samples_that_lack_something_are_left_out_and_told(tmp_path):
    members = [m for n in range(9) for m in pair(n)]
    members += [("x1.a.png", b""), ("x2.b.png", b""), ("x3.c.png", b"")]
    members += [("x4.a.png", b""), ("x4.a.jpg", b""), ("x4.b.png", b"")]
    members += [("x5.gif", b""), ("x5.txt", b""), ("readme.txt", b"")]
    members += [*pair(0, "x6"), *pair(1, "x7"), ("x7.a.png", b""), ("x6.map.tif", b"")]
    path = write_tar(tmp_path / "train.tar", members)
    table = opened(tmp_path, columns="a=a,b=b")
    assert sum(table.count(split, "a") for split in table.splits) == 11
    assert table.problems == [
        f"{path}:x5 holds no picture that can be read (only gif, txt); give it a .png, .jpg, .jpeg,"
        " .webp, .bmp, .tif, .tiff, .npy, .npz",
        f"{path}:x7.a.png is there twice; remove one of them",
        f"{path}:x6 begins twice; let the members of a sample lie together",
        f"{path}:x1 has no b (only a.png); add it, or remove the sample",
        f"{path}:x2 has no a (only b.png); add it, or remove the sample",
        f"{path}:x3 has no a (only c.png); add it, or remove the sample",
        f"{path}:x4 has 2 files for a (a.png, a.jpg, b.png), not just channel 0; remove some, or "
        "name one by --columns",
    ]


def test_problems_are_many_but_not_endless(tmp_path):
    members = [m for n in range(9) for m in pair(n)]
    write_tar(tmp_path / "train.tar", members + [(f"x{n}.a.png", b"") for n in range(1500)])
    problems = opened(tmp_path).problems
    assert len(problems) == 1001
    assert problems[-1].endswith(": 500 more samples that lack something")
    write_tar(tmp_path / "train.tar", members + [(f"x{n}.gif", b"") for n in range(1500)])
    problems = opened(tmp_path).problems
    assert len(problems) == 1001
    assert problems[-1].endswith("train.tar: 500 more such")


def test_unpaired_pictures_have_rows_of_their_own(tmp_path):
    members = [(f"p{n}.a.png", png(n)) for n in range(8)] + [
        (f"q{n}.b.png", b"") for n in range(20)
    ]
    write_tar(tmp_path / "train.tar", members)
    write_tar(tmp_path / "val.tar", members[5:12])
    write_tar(tmp_path / "test.tar", members[5:12])
    with pytest.raises(SettingsError, match=r"no sample of .* has all of a, b; for pictures that"):
        opened(tmp_path)
    table = opened(tmp_path, pairing="unpaired")
    assert [table.count("train", key) for key in "ab"] == [8, 20]
    assert not table.partners("train")
    assert table.name.endswith("-unpaired")
    assert pictures(table, "train", "a") == [[png(n)] for n in range(8)]
    assert opened(pairs(tmp_path / "c", train=9), pairing="unpaired").problems == []


def test_a_layer_goes_with_the_first_picture_of_the_unpaired(tmp_path):
    members = []
    for n in range(9):
        members += [(f"p{n}.a.png", png(n)), (f"p{n}.mask.png", b"m%d" % n), (f"q{n}.b.png", b"")]
    write_tar(tmp_path / "train.tar", [*members, ("x.a.png", b""), ("y.mask.png", b"")])
    table = opened(tmp_path, pairing="unpaired")
    assert table.keys == ("a", "b", "mask")
    assert [line.rpartition(":")[2] for line in table.problems] == [
        "x has no mask (only a.png); add it, or remove the sample",
        "y has no a (only mask.png); add it, or remove the sample",
    ]
    numbers = [name[1:] for name in table.names("train")]
    assert pictures(table, "train", "mask") == [[f"m{n}".encode()] for n in numbers]


def test_a_damaged_shard_is_a_problem_and_the_others_are_read(tmp_path):
    pairs(tmp_path, train=5, val=2, test=2)
    write_tar(tmp_path / "train-000001.tar", pair(77))
    os.truncate(tmp_path / "train-000001.tar", 1000)
    (tmp_path / "train-000002.tar.gz").write_bytes(b"\x1f\x8b\x08" + bytes(100))
    table = opened(tmp_path)
    assert table.count("train", "a") == 5
    assert table.problems == [
        f"{tmp_path}/train-000001.tar is cut off at byte 1000; copy it again",
        f"{tmp_path}/train-000002.tar.gz is compressed (gzip), which rules out reading its "
        f"pictures in any order; type: gunzip '{tmp_path}/train-000002.tar.gz'",
    ]


def test_shards_without_any_picture_are_refused(tmp_path):
    write_tar(tmp_path / "train.tar", [("notes.txt", b"")])
    with pytest.raises(
        DataError, match=r"holds no picture that can be read; samples are KEY.a.png"
    ):
        opened(tmp_path)
    (tmp_path / "train.tar").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"holds no picture that can be read; .*is empty \(0 bytes\)"
    ):
        opened(tmp_path)
    write_tar(tmp_path / "train.tar", [("1.mask.png", b"")])
    with pytest.raises(DataError, match=r"hold mask.png, but none of a, b and image; name them by"):
        opened(tmp_path)
    write_tar(tmp_path / "train.tar", [("1.png", b""), ("2.png", b"")])
    with pytest.raises(DataError, match="has no picture left for train; at least 3 samples are"):
        opened(tmp_path)


def test_the_digest_tells_other_pictures_but_not_other_places(folder, tmp_path):
    digest = opened(folder).digest()
    folder.rename(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere"
    assert opened(moved).digest() == digest
    assert opened(moved, columns="a=a,b=a").digest() != digest
    write_tar(moved / "test-000000.tar", [m for n in range(3) for m in pair(n)])
    assert opened(moved).digest() != digest


def test_changed_shards_are_seen_without_reading_them(folder):
    before = file_states(opened(folder))
    assert len(before) == 2
    os.utime(folder / "test-000000.tar", (1, 1))
    assert (file_states(opened(folder)) != before).any(1).tolist() == [True, False]


def test_a_picture_that_was_cut_off_since_is_named(tmp_path):
    pairs(tmp_path, train=5, val=2, test=2)
    table = opened(tmp_path)
    os.truncate(tmp_path / "val-000000.tar", 700)
    with pytest.raises(
        DataError, match=r"val-000000.tar:000005.a.png is cut off; copy .*val-000000"
    ):
        table.blobs("val", "a", 0)[0].open()


def test_contents_do_not_depend_on_the_index(folder):
    before = contents(opened(folder))
    files = sorted(path.name for path in folder.iterdir())
    scan(folder, files).save(folder / INDEX)
    assert contents(opened(folder)) == before
