"""The embedded sets: counts, content, splits without leaks, and the words of refusals."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from dragoman.data import BATCH_KEYS, DATASETS, DataSettings, open_data
from dragoman.data.appearance import encode
from dragoman.data.catalogue import EARTH, EDITIONS
from dragoman.data.earth import BLOCK, GUARD
from dragoman.data.earth_build import COLUMNS, LAND_UNIT, ROWS
from dragoman.data.listing import list_datasets, preview
from dragoman.data.source import reduce
from dragoman.errors import DragomanError

EARTH_COUNTS = {
    "earth64": ((1432, 58, 97, 173, 294), (766, 666)),
    "earth128": ((831, 16, 26, 92, 161), (452, 379)),
    "earth64w": ((831, 16, 26, 92, 161), (452, 379)),
    "earth256": ((210, 5, 7), (112, 98)),
}

# Of the tiles and drawings that an independent build of the same sets gave.
EARTH_DIGESTS = ["da0d11c43778997c", "c513df4451d10dc7", "a4e5ce4df46cd0d7"]
OPENMOJI_DIGESTS = ["a7265af9005f3c26", "b0e8e5f009001215", "5409ca4ee0137ae0"]


def _open(data: str, **settings):
    return open_data(DataSettings(data=data, **settings))


def _digest(pictures: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pictures).tobytes()).hexdigest()[:16]


def _stored(data, split: str, key: str) -> np.ndarray:
    """All pictures of a split as stored."""
    source = data._source
    rows = np.arange(source.count(split, key))
    return source.pictures(split, key, rows, None, source.size)


@pytest.mark.parametrize("name", EARTH_COUNTS)
def test_earth_counts(name):
    counts, halves = EARTH_COUNTS[name]
    data = _open(f"{name}:relief,satellite")
    assert tuple(data.counts.values()) == counts
    assert data.facts.images == counts[0]
    unpaired = _open(f"{name}:relief,satellite", pairing="unpaired")
    assert tuple(unpaired._source.count("train", key) for key in "ab") == halves
    assert unpaired.counts["test"] == counts[2]
    assert unpaired.partners("test")
    assert not unpaired.partners("train")


def test_earth_content():
    data = _open("earth64:relief,satellite")
    found = [_digest(_stored(data, "train", "a")), _digest(_stored(data, "train", "b"))]
    found.append(_digest(_stored(_open("earth64:topo,elev"), "test", "a")))
    assert found == EARTH_DIGESTS


def test_earth_class_shares():
    """Percent of earth64 train, to the published digit (rounding, and ties of half a pixel)."""
    elev = (2.8, 3.3, 5.9, 1.4, 9.7, 15.5, 24.8, 18.0, 10.9, 5.0, 2.8)
    cover = (2.8, 3.3, 5.9, 1.4, 17.7, 18.5, 15.4, 11.8, 11.6, 10.1, 1.7)
    data = _open("earth64:elev,cover")
    for key, expected in (("a", elev), ("b", cover)):
        maps = _stored(data, "train", key)
        shares = np.bincount(maps.ravel(), minlength=11) / maps.size * 100
        np.testing.assert_allclose(shares, expected, atol=0.06)


def test_earth_heights_agree_with_their_classes():
    data = _open("earth64:height,elev")
    heights, classes = _stored(data, "test", "a"), _stored(data, "test", "b")
    assert heights.dtype == np.int16
    assert heights.min() >= -6500
    assert heights.max() <= 6000
    medians = [np.median(heights[classes == number]) for number in range(4, 11)]
    edges = [-500, 100, 200, 500, 1000, 2000, 4000, 9000]
    for number, median in enumerate(medians):
        assert edges[number] <= median <= edges[number + 1], (number, median)


@pytest.mark.parametrize("name", EARTH_COUNTS)
def test_no_earth_tile_is_near_another_split(name):
    source = _open(f"{name}:relief,satellite")._source
    tile = EDITIONS[name].tile
    blocks = {}
    for split in source.splits:
        corners = source._positions[split]
        guard = 0 if split == "train" else GUARD
        within = corners % BLOCK
        assert within.min() >= guard
        assert within.max() <= BLOCK - guard - tile
        blocks[split] = {tuple(block) for block in corners // BLOCK}
    assert not blocks["train"] & blocks["val"]
    assert not blocks["train"] & blocks["test"]
    assert not blocks["val"] & blocks["test"]


@pytest.fixture(scope="module")
def coordinates(tmp_path_factory):
    """Rasters whose pixels tell where they are: relief (x, y), satellite its negative."""
    folder = tmp_path_factory.mktemp("coordinates")
    y, x = np.mgrid[0:ROWS, 0:COLUMNS]
    relief = np.stack([x // 300 * 13 + y // 300, x % 300 // 2, y % 300 // 2]).astype(np.uint8)
    np.save(folder / "relief.npy", relief)
    np.save(folder / "satellite.npy", 255 - relief)
    sums = np.arange(ROWS + 1)[:, None] * np.arange(COLUMNS + 1) * LAND_UNIT
    np.save(folder / "land_sums.npy", sums.astype(np.uint32))
    return folder


def test_random_earth_crops_stay_aligned_and_within_their_block(coordinates, monkeypatch):
    monkeypatch.setattr("dragoman.data.earth.earth_folder", lambda: coordinates)
    data = _open("earth64:relief,satellite", flip=False)
    assert data.counts["train"] == (108 - 13) * 64  # all is land here: 8 x 8 tiles a block
    batches = data.batches(batch=64, seed=5)
    corners = data._source._positions["train"]
    moves = []
    for _ in range(20):
        batch = next(batches)
        assert torch.equal(batch["b"], -batch["a"])
        pixels = torch.round((batch["a"] + 1) * 127.5).int().numpy()
        assert (pixels[:, 0].min((1, 2)) == pixels[:, 0].max((1, 2))).all()  # one block
        grid = corners[batch["index"].numpy()]
        move_y = pixels[:, 2].min((1, 2)) * 2 - grid[:, 0] % 300
        move_x = pixels[:, 1].min((1, 2)) * 2 - grid[:, 1] % 300
        moves += [move_y, move_x]
    batches.close()
    moves = np.concatenate(moves)
    assert moves.min() in (-16, -17)
    assert moves.max() in (15, 16)
    assert len(np.unique(moves)) > 15


def test_moved_earth_tiles_keep_their_land():
    source = _open("earth64:relief,satellite")._source
    corners = source._positions["train"]
    places = np.random.default_rng(0).random((len(corners), 2))
    moved = source._moved(corners, places)
    assert source._has_land(moved[:, 0], moved[:, 1]).all()
    assert (moved != corners).any(1).mean() > 0.9


def test_unpaired_halves_share_no_place():
    source = _open("earth64:relief,satellite", pairing="unpaired")._source
    even, odd = (source._corners("train", key) // BLOCK for key in "ab")
    assert (even.sum(1) % 2 == 0).all()
    assert (odd.sum(1) % 2 == 1).all()
    emoji = _open("openmoji64:line,colour", pairing="unpaired")._source
    rows = [set(emoji._rows("train", key)) for key in "ab"]
    assert not rows[0] & rows[1]
    assert len(rows[0] | rows[1]) == 1540


@pytest.mark.parametrize(
    ("domains", "counts"), [("line,colour", (1540, 97, 220)), ("line,dark", (280, 10, 33))]
)
def test_openmoji_counts(domains, counts):
    data = _open(f"openmoji64:{domains}")
    assert tuple(data.counts.values()) == counts
    assert data.facts.labels == 10
    assert len(data.labels) == 10


def test_openmoji_content():
    pairs, tones = _open("openmoji64:line,colour"), _open("openmoji64:base,dark")
    found = [_digest(_stored(pairs, "train", key)) for key in "ab"]
    found.append(_digest(_stored(tones, "test", "b")))
    assert found == OPENMOJI_DIGESTS
    line = _stored(pairs, "train", "a")
    assert (line == line[:, :1]).all()  # line drawings are grey


def test_openmoji_groups():
    """Counts of train, val and test together, by hand from the table of the data set."""
    data = _open("openmoji64:line,colour")
    labels = torch.cat([batch["label"] for split in data.counts for batch in data.split(split)])
    counts = dict(zip(data.labels, torch.bincount(labels).tolist(), strict=True))
    assert counts["extras-openmoji"] == 254 + 25 + 46
    assert counts["food-drink"] == 104 + 7 + 17
    assert sum(counts.values()) == 1857


def test_split_goes_once_through_in_order():
    data = _open("earth64:cover,satellite")
    batches = list(data.split("test", 40))
    assert [len(batch["a"]) for batch in batches] == [40, 40, 17]
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(97))
    batch = batches[0]
    assert batch["a"].shape == (40, 11, 64, 64)
    assert torch.equal(batch["a"].argmax(1), batch["map"])
    assert batch["a"].unique().tolist() == [-1, 1]
    assert set(batch) <= set(BATCH_KEYS)
    assert data.names("test")[0] == "56.4N116.4W"  # 60 - (22 + 32) / 15, (922 + 32) / 15 - 180


def test_batch_n_is_pure_and_two_processes_make_one():
    data = _open("earth64:relief,satellite", size=32)
    whole = data.batches(batch=12, seed=9)
    expected = [next(whole) for _ in range(4)]
    resumed = _open("earth64:relief,satellite", size=32).batches(batch=12, seed=9, start=3)
    ranks = [data.batches(batch=6, seed=9, start=3, rank=r, world=2) for r in range(2)]
    parts = [next(rank) for rank in ranks]
    again = next(resumed)
    for key, value in expected[3].items():
        assert torch.equal(again[key], value)
        assert torch.equal(torch.cat([part[key] for part in parts]), value)
    other = data.batches(batch=12, seed=10)
    assert not torch.equal(next(other)["a"], expected[0]["a"])
    for batches in (whole, resumed, other, *ranks):
        batches.close()


def test_flips_mirror_both_or_neither():
    data = _open("earth64:relief,cover", crop="fixed")
    batches = data.batches(batch=32, seed=0)
    batch = next(batches)
    batches.close()
    stored = data.rows("train", batch["index"].tolist())
    mirrored = [torch.equal(x, y.flip(-1)) for x, y in zip(batch["a"], stored["a"], strict=True)]
    assert 5 < sum(mirrored) < 27
    for n, turned in enumerate(mirrored):
        for key in ("a", "b", "map"):
            expected = stored[key][n].flip(-1) if turned else stored[key][n]
            assert torch.equal(batch[key][n], expected)


def test_reduction_by_hand():
    picture = np.array([[[[0, 2, 9, 9], [4, 6, 9, 8], [1, 1, 5, 7], [1, 2, 7, 7]]]], np.uint8)
    np.testing.assert_array_equal(reduce(picture, 2, "photo")[0, 0], [[3, 9], [1, 6]])
    np.testing.assert_array_equal(reduce(picture, 2, "labels")[0, 0], [[0, 9], [1, 7]])


@pytest.mark.parametrize(("dtype", "size"), [(np.uint8, 32), (np.uint8, 2), (np.int16, 8)])
def test_reduction_is_the_mean_of_each_cell(dtype, size):
    tiles = (
        np.random.default_rng(0)
        .integers(-200, 256, (2, 3, 64, 64))
        .clip(0 if dtype == np.uint8 else -6000)
    )
    cell = 64 // size
    means = tiles.reshape(2, 3, size, cell, size, cell).mean((3, 5))
    reduced = reduce(tiles.astype(dtype), size, "photo")
    assert reduced.dtype == dtype
    assert np.abs(reduced - means).max() <= 0.5001


def test_wide_edition_is_earth128_reduced():
    wide, full = (
        _stored(_open(f"{n}:relief,height"), "test", "b") for n in ("earth64w", "earth128")
    )
    means = full.reshape(26, 1, 64, 2, 64, 2).mean((3, 5))
    assert np.abs(wide - means).max() <= 0.5001


def test_encoding_by_hand():
    photo = encode(EARTH.domains["satellite"], np.array([0, 51, 255]).reshape(1, 3, 1, 1))
    np.testing.assert_allclose(photo.ravel(), [-1, -0.6, 1], atol=1e-6)
    metres = encode(EARTH.domains["height"], np.array([-6500, 0, 3250]).reshape(3, 1, 1, 1))
    np.testing.assert_allclose(metres.ravel(), [-1, 0, 0.5], atol=1e-6)


def test_show_gives_back_what_was_stored():
    data = _open("earth64:cover,satellite")
    batch = data.rows("test", [0, 5])
    shown = data.show("b", batch["b"])
    np.testing.assert_array_equal(shown.transpose(0, 3, 1, 2), _stored(data, "test", "b")[[0, 5]])
    palette = np.array(data.domains["a"].palette)
    np.testing.assert_array_equal(data.show("a", batch["a"]), palette[batch["map"].numpy()])


def test_preview_and_listing():
    sheet = preview(_open("earth64:height,satellite"), rows=2, columns=3)
    assert sheet.width == 3 * (2 * 128 + 2 + 2 * 6)
    assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 1000
    text = list_datasets()
    for family in DATASETS.values():
        assert all(word in text for word in [*family.editions, *family.domains, family.licence])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data": "erth64:relief,satellite"}, r"did you mean 'earth64'\?"),
        ({"data": "earth:relief,satellite"}, "comes in several sizes: earth64, earth128"),
        ({"data": "earth64:relief,satelite"}, r"did you mean 'satellite'\?"),
        ({"data": "earth64"}, "needs two different domains, such as earth64:relief,satellite"),
        ({"data": "earth64:relief,relief"}, "needs two different domains"),
        ({"data": "openmoji64:colour,dark"}, "colour goes with line only"),
        ({"data": "earth64:relief,satellite", "size": 48}, "use 8, 16, 32, 64"),
        ({"data": "earth64:relief,satellite", "load_size": 72}, "--load_size resizes own"),
        ({"data": "earth64:cover,satellite", "colour": 0.2}, "--colour .* cover is none"),
        ({"data": "no/such/folder"}, "neither an embedded data set nor a folder"),
        ({"data": "tests,no/such/folder"}, "folder no/such/folder of --data .* does not exist"),
    ],
)
def test_refusals(settings, words, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    with pytest.raises(DragomanError, match=words):
        open_data(DataSettings(**settings))


def test_refusals_of_batches():
    data = _open("openmoji32:line,colour")
    with pytest.raises(DragomanError, match=r"unknown split 'tests'.*did you mean 'test'"):
        data.split("tests")
    with pytest.raises(DragomanError, match="size 24 does not divide the 32 pixels"):
        data.batches(batch=4, seed=0, size=24)
    with pytest.raises(DragomanError, match="rank 2 one of 2 processes"):
        data.batches(batch=4, seed=0, rank=2, world=2)


def test_importing_settings_needs_neither_torch_nor_numpy():
    code = (
        "import sys, dragoman.data.settings, dragoman.data.listing as l; l.list_datasets();"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_domain_and_stacks_of_layers():
    alone = _open("earth64:satellite")
    assert alone.facts.channels == {"image": 3}
    assert set(alone.rows("test", [0])) == {"image", "index"}
    stacked = _open("earth64:relief+satellite,height")
    assert stacked.facts.channels == {"a": 6, "b": 1}
    assert stacked.name == "earth64-relief_satellite-height"
    batch, whole = stacked.rows("test", [3]), _open("earth64:relief,satellite").rows("test", [3])
    assert torch.equal(batch["a"], torch.cat([whole["a"], whole["b"]], 1))
    emoji = _open("openmoji32:line+colour,colour").rows("test", [0])
    assert torch.equal(emoji["a"][:, 3:], emoji["b"])
    for name, words in (
        ("earth64:relief+height,satellite", "layers of relief.height cannot be stacked"),
        ("earth64:cover+relief,satellite", "label maps cannot"),
        ("earth64:relief,satellite,topo", "needs two different domains"),
    ):
        with pytest.raises(DragomanError, match=words):
            _open(name)
    with pytest.raises(DragomanError, match="--fit is for own pictures, not for earth64"):
        _open("earth64:relief,satellite", fit="pad")
