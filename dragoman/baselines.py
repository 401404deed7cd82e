"""What can be had without a network: the scores beside which a system's scores mean something."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import (
    adaptive_avg_pool2d,
    conv2d,
    interpolate,
    pad,
    pixel_shuffle,
    pixel_unshuffle,
    unfold,
)

from dragoman.system import Batch

SIDE = 5  # px: side of the patches of the linear regression
MOST_ROWS = 4096  # of its normal equations, 128 MB
EFFORT = 5e10  # multiplications for its normal equations, a few seconds on two cores
THUMBNAIL = 16  # px: pictures are compared at this size to find the nearest


class Data(Protocol):
    """What is needed of the object that `dragoman.data.open_data` returns."""

    @property
    def name(self) -> str:
        """A short name, fit for a table."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """Pictures in each split."""
        ...

    def partners(self, split: str) -> bool:
        """True if source and target of a split show the same thing."""
        ...

    def count(self, split: str, key: str) -> int:
        """Pictures of one key in a split."""
        ...

    def split(self, name: str, batch: int = 32) -> Iterator[Batch]:
        """Give every picture of a split once, in order, unaugmented."""
        ...

    def rows(self, split: str, numbers: Iterable[int]) -> Batch:
        """Give the pictures of these numbers of a split."""
        ...


class Linear:
    """Regression from 5x5 patches of the source to the target's pixel, by least squares."""

    def __init__(self, channels: int, outputs: int, pixels: int) -> None:
        """`pixels` is how many there are to learn from; they are thinned to keep to EFFORT."""
        self.inputs = channels * SIDE**2 + 1
        self.channels, self.outputs = channels, outputs
        most = max(self.inputs, outputs)
        self.every = max(1, math.ceil(math.sqrt(pixels * most**2 / EFFORT)))
        rows = self.inputs + outputs
        self.moments = torch.zeros(rows, rows, dtype=torch.float64)

    def add(self, source: Tensor, target: Tensor) -> None:
        """Add pictures [B, C, H, W] to the normal equations, in float64."""
        patches = (unfold(one[None], SIDE, stride=self.every)[0] for one in _mirrored(source))
        truths = target[..., :: self.every, :: self.every].flatten(2)
        for seen, truth in zip(patches, truths, strict=True):
            rows = torch.cat([seen, torch.ones_like(seen[:1]), truth]).double()
            self.moments += rows @ rows.T

    def solve(self) -> tuple[Tensor, Tensor]:
        """Return kernel [outputs, channels, 5, 5] and bias [outputs] of the best regression.

        The pseudo-inverse takes care of channels that depend on each other, as one-hot maps.
        """
        gram, mixed = self.moments[: self.inputs].tensor_split([self.inputs], dim=1)
        weights = (torch.linalg.pinv(gram, hermitian=True, rtol=1e-12) @ mixed).T.float()
        kernel = weights[:, :-1].reshape(self.outputs, self.channels, SIDE, SIDE)
        return kernel.contiguous(), weights[:, -1].contiguous()


class Nearest:
    """The numbers of those training pictures whose sources are nearest in mean square at 16 px."""

    def __init__(self, sources: Tensor) -> None:
        """sources: flat thumbnails [N, D] of the pictures to find the nearest of."""
        self.sources = sources
        self.distance = torch.full((len(sources),), torch.inf)
        self.numbers = torch.zeros(len(sources), dtype=torch.int64)
        self.seen = 0

    def add(self, source: Tensor) -> None:
        """Look at the next training pictures; keep the number of each nearer than all before."""
        trained = _thumbnails(source)
        # |s - t|^2 less |s|^2, which is the same for all t
        distance = (trained**2).sum(1) - 2 * self.sources @ trained.T
        least, index = distance.min(1)
        nearer = least < self.distance
        self.distance[nearer] = least[nearer]
        self.numbers[nearer] = index[nearer] + self.seen
        self.seen += len(source)


