"""Translations among domains are judged from each into each other, against the truth if known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dragoman.controls import changed
from dragoman.data import open_data
from dragoman.data.settings import DataSettings
from dragoman.domain_judging import Ways, judge_ways, ways
from dragoman.errors import DataError, SettingsError
from dragoman.evaluation import can_evaluate, has_truth, validate
from dragoman.judge import Judged, table
from dragoman.many_domain import DomainSettings, IntoDomain, ManyDomain
from dragoman.sampling import sampled
from dragoman.system import Facts

STEP = 40  # by which a class is brighter than the one before
NAMES = [f"{number:02}" for number in range(4)]


class Brighter(ManyDomain):
    """Knows the answer: each domain is brighter than the one before."""

    def generate(self, batch, controls=None):
        label = self.labels_of(batch)[:, 0]
        wanted = self.wanted_by(controls)[0]
        return batch["image"] + ((wanted - label) * STEP / 127.5)[:, None, None, None]


def made(folder: Path, names: dict[str, list[str]], **options: Any) -> Any:
    """A data set of one class a folder, whose classes differ by their brightness."""
    for split in ("train", "val", "test"):
        for number, (name, own) in enumerate(names.items()):
            for place, one in enumerate(own):
                path = folder / split / name / f"{one}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                value = 20 + 5 * place + STEP * number
                Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)
    return open_data(DataSettings(data=str(folder), layout="classes", size=8, **options))


@pytest.fixture
def data(tmp_path):
    return made(tmp_path, dict.fromkeys(("dim", "grey", "light"), NAMES))


@pytest.fixture
def system(data):
    return Brighter(DomainSettings(), data.facts)


def into(system, way):
    system.choose(changed(system.controls, {"domain": way.target}))
    return Judged(system.generate)


def test_every_domain_goes_into_each_other(data, system):
    found = ways(system, data, "test")
    assert [way.name for way in found] == [
        "dim to grey",
        "dim to light",
        "grey to dim",
        "grey to light",
        "light to dim",
        "light to grey",
    ]
    assert all(way.paired and len(way.rows) == len(NAMES) for way in found)
    batch = Ways(data, found[0]).rows("test", [1])
    apart = (batch["truth"] - batch["image"]) * 127.5
    torch.testing.assert_close(apart, torch.full_like(apart, STEP))


def test_scores_are_means_over_the_ways(data, system):
    scores = judge_ways(system, data, "test", lambda way: into(system, way))
    assert scores["count"] == 6 * len(NAMES)
    assert scores["l1"]["mean"] == pytest.approx(0, abs=1e-6)
    steps = [1, 2, 1, 1, 2, 1]  # between the domains of the ways
    given = {name: one["baselines"]["input"]["l1"] for name, one in scores["directions"].items()}
    for step, one in zip(steps, given.values(), strict=True):
        assert one["mean"] == pytest.approx(step * STEP / 255)
    mean = sum(steps) / 6 * STEP / 255
    assert scores["baselines"]["input"]["l1"]["mean"] == pytest.approx(mean)
    assert "mean over the directions" in scores["protocol"]["l1"]
    text = table(scores)
    assert "light to grey" in text
    assert "input: l1" in text


def test_without_known_partners_only_sets_are_compared(tmp_path):
    data = made(tmp_path, {"dim": ["a", "b", "c"], "light": ["x", "y"]})
    system = Brighter(DomainSettings(), data.facts)
    found = ways(system, data, "test")
    assert [(way.name, way.paired, len(way.rows)) for way in found] == [
        ("dim to light", False, 2),
        ("light to dim", False, 2),
    ]
    assert validate(system, data, torch.device("cpu")) == {}


def test_validation_sees_every_way(data, system):
    assert can_evaluate(system, data, "val")
    assert not has_truth(system, data, "val"), "a picture is not the truth of itself"
    assert validate(system, data, torch.device("cpu"))["l1"] == pytest.approx(0, abs=1e-6)
    assert system.controls == IntoDomain(), "what was chosen stays"


def test_samples_show_every_domain_beside_each_other(data, system):
    inputs, outputs, truths = sampled(system, data, data.rows("val", [0, 5]), paired=True)
    assert inputs is not None
    assert inputs.shape == (2, 8, 8, 3)
    assert outputs.shape == (2, 8, 24, 3)
    assert truths is None
    assert outputs[0, 0, ::8, 0].tolist() == [20, 60, 100]


def test_domains_that_are_not_there_are_named(data, system):
    with pytest.raises(SettingsError, match=r"unknown domain of 'label' 'greyy'.*'grey'"):
        system.choose(IntoDomain(domain="greyy"))
    with pytest.raises(SettingsError, match="unknown label set 'lable'"):
        system.choose(IntoDomain(domain="lable=grey"))
    with pytest.raises(SettingsError, match="unknown label set 'tone'"):
        Brighter(DomainSettings("tone"), data.facts)


def test_several_label_sets():
    classes: dict[str, tuple[str, ...]] = {"tone": ("dark", "light"), "gender": ("man", "woman")}
    facts = Facts({"image": 3}, (8, 8), label_sets={"tone": 2, "gender": 2}, classes=classes)
    system = Brighter(DomainSettings("gender+tone"), facts)
    batch = {"labels": torch.tensor([[0, 1], [1, -1]]), "label": torch.tensor([0, 1])}
    assert system.labels_of(batch).tolist() == [[1, 0], [-1, 1]]
    wishes = {
        "tone=light": [-1, 1],
        "woman, tone=dark": [1, 0],
        "light": [-1, 1],  # which no other set has
        None: [0, -1],
    }
    for wish, numbers in wishes.items():
        assert system.wanted_by(IntoDomain(domain=wish)) == numbers
    assert system.wanted_by(None) == [0, -1]
    with pytest.raises(SettingsError, match="names two classes of 'tone'; choose one of them"):
        system.choose(IntoDomain(domain="tone=light,gender=man,tone=dark"))


def test_one_domain_only_cannot_be_judged(data, system):
    system.sets = {"label": ("dim",)}
    with pytest.raises(DataError, match="between which translations could be judged"):
        judge_ways(system, data, "test", lambda way: into(system, way))
