"""The classes of samples in tar shards: from text, JSON and the columns that are named."""

import json
from pathlib import Path

import pytest

from dragoman.data.shard_scan import scan
from dragoman.errors import SettingsError
from tests.tars import opened, png, write_tar


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('{"label": "cat"}', "cat"),
        ('{"label": 7}', "7"),
        ('{"label": true}', "true"),
        ('{"label": null}', None),
        ('{"label": -1}', None),
        ('{"label": ""}', None),
        ('{"caption": "x"}', None),
        ("[1, 2]", None),
    ],
)
def test_classes_from_json(tmp_path, text, label):
    write_tar(tmp_path / "x.tar", [("1.png", png(1)), ("1.json", text.encode())])
    index = scan(tmp_path, ["x.tar"])
    assert index.problems == ()
    classes = index.label_sets.get("label", ())
    assert classes == (() if label is None else (label,))
    assert index.labels.tolist() == [[-1 if label is None else 0][: len(index.label_sets)]]


@pytest.mark.parametrize(
    ("ending", "text", "words"),
    [
        ("json", b'{"label": [1]}', "1 (label) has no class that is a whole number or a text of"),
        ("json", b'{"label": 1.5}', "1 (label) has no class that is a whole number or a text of"),
        ("json", b'{"label": 99999999999999999999}', "1 (label) has no class"),
        ("json", b'{"label": "a\\nb"}', "1 (label) has no class"),
        ("json", b'{"label": ' + b"[" * 9999, "1.json is not valid JSON; mend or remove it"),
        ("json", b"\xff\xfe", "1.json is not UTF-8 text; mend or remove it"),
        ("cls", b"x" * 1001, "1 (label) has no class"),
        ("cls", b"x" * 70_000, "1.cls has 70000 bytes, too many for labels; shorten or remove"),
        ("a.gif", b"x", ""),
    ],
)
def test_classes_that_cannot_be_are_told(tmp_path, ending, text, words):
    write_tar(tmp_path / "x.tar", [("1.png", png(1)), (f"1.{ending}", text)])
    index = scan(tmp_path, ["x.tar"])
    assert len(index.problems) == bool(words)
    assert "".join(index.problems).startswith(f"{tmp_path}/x.tar:{words}" if words else "")


def test_a_label_set_is_chosen_by_columns(tmp_path):
    members = []
    for n in range(12):
        told = json.dumps({"species": "cat" if n % 2 else "dog", "age": n % 3, "url": f"u{n}"})
        members += [(f"{n}.jpg", png(n)), (f"{n}.json", told.encode()), (f"{n}.txt", b"c%d" % n)]
    write_tar(tmp_path / "train-0.tar", members)
    assert opened(tmp_path).label_sets == {}
    table = opened(tmp_path, columns="label=species+age")
    assert table.label_sets == {"species": ("cat", "dog"), "age": ("0", "1", "2")}
    assert len(opened(tmp_path, columns="label=txt").label_sets["txt"]) == 12
    with pytest.raises(SettingsError) as caught:
        opened(tmp_path, columns="label=specie")
    assert str(caught.value) == (
        f"--columns label=specie: no sample of {tmp_path} has it (did you mean 'species'?); there "
        "are age, species, txt, url"
    )


def test_too_many_of_a_kind_are_refused(tmp_path, monkeypatch):
    members = [(f"{n}.{n}.png", b"") for n in range(5)]
    members += [(f"c{n}.{e}", t) for n in range(5) for e, t in (("png", b""), ("cls", b"%d" % n))]
    write_tar(tmp_path / "x.tar", members)
    monkeypatch.setattr("dragoman.data.shard_scan.MOST_ENDINGS", 3)
    assert "x.tar: the pictures have more than 3 kinds of endings, such as 3.png" in told(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr("dragoman.data.shard_scan.MOST_CLASSES", 3)
    assert "x.tar: the label set 'label' has more than 3 classes, such as '3'" in told(tmp_path)
    monkeypatch.setattr("dragoman.data.shard_scan.MOST_SETS", 0)
    assert "x.tar: there are more than 0 label sets, such as 'label'; name those" in told(tmp_path)
    monkeypatch.setattr("dragoman.data.tar_members.MOST_MEMBERS", 3)
    assert "x.tar has more than 3 members; split it" in told(tmp_path)


def told(folder: Path) -> str:
    index = scan(folder, ["x.tar"])
    assert len(index.problems) == 1
    assert len(index.tar) == 0, "the whole tar is left out"
    return index.problems[0]
