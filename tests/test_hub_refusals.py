"""What a data set of the library datasets may not do, and what is told of it."""

import io
import os
import sys

import datasets
import datasets.config
import datasets.utils.logging
import numpy as np
import pytest
from PIL import Image

from dragoman.data import open_data
from dragoman.data.file_table import file_states
from dragoman.data.hub_opening import library
from dragoman.data.hub_table import HubTable
from dragoman.errors import DataError
from tests.parquets import image, opened, pairs, parquet
from tests.tars import pictures, png, save, settings_of


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../secret.png",
        "https://host/x.png",
        "zip://x.png::y.zip",
        "a\0b",
        "inner/../../x",
    ],
)
def test_rows_cannot_name_files_elsewhere(tmp_path, path):
    rows = [image(png(n)) for n in range(9)] + [image(None, path)]
    file = parquet(tmp_path / "own" / "x.parquet", image=rows)
    with pytest.raises(
        DataError, match=r"names the file .* which lies outside of it; put all pict"
    ) as c:
        opened(file)
    assert "\n" not in str(c.value)


def test_rows_can_name_files_in_the_folder(tmp_path):
    for n in range(9):
        save(tmp_path / "own" / "inner" / f"{n}.png", n)
    rows = [image(None, f"inner/{n}.png") for n in range(9)]
    parquet(tmp_path / "own" / "x.parquet", image=rows)
    table = opened(tmp_path / "own")
    left = [int(name) for name in table.names("train")]
    assert pictures(table, "train", "image") == [[png(n)] for n in left]


