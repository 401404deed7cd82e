"""Own pictures in folders: what is recognised, and what is refused with which words."""

import os
import shutil
import tarfile

import pytest
from laid_out import TWELVE, all_names, fill, opened, save

from dragoman.data import DataSettings, assembling, class_folders, scan
from dragoman.data.recognition import recognise
from dragoman.data.tables import open_table
from dragoman.errors import DataError, SettingsError


def _recognised(data, **options) -> str:
    return recognise(DataSettings(data=str(data), **options))


def test_classes_refusals(tmp_path):
    fill(tmp_path / "set" / "cat")
    fill(tmp_path / "set" / "dog", ["only"])
    with pytest.raises(DataError, match=r"the class 'dog' of .*set has 1 picture, but needs 2"):
        opened(tmp_path / "set", layout="classes")
    (tmp_path / "set" / "dog" / "only.png").unlink()
    with pytest.raises(DataError, match=r"the class 'dog' of .* has no pictures, but needs 2"):
        opened(tmp_path / "set", layout="classes")
    (tmp_path / "set" / "dog").rmdir()
    with pytest.raises(DataError, match=r"needs a folder for each class, at least two; it has cat"):
        opened(tmp_path / "set", layout="classes")
    fill(tmp_path / "set" / "dog")
    save(tmp_path / "set" / "stray.png")
    (tmp_path / "set" / "wolf").symlink_to(tmp_path / "set" / "dog")
    table = opened(tmp_path / "set", layout="classes")
    assert table.label_sets == {"label": ("cat", "dog")}
    assert table.problems == [
        f"{tmp_path}/set/wolf is a link, which is not followed; move the folder of the class here",
        f"{tmp_path}/set/stray.png lies beside the folders of the classes; move it into one",
    ]
    for kind in ("cat", "dog"):
        fill(tmp_path / "given" / "train" / kind)
        fill(tmp_path / "given" / "val" / kind)
    fill(tmp_path / "given" / "val" / "cow")
    with pytest.raises(DataError, match=r"val has the class 'cow', but .*train has not"):
        opened(tmp_path / "given")
    with pytest.raises(SettingsError, match="--layout classes needs one folder; leave the \\+ out"):
        opened(f"{tmp_path}/set+{tmp_path}/given", layout="classes")


def test_recognition(tmp_path):
    fill(tmp_path / "set")
    for name in ("t.csv", "t.JSONL", "t.tar", "u.tar", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "train-0000.tar").write_bytes(b"x")
    (tmp_path / "more" / "train").mkdir(parents=True)
    (tmp_path / "more" / "train" / "0.tar").write_bytes(b"x")
    expected = {
        "t.csv": "manifest",
        "t.JSONL": "manifest",
        "t.tar": "shards",
        "shards": "shards",
        "more": "shards",
        "set": "single",
    }
    assert {name: _recognised(tmp_path / name) for name in expected} == expected
    assert _recognised(f"{tmp_path}/t.tar,{tmp_path}/u.tar") == "shards"
    assert _recognised("hf:somebody/something") == "hf"
    assert _recognised(f"{tmp_path}/set,{tmp_path}/set") == "pairs"
    with pytest.raises(DataError, match=r"notes.txt is neither a manifest .* nor a shard"):
        _recognised(tmp_path / "notes.txt")
    labels = tmp_path / "t.csv"
    for kind in ("cat", "dog"):
        fill(tmp_path / "classes" / kind)
    assert _recognised(tmp_path / "classes") == "classes"
    assert _recognised(tmp_path / "classes", labels=str(labels)) == "single"


def test_a_and_b_beside_other_folders(tmp_path):
    for place in ("A", "B", "mask"):
        fill(tmp_path / place)
    assert _recognised(tmp_path) == "pairs"
    fill(tmp_path / "C")
    with pytest.raises(SettingsError, match=r"has the folders A, B and C: use --layout pairs"):
        opened(tmp_path)
    assert opened(tmp_path, layout="pairs").keys == ("a", "b", "mask")
    assert opened(tmp_path, layout="classes").label_sets == {"label": ("A", "B", "C", "mask")}
    shutil.rmtree(tmp_path / "B")
    assert _recognised(tmp_path) == "classes"


