"""Manifests: what they may say, and what is told of each fault in them."""

import csv
import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laid_out import SPLITS, TWELVE, classes, fill, opened, write_csv

from dragoman.data import records
from dragoman.errors import DataError, DragomanError, SettingsError


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures in each of five folders."""
    for place in ("red", "nir", "photo", "mask", "other"):
        fill(tmp_path / place)
    return tmp_path


def _rows(*places: str) -> list[str]:
    return [",".join(f"{place}/{name}.png" for place in places) for name in TWELVE]


def test_columns_called_as_keys(folder):
    rows = _rows("red", "photo", "mask")
    splits = ["train"] * 8 + ["val", "valid", "test", "test"]
    lines = [
        f"{row},{split},{n % 3},k{n % 2}"
        for n, (row, split) in enumerate(zip(rows, splits, strict=True))
    ]
    lines[2] = lines[2].rpartition(",")[0] + ","
    path = write_csv(
        folder, "a,b,mask,split,label_tone,label,note", *(f"{line},x" for line in lines)
    )
    table = opened(path)
    assert table.keys == ("a", "b", "mask")
    assert table.name == "m"
    assert [table.count(split, "mask") for split in SPLITS] == [8, 2, 2]
    assert table.label_sets == {"label": ("k0", "k1"), "tone": ("0", "1", "2")}
    assert classes(table, "train")[:4] == [[0, 0], [1, 1], [-1, 2], [1, 0]]
    assert classes(table, "test") == [[0, 1], [1, 2]]
    assert list(table.names("val")) == ["red/08", "red/09"]
    assert list(table.paths("val", "b")) == [f"{folder}/photo/08.png", f"{folder}/photo/09.png"]
    assert table.problems == []
    assert table.folders("a") == f"{path}:a"
    assert table.partners("train")


def test_any_columns_and_stacks(folder):
    lines = [
        f"{row},oak,{'' if n else 'may'}" for n, row in enumerate(_rows("red", "nir", "photo"))
    ]
    path = write_csv(folder, "r,n,p,species,season", *lines)
    table = opened(path, columns="a=r+n,b=p,label=species+season")
    assert table.keys == ("a", "b")
    assert [blob.path for blob in table.blobs("train", "a", 0)] == [
        f"{folder}/red/00.png",
        f"{folder}/nir/00.png",
    ]
    assert table.label_sets == {"species": ("oak",), "season": ("may",)}
    assert classes(table, "train")[:2] == [[0, 0], [0, -1]]
    assert table.folders("a") == f"{path}:r+n"
    one = opened(path, columns="image=p", pairing="unpaired")
    assert one.partners("train")
    assert one.keys == ("image",)
    assert one.label_sets == {}


def test_splits_are_held_out_by_the_name_of_the_first_file(folder):
    twice = [*_rows("red", "photo"), *_rows("red", "other")]
    table = opened(write_csv(folder, "a,b", *twice))
    where = {name: split for split in SPLITS for name in table.names(split)}
    assert set(where.values()) == set(SPLITS)
    for split in SPLITS:
        names = list(table.names(split))
        assert all(names.count(name) == 2 for name in names)  # no picture is in two splits
    moved = opened(write_csv(folder, "a,b", *reversed(twice), name="other.csv"))
    assert {name: split for split in SPLITS for name in moved.names(split)} == where
    given = [f"{row},{'test' if n < 3 else 'train'}" for n, row in enumerate(_rows("red", "photo"))]
    table = opened(write_csv(folder, "a,b,split", *given))
    assert list(table.names("test")) == ["red/00", "red/01", "red/02"]
    assert table.count("val", "a") >= 1
    named = opened(
        write_csv(folder, "a,b,split", *given), columns="a=a,b=b"
    )  # split is never forgotten
    assert list(named.names("test")) == ["red/00", "red/01", "red/02"]


def test_unpaired_columns_have_rows_of_their_own(folder):
    lines = [f"red/{name}.png," for name in TWELVE]
    lines += [f",photo/{name}.png" for name in TWELVE[:5]]
    path = write_csv(folder, "a,b", *lines)
    table = opened(path, pairing="unpaired")
    assert sum(table.count(split, "a") for split in SPLITS) == 12
    assert sum(table.count(split, "b") for split in SPLITS) == 5
    assert not table.partners("train")
    assert table.problems == []
    with pytest.raises(
        DataError, match=r"m.csv has no row that can be used; .* line 2: 'b' is emp"
    ):
        opened(path)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("apart", [",", ";", "\t"])
def test_dialects(folder, end, start, apart):
    (folder / 'odd, "name"').mkdir()
    for name in TWELVE:
        (folder / "red" / f"{name}.png").rename(folder / 'odd, "name"' / f"{name}.png")
    lines = [f'"odd, ""name""/{name}.png"{apart} photo/{name}.png ' for name in TWELVE]
    text = end.join([f"a{apart}b{apart}", "", *(line + apart for line in lines)])
    path = folder / "m.CSV"
    path.write_bytes(start + text.encode())
    table = opened(path)
    assert table.problems == []
    assert sum(table.count(split, "b") for split in SPLITS) == 12
    assert table.blobs("train", "a", 0)[0].path == f'{folder}/odd, "name"/00.png'


def test_jsonl(folder):
    path = folder / "m.jsonl"
    rows: list[dict] = [
        {"a": [f"red/{name}.png", f"nir/{name}.png"], "b": f"photo/{name}.png"} for name in TWELVE
    ]
    rows[3] |= {"label": 7, "label_x": True}
    rows[4] |= {"label": None}
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    table = opened(path)
    assert len(table.blobs("test", "a", 0)) == 2
    assert table.label_sets == {"label": ("7",), "x": ("true",)}
    known = {
        name: numbers
        for split in SPLITS
        for name, numbers in zip(table.names(split), classes(table, split), strict=True)
    }
    assert known.pop("red/03") == [0, 0]
    assert set(map(tuple, known.values())) == {(-1, -1)}
    assert table.problems == []


FAULTS = [
    ("red/00.png", "has 1 cells instead of 2; put cells that hold a comma in quotes"),
    ("red/00.png,photo/00.png,x", "has 3 cells instead of 2"),
    ("red/00.png,", "'b' is empty; name a file, or take the row out"),
    ("red/00.png,photo/99.png", "'photo/99.png' does not exist below"),
    ("red/00.png,photo/00.png/x.png", "'photo/00.png/x.png' does not exist below"),
    ("red/00.png,photo\\00.png", "does not exist below .*; write paths with / instead of"),
    ("red/00.png,notes.txt", "'notes.txt' is no picture that can be read"),
    ("red/00.png,photo/dir.png", "'photo/dir.png' is a folder, not a picture"),
    ("../x/red/00.png,photo/00.png", "leads out of the folder of the manifest; move the manifest"),
    ("/etc/passwd.png,photo/00.png", "'/etc/passwd.png' leads out of the folder of the manifest"),
    ("red/../../x.png,photo/00.png", "leads out of the folder of the manifest"),
    ('"red/0\n0.png",photo/00.png', r"'red/0\\n0.png' has a line break or control character"),
    ("red/00.png,photo/\x0000.png", "has a line break or control character in its name"),
    (f"red/00.png,{'x' * 300}.png", r"'x{100}\.\.\.' cannot be read \(File name too long\)"),
]


@pytest.mark.parametrize(("row", "words"), FAULTS)
def test_rows_with_a_fault_are_left_out_and_told(folder, row, words):
    (folder / "photo" / "dir.png").mkdir()
    (folder / "notes.txt").write_text("x")
    path = write_csv(folder, "a,b", *_rows("red", "photo"), row)
    table = opened(path)
    (line,) = table.problems
    number = 13 + row.count("\n") + 1
    assert line.startswith(f"{path} line {number}: ")
    assert sum(table.count(split, "a") for split in SPLITS) == 12
    with pytest.raises(DataError, match=words):
        raise DataError(line)
    assert "\n" not in line


def test_paths_that_stay_within_the_folder_are_taken(folder):
    lines = [f"{folder}/red/{name}.png,./photo/../photo/{name}.png" for name in TWELVE]
    table = opened(write_csv(folder, "a,b", *lines))
    assert table.problems == []
    assert table.blobs("train", "a", 0)[0].path == f"{folder}/red/00.png"
    assert table.blobs("train", "b", 0)[0].path == f"{folder}/photo/00.png"
    plain = opened(write_csv(folder, "a,b", *_rows("red", "photo"), name="plain.csv"))
    assert table.digest() == plain.digest()


def test_splits_that_are_unknown(folder):
    splits = ["train"] * 10 + ["", "x"]
    lines = [f"{row},{split}" for row, split in zip(_rows("red", "photo"), splits, strict=True)]
    table = opened(write_csv(folder, "a,b,split", *lines))
    assert [line.partition(": ")[2] for line in table.problems] == [
        "the split is ''; write train, val or test",
        "the split is 'x'; write train, val or test",
    ]
    with pytest.raises(DataError, match=r"has no row left for train; at least 3 are needed"):
        opened(write_csv(folder, "a,b,split", *(f"{row},test" for row in _rows("red", "photo"))))


WHOLE = [
    ("", "is empty; its first line must name the columns"),
    ("\n\n", "is empty; its first line must name the columns"),
    ("x,y\n1,2\n", "has no column a, b or image .*; it has x, y; say which column is which with"),
    ("a,b,a\n", "has two columns 'a'; give each column a name of its own"),
    ("a,b\n", "has no row that can be used"),
    ("a,b\nred/00.png,nowhere.png\n", "has no row that can be used; .* line 2: 'nowhere.png' does"),
    ('a,b\n"red/00.png,photo/00.png\n' + "x,y\n" * 100_000, "cannot be read .*is a quote not clos"),
    ("a,b\nred/00.png,photo/00.png\n", "has no row left for train; at least 3 are needed"),
    ("mask\nred/00.png\n", "has no column a, b or image"),
    (",".join(f"c{n}" for n in range(10_001)), "has more than 10,000 columns; is it a table"),
    ("a,b,label\n" + "red/00.png,photo/00.png,\n" * 9, "column 'label' of .* has no class in any"),
]


@pytest.mark.parametrize(("text", "words"), WHOLE)
def test_files_that_are_refused_as_a_whole(folder, text, words):
    path = folder / "m.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"m\.csv.*{words}|{words}") as caught:
        opened(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_files_that_are_no_text(folder):
    path = folder / "m.csv"
    path.write_bytes(b"a,b\nred/00.png,photo/00.png\n\xff\xfe,x\n")
    with pytest.raises(
        DataError, match=r"m.csv line 3 is not UTF-8 text; save the table as CSV in"
    ):
        opened(path)
    path.write_bytes("a,b\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"m.csv line 1 is not UTF-8 text"):
        opened(path)


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_a_line_without_end_takes_no_memory(folder, name):
    path = folder / name
    with path.open("wb") as file:
        file.write(b"a,b\n")
        file.truncate(10_000_000_000)  # a sparse file: one line of zeros
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=rf"{name} line 2 has more than 1,000,000 bytes; is it"):
            opened(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_broken_json_is_told_by_its_line(folder):
    good = [json.dumps({"a": f"red/{n}.png", "b": f"photo/{n}.png"}) for n in TWELVE]
    bad = {
        '{"a": "red/00.png", "b"': "is broken JSON (Expecting ':' delimiter); write one object",
        "[" * 100_000: "is broken JSON (too long or too deep)",
        '{"a": ' + "9" * 10_000 + "}": "is broken JSON (too long or too deep)",
        '["red/00.png"]': 'is no JSON object; write each row as {"a": "x.png", ...}',
        '{"a": "red/00.png", "b": {"x": 1}}': "'b' must be a text or a number",
        '{"a": "red/00.png", "b": ["photo/00.png", 3]}': "'b' must be a text or a number",
        '{"a": "red/00.png", "b": ["photo/00.png", "photo/01.png"]}': "b has 2 files, but 1 in",
        '{"a": "red/00.png", "b": []}': "'b' is empty; name a file",
        '{"a": "red/00.png", "b": [""]}': "'b' is empty; name a file",
        '{"a": "red/00.png"}': "'b' is empty; name a file",
        "{}": "names no file; take the row out",
    }
    path = write_csv(folder, *good, *bad, name="m.jsonl")
    for number, (line, words) in enumerate(
        zip(opened(path).problems, bad.values(), strict=True), start=13
    ):
        assert line.startswith(f"{path} line {number}: {words}"), (line, words)
    path.write_text('[\n{"a": 1}\n]\n')
    with pytest.raises(DataError, match=r"m.jsonl"):
        opened(path)
    path.write_text("\n")
    with pytest.raises(DataError, match=r"m.jsonl is empty; write one JSON object per line"):
        opened(path)
    path.write_text('{"a": "red/00.png", "b": "photo/00.png", "label": ["x"]}\n')
    with pytest.raises(DataError, match="a class must be one text, not a list"):
        opened(path)


def test_columns_that_are_not_there(folder):
    path = write_csv(folder, "scene,photo", *_rows("red", "photo"))
    with pytest.raises(
        DataError, match=r"no column 'scenes' \(did you mean 'scene'\?\); it has scen"
    ):
        opened(path, columns="a=scenes,b=photo")
    with pytest.raises(
        SettingsError, match=r"--columns 'scene' must be KEY=COLUMN, such as a=scene"
    ):
        opened(path, columns="scene")
    with pytest.raises(SettingsError, match=r"--columns 'c=scene' must be VALUE"):
        opened(path, columns="c=scene,b=photo")


def test_many_problems_are_counted(folder, monkeypatch):
    monkeypatch.setattr(records, "MOST_PROBLEMS", 5)
    path = write_csv(folder, "a,b", *_rows("red", "photo"), *["x,y"] * 30)
    assert len(opened(path).problems) == 6
    assert opened(path).problems[-1] == f"{path} has 25 more rows with problems"


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("two\nlines", r"has the class 'two\\nlines', which has a line break or control character"),
        (
            "x" * 101,
            r"has the class 'x{100}\.\.\.', which has more than 100 characters; shorten it",
        ),
        ("\ud800", r"has the class '\\ud800', which has a name that is not UTF-8"),
    ],
)
def test_classes_that_no_list_can_show(folder, word, words):
    rows = [json.dumps({"image": f"red/{name}.png", "label": word}) for name in TWELVE]
    with pytest.raises(DataError, match=words):
        opened(write_csv(folder, *rows, name="m.jsonl"))


CELLS = st.one_of(
    st.sampled_from(["red/00.png", "photo/01.png", "", "train", "a", "b", "label", "split"]),
    st.text(max_size=8),
)


@settings(max_examples=80)
@given(
    head=st.lists(
        st.one_of(st.sampled_from(["a", "b", "image", "label", "split"]), CELLS), max_size=4
    ),
    rows=st.lists(st.lists(CELLS, max_size=4), max_size=6),
    jsonl=st.booleans(),
    columns=st.sampled_from([None, "a=a,b=b", "image=label", "a=a+b,b=image"]),
)
def test_whatever_is_told_is_one_line_of_text(tmp_path_factory, head, rows, jsonl, columns):
    folder = tmp_path_factory.mktemp("any")
    fill(folder / "red", ["00"])
    fill(folder / "photo", ["01"])
    path = folder / f"m.{'jsonl' if jsonl else 'csv'}"
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        if jsonl:
            file.writelines(json.dumps(dict(zip(head, row, strict=False))) + "\n" for row in rows)
        else:
            csv.writer(file).writerows([head, *rows])
    try:
        lines = opened(path, columns=columns).problems
    except DragomanError as error:
        lines = [str(error)]
    for line in lines:
        assert len(line.splitlines()) == 1
        assert line.encode()
        assert str(path) in line


@settings(max_examples=60)
@given(content=st.binary(max_size=300), jsonl=st.booleans())
def test_any_bytes_are_refused_in_one_sentence(tmp_path_factory, content, jsonl):
    path = tmp_path_factory.mktemp("any") / f"m.{'jsonl' if jsonl else 'csv'}"
    path.write_bytes(content)
    with pytest.raises(DragomanError) as caught:
        opened(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
