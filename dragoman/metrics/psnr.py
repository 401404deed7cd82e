"""Peak signal-to-noise ratio of each picture in decibel."""

from torch import Tensor

from dragoman.metrics.metric import Metric, per_picture, unit_range

FLOOR = 1e-10  # mean squared difference of 100 dB: equal pictures would be infinite


def psnr(fake: Tensor, real: Tensor) -> Tensor:
    """10 log10(1 / mean squared difference) with values in [0, 1]: [B], dB, at most 100."""
    fake, real = unit_range(fake, real)
    return -10 * per_picture((fake - real) ** 2).clamp(min=FLOOR).log10()


PSNR = Metric(
    "psnr",
    "dB",
    "high",
    psnr,
    "per picture over all pixels and channels, values in [0, 1], data range 1, "
    "equal pictures count 100 dB, mean over pictures",
)
