"""The recipe that counts which of the right answers were given."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def modes(script):
    return script("modes")


def test_an_answer_is_of_the_nearest_tone_where_tones_differ(modes):
    truths = torch.zeros(1, 2, 1, 1, 3)
    truths[0, :, 0, 0, 0] = torch.tensor([-0.5, 0.5])  # tones differ in the first pixel only
    answers = torch.tensor([[-0.4, 1.0, 1.0], [0.3, -1.0, 1.0], [0.1, 0.0, 0.0]])
    assert modes.tone_of(answers[None, :, None, None], truths).tolist() == [[0, 1, 1]]


def test_scores_by_hand(modes):
    one = modes.scores_of(torch.tensor([[2, 2, 2, 2]] * 3), 4)
    assert one == pytest.approx({"coverage": 0.25, "is": 1, "cis": 1})
    own = modes.scores_of(torch.tensor([[0, 0], [1, 1], [2, 2], [3, 3]]), 4)
    assert own == pytest.approx({"coverage": 0.25, "is": 4, "cis": 1})
    all_of_them = modes.scores_of(torch.tensor([[0, 1, 2, 3]] * 2), 4)
    assert all_of_them == pytest.approx({"coverage": 1, "is": 4, "cis": 4})
    mixed = modes.scores_of(torch.tensor([[0, 0, 0, 1]]), 2)
    shared = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert mixed == pytest.approx({"coverage": 1, "is": shared, "cis": shared})


@pytest.mark.parametrize(("follows", "share"), [(True, 1.0), (False, 0.5)])
def test_an_answer_follows_the_tone_of_the_picture_shown(modes, follows, share):
    truths = torch.tensor([-0.5, 0.5])[None, :, None, None, None].repeat(3, 1, 1, 1, 1)
    tones = np.array([1, 0, 0, 1, -1])  # of the training pictures; a fifth is of none
    values = torch.where(torch.from_numpy(tones) == 1, 0.4, -0.3)

    def choosing(reference):
        value = float(reference) if follows else -0.5
        return SimpleNamespace(translate=lambda pictures: torch.full_like(pictures, value))

    translator = SimpleNamespace(system=SimpleNamespace(source="a", target="b"), choosing=choosing)
    data = SimpleNamespace(
        classes=lambda split, _: {"train": tones}[split],
        rows=lambda _, rows: {"b": values[rows][:, None, None, None]},
    )
    drawings = {"a": torch.zeros(3, 1, 1, 1)}
    assert modes.followed(translator, data, drawings, truths, 2) == share


def test_runs_that_differ_in_their_seed_are_one_recipe(modes):
    told = {
        "people-seed0": {"is": 3.0},
        "people-seed12": {"is": 5.0},
        "hands-seed0": {"is": 1.0, "followed": 0.5},
    }
    found = modes.over_seeds(told)
    assert found["people"]["is"] == {"mean": 4, "spread": pytest.approx(math.sqrt(2))}
    assert found["hands"]["followed"] == {"mean": 0.5, "spread": 0}
