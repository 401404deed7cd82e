"""The recipe that tells apart pictures of which a second label set is known or not."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dragoman.domain_judging import Way


@pytest.fixture(scope="module")
def recipe(script):
    return script("unknown_labels")


def test_each_picture_is_compared_with_its_own_truth(recipe):
    values = torch.tensor([-1.0, 0.0, 0.4, 1.0])
    data = SimpleNamespace(rows=lambda _, rows: {"image": values[rows][:, None, None, None]})
    asked = []

    def choosing(domain):
        asked.append(domain)
        return SimpleNamespace(translate=lambda pictures: pictures + 0.4)

    way = Way("tone", "light", "dark", np.array([0, 1, 3]), np.array([1, 2, 3]), paired=True)
    made, left = recipe.differences(SimpleNamespace(choosing=choosing), data, "test", way)
    assert asked == ["tone=dark"]
    torch.testing.assert_close(made, torch.tensor([0.3, 0.0, 0.0]))  # halves: of [0, 1]; cut at 1
    torch.testing.assert_close(left, torch.tensor([0.5, 0.2, 0.0]))


def test_means_over_ways(recipe):
    told = recipe.summed([(0.1, 0.2), (0.3, 0.2), (0.2, 0.5)])
    assert told == pytest.approx({"l1": 0.2, "input_l1": 0.3, "below": 2, "ways": 3})
