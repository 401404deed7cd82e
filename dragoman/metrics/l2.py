"""Mean squared difference of the values in percent."""

from torch import Tensor

from dragoman.metrics.metric import Metric, per_picture, unit_range


def l2_percent(fake: Tensor, real: Tensor) -> Tensor:
    """100 times the mean of (fake - real)^2 with values in [0, 1]: [B], in percent."""
    fake, real = unit_range(fake, real)
    return 100 * per_picture((fake - real) ** 2)


L2_PERCENT = Metric(
    "l2_percent",
    "%",
    "low",
    l2_percent,
    "100 times the mean squared difference of values in [0, 1], mean over pictures",
)