def test_folders_that_are_missing_or_empty(tmp_path):
    for text in (tmp_path / "nowhere", "x" * 5000):
        with pytest.raises(DataError, match="is neither an embedded data set nor a folder or file"):
            opened(text)
    fill(tmp_path / "here")
    with pytest.raises(DataError, match=r"the folder .*gone of --data .* does not exist"):
        opened(f"{tmp_path}/here,{tmp_path}/gone")
    with pytest.raises(DataError, match=r"the folder .*gone of --data .* does not exist"):
        opened(f"{tmp_path}/here+{tmp_path}/gone,{tmp_path}/here")
    with pytest.raises(SettingsError, match="names 3 folders, but there are only a and b"):
        opened(",".join([str(tmp_path / "here")] * 3), layout="pairs")
    for text in (f"{tmp_path}/here,", f"{tmp_path}/here+,{tmp_path}/here", "", ","):
        with pytest.raises(SettingsError, match="has an empty part; name folders as DIR_A,DIR_B"):
            opened(text)
    with pytest.raises(DataError, match=r"here needs the folders trainA and trainB"):
        opened(tmp_path / "here", layout="pairs")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"needs the folders trainA and trainB.*it has no folder"):
        opened(tmp_path / "empty")
    (tmp_path / "empty" / "trainB").mkdir()
    with pytest.raises(DataError, match=r"has the folder trainB but lacks .*trainA"):
        opened(tmp_path / "empty")
    fill(tmp_path / "set" / "test")
    with pytest.raises(DataError, match=r"set has the folder test but lacks .*set/train"):
        opened(tmp_path / "set", layout="single")
    fill(tmp_path / "few", ["1", "2"])
    with pytest.raises(DataError, match=r"few has no picture left for train; at least 3"):
        opened(tmp_path / "few")
    (tmp_path / "set" / "train").mkdir()
    with pytest.raises(DataError, match=r"set/train has no picture left for train"):
        opened(tmp_path / "set", layout="single")


def test_names_that_do_not_meet(tmp_path):
    fill(tmp_path / "set" / "trainA")
    fill(tmp_path / "set" / "trainB", ["x", "y", "00"])
    with pytest.raises(
        SettingsError, match=r"too few names occur in both .*use --pairing unpaired"
    ):
        opened(tmp_path / "set")
    assert opened(tmp_path / "set", pairing="unpaired").count("train", "b") == 1
    fill(tmp_path / "one" / "train")
    fill(tmp_path / "one" / "train_mask", ["x", "y"])
    with pytest.raises(SettingsError, match=r"too few names occur in both .*name partners alike"):
        opened(tmp_path / "one")


def test_settings_that_do_not_fit_the_layout(tmp_path):
    fill(tmp_path / "A")
    fill(tmp_path / "B")
    with pytest.raises(SettingsError, match=r"--labels is for single pictures, .* layout pairs"):
        opened(tmp_path, labels="x.csv", layout="pairs")
    with pytest.raises(SettingsError, match=r"--columns is for manifests, .* layout pairs"):
        opened(tmp_path, columns="a=x")
    with pytest.raises(SettingsError, match=r"--layout single needs one folder, .* names 2"):
        opened(f"{tmp_path}/A,{tmp_path}/B", layout="single")
    with pytest.raises(SettingsError, match="--layout pairs needs two stacks"):
        opened(f"{tmp_path}/A+{tmp_path}/B", layout="pairs")
    with pytest.raises(DataError, match=r"--layout manifest needs a file \.csv or \.jsonl"):
        opened(tmp_path, layout="manifest")


def test_what_is_no_picture_is_told(tmp_path):
    for place in ("trainA", "trainB"):
        fill(tmp_path / place)
    a = tmp_path / "trainA"
    save(a / "00.jpg")
    fill(a / "folder.png", ["inside"])
    os.mkfifo(a / "pipe.png")
    (a / "dangling.png").symlink_to(tmp_path / "gone.png")
    (a / "loop.png").symlink_to(a / "loop.png")
    save(a / "two\nlines.png")
    save(a / ".hidden.png")
    fill(a / ".thumbs", ["01"])
    (a / "notes.txt").write_text("no picture")
    (a / "bad\nfolder").mkdir()
    with open(os.fsencode(a) + b"/\xff\xfe.png", "wb") as file:
        file.write(b"x")
    save(tmp_path / "elsewhere.png")
    (a / "linked.png").symlink_to(tmp_path / "elsewhere.png")
    table = opened(tmp_path)
    assert sorted(table.problems) == sorted(
        [
            f"{a}/00.png has the same name as 00.jpg; remove one of them",
            f"{a}/folder.png is a folder, not a picture; rename it",
            f"{a}/pipe.png is no regular file; remove it",
            f"{a}/dangling.png is a link to nothing; remove it",
            f"{a}/loop.png is a link to nothing; remove it",
            f"{a}/'two\\nlines.png' has a line break or control character in its name; rename it",
            f"{a}/'bad\\nfolder' has a line break or control character in its name; rename it",
            f"{a}/'\\udcff\\udcfe.png' has a name that is not UTF-8; rename it",
            f"{a}/linked.png has no partner in {tmp_path}/trainB",
        ]
    )
    assert all_names(table) == TWELVE
    assert not any("\n" in line for line in table.problems)


