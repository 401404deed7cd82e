"""How far two pictures, features or distributions are apart; computed in float32 or better."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def full(x: Tensor) -> Tensor:
    """The tensor in float32, where it is of half precision; otherwise as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference of two tensors of equal shape."""
    return functional.l1_loss(full(x), full(y))


def l2(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared difference of two tensors of equal shape."""
    return functional.mse_loss(full(x), full(y))


def charbonnier(x: Tensor, y: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(difference^2 + epsilon^2), an L1 smooth at 0 (Lai et al. 2017, equation 3)."""
    return ((full(x) - full(y)).square() + epsilon**2).sqrt().mean()


def total_variation(x: Tensor) -> Tensor:
    """Mean absolute difference of vertical neighbours plus that of horizontal ones.

    x: [B, C, H, W] with sides of at least 2 (Rudin et al. 1992, anisotropic).
    """
    x = full(x)
    return l1(x[..., 1:, :], x[..., :-1, :]) + l1(x[..., 1:], x[..., :-1])


def kl_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of N(mean, exp(log_variance)) from N(0, I) (Kingma & Welling 2014, eq. 10).

    Both [B, ...]; summed over dimensions, averaged over the batch.
    """
    mean, log_variance = full(mean), full(log_variance)
    each = mean.square() + log_variance.exp() - 1 - log_variance
    return each.sum() / (2 * len(mean))


def gram(features: Tensor) -> Tensor:
    """Products of all pairs of channels, averaged over pixels and divided by C.

    [B, C, H, W] to [B, C, C] (Gatys et al. 2016, equation 3, normalised by Johnson et al. 2016).
    """
    flat = full(features).flatten(2)
    with torch.autocast(flat.device.type, enabled=False):
        return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def style_distance(
    x: Sequence[Tensor], y: Sequence[Tensor], weights: Sequence[float] | None = None
) -> Tensor:
    """Weighted sum over layers of the mean squared difference of Gram matrices."""
    return _weighted([l2(gram(f), gram(g)) for f, g in zip(x, y, strict=True)], weights)


def feature_distance(
    x: Sequence[Tensor], y: Sequence[Tensor], weights: Sequence[float] | None = None
) -> Tensor:
    """Weighted sum over layers of the mean absolute difference of features.

    The perceptual distance with the layers of a classifier (Wang et al. 2018, section 3.2) and
    feature matching with those of a discriminator (equation 4 there). Weights are 1 by default.
    """
    return _weighted([l1(f, g) for f, g in zip(x, y, strict=True)], weights)


def _weighted(distances: Sequence[Tensor], weights: Sequence[float] | None) -> Tensor:
    weights = [1.0] * len(distances) if weights is None else weights
    pairs = zip(weights, distances, strict=True)
    return torch.stack([weight * distance for weight, distance in pairs]).sum()