@dataclass(frozen=True)
class Baselines:
    """What was learned from the training split for one source, target and split to judge."""

    shape: tuple[int, ...]  # of a target picture
    mean: Tensor  # [C]
    linear: tuple[Tensor, Tensor] | None  # kernel and bias
    nearest: list[int] | None  # number of the nearest training picture of each picture
    fetch: Callable[[list[int]], Tensor]  # training targets by number
    scale: int = 1  # how many times larger targets are than sources

    def paint(self, source: Tensor, start: int) -> dict[str, Tensor]:
        """Return {name: pictures [B, C, H, W]} for pictures `start`, `start` + 1, ... of the split.

        "constant": the mean colour of the training targets. "input": the source itself, where
        its channels and size are those of the target. "nearest": the target of the training
        picture nearest to the source. "linear": regression on 5x5 patches of the source. Where
        targets are a whole number of times larger (super-resolution), instead of "input" and
        "nearest": "bicubic", the source enlarged, and "repeated", each of its pixels a square.
        What makes no sense for the data is left out.
        """
        count, source = len(source), source.float()
        pictures = {"constant": self.mean[None, :, None, None].expand(count, *self.shape)}
        if source.shape[1] in (1, self.shape[0]):
            pictures |= self._copied(source.expand(count, self.shape[0], -1, -1))
        if self.nearest is not None:
            pictures["nearest"] = self.fetch(self.nearest[start : start + count]).float()
        if self.linear is not None:
            kernel, bias = self.linear
            made = conv2d(_mirrored(source), kernel, bias).clamp(-1, 1)
            pictures["linear"] = pixel_shuffle(made, self.scale)
        return pictures

    def _copied(self, source: Tensor) -> dict[str, Tensor]:
        """What needs no learning, from sources with the targets' channels."""
        height, width = self.shape[-2:]
        if source.shape[-2:] == (height, width):
            return {"input": source}
        if self.scale == 1:
            return {}
        # antialias chooses Pillow's and Matlab's kernel; where a picture grows nothing is smoothed
        smooth = interpolate(source, (height, width), mode="bicubic", antialias=True)
        repeated = interpolate(source, (height, width), mode="nearest")
        return {"bicubic": smooth.clamp(-1, 1), "repeated": repeated}


def learn(data: Data, source: str = "a", target: str = "b", split: str = "test") -> Baselines:
    """Learn the baselines for a split in one pass over the training pictures.

    Of the pictures only thumbnails are held in memory. Data whose training pictures have no
    partners has neither nearest nor linear, of more than about 160 channels not linear. Raises
    DataError.
    """
    paired = data.partners("train")
    first = data.rows("train", [0])
    shape, scale = tuple(first[target].shape[1:]), _scale(first[source], first[target])
    linear = _linear(data, first[source], first[target], scale) if paired else None
    nearest = None
    total, pixels = torch.zeros((), dtype=torch.float64), 0
    if paired and scale == 1:
        sources = [_thumbnails(batch[source]) for batch in data.split(split)]
        nearest = Nearest(torch.cat(sources))
    for batch in data.split("train"):
        one, other = batch[source].float(), batch[target].float()
        total = total + other.double().sum((0, 2, 3))
        pixels += other[:, 0].numel()
        if linear:
            linear.add(one, pixel_unshuffle(other, scale))
        if nearest:
            nearest.add(one)
    return Baselines(
        shape,
        (total / pixels).float(),
        linear.solve() if linear else None,
        nearest.numbers.tolist() if nearest else None,
        lambda numbers: data.rows("train", numbers)[target],
        scale,
    )


def baselines(
    data: Data, source: str = "a", target: str = "b", split: str = "test"
) -> dict[str, Tensor]:
    """Return {name: pictures [N, C, H, W] in [-1, 1]} of every baseline for a whole split.

    The names are explained at `Baselines.paint`.
    """
    learned = learn(data, source, target, split)
    painted: dict[str, list[Tensor]] = {}
    start = 0
    for batch in data.split(split):
        for name, pictures in learned.paint(batch[source], start).items():
            painted.setdefault(name, []).append(pictures)
        start += len(batch[source])
    return {name: torch.cat(parts) for name, parts in painted.items()}


def _scale(source: Tensor, target: Tensor) -> int:
    """How many times larger targets are than sources; 1 if that is no whole number."""
    height, width = source.shape[-2:]
    scale = target.shape[-2] // height
    return scale if scale and target.shape[-2:] == (height * scale, width * scale) else 1


def _linear(data: Data, source: Tensor, target: Tensor, scale: int) -> Linear | None:
    """None if sizes differ by no whole factor, or sources are too small to mirror or too deep."""
    height, width = source.shape[-2:]
    if target.shape[-2:] != (height * scale, width * scale) or min(height, width) <= SIDE // 2:
        return None
    if source.shape[1] * SIDE**2 + target.shape[1] * scale**2 > MOST_ROWS:
        return None
    pixels = data.counts["train"] * source[0, 0].numel()
    return Linear(source.shape[1], target.shape[1] * scale**2, pixels)


def _mirrored(pictures: Tensor) -> Tensor:
    return pad(pictures, (SIDE // 2,) * 4, mode="reflect")


def _thumbnails(pictures: Tensor) -> Tensor:
    """Flatten to [B, D], after reducing the sides to at most 16 px by area."""
    height, width = (min(side, THUMBNAIL) for side in pictures.shape[-2:])
    return adaptive_avg_pool2d(pictures.float(), (height, width)).flatten(1)
