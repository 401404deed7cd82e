"""What a measure is, and how the pictures it compares are brought to one form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from dragoman.errors import DataError


@dataclass(frozen=True)
class Metric:
    """A number per generated picture, [B], from pictures [B, C, H, W] in [-1, 1] and the truth.

    better: which way is good. protocol: one sentence that says exactly what is computed.
    `measure` raises DataError, saying why, for pictures that it cannot judge. ours: it judges the
    generator, not its pictures alone, and makes no sense for baselines.
    """

    name: str
    unit: str
    better: Literal["low", "high"]
    measure: Callable[[Tensor, Tensor], Tensor]
    protocol: str
    ours: bool = False

    def of(self, fake: Tensor, real: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The measure of each picture of a batch, [B]."""
        return self.measure(fake, real)


@dataclass(frozen=True)
class BatchMetric(Metric):
    """A measure that must also see the batch of which the pictures were made: its mask, say."""

    measure: Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]  # ty: ignore

    def of(self, fake: Tensor, real: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The measure of each picture of a batch, [B]."""
        return self.measure(fake, real, batch)


def unit_range(fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return both as float32 in [0, 1], what lies outside [-1, 1] cut off as a screen would.

    Raises DataError unless both are [B, C, H, W] of one shape.
    """
    if fake.shape != real.shape or fake.ndim != 4:
        raise DataError(
            f"generated pictures of shape {list(fake.shape)} cannot be compared with true ones of "
            f"shape {list(real.shape)}; both must be [pictures, channels, height, width]"
        )
    return (fake.float().clamp(-1, 1) + 1) / 2, (real.float().clamp(-1, 1) + 1) / 2


def per_picture(values: Tensor) -> Tensor:
    """Average over all but the first axis: [B, ...] to [B]."""
    return values.flatten(1).mean(1)


def at_least(side: int, pictures: Tensor, what: str) -> None:
    """Raise DataError if height or width is below `side` pixels."""
    height, width = pictures.shape[-2:]
    if min(height, width) < side:
        raise DataError(f"{what} needs pictures of at least {side} px, not {height} x {width}")
