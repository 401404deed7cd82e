"""The recipe that asks a classifier whether K examples were enough."""

import json
import shutil
import sys
from typing import Any

import pytest
import torch
from coloured import COLOURS

from dragoman.errors import SettingsError

NAMES = list(COLOURS)


@pytest.fixture(scope="module")
def recipe(script):
    return script("few_shot")


def split(recipe: Any, count: int, seed: int) -> Any:
    """So many noisy pictures of each colour."""
    torch.manual_seed(seed)
    plain = torch.tensor(list(COLOURS.values())) / 127.5 - 1
    labels = torch.arange(4).repeat_interleave(count)
    pictures = plain[labels][..., None, None] + 0.1 * torch.randn(len(labels), 3, 32, 32)
    return recipe.Split(pictures.clamp(-1, 1), labels)


@pytest.fixture(scope="module")
def splits(recipe):
    names = ("train", "val", "test")
    return {name: split(recipe, 6, seed) for seed, name in enumerate(names)}


@pytest.fixture(scope="module")
def classifier(recipe, splits):
    return recipe.learnt(splits["train"], splits["val"])


class Painter:
    """Fills pictures with the mean colour of what it is shown; without any it leaves them."""

    def __init__(self, colour: Any = None, obeys: bool = True) -> None:
        self.colour, self.obeys = colour, obeys

    def choosing(self, reference):
        return Painter(reference.mean((0, 2, 3))) if self.obeys else self

    def translate(self, pictures):
        return pictures if self.colour is None else pictures * 0 + self.colour[:, None, None]


def test_the_classifier_knows_real_pictures(recipe, splits, classifier):
    test = splits["test"]
    assert torch.equal(classifier(test.pictures), test.labels)
    assert recipe.rate(classifier, test.pictures, 2) == pytest.approx(0.25)
    assert classifier.decay in recipe.DECAYS
    told = recipe.accuracy(classifier, test)
    assert (told["accuracy"], told["largest_class"]) == (1, 0.25)


def test_a_classifier_of_some_classes_takes_all_pictures_for_these(recipe, splits):
    some = recipe.learnt(splits["train"].among([1, 3]), splits["val"])
    test = splits["test"]
    assert torch.equal(some(test.among([1, 3]).pictures), test.among([1, 3]).labels)
    assert set(some(test.pictures).tolist()) == {1, 3}
    assert recipe.accuracy(some, test)["largest_class"] == 0.5


def test_rates_are_those_of_what_is_made(recipe, splits, classifier):
    content = splits["test"].among([0, 1, 2]).pictures
    how = (splits, 3, content)
    told = recipe.judged([Painter()], {"all": classifier}, *how, [1, 5], [0, 1, 2])
    assert told["training_pictures"] == 6
    assert (told["all"]["real"], told["all"]["input"]) == (1, 0)
    assert told["all"]["examples"]["5"] == {"mean": 1, "spread": 0, "values": [1, 1, 1]}
    assert len(told["all"]["examples"]["1"]["values"]) == 3
    lazy = recipe.judged([Painter(obeys=False)] * 2, {"all": classifier}, *how, [1], [0])["all"]
    assert lazy["examples"]["1"]["values"] == [lazy["input"]] * 2 == [0, 0]


def test_more_examples_hold_all_of_fewer(recipe):
    pool = torch.arange(20)
    few, many = (recipe.drawn(pool, count, 3, 1) for count in (5, 12))
    assert torch.equal(many[:5], few)
    assert len(set(many.tolist())) == 12
    assert not torch.equal(recipe.drawn(pool, 5, 4, 1), few)
    assert sorted(recipe.drawn(pool, 50, 3, 1).tolist()) == pool.tolist()


def test_means_are_over_classes_for_each_draw(recipe):
    classes = [
        {"real": 1.0, "input": 0.0, "examples": {"1": recipe.over([0.2, 0.4])}},
        {"real": 0.5, "input": 0.2, "examples": {"1": recipe.over([0.6, 0.4])}},
    ]
    mean = recipe.mean_of(classes)
    assert (mean["real"], mean["input"]) == pytest.approx((0.75, 0.1))
    assert mean["examples"]["1"]["values"] == pytest.approx([0.4, 0.4])
    assert mean["examples"]["1"]["spread"] == pytest.approx(0)


def test_the_script_on_a_run(recipe, funit_run, tmp_path, monkeypatch, capsys):
    out = tmp_path / "told.json"
    arguments = [funit_run.folder, "--out", out, "--examples", 1, 3, "--seeds", 0, 1]
    monkeypatch.setattr(sys, "argv", ["few_shot.py", *map(str, arguments)])
    recipe.main()
    told = json.loads(out.read_text())
    assert list(told["unseen"]["classes"]) == ["red"]
    assert list(told["seen"]["classes"]) == NAMES[:3]
    for kind, known in (("unseen", 1), ("seen", 3)):
        judges = told[kind]["classifiers"]
        assert [one["accuracy"] for one in judges.values()] == [1, 1]
        assert judges["all"]["largest_class"] == pytest.approx(1 / 4)
        assert judges["among"]["largest_class"] == pytest.approx(1 / known)
    red = told["unseen"]["classes"]["red"]
    assert red["training_pictures"] == 6, "examples are of the pictures that training lacked"
    assert (red["all"]["real"], red["all"]["input"]) == (1, 0)
    for one in (red["all"], told["seen"]["mean"]["among"]):
        assert [len(rate["values"]) for rate in one["examples"].values()] == [2, 2]
    printed = capsys.readouterr().out
    heads = [line for line in printed.splitlines() if "right on 1.000 of real test" in line]
    assert len(heads) == 4
    assert "unseen classes, by a classifier that knows all classes" in heads[0]
    assert "seen classes, by a classifier that knows these only" in heads[3]
    assert "3 examples" in printed
    other = tmp_path / "other"
    shutil.copytree(funit_run.folder, other)
    monkeypatch.setattr(sys, "argv", ["few_shot.py", *map(str, [other, *arguments[1:]])])
    recipe.main()
    both = json.loads(out.read_text())
    assert both["runs"] == [funit_run.folder.name, "other"]
    for kind in ("unseen", "seen"):
        for name, mean in both[kind]["mean"].items():
            once = told[kind]["mean"][name]["examples"]
            for count, found in mean["examples"].items():
                assert found["values"] == once[count]["values"] * 2
                assert found["mean"] == pytest.approx(once[count]["mean"])
    assert both["unseen"]["classes"]["red"]["all"]["examples"]["3"]["values"] == [
        *red["all"]["examples"]["3"]["values"] * 2
    ]
    recipe.main()
    again = json.loads(out.read_text())
    assert again["unseen"]["mean"] == both["unseen"]["mean"], "a run that is told anew counts once"
    assert again["runs"] == both["runs"]


def test_runs_that_do_not_fit(recipe, tiny_run, funit_run, tmp_path):
    with pytest.raises(SettingsError, match="has other data than"):
        recipe.opened([funit_run.folder, tiny_run.folder])
    with pytest.raises(SettingsError, match="is no run of a system that learns from examples"):
        recipe.opened([tiny_run.folder])
    folder = tmp_path / "all"
    folder.mkdir()
    for name in ("translator", "settings.yaml"):
        if (funit_run.folder / name).is_dir():
            (folder / name).symlink_to(funit_run.folder / name)
    text = (funit_run.folder / "settings.yaml").read_text().replace("unseen: red", "unseen: null")
    (folder / "settings.yaml").write_text(text)
    with pytest.raises(SettingsError, match="has seen all classes; name runs with --unseen"):
        recipe.opened([folder])
