"""The linear probe, where its best weights are known."""

import math

import torch

from dragoman.metrics.linear_probe import linear_probe


def test_features_that_say_nothing_leave_the_shares_of_the_classes():
    labels = torch.tensor([0, 0, 0, 1])
    layer = linear_probe(torch.zeros(4, 2), labels, 2, 0.1)
    odds = (layer.bias[0] - layer.bias[1]).item()
    assert math.isclose(odds, math.log(3), rel_tol=1e-3)
    layer = linear_probe(torch.zeros(4, 2), labels, 2, 0.1, torch.tensor([1.0, 9.0]))
    odds = (layer.bias[0] - layer.bias[1]).item()
    assert math.isclose(odds, -math.log(3), rel_tol=1e-3)  # as three of the first to nine


def test_the_decay_holds_the_weights():
    """Of features +1 and -1 logits differ by 2 w, where the best w has sigmoid(-2 w) = decay w."""
    x, labels = torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 1])
    for decay in (0.1, 1.0):
        layer = linear_probe(x, labels, 2, decay)
        w = layer.weight[0, 0].item()
        assert math.isclose(w, -layer.weight[1, 0].item(), rel_tol=1e-3)
        assert math.isclose(1 / (1 + math.exp(2 * w)), decay * w, rel_tol=1e-2)
