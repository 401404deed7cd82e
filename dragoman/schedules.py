"""Factors of learning rates and weights, as pure functions of the progress of training."""

import math
from collections.abc import Callable


def constant(fraction: float) -> float:
    """1 throughout."""
    return 1.0


def linear(fraction: float, start: float = 0.5) -> float:
    """1 until the fraction `start`, then in a straight line to 0 at the end."""
    return min(1.0, max(0.0, (1 - fraction) / (1 - start)))


def late(fraction: float) -> float:
    """1 for three quarters, then in a straight line to 0, as the 150 and 50 epochs of FastCUT."""
    return linear(fraction, start=0.75)


def cosine(fraction: float) -> float:
    """Half a cosine wave from 1 to 0 (Loshchilov & Hutter 2017, equation 5, one period)."""
    return (1 + math.cos(math.pi * fraction)) / 2


def step(fraction: float, at: tuple[float, ...] = (0.5,), factor: float = 0.1) -> float:
    """Multiplied by `factor` at each of the fractions `at`: by 0.1 half-way."""
    return factor ** sum(fraction >= place for place in at)


def halving(fraction: float) -> float:
    """Halved at 1/8, 1/4, 1/2 and 3/4, as in BasicSR's training of ESRGAN."""
    return step(fraction, at=(0.125, 0.25, 0.5, 0.75), factor=0.5)


def tenths(fraction: float) -> float:
    """Halved after every tenth, as in the reference code of UNIT and MUNIT."""
    return step(fraction, at=tuple(part / 10 for part in range(1, 10)), factor=0.5)


def linear_by_epoch(epoch: int, constant: int = 100, decay: int = 100, first: int = 1) -> float:
    """1 for `constant` epochs, then towards 0 over `decay` more, as the reference code of CycleGAN.

    epoch: number of epochs finished; first: the number that the first epoch bears. The factor of
    the last epoch is not 0 but 1 / (decay + 1).
    """
    return 1 - max(0, epoch + first - constant) / (decay + 1)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "linear": linear,
    "late": late,
    "cosine": cosine,
    "step": step,
    "halving": halving,
    "tenths": tenths,
}