def test_many_problems_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "MOST_PROBLEMS", 3)
    monkeypatch.setattr(assembling, "MOST_PROBLEMS", 3)
    for side in ("trainA", "trainB"):
        fill(tmp_path / side)
    for number in range(8):
        (tmp_path / "trainA" / f"folder{number}.png").mkdir()
        save(tmp_path / "trainB" / f"alone{number}.png")
    lines = opened(tmp_path).problems
    assert len(lines) == 8
    assert lines[3] == f"{tmp_path}/trainA has 5 more files with problems"
    assert lines[7] == f"{tmp_path}/trainB has 5 more pictures without partner"
    monkeypatch.setattr(class_folders, "MOST_PROBLEMS", 3)
    for kind in ("cat", "dog"):
        fill(tmp_path / "kinds" / kind)
    fill(tmp_path / "kinds")
    lines = opened(tmp_path / "kinds", layout="classes").problems
    assert len(lines) == 4
    assert lines[3] == (f"{tmp_path}/kinds has 9 more pictures beside the folders of the classes")


def test_names_in_any_writing_are_kept(tmp_path):
    names = sorted(["é", "漢字", "a b", "ß'\"", "x.y.z", "𝔸"])
    for side in ("trainA", "trainB"):
        fill(tmp_path / side, names)
    table = opened(tmp_path)
    assert table.problems == []
    assert all_names(table) == names


def test_tar_files_and_data_sets_of_the_hub_have_tables_of_their_own(tmp_path, monkeypatch):
    picture = tmp_path / "x.png"
    save(picture)
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        with tarfile.open(tmp_path / place / "train-000000.tar", "w") as archive:
            for number in range(30):
                archive.add(picture, f"{place}{number:03}.png")
    for data, rows in (
        (tmp_path / "one", 30),
        (tmp_path / "two" / "train-000000.tar", 30),
        (f"{tmp_path}/one/train-000000.tar,{tmp_path}/two/train-000000.tar", 60),
    ):
        table = open_table(DataSettings(data=str(data)))
        assert type(table).__name__ == "ShardTable"
        assert sum(table.count(split, "image") for split in table.splits) == rows
    seen = []
    monkeypatch.setattr("dragoman.data.hub_table.HubTable", lambda *given: seen.append(given))
    settings = DataSettings(data="hf:somebody/something")
    open_table(settings)
    assert seen == [("hf:somebody/something", settings)]


def test_links_to_folders_are_followed_where_a_folder_is_named(tmp_path):
    fill(tmp_path / "far" / "photos")
    fill(tmp_path / "set" / "trainB")
    (tmp_path / "set" / "trainA").symlink_to(tmp_path / "far" / "photos")
    (tmp_path / "set" / "trainB" / "inner").symlink_to(tmp_path / "far" / "photos")
    table = opened(tmp_path / "set")
    assert all_names(table) == TWELVE
    assert table.problems == []


def test_folders_that_cannot_be_listed(tmp_path, monkeypatch):
    fill(tmp_path / "set")
    fill(tmp_path / "set" / "inner")
    scandir = os.scandir

    def refusing(path):
        if os.path.basename(path) == "inner":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # root may list every folder
    reason = r"inner cannot be listed \(Permission denied\); allow reading it"
    for layout in ("auto", "single"):
        with pytest.raises(DataError, match=reason):
            opened(tmp_path / "set" / "inner", layout=layout)
    table = opened(tmp_path / "set")
    assert table.problems == [
        f"{tmp_path}/set/inner cannot be listed (Permission denied); allow reading it"
    ]
    assert all_names(table) == TWELVE
