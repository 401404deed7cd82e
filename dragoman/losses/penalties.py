"""Constraints on a critic: gradient penalties, clipped and orthogonal weights, in float32."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from dragoman.losses.distances import full

Critic = Callable[[Tensor], Tensor]


def slope(critic: Critic, x: Tensor) -> Tensor:
    """Gradient of the sum of all the critic's outputs with respect to x: [B, C * H * W].

    It may be differentiated again, which is how penalties teach the critic.
    """
    return _slope_and_outputs(critic, x)[0]


def _slope_and_outputs(critic: Critic, x: Tensor) -> tuple[Tensor, Tensor]:
    """The slope, and the outputs from which it was taken."""
    x = full(x).detach().requires_grad_(True)
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        outputs = critic(x)
        (gradient,) = torch.autograd.grad(outputs.sum(), x, create_graph=True)
    return gradient.flatten(1), outputs


def gradient_penalty(
    critic: Critic, real: Tensor, fake: Tensor, mix: Tensor | None = None, target: float = 1.0
) -> Tensor:
    """Mean over samples of (slope - target)^2 between reals and fakes (Gulrajani et al. 2017).

    The slope is the norm of the gradient of the sum of all outputs at mix * real + (1 - mix) *
    fake; `mix` ([B] or [B, 1], in [0, 1]) is drawn once for each sample if not given. The 1e-16
    added to the gradient keeps the norm's own gradient finite at 0, as in the reference code.
    """
    real, fake = full(real).detach(), full(fake).detach()
    if mix is None:
        mix = torch.rand(len(real), device=real.device, dtype=real.dtype)
    mix = mix.view(-1, *[1] * (real.ndim - 1))
    slopes = slope(critic, mix * real + (1 - mix) * fake)
    return ((slopes + 1e-16).norm(2, dim=1) - target).square().mean()


def r1(critic: Critic, real: Tensor) -> Tensor:
    """Half the mean over samples of the squared slope at reals (Mescheder et al. 2018, eq. 9)."""
    return r1_and_outputs(critic, real)[0]


def r1_and_outputs(critic: Critic, real: Tensor) -> tuple[Tensor, Tensor]:
    """As `r1`, with the critic's outputs for the reals: for whoever needs both, in one run."""
    slopes, outputs = _slope_and_outputs(critic, real)
    return slopes.square().sum(1).mean() / 2, outputs


@torch.no_grad()
def clip_weights(network: nn.Module, limit: float = 0.01) -> None:
    """Move every parameter into [-limit, limit] (Arjovsky et al. 2017, algorithm 1)."""
    for parameter in network.parameters():
        parameter.clamp_(-limit, limit)


def orthogonal(weights: Iterable[Tensor], diagonal: bool = False) -> Tensor:
    """Sum over weights of ||W W^T * (1 - I)||_F^2 (Brock et al. 2019, equation 3).

    Each weight is read as a matrix [outputs, rest]; vectors are passed over. With `diagonal` it is
    ||W W^T - I||_F^2: rows must also have length 1. The reference code's gradient is half of this
    function's, so that its strength is twice this term's weight.
    """
    penalties = []
    for weight in weights:
        if weight.ndim < 2:
            continue
        matrix = full(weight).flatten(1)
        with torch.autocast(matrix.device.type, enabled=False):
            product = matrix @ matrix.T
        identity = torch.eye(len(product), device=product.device, dtype=product.dtype)
        rest = product - identity if diagonal else product * (1 - identity)
        penalties.append(rest.square().sum())
    if not penalties:
        raise ValueError("orthogonal() was given no weight of two or more dimensions")
    return torch.stack(penalties).sum()
