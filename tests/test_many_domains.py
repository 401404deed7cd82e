"""Any number of domains as one key: rows, labels, splits, and what shows the same in another."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from laid_out import fill

from dragoman.data import DataSettings, open_data
from dragoman.data.catalogue import GENDERS, TONES
from dragoman.data.earth import BLOCK
from dragoman.data.listing import list_datasets, preview
from dragoman.data.openmoji_build import form_of, part_of, split_key
from dragoman.errors import SettingsError

LAYERS = ("topo", "relief", "satellite")


def opened(data: object, **settings):
    """Open data with settings."""
    return open_data(DataSettings(data=str(data), **settings))


def all_rows(data, split: str) -> np.ndarray:
    """The numbers of all pictures of a split."""
    return np.arange(data.counts[split])


def classes(data, split: str, label_set: str) -> np.ndarray:
    """The class of each picture of a split in a label set."""
    labels = data._source.labels(split, all_rows(data, split))
    return labels[:, list(data.label_sets).index(label_set)]


def test_layers_of_the_earth_follow_each_other():
    data = opened("earth64:topo/relief/satellite")
    assert data.label_sets == {"domain": LAYERS}
    assert (data.facts.channels, data.facts.labels) == ({"image": 3}, 3)
    assert data.domains["image"].name == "topo/relief/satellite"
    assert data.domains["image"].kind == "drawing", "not all are photographs"
    assert list(data.counts.values())[:3] == [3 * 1432, 3 * 58, 3 * 97]
    assert data.name == "earth64-topo.relief.satellite"
    assert classes(data, "test", "domain").tolist() == 97 * [0] + 97 * [1] + 97 * [2]
    for number, layer in enumerate(LAYERS):
        alone = opened(f"earth64:{layer}")
        rows = [0, 50, 96]
        batch = data.rows("test", [number * 97 + row for row in rows])
        assert torch.equal(batch["image"], alone.rows("test", rows)["image"])
        assert batch["label"].tolist() == [number] * 3
        assert data.names("test")[number * 97] == f"{alone.names('test')[0]}_{layer}"
    mixed = data.rows("test", [291 - 1, 0, 97])
    assert mixed["label"].tolist() == [2, 0, 1]
    assert torch.equal(mixed["image"][1], data.rows("test", [0])["image"][0])


def test_counterparts_of_layers():
    data = opened("earth64:topo/relief/satellite")
    rows = all_rows(data, "train")
    for number, layer in enumerate(LAYERS):
        found = data.counterparts("train", rows, "domain", layer)
        assert found.tolist() == (rows % 1432 + number * 1432).tolist()
    assert data.counterparts("val", [3], "domain", 2).tolist() == [3 + 2 * 58]


def test_training_of_unpaired_layers_has_no_partners():
    data = opened("earth64:topo/relief/satellite", pairing="unpaired")
    source = data._source._inner
    blocks = [source._corners("train", layer) // BLOCK for layer in LAYERS]
    for number, own in enumerate(blocks):
        assert (own.sum(1) % 3 == number).all()
    assert sum(map(len, blocks)) == data.counts["train"] == 1432
    assert data.counts["test"] == 3 * 97
    domains = classes(data, "train", "domain")
    for number in range(3):
        found = data.counterparts("train", all_rows(data, "train"), "domain", number)
        own = domains == number
        np.testing.assert_array_equal(found, np.where(own, all_rows(data, "train"), -1))
    assert (data.counterparts("test", all_rows(data, "test"), "domain", "relief") >= 0).all()


@pytest.mark.parametrize(
    ("joined", "pair", "counts"),
    [
        ("earth64:relief/satellite", "earth64:relief,satellite", (766, 666)),
        ("openmoji32:line/colour", "openmoji32:line,colour", None),
    ],
)
def test_two_unpaired_domains_have_the_halves_of_a_pair(joined, pair, counts):
    data, halves = (opened(text, pairing="unpaired") for text in (joined, pair))
    source = halves._source
    both = [source.titles("train", key) for key in "ab"]
    names = pair.partition(":")[2].split(",")
    expected = [f"{title}_{name}" for name, own in zip(names, both, strict=True) for title in own]
    assert list(data.names("train")) == expected
    assert counts is None or tuple(map(len, both)) == counts
    stored = source.pictures("train", "b", np.array([7]), None, source.size)
    there = data._source.pictures(
        "train", "image", np.array([len(both[0]) + 7]), None, data._source.size
    )
    np.testing.assert_array_equal(stored, there)


@pytest.mark.parametrize("code", ["1F385", "1F3C3-200D-2640-FE0F", "0023-FE0F-20E3"])
def test_parts_of_emoji_are_the_halves_of_old(code):
    """For two parts the ninth digit of the hash alone decides, as it did before."""
    import hashlib

    digit = hashlib.sha1(split_key(code).encode()).hexdigest()[8]
    assert part_of(code, 2) == int(digit, 16) % 2
    assert part_of(code, 1) == 0
    assert {part_of(f"{n:04X}", 6) for n in range(99)} == set(range(6))


def test_forms_by_hand():
    assert form_of("1F468-1F3FB-200D-1F680") == ("1F9D1-200D-1F680", "man")
    assert form_of("1F469") == ("1F9D1", "woman")
    assert form_of("1F3C3-200D-2640-FE0F") == ("1F3C3", "woman")
    assert form_of("1F3C3-1F3FF-200D-2642-FE0F-200D-27A1-FE0F") == ("1F3C3-200D-27A1", "man")
    assert form_of("1F44B") == ("1F44B", "person")


def test_all_forms_of_a_person_are_in_one_split():
    data = opened("openmoji32:tones")
    splits, genders, keys = defaultdict(set), defaultdict(set), defaultdict(set)
    for split in data.counts:
        known = classes(data, split, "gender") >= 0
        for name in np.array(data.names(split))[known][::6].tolist():
            thing, gender = form_of(name.removesuffix("_base"))
            splits[thing].add(split)
            genders[thing].add(gender)
            keys[split_key(name.removesuffix("_base"))].add(split)
    assert len(splits) == 80
    assert all(len(found) == 1 for found in splits.values())
    assert all(found == set(GENDERS) for found in genders.values())
    assert len(keys) == 74, "six of them look to the left and to the right"
    assert all(len(found) == 1 for found in keys.values())


def test_counterparts_of_people():
    data = opened("openmoji32:tones")
    assert list(data.label_sets) == ["tone", "gender", "group"]
    names, rows = data.names("test"), all_rows(data, "test")
    tones, genders = classes(data, "test", "tone"), classes(data, "test", "gender")
    for number, tone in enumerate(TONES):
        found = data.counterparts("test", rows, "tone", tone)
        assert found.tolist() == (rows // 6 * 6 + number).tolist()
    for number, gender in enumerate(GENDERS):
        found = data.counterparts("test", rows, "gender", gender)
        assert ((found >= 0) == (genders >= 0)).all()
        for row, other in zip(rows[found >= 0], found[found >= 0], strict=True):
            thing = form_of(names[row].partition("_")[0])[0]
            assert form_of(names[other].partition("_")[0]) == (thing, gender)
            assert (tones[row], genders[other]) == (tones[other], number)
    own = data.label_sets["group"].index("people-body")
    assert data.counterparts("test", rows, "group", own).tolist() == rows.tolist()
    assert (data.counterparts("test", rows, "group", "objects") == -1).all()
    farmer = list(names).index("1F9D1-200D-1F33E_dark")
    (woman,) = data.counterparts("test", [farmer], "gender", "woman")
    assert names[woman] == "1F469-200D-1F33E_dark"


def test_unpaired_people_have_one_tone_each():
    data = opened("openmoji32:tones", pairing="unpaired")
    assert tuple(data.counts.values()) == (280, 60, 198)
    rows, tones = all_rows(data, "train"), classes(data, "train", "tone")
    codes = [name.partition("_")[0] for name in data.names("train")]
    assert len(set(codes)) == 280
    assert [part_of(code, 6) for code in codes] == tones.tolist()
    for number in range(6):
        found = data.counterparts("train", rows, "tone", number)
        assert ((found >= 0) == (tones == number)).all()
    joined = opened(f"openmoji32:{'/'.join(TONES)}", pairing="unpaired")
    assert sorted(joined.names("train")) == sorted(data.names("train"))
    women = data.counterparts("train", rows, "gender", "woman")
    assert (women >= 0).sum() == 3 * 70, "forms of a person have one tone, as they share their key"


def test_drawings_have_no_tone_to_be_changed():
    data = opened("openmoji32:line,tones", pairing="unpaired")
    assert list(data.label_sets) == ["tone", "gender", "group"]
    rows = all_rows(data, "val")
    assert (data.counterparts("train", [0, 5], "tone", "dark") == -1).all()
    assert (data.counterparts("val", rows, "tone", "dark") == rows // 6 * 6 + 5).all()


def test_counterparts_in_folders_of_classes_go_by_name(tmp_path):
    for number, kind in enumerate(("cat", "dog", "owl")):
        names = [f"in/{n}" if n % 2 else f"{n}" for n in range(10 + number) if n != 3 * number]
        fill(tmp_path / "train" / kind, names, first=60 * number)
        fill(tmp_path / "val" / kind, ["v", f"only{kind}"], first=60 * number + 30)
        fill(tmp_path / "test" / kind, ["t", "u"], first=60 * number + 40)
    data = opened(tmp_path, size=8)
    names, rows = list(data.names("train")), all_rows(data, "train")
    for number, kind in enumerate(("cat", "dog", "owl")):
        found = data.counterparts("train", rows, "label", number)
        for name, other in zip(names, found.tolist(), strict=True):
            wanted = f"{kind}/{name.partition('/')[2]}"
            assert (names[other] if other >= 0 else None) == (wanted if wanted in names else None)
        assert found.tolist().count(-1) == {0: 2 + 1 + 2, 1: 1 + 2, 2: 1 + 1}[number]
    assert data.counterparts("val", range(6), "label", "owl").tolist() == [-1, 5, -1, 5, 4, 5]


def test_refusals_of_counterparts(tmp_path):
    data = opened("openmoji32:tones")
    for arguments, words in (
        (
            ("tones", "dark"),
            r"unknown label set 'tones' \(did you mean 'tone'\?\); known: tone, ge",
        ),
        (("gender", "men"), r"unknown class of 'gender' 'men' \(did you mean 'man'\?\)"),
        (("gender", 3), "unknown class of 'gender' '3'; known: person, man, woman"),
    ):
        with pytest.raises(SettingsError, match=words):
            data.counterparts("test", [0], *arguments)
    with pytest.raises(SettingsError, match="of another class, but the pictures of earth64-relief"):
        opened("earth64:relief").counterparts("test", [0], "domain", 0)
    fill(tmp_path)
    table = tmp_path / "labels.csv"
    table.write_text("file,age\n00.png,old\n01.png,young\n")
    own = opened(tmp_path, size=8, layout="single", labels=str(table))
    assert own.counterparts("train", [0, 1], "age", "young").tolist() == [-1, -1], "not known"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("earth64:topo/elev", "/ joins are pictures of one key, but elev is a label map; leave it"),
        (
            "earth64:topo/height",
            "domains topo and height cannot be joined by /, as they differ: topo has 3 channels of "
            "uint8, height has 1 of int16; name domains that are stored alike",
        ),
        ("earth64:topo/", "needs two or more different domains, such as earth64:relief/satellite"),
        ("earth64:topo/relief/topo", "needs two or more different domains"),
        ("earth64:topo/relief,satellite", "as pairs a and b, and joined by /, as one key; use one"),
        ("earth64:topo/relef", r"unknown domain of earth64 'relef' \(did you mean 'relief'\?\)"),
        (
            "openmoji64:line/tones",
            "but tones has all tones as labels; use openmoji64:tones, or name the tones, as "
            "openmoji64:base/light",
        ),
        ("openmoji64:colour/dark", "colour goes with line only"),
        ("earthfine64:relief/relief", "needs its only domain, as earthfine64:relief"),
    ],
)
def test_refusals(data, words):
    with pytest.raises(SettingsError, match=words):
        opened(data)


def test_stacks_photographs_and_scales_can_be_joined():
    stacks = opened("earth64:relief+satellite/topo+relief")
    assert stacks.facts.channels == {"image": 6}
    assert stacks.label_sets["domain"] == ("relief+satellite", "topo+relief")
    assert stacks.name == "earth64-relief_satellite.topo_relief"
    larger = opened("earth64:topo/relief", scale=4)
    batch = larger.rows("test", [0, 97])
    assert (batch["low"].shape, batch["label"].tolist()) == ((2, 3, 16, 16), [0, 1])
    assert larger.counterparts("test", [0], "domain", "relief").tolist() == [97]


def test_digests_differ():
    texts = ("earth64:topo/relief", "earth64:relief/topo", "earth64:topo/satellite")
    found = {opened(text).digest for text in texts}
    found.add(opened(texts[0], pairing="unpaired").digest)
    assert len(found) == 4


def test_both_are_told_of():
    text = list_datasets()
    assert "--data earth64:relief/topo: one key image, labelled by domain" in text
    assert "--data openmoji64:line/base: one key" in text
    sheet = preview(opened("earth64:topo/relief"), rows=2, columns=3)
    assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 1000
