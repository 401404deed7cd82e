"""A system that must be shown a domain is judged by pictures that are no truths of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from test_domain_judging import STEP, made

from dragoman.domain_judging import judge_ways, ways
from dragoman.evaluation import validate
from dragoman.examples import Examples, asked_for, examples_of
from dragoman.judge import Judged
from dragoman.many_domain import DomainSettings, IntoDomain, ManyDomain
from dragoman.sampling import sampled
from dragoman.settings import knob

CLASSES = ("dim", "grey", "light")
FIVE = [f"{number:02}" for number in range(5)]


@dataclass(frozen=True)
class ShownControls(IntoDomain):
    reference: Any = knob(None, "pictures of the domain", pictures=True)


class Average(ManyDomain):
    """Makes pictures as bright as the mean of what it is shown."""

    Controls = ShownControls
    controls: ShownControls
    examples = 2

    def generate(self, batch, controls=None):
        assert controls is None, "what is shown is worked out when it is chosen"
        shown = self.controls.reference
        assert shown is not None, "it must be shown something"
        return shown.mean().expand_as(batch["image"])


@pytest.fixture
def data(tmp_path):
    """Five pictures of each class, of which light is left out of training."""
    return made(tmp_path, dict.fromkeys(CLASSES, FIVE), unseen="light")


@pytest.fixture
def system(data):
    return Average(DomainSettings(), data.facts)


def rows_of(data: Any, split: str, name: str) -> list[int]:
    return np.flatnonzero(data.classes(split, "label") == CLASSES.index(name)).tolist()


def taken(examples: Examples | None) -> tuple[str, list[int]]:
    assert examples is not None
    return examples.split, examples.rows.tolist()


def test_examples_are_the_first_of_training(data):
    assert taken(examples_of(data, "test", "label", 1, 3)) == (
        "train",
        rows_of(data, "train", "grey")[:3],
    )
    assert len(taken(examples_of(data, "val", "label", 1, 20))[1]) == 5, "all there are"


def test_examples_of_unseen_classes_are_half_of_the_split_at_most(data):
    own = rows_of(data, "test", "light")
    for count, expected in ((1, 1), (2, 2), (20, 3)):
        assert taken(examples_of(data, "test", "label", 2, count)) == ("test", own[:expected])
    assert taken(examples_of(data, "test", "label", 2, 2, but=own[:2])) == ("test", own[2:4])
    assert examples_of(data, "test", "label", 2, 2, but=own) is None
    grey = rows_of(data, "train", "grey")
    assert taken(examples_of(data, "train", "label", 1, 2)) == ("train", grey[:2])


def test_examples_are_never_truths(data, system):
    found = {way.name: way for way in ways(system, data, "test")}
    assert len(found) == 6
    unseen, seen = found["dim to light"], found["light to grey"]
    own, dim = rows_of(data, "test", "light"), rows_of(data, "test", "dim")
    assert taken(unseen.examples) == ("test", own[:2])
    assert unseen.truths.tolist() == own[2:]
    assert unseen.rows.tolist() == dim[2:], "pictures whose truths are shown are not judged"
    assert taken(seen.examples)[0] == "train"
    assert seen.rows.tolist() == own, "what is shown of one's own class may be translated"
    for way in ways(system, data, "train"):
        assert way.target != "light", "there is none to be shown"
        assert not set(taken(way.examples)[1]) & {*way.truths.tolist(), *way.rows.tolist()}


def test_examples_of_unpaired_classes_are_no_truths_either(tmp_path):
    names = {"dim": ["a", "b", "c"], "grey": ["m", "n", "o"], "light": ["x", "y", "z"]}
    data = made(tmp_path, names, unseen="light")
    found = {way.name: way for way in ways(Average(DomainSettings(), data.facts), data, "test")}
    own = rows_of(data, "test", "light")
    assert not found["dim to light"].paired
    assert found["dim to light"].truths.tolist() == own[2:]
    assert len(found["dim to grey"].truths) == 3


def test_what_is_shown_is_judged_and_told(data, system):
    def judged(way):
        system.choose(asked_for(system, data, way.label_set, way.target, way.examples))
        return Judged(system.generate)

    scores = judge_ways(system, data, "test", judged)
    # Greys are 20, 25 ... of the first class; what is shown are the first two, so 2.5 of 255.
    own = [20 + STEP + 5 * place for place in range(5)]
    apart = sum(abs(value - own[0] - 2.5) for value in own) / 5 / 255
    assert scores["directions"]["dim to grey"]["l1"]["mean"] == pytest.approx(apart, abs=1e-5)
    told = scores["protocol"]["l1"]
    assert "the first 2 pictures (or all there are) of each domain in the training split" in told
    assert "and of light the first of the test split itself" in told
    assert "which are no truths" in told


def test_validation_and_samples_show_examples(data, system):
    assert validate(system, data, torch.device("cpu"))["l1"] > 0
    assert system.controls == ShownControls(), "what was chosen stays"
    rows = [rows_of(data, "val", "dim")[0], rows_of(data, "val", "light")[0]]
    _, outputs, _ = sampled(system, data, data.rows("val", rows), paired=True, split="val")
    assert outputs.shape == (2, 8, 24, 3)
    # Of light not the first of val, which is itself among the pictures, but the two after it.
    expected = [22.5, 22.5 + STEP, 20 + 2 * STEP + 7.5]
    assert outputs[0, 0, ::8, 0].astype(float) == pytest.approx(expected, abs=0.51)
    light = rows_of(data, "val", "light")
    _, outputs, _ = sampled(system, data, data.rows("val", light), paired=True, split="val")
    assert outputs.shape == (5, 8, 16, 3), "nothing is left to be shown"
