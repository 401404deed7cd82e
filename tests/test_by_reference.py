"""The recipe that scores drawn styles beside those of example pictures."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dragoman.errors import SettingsError

VALUES = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])


@pytest.fixture(scope="module")
def recipe(script):
    return script("by_reference")


def of(values):
    """Plain pictures [N, 3, 32, 32]."""
    return values[:, None, None, None].expand(-1, 3, 32, 32)


@pytest.fixture
def data():
    return SimpleNamespace(
        rows=lambda split, rows: {"a": of(VALUES[rows] / 2), "b": of(VALUES[rows])},
        counts={"test": 5},
        name="halves",
        partners=lambda split: split == "test",
        count=lambda split, key: 4,
    )


@pytest.fixture
def translator():
    """Makes what is shown, or of drawn styles the picture itself."""

    def choosing(to, reference=None):
        def generate(batch):
            picture = batch["a" if to == "b" else "b"]
            return picture if reference is None else reference.expand(len(picture), -1, -1, -1)

        return SimpleNamespace(generate=generate, device=torch.device("cpu"))

    return SimpleNamespace(system=SimpleNamespace(domains=dict), choosing=choosing)


def test_both_ways_are_scored_against_the_truth(recipe, data, translator):
    to_b, to_a = recipe.among(translator, data, "test")
    assert (to_b.name, to_b.keys, to_a.keys) == ("to b", ("a", "b"), ("b", "a"))
    told = recipe.scored(translator, data, "test", to_b, 2)
    # |x / 2 - x| of five pictures, in [0, 1]; one answer to each is no diversity
    assert told["drawn"]["l1"] == pytest.approx(0.15)
    assert told["drawn"]["diversity"] == pytest.approx(0, abs=1e-6)
    shown = recipe.examples(data, to_b, 2, 0)[:, 0, 0, 0]
    truth = VALUES[:, None]
    assert told["shown"]["l1"] == pytest.approx(float((shown - truth).abs().mean() / 2))
    assert told["shown"]["diversity"] > 0.01


def test_without_counterparts_nothing_is_scored(recipe, data, translator):
    with pytest.raises(SettingsError, match="halves knows no counterparts in the split 'val'"):
        recipe.ways_of(translator, data, "val")


def test_examples_change_from_part_to_part_and_are_all_taken(recipe, data, translator):
    (to_b, _) = recipe.among(translator, data, "test")
    parts = [recipe.examples(data, to_b, 2, part)[:, 0, 0, 0] for part in range(2)]
    assert sorted(torch.cat(parts).tolist()) == VALUES[:4].tolist()
    with pytest.raises(SettingsError, match="--styles 9 is more than the 4 training pictures"):
        recipe.examples(data, to_b, 9, 0)


def test_ways_among_domains_show_pictures_of_the_wanted_one(recipe, monkeypatch):
    labels = np.array([0, 1, 1, 2, 1])
    way = SimpleNamespace(
        name="x to y",
        label_set="tone",
        target="y",
        paired=True,
        rows=np.array([0]),
        truths=np.array([1]),
    )
    unpaired = SimpleNamespace(**{**vars(way), "paired": False})
    monkeypatch.setattr(recipe, "ways", lambda *_: [way, unpaired])
    system = SimpleNamespace(domains=lambda: {"tone": ("x", "y", "z")})
    data = SimpleNamespace(classes=lambda split, name: labels)
    (given,) = recipe.among(SimpleNamespace(system=system), data, "test")
    assert given.pool == [1, 2, 4]
    assert given.asked == {"domain": "tone=y"}


def test_a_run_without_shown_styles_is_refused(recipe, monkeypatch):
    translator = SimpleNamespace(
        system=SimpleNamespace(controls=SimpleNamespace(to="b"), answers=None)
    )
    monkeypatch.setattr(recipe.dragoman, "load", lambda folder: translator)
    with pytest.raises(SettingsError, match="has no styles that are drawn or shown"):
        recipe.opened("runs/cyclegan")
