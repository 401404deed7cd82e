"""The index in the cache saves listing again, and is never trusted too far."""

import hashlib
import json
import os
import time
from pathlib import Path

import pytest
from laid_out import SPLITS, content, opened

from dragoman.data import index_cache, manifest, scan


def _touch(path: Path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A folder of pairs as if of ten thousands, changed long ago; counts what is listed."""
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(scan, "LEAST", 5)
    monkeypatch.setattr(manifest, "LEAST", 5)
    for key in "AB":
        for number in range(12):
            _touch(tmp_path / "set" / f"train{key}" / "deep" / f"{number:02}.png")
    monkeypatch.setattr(index_cache, "SETTLED", -1.0)
    return tmp_path


@pytest.fixture
def listings(monkeypatch):
    """The folders listed since, by name."""
    found: list[str] = []
    scandir = os.scandir

    def counting(path):
        found.append(os.path.basename(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counting)
    return found


def test_a_second_start_lists_nothing_that_has_not_changed(watched, listings):
    first = opened(watched / "set")
    assert listings.count("deep") == 2
    listings.clear()
    second = opened(watched / "set")
    assert set(listings) <= {"set"}  # not large: it is looked at
    assert content(second) == content(first)
    assert second.digest() == first.digest()
    files = list((watched / "cache" / "index").iterdir())
    assert len(files) == 2
    _touch(watched / "set" / "trainA" / "deep" / "zz.png")
    listings.clear()
    third = opened(watched / "set")
    assert listings.count("deep") == 1
    assert any("zz.png has no partner" in line for line in third.problems)
    (watched / "set" / "trainB" / "more").mkdir()
    listings.clear()
    opened(watched / "set")
    assert "more" in listings


@pytest.mark.parametrize("place", [0, 3, 40, 200, -40, -1])
@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "foreign"])
def test_a_damaged_index_is_made_anew(watched, listings, place, harm):
    expected = content(opened(watched / "set"))
    files = sorted((watched / "cache" / "index").iterdir())
    for file, other in zip(files, reversed(files), strict=True):
        damaged = bytearray(file.read_bytes())
        if harm == "flip":
            damaged[place] ^= 1
        elif harm == "cut":
            damaged = damaged[: place % len(damaged)]
        elif harm == "empty":
            damaged = bytearray()
        else:
            damaged = bytearray(other.read_bytes() if file == files[0] else b"\x93NUMPY" * 99)
        file.write_bytes(damaged)
    listings.clear()
    assert content(opened(watched / "set")) == expected
    assert listings.count("deep") == 2
    listings.clear()
    assert content(opened(watched / "set")) == expected
    assert "deep" not in listings


FORMS = [
    ("sizes", [1, 2]),
    ("sizes", []),
    ("sizes", "x"),
    ("watched", [1]),
    ("watched", ["/nowhere"]),
    ("key", "other"),
    ("about", []),
    ("about", {"endings": [], "folders": [""], "links": [], "shards": False}),
    ("about", {"endings": 3, "folders": [""], "links": [], "shards": False}),
]


@pytest.mark.parametrize(("name", "value"), FORMS)
def test_an_index_of_wrong_form_is_not_used(watched, listings, name, value):
    """Even if somebody has taken the trouble to make its digest right."""
    expected = content(opened(watched / "set"))
    for file in (watched / "cache" / "index").iterdir():
        magic, line, rest = file.read_bytes().split(b"\n", 2)
        body = json.dumps(json.loads(line) | {name: value}).encode() + b"\n" + rest[:-32]
        digest = hashlib.blake2b(body, digest_size=32).digest()
        file.write_bytes(magic + b"\n" + body + digest)
    listings.clear()
    assert content(opened(watched / "set")) == expected
    assert listings.count("deep") == 2


def test_an_index_of_right_form_would_be_used(watched, listings):
    """Else the test above would pass for a wrong digest alone."""
    opened(watched / "set")
    for file in (watched / "cache" / "index").iterdir():
        magic, line, rest = file.read_bytes().split(b"\n", 2)
        body = json.dumps(json.loads(line), indent=None).encode() + b"\n" + rest[:-32]
        digest = hashlib.blake2b(body, digest_size=32).digest()
        file.write_bytes(magic + b"\n" + body + digest)
    listings.clear()
    opened(watched / "set")
    assert "deep" not in listings


def test_folders_that_have_just_changed_are_not_trusted(watched, listings, monkeypatch):
    monkeypatch.setattr(index_cache, "SETTLED", 3600.0)
    opened(watched / "set")
    assert not (watched / "cache").exists()
    past = time.time() - 7200
    for place in (watched / "set").rglob("*"):
        os.utime(place, (past, past))  # the time of the change of attributes is now: not trusted
    opened(watched / "set")
    assert not (watched / "cache").exists()


def test_small_folders_and_folders_with_problems_have_no_index(watched, monkeypatch):
    monkeypatch.setattr(scan, "LEAST", 13)
    opened(watched / "set")
    assert not (watched / "cache").exists()
    monkeypatch.setattr(scan, "LEAST", 5)
    for key in "AB":
        (watched / "set" / f"train{key}" / "folder.png").mkdir()
    assert len(opened(watched / "set").problems) == 2
    assert not (watched / "cache").exists()


def test_a_cache_that_cannot_be_written_is_done_without(watched, monkeypatch):
    _touch(watched / "file")
    monkeypatch.setenv("DRAGOMAN_CACHE", str(watched / "file" / "below"))
    assert sum(opened(watched / "set").count(split, "a") for split in SPLITS) == 12


def test_a_disk_that_is_full_leaves_no_draft(watched, monkeypatch):
    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert sum(opened(watched / "set").count(split, "a") for split in SPLITS) == 12
    assert list((watched / "cache" / "index").iterdir()) == []


def test_a_flat_folder_is_recognised_by_its_index(watched, listings):
    for name in ("flat", "kinds/x", "kinds/y"):
        for number in range(9):
            _touch(watched / name / f"{number}.png")
    first = [content(opened(watched / name)) for name in ("flat", "kinds")]
    listings.clear()
    tables = [opened(watched / name) for name in ("flat", "kinds")]
    assert listings == []
    assert [content(table) for table in tables] == first
    assert tables[1].label_sets == {"label": ("x", "y")}


def test_manifests_have_an_index_too(watched, monkeypatch):
    path = watched / "m.csv"
    rows = [f"set/trainA/deep/{n:02}.png,set/trainB/deep/{n:02}.png,k{n % 3}" for n in range(12)]
    path.write_text("\n".join(["a,b,label", *rows]))
    first = opened(path)
    read = manifest.open_records
    seen = []
    monkeypatch.setattr(manifest, "open_records", lambda path: seen.append(path) or read(path))
    again = opened(path)
    assert seen == []
    assert content(again) == content(first)
    assert again.digest() == first.digest()
    assert again.label_sets == {"label": ("k0", "k1", "k2")}
    assert opened(path, columns="image=b").keys == ("image",)
    assert len(seen) == 1
    (watched / "set" / "trainB" / "deep" / "03.png").unlink()
    assert len(opened(path).problems) == 1
    assert len(seen) == 2
    assert len(opened(path).problems) == 1  # what has problems is looked at again
    assert len(seen) == 3
    path.write_text("\n".join(["a,b,label", *rows[:3], *rows[4:]]))
    assert opened(path).problems == []


@pytest.mark.parametrize("change", ["groups", "shape", "columns", "endings", "depths"])
def test_an_index_of_a_manifest_of_wrong_form_is_not_used(watched, change):
    path = watched / "m.csv"
    rows = [f"set/trainA/deep/{n:02}.png,k{n % 3}" for n in range(12)]
    path.write_text("\n".join(["image,label", *rows]))
    expected = content(opened(path))
    (file,) = (watched / "cache" / "index").iterdir()
    magic, line, rest = file.read_bytes().split(b"\n", 2)
    head = json.loads(line)
    ((depths, endings, count),) = head["about"]["groups"]
    wrong = {
        "groups": {"groups": []},
        "shape": {"shape": [4, 3]},
        "columns": {"columns": 7},
        "endings": {"groups": [[depths, [], count]]},
        "depths": {"groups": [[{"image": 2}, endings, count]]},
    }
    head["about"] |= wrong[change]
    body = json.dumps(head).encode() + b"\n" + rest[:-32]
    file.write_bytes(magic + b"\n" + body + hashlib.blake2b(body, digest_size=32).digest())
    assert content(opened(path)) == expected
