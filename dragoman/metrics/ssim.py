"""Structural similarity (Wang et al. 2004) of each picture."""

from torch import Tensor

from dragoman.metrics.metric import Metric, at_least, unit_range

WINDOW = 11  # px: side of the Gaussian window


def ssim(fake: Tensor, real: Tensor) -> Tensor:
    """Mean structural similarity (equation 13) over pixels and channels: [B], 1 if equal.

    Raises DataError for pictures smaller than the window of 11 px.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    fake, real = unit_range(fake, real)
    at_least(WINDOW, fake, "SSIM")
    values = structural_similarity_index_measure(
        fake, real, sigma=1.5, kernel_size=WINDOW, data_range=1.0, reduction="none"
    )
    assert isinstance(values, Tensor)  # a tuple only where the full picture is asked for
    return values.reshape(len(fake))


SSIM = Metric(
    "ssim",
    "",
    "high",
    ssim,
    "Gaussian window of 11 px and sigma 1.5, K1 0.01, K2 0.03, borders mirrored, "
    "each channel for itself, values in [0, 1], mean over pixels, channels and pictures",
)
