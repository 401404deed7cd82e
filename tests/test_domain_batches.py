"""Batches of many domains: references, balanced classes, and classes unseen in training."""

import numpy as np
import pytest
import torch
from laid_out import fill, save, write_csv
from PIL import Image

from dragoman.data import BATCH_KEYS, DataSettings, doctor, open_data
from dragoman.errors import DataError, SettingsError


def opened(data: object, **settings):
    """Open data with settings."""
    return open_data(DataSettings(data=str(data), **settings))


def taken(data, count: int, **options) -> list[dict[str, torch.Tensor]]:
    """The first batches of some options."""
    batches = data.batches(**({"batch": 8, "seed": 1} | options))
    try:
        return [next(batches) for _ in range(count)]
    finally:
        batches.close()


@pytest.fixture
def animals(tmp_path):
    """Greys 0 to 19 are cats, 60 to 63 dogs, 120 to 125 owls; two of each in val and test."""
    for kind, count, first in (("cat", 20, 0), ("dog", 4, 60), ("owl", 6, 120)):
        fill(tmp_path / "train" / kind, [f"{n:02}" for n in range(count)], first=first)
        for split in ("val", "test"):
            fill(tmp_path / split / kind, ["x", "y"], first=first + 40)
    return tmp_path


def greys(pictures: torch.Tensor) -> torch.Tensor:
    """The grey of pictures of one."""
    return torch.round((pictures[..., 0, 0, 0] + 1) * 127.5).long()


