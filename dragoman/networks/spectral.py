"""Spectral normalisation: convolutions whose largest singular value is held at 1."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

Network = TypeVar("Network", bound=nn.Module)

EPSILON = 1e-12  # under the length of a vector, as in PyTorch's own layer
SETTLED = 15  # iterations after which the estimate of a fresh weight is good


class SpectralConv2d(nn.Conv2d):
    """A convolution that uses its weight divided by its largest singular value.

    The weight is read as a matrix [outputs, rest]. One power iteration at each forward in training
    follows it (Miyato et al. 2018, algorithm 1); gradients see u and v as constants. `weight` is
    the undivided one, so that starting weights and optimizers meet a plain convolution. u and v
    are buffers: in evaluation they stay as they are.
    """

    u: Tensor
    v: Tensor

    def __init__(self, *args: Any, **settings: Any) -> None:
        """Takes what nn.Conv2d takes."""
        super().__init__(*args, **settings)
        matrix = self.weight.detach().flatten(1)
        self.register_buffer("u", _unit(torch.randn_like(matrix[:, 0])))
        self.register_buffer("v", _unit(torch.randn_like(matrix[0])))
        self.iterate(SETTLED)

    def forward(self, input: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, ...], as nn.Conv2d."""
        if self.training:
            self.iterate()
        return self._conv_forward(input, self.weight / self.largest(), self.bias)

    def largest(self) -> Tensor:
        """The largest singular value as u and v give it: a scalar that gradients pass through."""
        # Products and sums, unlike matrix products, are not cut to bf16 by autocast. The clones
        # stay as they are while the next forward moves u and v on.
        row = (self.weight.flatten(1) * self.v.clone()).sum(1)
        return (row * self.u.clone()).sum()

    @torch.no_grad()
    def iterate(self, times: int = 1) -> None:
        """Bring u and v nearer to the singular vectors of the largest singular value."""
        matrix = self.weight.flatten(1)
        for _ in range(times):
            self.v.copy_(_unit((matrix * self.u[:, None]).sum(0)))
            self.u.copy_(_unit((matrix * self.v).sum(1)))


def settle(network: Network) -> Network:
    """Fit u and v to weights that were drawn anew or loaded without them; return the network."""
    for layer in network.modules():
        if isinstance(layer, SpectralConv2d):
            layer.iterate(SETTLED)
    return network


def _unit(x: Tensor) -> Tensor:
    return functional.normalize(x, dim=0, eps=EPSILON)
