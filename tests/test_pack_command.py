"""`dragoman pack`, and embedded sets as shards."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dragoman import cli
from dragoman.data import DataSettings, open_data
from dragoman.data.packing import pack_data, pack_named
from dragoman.data.tables import open_table
from tests.tars import (
    alike,
    opened,
    settings_of,
    several_labels,
)

TINY = Path(__file__).parent / "data" / "tiny" / "emoji32"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize(
    ("data", "pairing"),
    [
        ("earth64:elev,height", "unpaired"),
        ("earth64:relief+satellite", "unpaired"),
        ("openmoji32:line,colour", "paired"),
    ],
)
def test_an_embedded_set_is_packed_as_it_is_stored(tmp_path, data, pairing, monkeypatch):
    monkeypatch.undo()  # the cache of all tests serves, since drawing takes a while
    given = settings_of(data=data, size=16, pairing=pairing)
    source = open_data(given)
    told = pack_data(source, tmp_path / "out")
    flags = dict.fromkeys(["pairing"], pairing) if "--pairing" in told else {}
    for word in told.split(" --")[2:]:
        name, _, value = word.partition(" ")
        flags[name] = value
    numbers = {name: int(value) for name, value in flags.items() if name in ("size", "load_size")}
    own = open_data(settings_of(data=str(tmp_path / "out"), **(flags | numbers)))
    assert own.name == source.name
    assert own.counts == source.counts
    assert own.label_sets == source.label_sets
    for key, domain in source.domains.items():
        mine = own.domains[key]
        assert (mine.name, mine.kind, mine.channels, mine.dtype) == (
            domain.name,
            domain.kind,
            domain.channels,
            domain.dtype,
        )
    for split in ("train", "val", "test"):
        assert list(own.names(split)) == list(source.names(split))
        assert own.partners(split) == source.partners(split)
        rows = range(0, source.counts[split], 37)
        one, other = source.rows(split, rows), own.rows(split, rows)
        assert one.keys() == other.keys()
        assert all((one[key] == other[key]).all() for key in one)


@pytest.fixture
def call(capsys):
    def call(*argv: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(text) for text in argv])
        code = caught.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return call


def test_the_command_packs_a_folder(call, tmp_path):
    code, out, err = call("pack", TINY, tmp_path / "out")
    assert code == 0
    assert out.startswith("wrote 22 samples in 3 shards (0.1 MB) to ")
    assert err.splitlines() == [
        "train-000000.tar: 15 samples so far",
        "val-000000.tar: 16 samples so far",
        "test-000000.tar: 22 samples so far",
    ]
    alike(opened(tmp_path / "out"), open_table(DataSettings(data=str(TINY))))


def test_the_command_takes_layout_labels_and_columns(call, tmp_path):
    given = several_labels(tmp_path / "own")
    code, _, _ = call("pack", given["data"], tmp_path / "out", "--labels", given["labels"])
    assert code == 0
    table = opened(tmp_path / "out")
    assert list(table.label_sets) == ["species", "age"]
    only = opened(tmp_path / "out", columns="label=age")
    assert only.label_sets == {"age": table.label_sets["age"]}
    assert (
        only.labels("train", np.arange(3)).tolist()
        == table.labels("train", np.arange(3))[:, 1:].tolist()
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--shard_megabytes", 0], "--shard_megabytes must be at least 1, got 0"),
        (["--layout", "pears"], "--layout must be one of auto, pairs, "),
        (["--pairing", "x"], "--pairing must be one of paired, unpaired"),
        (["--shards", 1], "unknown setting '--shards'"),
    ],
)
def test_a_mistake_is_one_sentence(call, tmp_path, flags, words):
    code, out, err = call("pack", TINY, tmp_path / "out", *flags)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_still_a_picture(tmp_path):
    pack_named(DataSettings(data=str(TINY)), tmp_path / "out")
    with (
        tarfile.open(tmp_path / "out" / "train-000000.tar") as tar,
        Image.open(tar.extractfile("000003.a.png") or io.BytesIO()) as one,
        Image.open(sorted((TINY / "trainA").iterdir())[3]) as other,
    ):
        assert one.tobytes() == other.tobytes()
