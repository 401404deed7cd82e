"""What a linear classifier can tell from features: the probe that they are judged by."""

import torch
from torch import Tensor
from torch.nn import functional


def linear_probe(
    x: Tensor, labels: Tensor, classes: int, decay: float, weights: Tensor | None = None
) -> torch.nn.Linear:
    """The logistic regression of features [N, D], found by L-BFGS from weights of 0.

    labels: int64 [N], below `classes`. decay: weight of half the squared norm of the layer's
    weights. weights: of the pictures of each class, [classes], of which the loss is the weighted
    mean; alike by default.
    """
    layer = torch.nn.Linear(x.shape[1], classes)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(
        layer.parameters(), max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-7
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        penalty = decay / 2 * layer.weight.square().sum()
        value = functional.cross_entropy(layer(x), labels, weights) + penalty
        value.backward()
        return value

    optimizer.step(loss)
    return layer
