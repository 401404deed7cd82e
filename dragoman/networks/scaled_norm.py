"""Norms with a learned scale and shift of each channel, instance norm among them."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import choose
from dragoman.networks.blocks import InstanceNorm

ScaledNorm = Literal["instance", "layer", "none"]


class ScaledInstanceNorm(InstanceNorm):
    """Instance norm, then a learned scale and shift of each channel (Ulyanov et al. 2016).

    They start at 1 and 0. As in `InstanceNorm`, a map of 1 x 1 passes unchanged.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to the same shape."""
        if x.shape[-2] * x.shape[-1] == 1:
            return x
        return functional.group_norm(x, self.channels, self.weight, self.bias)


def scaled_norm(kind: ScaledNorm, channels: int) -> nn.Module:
    """Make a norm with a scale of its own: of each channel, of all of them together, or none.

    Instance norms take away what is constant over a picture, as planes of labels are.
    """
    choose("norm", kind, get_args(ScaledNorm))
    if kind == "instance":
        return ScaledInstanceNorm(channels)
    return nn.GroupNorm(1, channels) if kind == "layer" else nn.Identity()
