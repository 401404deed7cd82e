"""How sure a mean over pictures is: bootstrap intervals (Efron 1979)."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from dragoman.errors import DataError

AT_ONCE = 2**22  # drawn indices held in memory at a time


def interval(
    values: Tensor | np.ndarray | Sequence[float], draws: int = 2000, seed: int = 0
) -> dict[str, float]:
    """Return {"mean", "low", "high"}: the mean and its 95 % percentile interval over pictures.

    Pictures are drawn with replacement `draws` times by a generator of its own, so the same
    values give the same interval and no other random number changes. Raises DataError if there
    are no values or one is not finite.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    numbers = np.asarray(values, dtype=np.float64).ravel()
    if numbers.size == 0:
        raise DataError("there are no pictures to judge; choose a split that has some")
    if not np.isfinite(numbers).all():
        raise DataError("a measure is not finite; look for NaN in the generated pictures")
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    rows = max(1, AT_ONCE // numbers.size)
    for start in range(0, draws, rows):
        count = min(rows, draws - start)
        drawn = generator.integers(0, numbers.size, (count, numbers.size))
        means[start : start + count] = numbers[drawn].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {"mean": float(numbers.mean()), "low": float(low), "high": float(high)}
