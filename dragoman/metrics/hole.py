"""Measures inside the holes of pictures only, as in the table of Pathak et al. (2016)."""

from collections.abc import Callable

from torch import Tensor

from dragoman.errors import DataError
from dragoman.metrics.metric import BatchMetric, unit_range
from dragoman.metrics.psnr import FLOOR

Hole = Callable[[dict[str, Tensor]], Tensor]  # of a batch: [B, 1, H, W], 1 where dropped


def inside(values: Tensor, hole: Tensor) -> Tensor:
    """Mean of values [B, C, H, W] over channels and the pixels of each picture's hole: [B].

    Raises DataError if a picture has no hole.
    """
    hole = hole.to(values).expand(len(values), 1, *values.shape[-2:])
    pixels = hole.sum((1, 2, 3))
    if not bool((pixels > 0).all()):
        raise DataError(
            "a picture has no hole in which to judge; give each mask some pixels of the object"
        )
    return (values * hole).sum((1, 2, 3)) / (pixels * values.shape[1])


def hole_l1_percent(fake: Tensor, real: Tensor, hole: Tensor) -> Tensor:
    """100 times the mean absolute difference in the hole, values in [0, 1]: [B]."""
    fake, real = unit_range(fake, real)
    return 100 * inside((fake - real).abs(), hole)


def hole_l2_percent(fake: Tensor, real: Tensor, hole: Tensor) -> Tensor:
    """100 times the mean squared difference in the hole, values in [0, 1]: [B]."""
    fake, real = unit_range(fake, real)
    return 100 * inside((fake - real) ** 2, hole)


def hole_psnr(fake: Tensor, real: Tensor, hole: Tensor) -> Tensor:
    """10 log10(1 / mean squared difference in the hole): [B], dB, at most 100."""
    fake, real = unit_range(fake, real)
    return -10 * inside((fake - real) ** 2, hole).clamp(min=FLOOR).log10()


def hole_measures(hole: Hole) -> list[BatchMetric]:
    """The three measures in the holes that `hole` gives for a batch."""

    def of(measure: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
        return lambda fake, real, batch: measure(fake, real, hole(batch))

    only = "over channels and the pixels of the hole only, values in [0, 1], mean over pictures"
    return [
        BatchMetric(
            "hole_l1_percent",
            "%",
            "low",
            of(hole_l1_percent),
            f"100 times the mean absolute difference {only}",
        ),
        BatchMetric(
            "hole_l2_percent",
            "%",
            "low",
            of(hole_l2_percent),
            f"100 times the mean squared difference {only}",
        ),
        BatchMetric(
            "hole_psnr",
            "dB",
            "high",
            of(hole_psnr),
            "per picture over channels and the pixels of the hole only, values in [0, 1], data "
            "range 1, equal pictures count 100 dB, mean over pictures",
        ),
    ]
