"""Names in columns, pairs by merging, splits by the hash of a name."""

import hashlib
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laid_out import SPLITS, opened

from dragoman.data.blob import Blob
from dragoman.data.file_table import file_states
from dragoman.data.names import Names, matched
from dragoman.data.splits import hold_out, hold_out_by_class
from dragoman.data.table import Table

WORDS = st.text("ab-./é漢𝔸 0", min_size=1, max_size=6).filter(lambda word: "\n" not in word)


def _share(name: str) -> float:
    return int(hashlib.sha1(name.encode()).hexdigest()[:8], 16) / 2**32


def _touch(path: Path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@given(st.lists(WORDS, max_size=30), st.integers(-5, 35), st.integers(-5, 35))
def test_names_are_a_sequence(words, first, last):
    names = Names.of(word.encode() for word in words)
    assert len(names) == len(words)
    assert list(names) == words
    assert names == words
    assert [names[row] for row in range(len(words))] == words
    assert list(names[first:last]) == words[first:last]
    assert names[first:last] == Names.of(word.encode() for word in words[first:last])
    assert (names == [*words, "more"]) is False
    assert (names == "words") is False
    if words:
        assert names[-1] == words[-1]
        order = np.arange(len(words))[::-1]
        assert list(names.take(order)) == words[::-1]
    with pytest.raises(IndexError):
        names[len(words)]
    assert names.shares().tolist() == [_share(word) for word in words]


@given(st.sets(WORDS), WORDS)
def test_sorted_names_are_searched(words, word):
    names = Names.of(one.encode() for one in sorted(words))
    ordered = sorted(words)
    assert names.place(word) == (ordered.index(word) if word in words else -1)
    low, high = names.under(word)
    assert ordered[low:high] == [one for one in ordered if one.startswith(word)]


def test_names_can_be_shortened():
    names = Names.of([b"cat/1", b"horse/22"])
    assert list(names.cut(front=np.array([4, 6]))) == ["1", "22"]
    assert list(names.cut(front=2)) == ["t/1", "rse/22"]
    assert repr(names) == "Names(2: 'cat/1', 'horse/22')"


@given(st.lists(st.sets(WORDS), min_size=1, max_size=4))
def test_matching_is_the_intersection_in_order(sets):
    lists = [Names.of(word.encode() for word in sorted(words)) for words in sets]
    expected = sorted(set.intersection(*sets))
    for names, rows in zip(lists, matched(lists), strict=True):
        assert list(names.take(rows)) == expected


@given(st.sets(WORDS, max_size=60), st.sampled_from([(), ("val",), ("test",), ("test", "val")]))
def test_holding_out_divides_by_the_hash_of_the_name(words, lacking):
    ordered = sorted(words)
    rows = hold_out(Names.of(word.encode() for word in ordered), lacking)
    assert set(rows) == {"train", *lacking}
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(ordered)))
    free = set(words)
    for place, split in enumerate(lacking):
        found = {ordered[row] for row in rows[split]}
        tenth = {word for word in free if place / 10 <= _share(word) < (place + 1) / 10}
        assert found == tenth or (len(found) == 1 and not tenth)
        assert found or not free
        free -= found


@settings(max_examples=60)
@given(st.lists(st.sets(WORDS, min_size=2, max_size=12), min_size=2, max_size=5))
def test_classes_keep_training_pictures_and_equal_names_stay_together(sets):
    names = [word for words in sets for word in sorted(words)]
    owners = np.repeat(np.arange(len(sets)), [len(words) for words in sets])
    classes = [np.flatnonzero(owners == number) for number in range(len(sets))]
    rows = hold_out_by_class(Names.of(n.encode() for n in names), classes, ("test", "val"))
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(names)))
    where: dict[str, set[str]] = {}
    for split, own in rows.items():
        for row in own:
            where.setdefault(names[row], set()).add(split)
    assert all(len(splits) == 1 for splits in where.values())
    assert set(owners[rows["train"]]) == set(range(len(sets)))


