"""What can be had without a network: the scores beside which a system's scores mean something."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, conv2d, pad, unfold

from dragoman.errors import DataError
from dragoman.system import Batch

SIDE = 5  # px: side of the patches of the linear regression
EFFORT = 2e11  # multiplications for its normal equations, some seconds on two cores
THUMBNAIL = 16  # px: pictures are compared at this size to find the nearest
HELD = 2**31  # bytes of nearest pictures kept at most
STEPS = 32767  # pictures are kept as int16 steps: 8 bits come back unharmed


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

    def split(self, name: str, batch: int = 32) -> Iterator[Batch]:
        """Give every picture of a split once, in order, unaugmented."""
        ...


class Linear:
    """Regression from 5x5 patches of the source to the target's pixel, by least squares."""

    def __init__(self, channels: int, outputs: int, pixels: int) -> None:
        """`pixels` is how many there are to learn from; they are thinned to keep to EFFORT."""
        self.inputs = channels * SIDE**2 + 1
        self.channels, self.outputs = channels, outputs
        self.every = max(1, math.ceil(math.sqrt(pixels * self.inputs**2 / EFFORT)))
        self.gram = torch.zeros(self.inputs, self.inputs, dtype=torch.float64)
        self.moment = torch.zeros(self.inputs, outputs, dtype=torch.float64)

    def add(self, source: Tensor, target: Tensor) -> None:
        """Add pictures [B, C, H, W] to the normal equations, in float64."""
        for one, other in zip(source.double().split(4), target.double().split(4), strict=True):
            patches = unfold(_mirrored(one), SIDE, stride=self.every)
            patches = torch.cat([patches, torch.ones_like(patches[:, :1])], dim=1)
            rows = patches.transpose(0, 1).flatten(1)
            truth = other[..., :: self.every, :: self.every].transpose(0, 1).flatten(1)
            self.gram += rows @ rows.T
            self.moment += rows @ truth.T

    def solve(self) -> tuple[Tensor, Tensor]:
        """Return kernel [outputs, channels, 5, 5] and bias [outputs] of the best regression.

        The pseudo-inverse takes care of channels that depend on each other, as one-hot maps.
        """
        inverse = torch.linalg.pinv(self.gram, hermitian=True, rtol=1e-12)
        weights = (inverse @ self.moment).T.float()
        kernel = weights[:, :-1].reshape(self.outputs, self.channels, SIDE, SIDE)
        return kernel.contiguous(), weights[:, -1].contiguous()


class Nearest:
    """The targets of those training pictures whose sources are nearest in mean square at 16 px."""

    def __init__(self, sources: Tensor, shape: tuple[int, ...]) -> None:
        """sources: flat thumbnails [N, D]; shape: of one target picture."""
        self.sources = sources
        self.distance = torch.full((len(sources),), torch.inf)
        self.targets = torch.zeros((len(sources), *shape), dtype=torch.int16)

    def add(self, source: Tensor, target: Tensor) -> None:
        """Look at training pictures; keep the target of each one nearer than all before."""
        seen = _thumbnails(source)
        # |s - t|^2 less |s|^2, which is the same for all t
        distance = (seen**2).sum(1) - 2 * self.sources @ seen.T
        least, index = distance.min(1)
        nearer = least < self.distance
        self.distance[nearer] = least[nearer]
        self.targets[nearer] = (target[index[nearer]] * STEPS).round().short()


@dataclass(frozen=True)
class Baselines:
    """What was learned from the training split for one source, target and split to judge."""

    mean: Tensor  # [C]
    linear: tuple[Tensor, Tensor] | None
    nearest: Tensor | None  # int16 [N, C, H, W]
    shape: tuple[int, ...]  # of one target picture

    def paint(self, source: Tensor, start: int) -> dict[str, Tensor]:
        """Return {name: pictures [B, C, H, W]} for pictures `start`, `start` + 1, ... of the split.

        "constant": the mean colour of the training targets. "input": the source itself, where
        its channels and size are those of the target. "nearest": the target of the training
        picture nearest to the source. "linear": regression on 5x5 patches of the source. What
        makes no sense for the data is left out.
        """
        count = len(source)
        pictures = {"constant": self.mean[None, :, None, None].expand(count, *self.shape)}
        same_size = source.shape[-2:] == self.shape[-2:]
        if same_size and source.shape[1] in (1, self.shape[0]):
            pictures["input"] = source.float().expand(count, *self.shape)
        if self.nearest is not None:
            pictures["nearest"] = self.nearest[start : start + count].float() / STEPS
        if self.linear is not None:
            kernel, bias = self.linear
            pictures["linear"] = conv2d(_mirrored(source.float()), kernel, bias).clamp(-1, 1)
        return pictures


def learn(data: Data, source: str = "a", target: str = "b", split: str = "test") -> Baselines:
    """Learn the baselines for a split in one pass over the training pictures.

    Memory stays below some 3 GB whatever the size of the data. Pictures whose training partners
    are shuffled (`data.paired` is False) have neither nearest nor linear. Raises DataError.
    """
    paired = getattr(data, "paired", True)
    thumbnails = [_thumbnails(batch[source]) for batch in data.split(split)] if paired else []
    total, pixels = torch.zeros(()), 0
    linear, nearest, shape = None, None, ()
    for batch in data.split("train"):
        one, other = batch[source].float().cpu(), batch[target].float().cpu()
        if not shape:
            shape = tuple(other.shape[1:])
            if thumbnails:
                nearest = _nearest(torch.cat(thumbnails), shape)
                linear = _linear(data, one, other)
        total = total + other.double().sum((0, 2, 3))
        pixels += other[:, 0].numel()
        for learner in (linear, nearest):
            if learner is not None:
                learner.add(one, other)
    if not pixels:
        raise DataError(f"'{data.name}' has no training pictures to learn the baselines from")
    return Baselines(
        (total / pixels).float(),
        linear.solve() if linear else None,
        nearest.targets if nearest else None,
        shape,
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


def _nearest(sources: Tensor, shape: tuple[int, ...]) -> Nearest | None:
    """None if the pictures to keep would take more memory than HELD."""
    return Nearest(sources, shape) if 2 * len(sources) * math.prod(shape) <= HELD else None


def _linear(data: Data, source: Tensor, target: Tensor) -> Linear | None:
    """None if source and target differ in size, or are too small to be mirrored."""
    if source.shape[-2:] != target.shape[-2:] or min(source.shape[-2:]) <= SIDE // 2:
        return None
    pixels = data.counts["train"] * target[0, 0].numel()
    return Linear(source.shape[1], target.shape[1], pixels)


def _mirrored(pictures: Tensor) -> Tensor:
    return pad(pictures, (SIDE // 2,) * 4, mode="reflect")


def _thumbnails(pictures: Tensor) -> Tensor:
    """Flatten to [B, D], after reducing the sides to at most 16 px by area."""
    height, width = (min(side, THUMBNAIL) for side in pictures.shape[-2:])
    return adaptive_avg_pool2d(pictures.float().cpu(), (height, width)).flatten(1)
