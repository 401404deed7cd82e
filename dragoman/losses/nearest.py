"""The nearest of several answers: only what comes closest to the truth has to answer for it."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dragoman.losses.distances import full

Distance = Literal["l1", "l2"]


def errors(
    answers: Tensor, true: Tensor, distance: Distance = "l1", masks: Tensor | None = None
) -> Tensor:
    """How far each answer is from the truth in each region, averaged over the picture: [B, k, R].

    answers: [B, k, C, H, W]; true: [B, C, H, W]. masks: [B, R, h, w] in [0, 1], the share that
    each region has in each place, brought to H x W by areas; without it all is one region. Where
    the masks sum to 1 in every place, the sum over regions is the distance of the whole pictures.
    """
    apart = full(answers) - full(true)[:, None]
    apart = (apart.abs() if distance == "l1" else apart.square()).mean(2)
    if masks is None:
        return apart.mean((2, 3))[..., None]
    masks = functional.interpolate(full(masks), apart.shape[-2:], mode="area")
    with torch.autocast(apart.device.type, enabled=False):  # sums of thousands of places
        pixels = apart.shape[-2] * apart.shape[-1]
        return apart.flatten(2) @ masks.to(apart.dtype).flatten(2).transpose(1, 2) / pixels


def shares(errors: Tensor, mean: float) -> Tensor:
    """What part each answer's error has in the loss: [B, k, ...], as `errors`; sums to 1 over k.

    The nearest has 1 - mean, and `mean` is divided among all, it too, so that an answer that is
    nowhere the nearest still learns (Rupprecht et al. 2017). No gradient.
    """
    answers = errors.shape[1]
    nearest = errors.detach().argmin(1, keepdim=True)
    numbers = torch.arange(answers, device=errors.device)
    numbers = numbers.reshape([1, answers] + [1] * (errors.dim() - 2))
    return (1 - mean) * (numbers == nearest).to(errors.dtype) + mean / answers
