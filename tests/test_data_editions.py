"""The fine relief, and people in all skin tones: counts, content, splits, refusals."""

import numpy as np
import pytest
import torch

from dragoman.data import DataSettings, open_data
from dragoman.data.catalogue import EARTH, EDITIONS, TONES
from dragoman.data.credits import credits_of
from dragoman.data.earth import BLOCK, GUARD, earth_folder, fine_folder
from dragoman.data.earth_build import COLUMNS, LAND_UNIT, ROWS
from dragoman.data.listing import list_datasets, preview
from dragoman.errors import DragomanError, SettingsError

FINE = {"earthfine64": (6263, 224, 364, 774, 1290), "earthfine128": (1432, 58, 97, 173, 294)}


def opened(data: str, **settings):
    return open_data(DataSettings(data, **settings))


@pytest.mark.parametrize("name", FINE)
def test_counts_of_the_fine_relief(name):
    data = opened(f"{name}:relief")
    assert tuple(data.counts.values()) == FINE[name]
    assert data.facts.channels == {"image": 3}
    side = EDITIONS[name].size
    assert data.rows("test", [0])["image"].shape == (1, 3, side, side)


def test_the_mean_of_four_fine_pixels_is_a_coarse_one():
    fine = np.load(fine_folder() / "relief.npy", mmap_mode="r")
    coarse = np.load(earth_folder() / "relief.npy", mmap_mode="r")
    assert fine.shape == (3, 2 * ROWS, 2 * COLUMNS)
    part = fine[:, 600:1200, 4000:6000].reshape(3, 300, 2, 1000, 2).astype(np.int64)
    means = np.rint(part.sum((2, 4)) / 4)
    np.testing.assert_array_equal(means, coarse[:, 300:600, 2000:3000])


def test_fine_tiles_of_128_px_lie_where_coarse_ones_of_64_do():
    fine, coarse = opened("earthfine128:relief"), opened("earth64:relief")
    for split in coarse.counts:
        assert list(fine.names(split)) == list(coarse.names(split))
    small = opened("earthfine128:relief", size=64).rows("val", range(58))["image"]
    assert ((small - coarse.rows("val", range(58))["image"]).abs() <= 1.01 / 127.5).all()


