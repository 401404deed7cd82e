"""Mean absolute difference of the values, plain and in percent."""

from torch import Tensor

from dragoman.metrics.metric import Metric, per_picture, unit_range


def l1(fake: Tensor, real: Tensor) -> Tensor:
    """Mean of |fake - real| with values in [0, 1]: [B], from 0 (equal) to 1."""
    fake, real = unit_range(fake, real)
    return per_picture((fake - real).abs())


def l1_percent(fake: Tensor, real: Tensor) -> Tensor:
    """100 times `l1`: [B], in percent of the range."""
    return 100 * l1(fake, real)


L1 = Metric(
    "l1",
    "",
    "low",
    l1,
    "mean absolute difference over pixels and channels, values in [0, 1], mean over pictures",
)
L1_PERCENT = Metric(
    "l1_percent",
    "%",
    "low",
    l1_percent,
    "100 times the mean absolute difference of values in [0, 1], mean over pictures",
)