@settings(max_examples=25)
@given(
    a=st.sets(st.text("abc0-.", min_size=1, max_size=3).filter(lambda w: w[0] != "."), min_size=9),
    b_lacks=st.sets(st.integers(0, 8)),
    a_lacks=st.sets(st.integers(0, 8), max_size=2),
    with_val=st.booleans(),
)
def test_pairs_are_what_both_folders_have(tmp_path_factory, a, b_lacks, a_lacks, with_val):
    folder, names = tmp_path_factory.mktemp("pairs"), sorted(a)
    own = {
        "A": [n for i, n in enumerate(names) if i not in a_lacks],
        "B": [n for i, n in enumerate(names) if i not in b_lacks],
    }
    for key, kept in own.items():
        for name in kept:
            _touch(folder / f"train{key}" / f"{name}.png")
        if with_val:
            _touch(folder / f"val{key}" / "v.png")
    common = sorted(set(own["A"]) & set(own["B"]))
    if len(common) < 3:
        return
    table = opened(folder)
    found = {split: list(table.names(split)) for split in SPLITS}
    assert sorted(found["train"] + found["test"] + (found["val"] if not with_val else [])) == common
    assert all(found[split] == sorted(found[split]) and found[split] for split in SPLITS)
    if with_val:
        assert found["val"] == ["v"]
    for split in SPLITS:
        for row, name in enumerate(found[split]):
            for key in "ab":
                assert Path(table.blobs(split, key, row)[0].path).name == f"{name}.png"
    assert len(table.problems) == len(set(own["A"]) ^ set(own["B"]))


def test_states_tell_which_files_have_changed(tmp_path):
    for number in range(9):
        _touch(tmp_path / "a" / f"{number}.png", b"x" * number)
        _touch(tmp_path / "b" / f"{number}.png", b"y" * 100)
        _touch(tmp_path / "c" / f"{number}.png", b"z" * 200)
    table = opened(f"{tmp_path}/a+{tmp_path}/b,{tmp_path}/c")
    states = file_states(table)
    blobs = [
        blob.path
        for split in table.splits
        for key in table.keys
        for row in range(table.count(split, key))
        for blob in table.blobs(split, key, row)
    ]
    assert states.shape == (27, 2)
    for path, (size, changed) in zip(blobs, states.tolist(), strict=True):
        assert size == os.path.getsize(path)
        assert changed == os.stat(path).st_mtime_ns
    os.utime(blobs[4], ns=(1, 1))
    os.unlink(blobs[5])
    differs = np.flatnonzero((file_states(table) != states).any(1))
    assert differs.tolist() == [4, 5]
    assert file_states(table)[5].tolist() == [-1, -1]
    halves = opened(tmp_path / "c", layout="side_by_side")
    assert file_states(halves).shape == (9, 2)


def test_states_of_archives_are_those_of_the_archive(tmp_path):
    _touch(tmp_path / "x.tar", b"0123456789")

    class Archive(Table):
        name, keys, splits, halves = "x", ("a",), ("train",), {}

        def count(self, split, key):
            return 3

        def blobs(self, split, key, row):
            if row == 2:
                return (Blob(str(tmp_path), data=b"picture"),)
            return (Blob(str(tmp_path / "x.tar"), row, 1, f"{row}.png"),)

        def names(self, split):
            return ["0", "1", "2"]

        def partners(self, split):
            return True

        def digest(self):
            return ""

    states = file_states(Archive())
    assert states[:, 0].tolist() == [10, 10, 7]
    assert states[:, 1].tolist() == [os.stat(tmp_path / "x.tar").st_mtime_ns] * 2 + [0x16DB4F89]


def test_an_index_holds_little_more_than_the_names(tmp_path):
    names = [f"picture_{number:07}" for number in range(50_000)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = Names.of(name.encode() for name in names)
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held < 40 * len(kept)  # 16 bytes of name and 16 of places