def test_no_code_of_a_data_set_runs_and_its_readme_decides_nothing(tmp_path):
    root = tmp_path / "own"
    save(tmp_path / "secret" / "x.png", 5)
    pairs(root / "train.parquet", 9)
    (root / "own.py").write_text("open('ran', 'w')\nraise SystemExit\n")
    (root / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files: ../secret/*.png\n---\n"
    )
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        table = opened(root)
    finally:
        os.chdir(before)
    assert table.keys == ("a", "b")
    assert sum(table.count(split, "a") for split in table.splits) == 9
    assert not (tmp_path / "ran").exists()


def test_folders_with_signs_of_patterns_are_read(tmp_path):
    root = tmp_path / "a[1]*{x}?"
    pairs(root / "train-[0].parquet", 9)
    assert opened(root).count("train", "a") == 7
    for n in range(9):
        save(tmp_path / "b[1]" / f"{n}.png", n)
    table = opened(tmp_path / "b[1]")
    assert sum(table.count(split, "image") for split in table.splits) == 9


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (
            "nowhere",
            "there is no folder or file nowhere; a data set of the Hub is named hf:OWNER/NAME",
        ),
        ("/no/where", "there is no folder or file /no/where; a data set of the Hub"),
        ("own/x.csv", r"hf:own/x.csv is no parquet file; name a .parquet file or a folder"),
        ("own/bad.parquet", "hf:own/bad.parquet cannot be opened by the library datasets ("),
        ("own/empty", "hf:own/empty cannot be opened by the library datasets ("),
        ("own/texts", "hf:own/texts has no column of encoded pictures; it has text"),
        ("own/splits", "own/splits has no shards for train"),
        ("own/few", "own/few/a has no picture left for "),
    ],
)
def test_what_cannot_be_opened_is_one_sentence(tmp_path, monkeypatch, place, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "empty").mkdir(parents=True)
    (tmp_path / "own" / "x.csv").write_text("a")
    (tmp_path / "own" / "bad.parquet").write_text("no parquet\nat all")
    parquet(tmp_path / "own" / "texts" / "x.parquet", text=["x"])
    pairs(tmp_path / "own" / "splits" / "test.parquet", 3)
    pairs(tmp_path / "own" / "mixed" / "train.parquet", 9)
    parquet(tmp_path / "own" / "mixed" / "test.parquet", {"a": datasets.Image()}, a=[image(png(1))])
    pairs(tmp_path / "own" / "few" / "x.parquet", 2)
    with pytest.raises(DataError) as caught:
        HubTable(f"hf:{place}", settings_of(data=f"hf:{place}"))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_data_set_of_the_hub_is_asked_for_by_name_and_nothing_else(tmp_path, monkeypatch):
    asked = []
    rows = datasets.load_dataset(
        "parquet", data_files=str(pairs(tmp_path / "x.parquet", 9)), cache_dir=str(tmp_path / "c")
    )

    def load(*args, **kwargs):
        asked.append((args, kwargs))
        return rows

    monkeypatch.setattr(datasets, "load_dataset", load)
    table = opened("owner/name")
    assert asked == [(("owner/name",), {})], "no word that would let code run"
    assert table.name == "owner-name"
    assert table.blobs("train", "a", 0)[0].name == "hf:owner/name:train/0/a.png"

    def fail(*_, **__):
        raise ConnectionError("Couldn't reach the Hub\nsecond line")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(
        DataError, match=r"hf:owner/name cannot be opened by .* \(Couldn't reach the H"
    ):
        opened("owner/name")


def test_other_splits_are_left_alone(tmp_path, monkeypatch):
    one = datasets.Dataset.from_parquet(
        str(pairs(tmp_path / "x.parquet", 9)), cache_dir=str(tmp_path / "c")
    )
    found = {"train": one, "unsupervised": one}
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: found)
    assert sum(opened("owner/name").count(split, "a") for split in ("train", "val", "test")) == 9
    found = {"everything": one}
    assert opened("owner/name").count("train", "a") == 7
    found = {"train": one, "test": one.rename_column("b", "c")}
    with pytest.raises(DataError, match="hf:owner/name has other columns, or columns of other"):
        opened("owner/name")
    found = {"x": one, "y": one}
    with pytest.raises(DataError, match="hf:owner/name has the splits x, y, but none called train"):
        opened("owner/name")


def test_an_old_or_missing_library_is_told(monkeypatch):
    monkeypatch.setattr(datasets, "__version__", "3.6.0")
    with pytest.raises(
        DataError, match="datasets 4 or newer, since older ones run code of data sets"
    ):
        library()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError) as caught:
        library()
    assert str(caught.value) == (
        "hf: needs the package datasets; type: pip install 'dragoman[hfdata]'"
    )


def test_nothing_is_printed_or_changed_in_the_library(tmp_path, capfd):
    counts = datasets.config.HF_UPDATE_DOWNLOAD_COUNTS
    path = pairs(tmp_path / "x.parquet", 9)
    (tmp_path / "bad.parquet").write_text("no parquet")
    level = datasets.utils.logging.get_verbosity()
    capfd.readouterr()
    opened(path)
    with pytest.raises(DataError, match="cannot be opened by the library datasets"):
        opened(tmp_path / "bad.parquet")
    assert capfd.readouterr() == ("", "")
    assert datasets.utils.logging.get_verbosity() == level
    assert not datasets.are_progress_bars_disabled()
    assert counts == datasets.config.HF_UPDATE_DOWNLOAD_COUNTS


def test_the_digest_tells_other_rows_but_not_other_places(tmp_path):
    pairs(tmp_path / "one" / "x.parquet", 12)
    digest = opened(tmp_path / "one").digest()
    (tmp_path / "one").rename(tmp_path / "two")
    assert opened(tmp_path / "two").digest() == digest
    assert opened(tmp_path / "two", columns="a=b,b=a").digest() != digest
    pairs(tmp_path / "two" / "x.parquet", 13)
    assert opened(tmp_path / "two").digest() != digest
    for n in range(9):
        save(tmp_path / "three" / f"{n}.png", n)
    digest = opened(tmp_path / "three").digest()
    (tmp_path / "three").rename(tmp_path / "four")
    assert opened(tmp_path / "four").digest() == digest
    (tmp_path / "four" / "0.png").rename(tmp_path / "four" / "x.png")
    assert opened(tmp_path / "four").digest() != digest


def test_a_picture_is_fetched_only_when_it_is_asked_for(tmp_path, monkeypatch):
    table = opened(pairs(tmp_path / "x.parquet", 30))
    asked = []
    monkeypatch.setattr("dragoman.data.hub_table._content", lambda v: asked.append(v) or (b"x", ""))
    rows = [table.blobs("train", "a", row) for row in (3, 4)]
    assert len(asked) == 2
    assert rows[0][0].data == b"x"


def test_a_picture_through_our_reader_is_the_picture(tmp_path):
    path = pairs(tmp_path / "x.parquet", 9)
    data = open_data(settings_of(data=f"hf:{path}", size=8, load_size=8, flip=False))
    batch = data.rows("train", [0])
    row = int(data.names("train")[0])
    with Image.open(io.BytesIO(png(row))) as one:
        assert (data.show("a", batch["a"])[0] == np.asarray(one)).all()


def test_changed_pictures_are_seen_without_reading_them(tmp_path, monkeypatch):
    for n in range(9):
        save(tmp_path / "own" / f"{n}.png", n)
    pairs(tmp_path / "x.parquet", 9)
    monkeypatch.setattr(HubTable, "blobs", None)
    for place, file in (
        (tmp_path / "own", tmp_path / "own" / "3.png"),
        (tmp_path / "x.parquet",) * 2,
    ):
        before = file_states(opened(place))
        assert len(before) == (10 if place.is_dir() else 1)
        assert (file_states(opened(place)) == before).all()
        os.utime(file, (1, 1))
        assert (file_states(opened(place)) != before).any()