@pytest.mark.parametrize("name", FINE)
def test_no_fine_tile_is_near_another_split(name):
    source, tile = opened(f"{name}:relief")._source, EDITIONS[name].tile
    blocks = {}
    for split in source.splits:
        corners, guard = source._positions[split], 0 if split == "train" else 2 * GUARD
        within = corners % (2 * BLOCK)
        assert within.min() >= guard
        assert within.max() <= 2 * BLOCK - guard - tile
        blocks[split.partition("_")[0]] = {tuple(block) for block in corners // (2 * BLOCK)}
    assert not blocks["train"] & (blocks["val"] | blocks["test"])
    coarse = opened("earth64:relief")._source
    for split in ("train", "val", "test"):
        own = {tuple(block) for block in coarse._positions[split] // BLOCK}
        assert blocks[split] >= own


def test_moved_fine_tiles_keep_their_land_and_their_block():
    source = opened("earthfine64:relief")._source
    corners = source._positions["train"]
    moved = source._moved(corners, np.random.default_rng(0).random((len(corners), 2)))
    assert source._has_land(moved[:, 0], moved[:, 1]).all()
    assert (moved // (2 * BLOCK) == corners // (2 * BLOCK)).all()
    assert ((moved + 63) // (2 * BLOCK) == corners // (2 * BLOCK)).all()
    assert len(np.unique(moved % 2)) == 2
    assert (moved != corners).any(1).mean() > 0.9


def test_land_between_coarse_corners_is_as_if_pixels_were_covered_evenly():
    """A tile with odd corners, counted pixel by pixel."""
    source = opened("earthfine64:relief")._source
    sums = source._sums.astype(np.int64)
    land = np.diff(np.diff(sums, axis=0), axis=1)
    fine = land.repeat(2, 0)[:3600].repeat(2, 1)
    for y, x in ((1001, 3003), (1000, 3003), (2001, 7000), (1200, 6400)):
        counted = fine[y : y + 64, x : x + 64].sum()
        above = source._land_above
        ends = [(y + 64, x + 64), (y, x + 64), (y + 64, x), (y, x)]
        corners = [above(np.array([y]), np.array([x])) for y, x in ends]
        assert int((corners[0] - corners[1] - corners[2] + corners[3])[0]) == counted
    assert source._least == pytest.approx(0.3 * 64 * 64 * LAND_UNIT)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("earthfine64:satellite", r"unknown domain of earthfine64 'satellite'.*relief"),
        ("earthfine64", r"needs its only domain, as earthfine64:relief; earthfine64 has relief$"),
        ("earthfine64:relief,relief", "needs its only domain"),
        ("earthfine65:relief", r"did you mean 'earthfine64'\?"),
        ("openmoji64:colour,tones", "colour goes with line only; with tones use line or one of"),
        ("openmoji64:line,tone", r"did you mean 'tones'\?"),
    ],
)
def test_refusals(data, words):
    with pytest.raises(DragomanError, match=words):
        opened(data)


def test_both_are_listed_with_their_licence():
    text = list_datasets()
    assert "earthfine64 has relief only, in 2 times the resolution" in text
    assert "tones" in text
    assert credits_of("earthfine64:relief") == f"earth: {EARTH.licence}"
    assert credits_of("openmoji64:line,tones").startswith("openmoji: CC BY-SA 4.0")


@pytest.mark.parametrize("domains", ["line,tones", "tones", "base,tones", "tones,line+dark"])
def test_every_family_comes_in_six_tones(domains):
    data = opened(f"openmoji64:{domains}")
    assert tuple(data.counts.values()) == (6 * 280, 6 * 10, 6 * 33)
    assert data.label_sets["tone"] == TONES
    assert list(data.facts.label_sets.items()) == [("tone", 6), ("gender", 3), ("group", 10)]
    assert data.facts.labels == 6
    batch = data.rows("test", range(198))
    assert torch.equal(batch["labels"][:, 0], batch["label"])
    assert batch["label"].tolist() == 33 * list(range(6))
    names = data.names("test")
    assert names[4] == f"{names[0].removesuffix('_base')}_medium_dark"
    assert len(set(names)) == 198
    groups = data.label_sets["group"]
    assert {groups[n] for n in batch["labels"][:, 2]} == {"people-body"}


def test_tones_are_the_pictures_of_the_single_domains():
    data = opened("openmoji32:line,tones")
    batch = data.rows("val", range(60))
    for number, tone in enumerate(TONES):
        single = opened(f"openmoji32:line,{tone}").rows("val", range(10))
        assert torch.equal(batch["b"][number::6], single["b"]), tone
        assert torch.equal(batch["a"][number::6], single["a"]), "one drawing, six right answers"
    alone = opened("openmoji32:tones").rows("val", range(60))
    assert torch.equal(alone["image"], batch["b"])
    stacked = opened("openmoji32:line+tones,base").rows("val", range(60))
    assert torch.equal(stacked["a"], torch.cat([batch["a"], batch["b"]], 1))


def test_batches_of_tones_give_each_drawing_different_answers():
    data = opened("openmoji32:line,tones", flip=False)
    batches = data.batches(batch=60, seed=0)
    seen: dict[int, set[int]] = {}
    for _ in range(56):  # two epochs
        batch = next(batches)
        stored = data.rows("train", batch["index"].tolist())
        assert torch.equal(batch["b"], stored["b"])
        assert torch.equal(batch["a"], stored["a"])
        for row, tone in zip(batch["index"].tolist(), batch["label"].tolist(), strict=True):
            seen.setdefault(row // 6, set()).add(tone)
    batches.close()
    assert len(seen) == 280
    assert all(tones == set(range(6)) for tones in seen.values())


def test_unpaired_drawings_have_no_tone():
    data = opened("openmoji32:line,tones", pairing="unpaired")
    source = data._source
    halves = [set((source._rows("train", key) // 6).tolist()) for key in "ab"]
    assert not halves[0] & halves[1]
    assert len(halves[0] | halves[1]) == 280
    batches = data.batches(batch=8, seed=0)
    assert (next(batches)["label"] == -1).all()
    batches.close()
    assert data.rows("test", range(6))["label"].tolist() == list(range(6))
    turned = opened("openmoji32:tones,line", pairing="unpaired")
    batches = turned.batches(batch=8, seed=0)
    assert (next(batches)["label"] >= 0).all()
    batches.close()


def test_previews():
    for data in ("earthfine128:relief", "openmoji64:line,tones", "openmoji64:tones"):
        assert len(np.unique(np.asarray(preview(opened(data), rows=1, columns=3)))) > 50


def test_tones_for_super_resolution():
    data = opened("openmoji64:tones", scale=4)
    batch = data.rows("train", [0, 3])
    assert batch["low"].shape == (2, 3, 16, 16)
    assert batch["label"].tolist() == [0, 3]
    with pytest.raises(SettingsError, match="has a and b"):
        opened("openmoji64:line,tones", scale=4)