def test_references_are_pictures_of_their_class(animals):
    data = opened(animals, size=8)
    seen = set()
    for batch in taken(data, 30, references=3):
        assert set(batch) <= set(BATCH_KEYS)
        assert batch["reference"].shape == (8, 3, 1, 8, 8)
        assert batch["reference"].dtype == torch.float32
        assert batch["reference_label"].dtype == torch.int64
        found = greys(batch["reference"])
        assert torch.equal(found // 60, batch["reference_label"][:, None].expand(-1, 3))
        assert all(len(set(own)) == 3 for own in found.tolist())
        seen |= set(found.flatten().tolist())
    assert seen == {*range(20), *range(60, 64), *range(120, 126)}, "all of train, and no other"
    many = taken(data, 1, references=6)[0]
    dogs = greys(many["reference"])[many["reference_label"] == 1]
    assert all(len(set(own)) == 4 for own in dogs.tolist()), "there are but four"
    held = taken(data, 5, references=1, split="val")
    assert {int(g) for batch in held for g in greys(batch["reference"])} == {
        first + n for first in (40, 100, 160) for n in (0, 1)
    }


def test_references_change_nothing_else_and_are_shared_by_processes():
    data = opened("openmoji32:tones", flip=True)
    plain, whole = (taken(data, 4, batch=12, seed=9, references=n) for n in (0, 2))
    for before, after in zip(plain, whole, strict=True):
        assert set(after) - set(before) == {"reference", "reference_label"}
        assert all(torch.equal(value, after[key]) for key, value in before.items())
    options = {"seed": 9, "start": 3, "references": 2}
    resumed = taken(opened("openmoji32:tones"), 1, batch=12, **options)[0]
    parts = [taken(data, 1, batch=6, rank=r, world=2, **options)[0] for r in range(2)]
    for key, value in whole[3].items():
        assert torch.equal(resumed[key], value)
        assert torch.equal(torch.cat([part[key] for part in parts]), value)
    other = taken(data, 1, batch=12, seed=10, references=2)[0]
    assert not torch.equal(other["reference_label"], whole[0]["reference_label"])


def test_references_are_varied_each_on_its_own():
    data = opened("openmoji32:tones")
    stored = data.rows("train", range(data.counts["train"]))
    mirrored = together = 0
    for batch in taken(data, 4, references=2, label_set="gender"):
        for pair, label in zip(batch["reference"], batch["reference_label"], strict=True):
            own = stored["image"][stored["labels"][:, 1] == label]
            kept = [(own == one).flatten(1).all(1).any().item() for one in pair]
            turned = [(own == one.flip(-1)).flatten(1).all(1).any().item() for one in pair]
            assert all(a or b for a, b in zip(kept, turned, strict=True))
            ways = [b and not a for a, b in zip(kept, turned, strict=True)]
            mirrored += sum(ways)
            together += ways[0] == ways[1]
    assert 15 < mirrored < 49  # of 64 less those that are symmetric
    assert together < 28  # of 32: not both alike
    tiles = [opened("earth64:topo/relief", crop=crop, flip=False) for crop in ("fixed", "random")]
    grid, moved = (taken(data, 1, references=1)[0] for data in tiles)
    assert torch.equal(grid["reference_label"], moved["reference_label"])
    assert not torch.equal(grid["reference"], moved["reference"]), "they are cropped at random"


def test_references_are_coloured(tmp_path):
    for kind in "xy":
        for number in range(6):
            noise = np.random.default_rng([number, ord(kind)]).integers(0, 256, (8, 8, 3))
            path = tmp_path / kind / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(noise.astype(np.uint8)).save(path)
    plain, coloured = (
        taken(opened(tmp_path, size=8, colour=strength), 1, references=2)[0]["reference"]
        for strength in (0.0, 0.5)
    )
    assert not torch.equal(plain, coloured)
    assert coloured.abs().max() <= 1


def test_refusals_of_references(animals):
    data = opened(animals, size=8)
    for options, words in (
        ({"references": -1}, "references -1 must be 0 or more pictures"),
        (
            {"references": 1, "label_set": "labl"},
            r"unknown label set 'labl' \(did you mean 'label'\?\); known: label",
        ),
    ):
        with pytest.raises(SettingsError, match=words):
            data.batches(batch=4, seed=0, **options)
    with pytest.raises(SettingsError, match="pictures of a class, but the pictures of earth64-top"):
        opened("earth64:topo").batches(batch=4, seed=0, references=1)
    with pytest.raises(
        SettingsError,
        match="of the key image, but openmoji32-line-tones has a and b; name one domain, or join",
    ):
        opened("openmoji32:line,tones").batches(batch=4, seed=0, references=1)


def test_balanced_classes_come_equally_often(animals):
    data = opened(animals, size=8, balanced=True)
    batches = taken(data, 15, batch=4)
    labels = torch.cat([batch["label"] for batch in batches])
    assert torch.bincount(labels).tolist() == [20, 20, 20]
    found = torch.cat([greys(batch["image"]) for batch in batches])
    assert torch.equal(found // 60, labels)
    assert torch.bincount(found[labels == 1] - 60).tolist() == [5] * 4
    assert sorted(found[labels == 0].tolist()) == list(range(20))
    parts = [taken(data, 1, batch=2, start=9, rank=r, world=2)[0] for r in range(2)]
    again = taken(opened(animals, size=8, balanced=True), 1, batch=4, start=9)[0]
    for key, value in batches[9].items():
        assert torch.equal(torch.cat([part[key] for part in parts]), value)
        assert torch.equal(again[key], value)
    plain = torch.cat([batch["label"] for batch in taken(opened(animals, size=8), 15, batch=4)])
    assert torch.bincount(plain).tolist() == [40, 8, 12], "two epochs, as they are"


def test_balanced_pairs_stay_pairs():
    data = opened("openmoji32:line,tones", balanced=True, flip=False, unseen="dark")
    for batch in taken(data, 3, batch=10):
        assert sorted(batch["label"].tolist()) == sorted(2 * list(range(5)))
        stored = data.rows("train", batch["index"].tolist())
        assert all(torch.equal(batch[key], stored[key]) for key in "ab")


def test_refusals_of_balance(animals, tmp_path):
    with pytest.raises(SettingsError, match="draws every class equally often, but the pictures of"):
        opened("earth64:topo", balanced=True)
    with pytest.raises(SettingsError, match="--balanced draws by class and --fit buckets by as"):
        opened(animals, balanced=True, fit="buckets")
    fill(tmp_path / "p" / "train")
    fill(tmp_path / "p" / "val")
    fill(tmp_path / "p" / "test")
    table = write_csv(tmp_path, "file,kind", "val/00.png,x", "val/01.png,y")
    data = opened(tmp_path / "p", layout="single", labels=str(table), size=8, balanced=True)
    with pytest.raises(DataError, match="no picture of p in its split train has a known one"):
        data.batches(batch=4, seed=0)


def test_unseen_classes_are_left_out_of_training_only(animals):
    whole, data = opened(animals, size=8), opened(animals, size=8, unseen="dog")
    assert (whole.unseen, data.unseen) == ((), (1,))
    assert data.counts == {"train": 26, "val": 6, "test": 6}
    assert data.labels == ("cat", "dog", "owl")
    assert (data.facts.labels, data.facts.images) == (3, 26)
    assert list(data.names("train")) == [n for n in whole.names("train") if n[:3] != "dog"]
    rows = data.rows("train", range(26))
    assert rows["label"].tolist() == 20 * [0] + 6 * [2]
    assert greys(rows["image"]).tolist() == [*range(20), *range(120, 126)]
    for split in ("val", "test"):
        for one, other in zip(data.split(split, 4), whole.split(split, 4), strict=True):
            assert all(torch.equal(value, one[key]) for key, value in other.items())
    for batch in taken(data, 10, references=2):
        assert 1 not in batch["label"]
        assert 1 not in batch["reference_label"]
    assert len({whole.digest, data.digest, opened(animals, size=8, unseen="owl").digest}) == 3
    data.check()
    data.check_classes()


def test_numbers_of_counterparts_without_the_unseen(animals):
    data = opened(animals, size=8, unseen="dog")
    assert data.counterparts("train", [0, 5, 6, 20], "label", "owl").tolist() == [20, 25, -1, 20]
    assert data.counterparts("train", [0, 22], "label", "cat").tolist() == [0, 2]
    assert (data.counterparts("train", range(26), "label", "dog") == -1).all()
    assert data.counterparts("val", [0, 5], "label", "dog").tolist() == [2, 3]
    emoji = opened("openmoji32:tones", unseen="light, dark")
    assert emoji.unseen == (1, 5)
    rows = np.arange(emoji.counts["train"])
    assert len(rows) == 4 * 280
    found = emoji.counterparts("train", rows, "tone", "medium_dark")
    assert found.tolist() == (rows // 4 * 4 + 3).tolist()
    assert emoji.counterparts("test", [0], "tone", "dark").tolist() == [5]


def test_unseen_domains_of_the_earth_and_super_resolution():
    data = opened("earth64:topo/relief/satellite", unseen="relief", scale=2)
    assert data.unseen == (1,)
    assert data.counts["train"] == 2 * 1432
    assert data.rows("train", [1431, 1432])["label"].tolist() == [0, 2]
    assert data.rows("test", [97])["label"].tolist() == [1]


def test_unseen_classes_of_a_table_leave_those_of_no_class(tmp_path):
    fill(tmp_path / "p" / "train", [f"{n}" for n in range(9)])
    for split in ("val", "test"):
        fill(tmp_path / "p" / split, ["v", "w"])
    rows = [f"train/{n}.png,{'xyz'[n % 3]},k{n}" for n in range(8)]
    table = write_csv(tmp_path, "file,kind,other", *rows)
    data = opened(tmp_path / "p", layout="single", labels=str(table), size=8, unseen="y")
    assert list(data.names("train")) == ["0", "2", "3", "5", "6", "8"]
    batch = data.rows("train", range(6))
    assert batch["labels"][:, 0].tolist() == [0, 2, 0, 2, 0, -1]
    assert greys(batch["image"]).tolist() == [0, 2, 3, 5, 6, 8]


def test_unseen_classes_with_buckets(animals):
    save(animals / "train" / "cat" / "00.png", 0, 8)
    data = opened(animals, size=32, unseen="dog", fit="buckets")
    batches = taken(data, 12, references=1)
    assert {tuple(batch["image"].shape[2:]) for batch in batches} > {(32, 32)}
    for batch in batches:
        assert batch["image"].shape[2:] == batch["reference"].shape[3:]
        assert torch.equal(greys(batch["image"]) // 60, batch["label"])


@pytest.mark.parametrize(
    ("unseen", "words"),
    [
        ("dogg", r"unknown class of 'label' 'dogg' \(did you mean 'dog'\?\); known: cat, dog, owl"),
        (
            "dog,cat",
            "--unseen dog,cat leaves 1 of the 3 classes of 'label' to learn from, but at least 2 "
            "are needed; name fewer",
        ),
        ("label=dogg", r"unknown class of 'label' 'dogg' \(did you mean 'dog'\?\); known: cat"),
    ],
)
def test_refusals_of_unseen(animals, unseen, words):
    settings = DataSettings(data=str(animals), size=8, unseen=unseen)
    for opening in (open_data, doctor.check):
        with pytest.raises(SettingsError, match=words):
            opening(settings)
    with pytest.raises(
        SettingsError,
        match="--unseen leaves out classes, but the pictures of earth64-topo have none; use a "
        "folder for each class, a table of --labels, or embedded domains joined by /",
    ):
        opened("earth64:topo", unseen="x")


def test_unseen_pictures_alone_are_not_enough(tmp_path):
    fill(tmp_path / "p" / "train")
    for split in ("val", "test"):
        fill(tmp_path / "p" / split, ["v", "w", "z"])
    rows = [*(f"train/{n:02}.png,x" for n in range(12)), "val/v.png,y", "val/w.png,z"]
    table = write_csv(tmp_path, "file,kind", *rows)
    with pytest.raises(DataError, match="p has no training pictures but those of --unseen x; leav"):
        opened(tmp_path / "p", layout="single", labels=str(table), size=8, unseen="x")
