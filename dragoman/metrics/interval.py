"""How sure a mean over pictures is: bootstrap intervals (Efron 1979)."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from dragoman.errors import DataError

AT_ONCE = 2**22  # drawn indices held in memory at a time
DRAWS = 2000


def interval(
    values: Tensor | np.ndarray | Sequence[float], draws: int = DRAWS, seed: int = 0
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
    return {"mean": float(numbers.mean()), **span(means)}


def span(means: np.ndarray) -> dict[str, float]:
    """Return {"low", "high"}: the middle 95 % of what was found in the draws."""
    low, high = np.percentile(means, [2.5, 97.5])
    return {"low": float(low), "high": float(high)}


def drawn(count: int, draws: int = DRAWS, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield how often each of `count` pictures is in each draw: whole numbers [some draws, count].

    For numbers of whole sets that are no means over pictures.
    """
    generator = np.random.default_rng(seed)
    rows = max(1, AT_ONCE // count)
    for start in range(0, draws, rows):
        yield generator.multinomial(count, np.full(count, 1 / count), min(rows, draws - start))
