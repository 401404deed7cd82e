"""Kernel distance of two sets of pictures (KID, Binkowski et al. 2018) on AlexNet's features."""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from dragoman.errors import DataError
from dragoman.metrics.interval import drawn, span
from dragoman.metrics.metric import at_least, unit_range
from dragoman.metrics.set_metric import Estimate, Number, SetMetric
from dragoman.networks.alexnet import SMALLEST, AlexNet
from dragoman.networks.frozen_features import as_colour, imagenet, per_one

# Of layers 3 to 5, with and without unit length, this told made pictures best from true ones
# for the spread that it has between halves of a split.
LAYER = "relu4"
TINY = 1e-10  # where all activations are zero
MOST = 2000  # pictures; of more, whose kernels would fill the memory, no interval is drawn
ROWS = 512  # pictures whose kernels with all others are held in memory at a time
THOUSAND = 1000


def kid(fake: Tensor, real: Tensor) -> Estimate:
    """1000 times the unbiased squared maximum mean discrepancy of features [N, D] of N pairs.

    The estimator is that of Gretton et al. 2012 (lemma 6): over all pairs of different pictures,
    k(fake, fake') + k(real, real') - k(fake, real') - k(fake', real), with the kernel
    (x . y / D + 1)^3 of Binkowski et al. 2018. A picture is never set against its own truth: the
    two resemble each other, and what is zero on average would be negative for few pictures. Up
    to 2000 pictures it comes with a bootstrap interval, in which no picture meets itself either.
    Raises DataError for less than two pictures.
    """
    count = len(fake)
    if count < 2:
        raise DataError(f"KID compares sets of at least two pictures, not {count}")
    fake, real = fake.double(), real.double()
    if count > MOST:
        parts = [_kernels(fake, real, at).sum() for at in range(0, count, ROWS)]
        return {"mean": float(torch.stack(parts).sum()) / (count * (count - 1))}
    kernels = torch.cat([_kernels(fake, real, at) for at in range(0, count, ROWS)])
    means = []
    for times in drawn(count):
        often = torch.from_numpy(times).double()
        pairs = count**2 - (often**2).sum(1)  # a draw of one picture alone has none
        means.append((often @ kernels * often).sum(1) / pairs.clamp(min=1))
    mean = float(kernels.sum()) / (count * (count - 1))
    return {"mean": mean, **span(torch.cat(means).numpy())}


def _kernels(fake: Tensor, real: Tensor, start: int) -> Tensor:
    """Rows `start` to `start` + ROWS of the symmetric [N, N], 0 on the diagonal."""
    one, own = fake[start : start + ROWS], real[start : start + ROWS]

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    rows = kernel(one, fake) + kernel(own, real) - kernel(one, real) - kernel(own, fake)
    rows.diagonal(start).zero_()
    return THOUSAND * rows


@lru_cache(maxsize=2)
def _alex(device: str) -> AlexNet:
    return AlexNet((LAYER,)).to(device)


@torch.no_grad()
def features(pictures: Tensor) -> Tensor:
    """AlexNet's relu4, of one length at each place, averaged over space: [B, 256].

    pictures: [B, C, H, W] in [0, 1]; of other than three channels they follow the rule of
    `as_colour`. AlexNet has no norms: its activations grow with the contrast, and the third power
    of the kernel would see nothing but the most contrasty pictures. So they are brought to unit
    length at each place, as in LPIPS, times sqrt(256), which the kernel takes out again. Raises
    DataError for sides below 31 px.
    """
    at_least(SMALLEST, pictures, "KID")
    network = _alex(str(pictures.device))
    seen = pictures[0, 0].numel() * (1 if pictures.shape[1] == 3 else pictures.shape[1])
    few = max(1, 2**23 // seen)  # about 1.5 GB of activations at a time
    found = []
    for part in pictures.split(few):
        layer = network(imagenet(as_colour(2 * part - 1)))[LAYER]
        unit = layer / (torch.linalg.vector_norm(layer, dim=1, keepdim=True) + TINY)
        found.append(per_one(unit.mean((2, 3)) * layer.shape[1] ** 0.5, len(part)))
    return torch.cat(found)


class _Features:
    """Collects the features of made and true pictures."""

    def __init__(self) -> None:
        self.fake: list[Tensor] = []
        self.real: list[Tensor] = []

    def add(self, fake: Tensor, real: Tensor, batch: Mapping[str, Tensor]) -> None:
        fake, real = unit_range(fake, real)
        self.fake.append(features(fake))
        self.real.append(features(real))

    def result(self) -> dict[str, Estimate]:
        if not self.fake:
            raise DataError("KID has seen no pictures")
        return {KID_ALEX.name: kid(torch.cat(self.fake), torch.cat(self.real))}


KID_ALEX = SetMetric(
    "kid_alex",
    (
        Number(
            "kid_alex",
            "/1000",
            "low",
            "1000 times the unbiased squared maximum mean discrepancy with the kernel "
            "(x.y + 1)^3 of AlexNet's relu4, of unit length at each place and averaged over "
            "space, over all pairs of different pictures, no picture against its own truth, which "
            "can come out slightly negative; not to be compared with the KID of Inception's "
            "features",
        ),
    ),
    _Features,
    paired=False,
)
