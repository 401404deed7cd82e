"""Statistics that a network takes of a whole picture, shared by all its tiles."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from dragoman.networks.blocks import InstanceNorm
from dragoman.networks.munit import LayerNorm
from dragoman.system import System
from dragoman.tiling.place import Call, Forward, Place, Replacement

SLICE = 1 << 21  # values that are summed at a time: float64 copies of a whole map would be large


class Reached(BaseException):
    """Ends a run of the network at the layer whose statistics were wanted; no error."""


class Apart(Exception):
    """The system runs the pictures of a batch one by one."""


@dataclass(frozen=True)
class Kind:
    """How a layer normalises: statistics of so many groups of channels, and its other numbers."""

    groups: Callable[[nn.Module, int], int]
    eps: Callable[[nn.Module], float]
    single: bool = False  # whether a map of one pixel passes unchanged
    outside: bool = False  # whether eps is added to the unbiased deviation, not to the variance


def kind_of(layer: nn.Module) -> Kind | None:
    """How a layer takes statistics of its input; None if it does not."""
    if isinstance(layer, InstanceNorm):
        return Kind(lambda _, channels: channels, lambda _: 1e-5, single=True)
    if isinstance(layer, LayerNorm):
        return Kind(lambda *_: 1, lambda one: one.eps, outside=True)  # ty: ignore
    if isinstance(layer, nn.GroupNorm):
        return Kind(lambda one, _: one.num_groups, lambda one: one.eps)  # ty: ignore
    if isinstance(layer, nn.InstanceNorm2d):
        own = layer.training or not layer.track_running_stats
    elif isinstance(layer, nn.BatchNorm2d):
        own = layer.training or layer.running_mean is None
    else:
        return None
    return Kind(lambda _, channels: channels, lambda one: one.eps) if own else None  # ty: ignore


def taking_statistics(system: System) -> dict[str, nn.Module]:
    """The layers of a system that normalise by their own input, by name."""
    return {n: layer for n, layer in system.named_modules() if kind_of(layer) is not None}


class Moments:
    """Number, mean and sum of squared differences, for each group of channels."""

    def __init__(self, groups: int) -> None:
        self.count = 0.0
        self.mean = torch.zeros(groups, dtype=torch.float64)
        self.squares = torch.zeros(groups, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Take in [groups, ..., H, W]; sums are of 64 bits."""
        count, groups = float(values[0].numel()), len(values)
        step = max(1, int(SLICE // count))
        means, squares = torch.empty_like(self.mean), torch.empty_like(self.squares)
        for start in range(0, groups, step):
            some = values[start : start + step].double().flatten(1)
            mean = some.mean(1, keepdim=True)
            means[start : start + step] = mean[:, 0].cpu()
            squares[start : start + step] = some.sub_(mean).square_().sum(1).cpu()
        self._merge(count, means, squares)

    def _merge(self, count: float, mean: Tensor, squares: Tensor) -> None:
        """Chan, Golub and LeVeque 1979."""
        whole, apart = self.count + count, mean - self.mean
        self.mean = self.mean + apart * (count / whole)
        self.squares = self.squares + squares + apart**2 * (self.count * count / whole)
        self.count = whole

    @property
    def variance(self) -> Tensor:
        """Mean of the squared differences."""
        return self.squares / self.count


class SharedNorms:
    """Stands in for the layers that take statistics while a picture is run in tiles.

    known: statistics that are settled. gathered: those of the sweep that goes on.
    """

    def __init__(self, system: System) -> None:
        self.layers = taking_statistics(system)
        self.known: dict[Call, Moments] = {}
        self.gathered: dict[Call, Moments] = {}
        self.wanted: list[Call] = []
        self.together = 1

    def forwards(self) -> dict[str, Replacement]:
        """What `watching` needs for these layers."""
        return {name: partial(self._forward, name) for name in self.layers}

    def begin(self, wanted: list[Call], together: int = 1) -> None:
        """From now on take in the statistics of these calls; a run ends at the last of them.

        If several are wanted, so many parts of the picture must come together, as one batch:
        their common statistics hold at once for the layers that follow.
        """
        self.wanted, self.together, self.gathered = wanted, together, {}

    def settle(self) -> None:
        """What was gathered holds from now on."""
        self.known = self.known | self.gathered

    def _forward(self, name: str, layer: nn.Module, place: Place) -> Forward:
        kind = kind_of(layer)
        assert kind is not None

        def forward(x: Tensor) -> Tensor:
            call = place.call(name)
            if kind.single and _whole(place, x) == (1, 1):
                return x
            if call in self.wanted:
                self._gather(call, kind.groups(layer, x.shape[1]), x, place)
                if call == self.wanted[-1]:
                    raise Reached
            moments = self.known.get(call) or self.gathered[call]
            return _normalised(layer, x, moments, kind)

        return forward

    def _gather(self, call: Call, groups: int, x: Tensor, place: Place) -> None:
        """Take in what lies in the tile's core, so that nothing counts twice."""
        assert place.core is not None
        if len(x) != self.together:
            raise Apart
        core = place.core.within(place.windows[0], x.shape[-2], x.shape[-1])
        values = x[..., core.y0 : core.y1, core.x0 : core.x1]
        values = values.transpose(0, 1).reshape(groups, -1, core.height, core.width)
        self.gathered.setdefault(call, Moments(groups)).add(values)


def _whole(place: Place, x: Tensor) -> tuple[int, int]:
    """Height and width of a layer's map of the whole picture."""
    (height, width), (rows, columns) = place.given, (x.shape[-2], x.shape[-1])
    return place.whole[0] * rows // height, place.whole[1] * columns // width


def _normalised(layer: nn.Module, x: Tensor, moments: Moments, kind: Kind) -> Tensor:
    """Bring a map [1, C, H, W] to mean 0 and variance 1 of the whole, then scale and shift it."""
    repeat, eps = x.shape[1] // len(moments.mean), kind.eps(layer)
    scale = (moments.variance + eps).rsqrt()
    if kind.outside:
        scale = 1 / ((moments.squares / (moments.count - 1)).sqrt() + eps)
    scale = scale.repeat_interleave(repeat)
    shift = -moments.mean.repeat_interleave(repeat) * scale
    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    if weight is not None:
        scale, shift = scale * weight.double().cpu(), shift * weight.double().cpu()
    if bias is not None:
        shift = shift + bias.double().cpu()
    scale, shift = (part.float().to(x.device)[None, :, None, None] for part in (scale, shift))
    if torch.is_autocast_enabled(x.device.type):
        return torch.addcmul(shift, x.float(), scale)  # as autocast norms: in full precision
    return torch.addcmul(shift, x, scale).to(x.dtype)
