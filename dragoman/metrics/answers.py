"""Measures of several answers to one input: how they differ, and how near the nearest is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from dragoman.metrics.l1 import l1
from dragoman.metrics.lpips import alex
from dragoman.metrics.set_metric import Number

MOST = 6  # answers to an input that are judged
AT_ONCE = 2**23  # pixels in the network at a time, about 1.5 GB of activations


@dataclass(frozen=True)
class AnswersMetric:
    """Numbers per picture, by name [B], from several answers [B, C, H, W] each and the truth.

    `measure` raises DataError, saying why, for pictures that it cannot judge.
    """

    name: str
    numbers: tuple[Number, ...]
    measure: Callable[[Sequence[Tensor], Tensor], dict[str, Tensor]]


def nearest_l1(answers: Sequence[Tensor], real: Tensor) -> dict[str, Tensor]:
    """Return {"nearest_l1"}: the L1 distance of the nearest of the answers to the truth, [B]."""
    distances = [l1(answer, real) for answer in answers]
    return {"nearest_l1": torch.stack(distances).amin(0)}


@torch.no_grad()
def perceptual(answers: Sequence[Tensor], real: Tensor) -> dict[str, Tensor]:
    """Return {"nearest_lpips", "diversity"}, [B] each, from LPIPS with AlexNet.

    nearest_lpips: distance of the nearest answer to the truth. diversity: mean distance of all
    pairs of answers to one input (as Zhu et al. 2017, BicycleGAN, judge it). Each picture goes
    through the network once. Raises DataError below 31 px.
    """
    network = alex(str(real.device))
    network.check(real, answers[0])
    pictures = torch.stack([real, *answers], 1).float().clamp(-1, 1)  # [B, 1 + answers, ...]
    seen = pictures[0, :, :1].numel() * (1 if real.shape[1] == 3 else real.shape[1])
    few = max(1, AT_ONCE // seen)
    diversity, nearest = [], []
    for part in pictures.split(few):
        truth, *made = (network.activations(one) for one in part.unbind(1))
        count = len(part)
        pairs = [network.between(a, b, count) for a, b in combinations(made, 2)]
        diversity.append(torch.stack(pairs).mean(0))
        nearest.append(torch.stack([network.between(a, truth, count) for a in made]).amin(0))
    return {"nearest_lpips": torch.cat(nearest), "diversity": torch.cat(diversity)}


def answers_metrics(count: int) -> tuple[AnswersMetric, ...]:
    """The measures of `count` answers to each input, at least 2."""
    return (
        AnswersMetric(
            "nearest_l1",
            (
                Number(
                    "nearest_l1",
                    "",
                    "low",
                    f"l1 of that of {count} answers which is nearest to the truth in it, mean over "
                    "pictures",
                ),
            ),
            nearest_l1,
        ),
        AnswersMetric(
            "diversity and nearest_lpips",
            (
                Number(
                    "nearest_lpips",
                    "",
                    "low",
                    f"lpips of that of {count} answers which is nearest to the truth in it, mean "
                    "over pictures",
                ),
                Number(
                    "diversity",
                    "",
                    "high",
                    f"LPIPS v0.1 with AlexNet between {count} answers to one input, mean over "
                    "their pairs and over pictures",
                ),
            ),
            perceptual,
        ),
    )
