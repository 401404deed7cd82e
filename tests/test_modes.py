"""The recipe that counts which of the right answers were given."""

import math

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
