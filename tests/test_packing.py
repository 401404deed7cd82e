"""Packing: what is opened from the shards is what was packed, byte for byte."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.data import DataSettings, open_data
from dragoman.data.blob import Blob
from dragoman.data.pack_description import DESCRIPTION
from dragoman.data.packing import pack, pack_named
from dragoman.data.shards import INDEX
from dragoman.data.tables import open_table
from dragoman.errors import SettingsError
from tests.tars import (
    Reference,
    alike,
    contents,
    memory,
    opened,
    pictures,
    png,
    reference,
    save,
    settings_of,
    several_labels,
    two_folders,
    write_tar,
)

TINY = Path(__file__).parent / "data" / "tiny" / "emoji32"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path_factory.mktemp("cache")))


def label_maps(root: Path) -> dict:
    for n in range(12):
        save(root / "train_label" / f"{n}.png", n, "L")
        save(root / "train_img" / f"{n}.PNG", 100 + n)
        save(root / "train_inst" / f"{n}.png", 200 + n, "L")
    return {}


def halves(root: Path) -> dict:
    for n in range(12):
        save(root / "train" / f"{n}.png", n)
    return {"layout": "side_by_side"}


def classes(root: Path) -> dict:
    for n in range(30):
        save(root / ("cat", "dog", "übel")[n % 3] / f"{n}.png", n)
    return {}


def single(root: Path) -> dict:
    for n in range(12):
        save(root / f"{n}.png", n)
        save(root / "mask" / f"{n}.png", 100 + n, "L")
    return {}


def stack(root: Path) -> dict:
    for n in range(12):
        for place, folder in enumerate(("red", "nir", "rgb")):
            save(root / folder / f"{n}.png", 100 * place + n, "L")
    return {"data": f"{root}/red+{root}/nir,{root}/rgb"}


def manifest(root: Path) -> dict:
    lines = ["in,out,kind"]
    for n in range(12):
        save(root / "x" / f"{n}.png", n)
        save(root / "y" / f"{n}.png", 100 + n)
        lines.append(f"x/{n}.png,y/{11 - n}.png,{'ab'[n % 2]}")
    (root / "set.csv").write_text("\n".join(lines))
    return {"data": str(root / "set.csv"), "columns": "a=in,b=out,label=kind"}


LAYOUTS = {
    make.__name__: make
    for make in (
        two_folders,
        label_maps,
        halves,
        classes,
        single,
        several_labels,
        stack,
        manifest,
    )
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_opened_shards_are_what_was_packed(tmp_path, layout):
    root = tmp_path / "own"
    given = {"data": str(root)} | LAYOUTS[layout](root)
    told = pack_named(settings_of(**given), tmp_path / "out")
    source = open_table(settings_of(**given))
    assert source.problems == []
    total = sum(source.count(split, source.keys[0]) for split in source.splits)
    shards = sum(source.count(split, source.keys[0]) > 0 for split in source.splits)
    assert told.startswith(f"wrote {total} samples in {shards} shards (")
    assert told.endswith(f"MB) to {tmp_path / 'out'}; use --data {tmp_path / 'out'}")
    alike(opened(tmp_path / "out"), source)
    for path in (tmp_path / "out").iterdir():
        if path.suffix != ".tar":
            path.unlink()
    bare = open_table(DataSettings(data=str(tmp_path / "out")))
    assert contents(bare) == contents(source), "the tars alone hold everything"
    assert bare.label_sets == source.label_sets
    assert bare.halves == source.halves


@pytest.mark.parametrize("layout", ["two_folders", "halves", "stack", "single"])
def test_unpaired_shards_are_what_was_packed(tmp_path, layout):
    root = tmp_path / "own"
    given = {"data": str(root), "pairing": "unpaired"} | LAYOUTS[layout](root)
    if layout == "two_folders":
        save(root / "trainB" / "alone.png", 77)
    told = pack_named(settings_of(**given), tmp_path / "out")
    source = open_table(settings_of(**given))
    apart = layout not in ("single", "halves")
    assert told.endswith(" --pairing unpaired") == apart
    alike(opened(tmp_path / "out", pairing="unpaired"), source)
    if apart:
        with pytest.raises(SettingsError, match="was packed with a and b apart; use --pairing unp"):
            opened(tmp_path / "out")
        pack(opened(tmp_path / "out", pairing="unpaired"), tmp_path / "again")
        alike(opened(tmp_path / "again", pairing="unpaired"), source)


def test_a_pack_of_pairs_can_be_opened_unpaired(tmp_path):
    two_folders(tmp_path / "own")
    pack_named(DataSettings(data=str(tmp_path / "own")), tmp_path / "out")
    alike(
        opened(tmp_path / "out", pairing="unpaired"),
        open_table(DataSettings(data=str(tmp_path / "own"), pairing="unpaired")),
    )


def test_batches_from_shards_are_those_from_the_folder(tmp_path):
    pack_named(DataSettings(data=str(TINY)), tmp_path / "out")
    folder = open_data(DataSettings(data=str(TINY), size=32, batch=4))
    shards = open_data(DataSettings(data=str(tmp_path / "out"), size=32, batch=4))
    assert folder.name == shards.name
    assert folder.domains == shards.domains
    first, second = folder.batches(batch=4, seed=3), shards.batches(batch=4, seed=3, start=0)
    for _ in range(5):
        one, other = next(first), next(second)
        assert one.keys() == other.keys()
        assert all((one[key] == other[key]).all() for key in one)
    shares = [shards.batches(batch=2, seed=3, start=5, rank=rank, world=2) for rank in range(2)]
    joined = np.concatenate([next(share)["index"] for share in shares])
    assert (joined == next(first)["index"].numpy()).all(), "sharded by rank and resumed exactly"


def test_packing_shards_again_gives_the_same_bytes(tmp_path):
    several = {"data": str(tmp_path / "own")} | several_labels(tmp_path / "own")
    pack_named(settings_of(**several), tmp_path / "out")
    pack(opened(tmp_path / "out"), tmp_path / "again")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        DESCRIPTION.replace(".json", ".index"),
        DESCRIPTION,
        "test-000000.tar",
        "train-000000.tar",
        "val-000000.tar",
    ]
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_equal_input_gives_equal_bytes_at_another_place_and_time(tmp_path):
    for place in ("one", "two"):
        two_folders(tmp_path / place / "own")
        for file in (tmp_path / place).rglob("*.png"):
            os.utime(file, (len(place) * 10**8, len(file.name) * 10**8))
        pack_named(DataSettings(data=str(tmp_path / place / "own")), tmp_path / place / "out")
    for path in (tmp_path / "one" / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "out" / path.name).read_bytes()
    with tarfile.open(tmp_path / "one" / "out" / "train-000000.tar") as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in tar} == {(0, 0, 0, "", "")}
        names = [m.name for m in tar][:4]
        assert names == ["000000.a.png", "000000.b.png", "000000.map.png", "000000.json"]


def test_shards_are_begun_anew_by_size_and_number(tmp_path):
    told = pack(reference(25), tmp_path / "few", samples=10)
    assert told.startswith("wrote 75 samples in 9 shards (")
    sizes = []
    with tarfile.open(tmp_path / "few" / "train-000001.tar") as tar:
        sizes = [m.name for m in tar if m.name.endswith(".json")]
    assert sizes == [f"{n:06d}.json" for n in range(10, 20)]
    alike(opened(tmp_path / "few"), reference(25))
    rows = {
        s: [(str(n), {"image": memory(bytes(400_000), ".npy")}, ()) for n in range(7)]
        for s in ("train",)
    }
    said = []
    pack(Reference(rows, ("image",)), tmp_path / "large", megabytes=1, say=said.append)
    assert said == [
        "train-000000.tar: 3 samples so far",
        "train-000001.tar: 6 samples so far",
        "train-000002.tar: 7 samples so far",
    ]
    with pytest.raises(SettingsError, match="--shard_megabytes must be at least 1, got 0"):
        pack(reference(), tmp_path / "none", megabytes=0)


any_name = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Cs"]), max_size=30
)


@settings(max_examples=40)
@given(data=st.data())
def test_any_names_labels_stacks_and_bytes_come_back(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pack")
    sets = data.draw(
        st.dictionaries(
            any_name,
            st.lists(
                any_name,
                min_size=1,
                max_size=4,
                unique=True,
            ).map(tuple),
            max_size=3,
        )
    )
    depth = data.draw(st.integers(1, 11))
    blob = st.tuples(st.sampled_from([".png", ".tif", ".JPG"]), st.binary(max_size=2000))
    row = st.tuples(
        any_name.filter(bool),
        st.fixed_dictionaries(
            {
                "a": st.lists(blob, min_size=depth, max_size=depth),
                "mask": st.lists(blob, min_size=1, max_size=1),
            }
        ),
        st.tuples(*(st.integers(-1, len(classes) - 1) for classes in sets.values())),
    )
    drawn = data.draw(st.lists(row, min_size=1, max_size=5))
    rows = [
        (
            name,
            {key: tuple(memory(b, s)[0] for s, b in blobs) for key, blobs in files.items()},
            labels,
        )
        for name, files, labels in drawn
    ]
    table = Reference({"train": rows, "val": [], "extra": rows}, ("a", "mask"), label_sets=sets)
    pack(table, folder / "out", samples=data.draw(st.integers(1, 4)))
    alike(opened(folder / "out"), table)
    (folder / "out" / INDEX).unlink()
    alike(opened(folder / "out"), table)


def test_pictures_of_three_kinds_of_places(tmp_path):
    file = tmp_path / "own" / "1.png"
    save(file, 1)
    tar = write_tar(tmp_path / "x.tar", [("0.png", png(7)), ("1.png", png(2))])
    with tarfile.open(tar) as inside:
        place = inside.getmember("1.png")
    blobs = [
        Blob(str(file)),
        Blob(str(tar), place.offset_data, place.size, "1.png"),
        memory(png(3))[0],
    ]
    rows = [(str(n), {"image": (blob,)}, ()) for n, blob in enumerate(blobs)]
    pack(Reference({"train": rows}, ("image",)), tmp_path / "out")
    assert pictures(opened(tmp_path / "out"), "train", "image") == [[png(n)] for n in (1, 2, 3)]
