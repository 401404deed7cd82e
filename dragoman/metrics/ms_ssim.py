"""Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003) of each picture."""

from torch import Tensor

from dragoman.metrics.metric import Metric, at_least, unit_range
from dragoman.metrics.ssim import WINDOW

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the paper, finest scale first


def scales(height: int, width: int) -> int:
    """How many of the five scales leave a whole window of 11 px; 3 at 64 px, 5 from 176 px."""
    fitting = 1
    for number in range(2, len(WEIGHTS) + 1):
        # the second bound is torchmetrics' own, stricter than 2^(number - 1) at four scales
        shrink = max(2 ** (number - 1), (number - 1) ** 2)
        if min(height, width) // shrink >= WINDOW:
            fitting = number
    return fitting


def ms_ssim(fake: Tensor, real: Tensor) -> Tensor:
    """Similarity over as many scales as fit: [B], 1 if equal.

    The weights of the scales used are divided by their sum. Negative similarities count as 0.
    Raises DataError for pictures smaller than the window of 11 px.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    fake, real = unit_range(fake, real)
    at_least(WINDOW, fake, "MS-SSIM")
    weights = WEIGHTS[: scales(*fake.shape[-2:])]
    values = multiscale_structural_similarity_index_measure(
        fake,
        real,
        sigma=1.5,
        kernel_size=WINDOW,
        data_range=1.0,
        reduction="none",
        betas=tuple(weight / sum(weights) for weight in weights),
        normalize="relu",
    )
    return values.reshape(len(fake))


MS_SSIM = Metric(
    "ms_ssim",
    "",
    "high",
    ms_ssim,
    "as SSIM over up to 5 scales with the paper's weights; of pictures below 176 px only the "
    "scales that leave 11 px are used (3 at 64 px), their weights scaled to sum to 1",
)
