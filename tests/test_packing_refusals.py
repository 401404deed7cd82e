"""What is not packed, and packs that were damaged."""

import json
import os
import shutil

import pytest

from dragoman.data import DataSettings
from dragoman.data.blob import Blob
from dragoman.data.pack_description import DESCRIPTION
from dragoman.data.packing import pack, pack_named
from dragoman.errors import DataError, FileError
from tests.tars import (
    Reference,
    alike,
    memory,
    opened,
    pictures,
    png,
    reference,
    save,
    two_folders,
    write_tar,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_links_out_of_the_tree_are_refused_by_name(tmp_path):
    two_folders(tmp_path / "own")
    save(tmp_path / "elsewhere.png", 5)
    link = tmp_path / "own" / "trainA" / "sub.dir" / "picture 5.v2.png"
    link.unlink()
    link.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(DataError) as caught:
        pack_named(DataSettings(data=str(tmp_path / "own")), tmp_path / "out")
    assert str(caught.value) == (
        f"{link} is a symbolic link out of {tmp_path / 'own'}, to {tmp_path / 'elsewhere.png'}; "
        "put the file itself there (cp -L), or pack the folder that it lies in"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere.png", "own"]
    link.unlink()
    link.symlink_to(tmp_path / "own" / "trainA" / "sub.dir" / "picture 6.v2.png")
    pack_named(DataSettings(data=str(tmp_path / "own")), tmp_path / "out")
    table = opened(tmp_path / "out")
    everything = [files for split in table.splits for files in pictures(table, split, "a")]
    assert everything.count([png(6)]) == 2, "a link within the tree is a file"


def test_links_through_a_folder_are_refused_too(tmp_path):
    for n in range(5):
        save(tmp_path / "secret" / f"{n}.png", n)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "inner").symlink_to(tmp_path / "secret")
    rows = [(str(n), {"image": (Blob(f"{tmp_path}/own/inner/{n}.png"),)}, ()) for n in range(5)]
    table = Reference({"train": rows}, ("image",))
    with pytest.raises(
        DataError, match=r"inner/0.png is a symbolic link out of .*own, to .*secret/0"
    ):
        pack(table, tmp_path / "out", roots=[tmp_path / "own"])
    (tmp_path / "whole").symlink_to(tmp_path / "secret")
    rows = [(str(n), {"image": (Blob(f"{tmp_path}/whole/{n}.png"),)}, ()) for n in range(5)]
    pack(Reference({"train": rows}, ("image",)), tmp_path / "out", roots=[tmp_path / "whole"])
    assert len(pictures(opened(tmp_path / "out"), "train", "image")) == 5, "the root may be a link"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, r"x.png cannot be read \(No such file or directory\)"),
        (lambda p: p.mkdir(), "x.png is no regular file; remove it from the data set"),
        (os.mkfifo, "x.png is no regular file; remove it from the data set"),
        (lambda p: p.symlink_to(p), r"x.png cannot be read \(Too many levels of symbolic links\)"),
    ],
)
def test_what_is_no_file_is_refused_and_nothing_is_left(tmp_path, make, words):
    (tmp_path / "own").mkdir()
    make(tmp_path / "own" / "x.png")
    rows = {"train": [("x", {"image": (Blob(str(tmp_path / "own" / "x.png")),)}, ())]}
    with pytest.raises(DataError, match=words):
        pack(Reference(rows, ("image",)), tmp_path / "new" / "out")
    assert list((tmp_path / "new").iterdir()) == []


def test_an_archive_that_is_cut_off_is_named(tmp_path):
    tar = write_tar(tmp_path / "x.tar", [("1.png", png(1))])
    rows = {"train": [("x", {"image": (Blob(str(tar), 512, 10**6, "1.png"),)}, ())]}
    with pytest.raises(DataError, match=r"x.tar:1.png is cut off; copy .*x.tar again"):
        pack(Reference(rows, ("image",)), tmp_path / "out")


def test_endings_that_are_not_read_are_refused(tmp_path):
    rows = {"train": [("x", {"image": memory(b"GIF89a", ".gif")}, ())]}
    with pytest.raises(
        DataError, match=r"memory:picture.gif ends in none of .png, .jpg, .*; rename"
    ):
        pack(Reference(rows, ("image",)), tmp_path / "out")


def test_problems_would_be_lost_and_are_refused(tmp_path):
    two_folders(tmp_path / "own")
    (tmp_path / "own" / "trainB" / "sub.dir" / "picture 3.v2.png").unlink()
    with pytest.raises(DataError) as caught:
        pack_named(DataSettings(data=str(tmp_path / "own")), tmp_path / "out")
    first, second, *_ = str(caught.value).split("\n  ")
    assert first.startswith("2 problems in the pictures of own; mend or remove these files, which")
    assert "picture 3" in second
    many = reference(problems=[f"line {n}" for n in range(33)])
    with pytest.raises(DataError, match=r"(?s)33 problems in .*\n  line 19\n  \.\.\. and 13 more$"):
        pack(many, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["full", "file", "link"])
