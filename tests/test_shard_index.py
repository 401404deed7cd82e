"""The offset index of shards: made once, used while it fits, never believed."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.data import shards
from dragoman.data.shard_scan import scan
from dragoman.data.shards import INDEX, load, open_index
from dragoman.errors import DataError
from tests.tars import FUZZ, classified, pair, png, write_tar


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path):
    """Shards of a train and a test split with classes."""
    return classified(tmp_path / "data")


def same(one: shards.Index, other: shards.Index) -> bool:
    arrays = ("first", "tar", "offset", "length", "ending", "labels")
    plain = ("files", "sizes", "endings", "label_sets", "fields", "problems", "keys", "names")
    return all(np.array_equal(getattr(one, n), getattr(other, n)) for n in arrays) and all(
        getattr(one, n) == getattr(other, n) for n in plain
    )


FILES = ["test-000000.tar", "train-000000.tar"]


def test_an_index_comes_back_as_it_was_saved(folder, tmp_path):
    index = scan(folder, FILES)
    index.save(tmp_path / INDEX)
    again = load(tmp_path / INDEX)
    assert again is not None
    assert same(index, again)
    assert index.label_sets == {"label": ("class 0", "class 1", "class 2")}
    assert list(index.names)[3:6] == [
        "test-000000/000003",
        "train-000000/000000",
        "train-000000/000001",
    ]
    member = index.member(9)
    assert member[0] == "000000.b.png"
    with (folder / "train-000000.tar").open("rb") as file:
        file.seek(member[1])
        assert file.read(member[2]) == png(1000)


def test_odd_texts_do_not_spoil_the_index(tmp_path):
    told = {"name": "a\nb \U0001f469\u200d\U0001f680", "labels": {"x\ny": "z"}, "p\tq": 1}
    write_tar(tmp_path / "x.tar", [("1.png", b""), ("1.json", json.dumps(told).encode())])
    index = scan(tmp_path, ["x.tar"])
    assert list(index.names) == ["a b \U0001f469\u200d\U0001f680"]
    assert index.label_sets == {"x y": ("z",)}
    assert index.fields == ("x y",)
    index.save(tmp_path / INDEX)
    again = load(tmp_path / INDEX)
    assert again is not None
    assert same(index, again)


def scans(monkeypatch) -> list[Path]:
    """The folders that are looked through from now on."""
    done = []

    def noted(root, *args):
        done.append(root)
        return scan(root, *args)

    monkeypatch.setattr("dragoman.data.shard_scan.scan", noted)
    return done


def test_an_index_beside_the_shards_is_used_while_it_fits(folder, monkeypatch):
    scan(folder, FILES).save(folder / INDEX)
    done = scans(monkeypatch)
    assert same(open_index(folder, FILES), scan(folder, FILES))
    assert not done
    os.utime(folder / FILES[0])  # a copy has other times
    open_index(folder, FILES)
    assert not done


@pytest.mark.parametrize("change", ["size", "names", "cut", "gone", "other files", "revision"])
def test_an_index_that_does_not_fit_is_made_again(folder, monkeypatch, change):
    scan(folder, FILES).save(folder / INDEX)
    if change == "size":
        write_tar(folder / FILES[0], [m for n in range(40) for m in pair(n)])
    elif change == "names":  # the same sizes, but other samples
        renamed = (folder / FILES[0]).read_bytes()
        renumbered = [
            m for n in range(4) for m in [*pair(n, f"{n + 1:06d}"), ("x.json", b"x" * 20)]
        ]
        write_tar(folder / FILES[0], renumbered)
        assert (folder / FILES[0]).stat().st_size == len(renamed)
    elif change == "cut":
        os.truncate(folder / INDEX, 900)
    elif change == "gone":
        (folder / INDEX).unlink()
    elif change == "other files":
        write_tar(folder / "train-000001.tar", pair(99))
    else:
        monkeypatch.setattr(shards, "_REVISION", 2)
    files = sorted(path.name for path in folder.glob("*.tar"))
    done = scans(monkeypatch)
    index = open_index(folder, files)
    assert done == [folder]
    assert same(index, scan(folder, files))


def test_a_large_set_without_index_is_looked_through_once(folder, monkeypatch, capsys):
    monkeypatch.setattr(shards, "_KEPT_FROM", 1)
    before = sorted(path.name for path in folder.iterdir())
    done = scans(monkeypatch)
    first = open_index(folder, FILES)
    assert "looking through 2 tar files in" in capsys.readouterr().err
    assert same(open_index(folder, FILES), first)
    assert done == [folder]
    assert sorted(path.name for path in folder.iterdir()) == before, "nothing is written there"
    os.utime(folder / FILES[0], (1, 1))
    open_index(folder, FILES)
    assert done == [folder, folder], "a changed tar is looked through again"


def test_a_missing_tar_is_named(folder):
    with pytest.raises(DataError, match=r"gone.tar cannot be read \(No such file"):
        open_index(folder, ["gone.tar"])


def rewritten(path: Path, **arrays) -> None:
    """Replace arrays of an index."""
    with np.load(path) as old:
        kept = {name: old[name] for name in old.files}
    with path.open("wb") as file:
        np.savez(file, **kept | arrays)


def about(path: Path, **changes) -> np.ndarray:
    with np.load(path) as old:
        told = json.loads(old["about"].tobytes()) | changes
    return np.frombuffer(json.dumps(told).encode(), np.uint8)


def test_an_index_that_lies_is_not_used(folder):
    path = folder / INDEX
    index = scan(folder, FILES)
    index.save(path)
    sound = path.read_bytes()
    far, none = np.full_like(index.offset, 1 << 40), np.zeros_like(index.offset)
    lies = {
        "offset": [far, none, -index.offset, index.offset[:-1], index.offset.astype(np.int32)],
        "length": [far, -index.length - 1, index.length.astype(np.float64)],
        "ending": [index.ending + 2],
        "tar": [index.tar + 1, index.tar - 1],
        "first": [index.first[::-1], index.first + 1, none[: len(index.first)]],
        "labels": [index.labels + 1, index.labels - 2, index.labels[:, :0]],
        "keys": [np.frombuffer(b"\xff\n" * 16, np.uint8), np.frombuffer(b"a\n", np.uint8)],
        "names": [np.frombuffer(b"\x1b[2J\n" * 16, np.uint8)],
        "about": [
            about(path, files=[1, 2]),
            about(path, sizes=["x", 1]),
            about(path, endings=5),
            about(path, label_sets={"label": ["x"]}),
            about(path, revision=0),
            np.frombuffer(b"[" * 100_000, np.uint8),
        ],
    }
    for name, values in lies.items():
        for value in values:
            path.write_bytes(sound)
            rewritten(path, **{name: value})
            assert load(path) is None, name
    path.write_bytes(sound)
    assert load(path) is not None
    with path.open("wb") as file:
        np.savez(file, about=np.array([{"x": 1}], object))
    assert load(path) is None, "nothing is unpickled"


def test_an_index_that_would_fill_the_memory_is_not_used(folder):
    path = folder / INDEX
    scan(folder, FILES).save(path)
    sound = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(sound)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            big = name == "keys.npy"
            data = b"\x93NUMPY\1\0" + bytes(1 << 24) if big else old.read(name)
            new.writestr(name, data, zipfile.ZIP_DEFLATED if big else zipfile.ZIP_STORED)
    assert load(path) is None
    place = (
        sound.index(b"offset.npyPK") if b"offset.npyPK" in sound else sound.rindex(b"offset.npy")
    )
    entry = sound.rindex(b"PK\1\2", 0, place)  # of the directory: both sizes are 4 GB less one
    lie = sound[: entry + 20] + b"\xfe\xff\xff\xff" * 2 + sound[entry + 28 :]
    path.write_bytes(lie)
    assert load(path) is None


@settings(max_examples=FUZZ)
@given(data=st.data())
def test_a_damaged_index_is_none_or_sound(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    write_tar(folder / "x.tar", [m for n in range(3) for m in pair(n)])
    scan(folder, ["x.tar"]).save(folder / INDEX)
    content = bytearray((folder / INDEX).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    del content[data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content)))) :]
    (folder / INDEX).write_bytes(content)
    load(folder / INDEX)
    assert same(open_index(folder, ["x.tar"]), scan(folder, ["x.tar"]))
