"""Feature matching: fakes shall be, to a discriminator, like reals on the average."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dragoman.losses.distances import full, l1, l2


def batch_means(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Sum over layers of the mean squared difference of features averaged over the batch.

    Features [B, ...] of each layer (Salimans et al. 2016, section 3.1; Kim et al. 2017, whose code
    takes all layers but the first). The batches may differ in number.
    """
    pairs = zip(real, fake, strict=True)
    return torch.stack([l2(full(r).mean(0), full(f).mean(0)) for r, f in pairs]).sum()


def place_means(real: Tensor, fake: Tensor) -> Tensor:
    """Mean absolute difference of features averaged over places, picture by picture.

    [B, C, H, W] each, of any sides (Liu et al. 2019, equation 7).
    """
    return l1(full(real).mean((2, 3)), full(fake).mean((2, 3)))