def test_only_a_new_folder_is_written(tmp_path, kind):
    out = tmp_path / "out"
    if kind == "full":
        save(out / "x.png", 1)
    elif kind == "file":
        out.write_text("x")
    else:
        out.symlink_to("nowhere")
    words = "is not empty; name a new one, or" if kind == "full" else "out is a file; name a new fo"
    with pytest.raises(FileError, match=words):
        pack(reference(), out)
    with pytest.raises(FileError, match=words):
        pack_named(DataSettings(data="nowhere"), out)  # before anything is read
    shutil.rmtree(out) if kind == "full" else out.unlink()
    out.mkdir()
    pack(reference(), out)
    alike(opened(out), reference())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match=r"cannot write .*file/out: "):
        pack(reference(), tmp_path / "file" / "out")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dragoman.data.packing._add", full)
    with pytest.raises(FileError, match=r"cannot write .*out: No space left on device"):
        pack(reference(), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_pack_that_is_stopped_leaves_nothing(tmp_path):
    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(reference(), tmp_path / "out", say=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def packed(tmp_path):
    pack(reference(8, label_sets={}), tmp_path / "packed", samples=4)
    return tmp_path / "packed"


def test_a_shard_that_is_missing_or_strange_is_named(packed):
    extra = packed / "train-000009.tar"
    shutil.copy(packed / "train-000001.tar", extra)
    with pytest.raises(
        DataError, match=r"has the shard train-000009.tar that its dragoman.json does"
    ):
        opened(packed)
    extra.unlink()
    (packed / "train-000001.tar").unlink()
    with pytest.raises(
        DataError, match=r"lacks the shard train-000001.tar that its dragoman.json na"
    ):
        opened(packed)


def test_samples_that_were_lost_are_counted(packed):
    write_tar(packed / "val-000000.tar", [("000000.a.png", b""), ("000000.b.png", b"")])
    assert opened(packed).problems == [
        f"{packed} has 5 pictures of {key} in val, but its dragoman.json counts 8; pack the data "
        "again"
        for key in "ab"
    ]


def test_a_class_that_the_description_lacks_is_named(tmp_path):
    rows = {"train": [(str(n), {"image": memory(png(n))}, (n % 2,)) for n in range(4)]}
    pack(Reference(rows, ("image",), label_sets={"kind": ("x", "y")}), tmp_path / "out")
    about = json.loads((tmp_path / "out" / DESCRIPTION).read_text())
    about["label_sets"]["kind"] = ["x"]
    (tmp_path / "out" / DESCRIPTION).write_text(json.dumps(about))
    with pytest.raises(
        DataError, match=r"has the class 'y' that its dragoman.json does not name; pa"
    ):
        opened(tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"splits": {"train": ["../x.tar"]}},
            "dragoman.json is damaged .*; pack the data again, or",
        ),
        ({"splits": {"train": ["/x.tar"]}}, "'splits' is missing or wrong"),
        ({"splits": {}}, "'splits' is missing or wrong"),
        ({"splits": None}, "is damaged"),
        ({"counts": {}}, "train.* is missing or wrong"),
        ({"counts": {"train": {"a": -1}, "val": {}, "test": {}}}, "'counts' is missing or wrong"),
        ({"halves": {"a": "upper"}}, "'halves' is missing or wrong"),
        ({"halves": {"c": "left"}}, "'c' is missing or wrong"),
        ({"pairing": "both"}, "'pairing' is missing or wrong"),
        ({"partners": {"train": 1, "val": 1, "test": 1}}, "'partners' is missing or wrong"),
        ({"name": "a\nb"}, "is missing or wrong"),
        ({"label_sets": {"x": "y"}}, "is missing or wrong"),
        ({"format": "x"}, "is damaged .it does not describe shards."),
        ({"version": 2}, "is of version 2, which this dragoman cannot read; install a newer one"),
    ],
)
def test_a_description_that_cannot_be_is_refused(packed, change, words):
    about = json.loads((packed / DESCRIPTION).read_text())
    (packed / DESCRIPTION).write_text(json.dumps(about | change))
    with pytest.raises(DataError, match=words) as caught:
        opened(packed)
    assert str(packed / DESCRIPTION) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 10**5, "[]", "1", '"x"', "\xff"])
def test_a_description_that_is_no_json_is_refused(packed, text):
    (packed / DESCRIPTION).write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"dragoman.json is damaged \(it "):
        opened(packed)
