"""Norms whose scale and shift come from a condition: a map, a vector or a class."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import choose
from dragoman.networks.blocks import InstanceNorm

Base = Literal["batch", "instance", "layer", "none"]
Condition = Literal["map", "vector", "label"]
HIDDEN = 128  # channels between map and scales, as in the reference code


class MapModulation(nn.Module):
    """Scale and shift of every place from a map (Park et al. 2019, section 3.1, figure 2)."""

    def __init__(self, channels: int, condition: int, kernel: int, hidden: int) -> None:
        super().__init__()
        padding = kernel // 2
        self.shared = nn.Conv2d(condition, hidden, kernel, padding=padding)
        self.scale = nn.Conv2d(hidden, channels, kernel, padding=padding)
        self.shift = nn.Conv2d(hidden, channels, kernel, padding=padding)

    def forward(self, condition: Tensor, sides: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Map [B, K, H, W] to scale and shift, [B, channels, *sides] each."""
        if tuple(condition.shape[-2:]) != sides:
            condition = functional.interpolate(condition, size=sides)
        hidden = functional.relu(self.shared(condition))
        return self.scale(hidden), self.shift(hidden)


class VectorModulation(nn.Module):
    """Scale and shift of every channel from a vector, linearly."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.scale, self.shift = (nn.Linear(condition, channels) for _ in range(2))

    def forward(self, condition: Tensor, sides: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Vectors [B, D] to scale and shift, [B, channels, 1, 1] each."""
        return self.scale(condition)[..., None, None], self.shift(condition)[..., None, None]


class LabelModulation(nn.Module):
    """Scale and shift of every channel, learned for each class."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.scale, self.shift = (nn.Embedding(condition, channels) for _ in range(2))
        for table in (self.scale, self.shift):
            nn.init.zeros_(table.weight)  # all classes begin with the plain norm

    def forward(self, condition: Tensor, sides: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Classes [B] to scale and shift, [B, channels, 1, 1] each."""
        return self.scale(condition)[..., None, None], self.shift(condition)[..., None, None]


class ModulatedNorm(nn.Module):
    """norm(x) * (1 + scale) + shift, where scale and shift come from a condition.

    One interface for three papers, by the kind of condition and the base norm:

    - SPADE (Park et al. 2019, equation 1): a map [B, K, H, W], batch norm. The map is brought to
      the sides of x by taking nearest pixels, so that a label map stays one.
    - conditional batch norm: a class [B] (Dumoulin et al. 2017) or a vector [B, D] (de Vries et al.
      2017), batch norm. It is SPADE with a map that is the same everywhere, borders aside.
    - AdaIN (Huang & Belongie 2017): a style vector [B, D], instance norm.

    Batch statistics are over N, H and W; in training a single value, which has none, passes
    unchanged, as a map of 1 x 1 does with instance norm. "layer" is over all channels, so that
    no faint pattern of a plain picture is made strong. The scale is counted from 1 in all, so that
    a condition of no effect leaves the plain norm; a linear layer's bias makes the papers' forms.

    channels: of x. condition: K, D or the number of classes. kernel and hidden: a map's only.
    """

    def __init__(
        self,
        channels: int,
        condition: int,
        kind: Condition = "map",
        base: Base = "batch",
        kernel: Literal[3, 5] = 3,
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()
        choose("condition", kind, get_args(Condition))
        choose("norm", base, get_args(Base))
        bases: dict[str, Callable[[], nn.Module]] = {
            "batch": lambda: nn.BatchNorm2d(channels, affine=False),
            "instance": lambda: InstanceNorm(channels),
            "layer": lambda: nn.GroupNorm(1, channels, affine=False),
            "none": nn.Identity,
        }
        self.norm = bases[base]()
        if kind == "map":
            self.modulation: nn.Module = MapModulation(channels, condition, kernel, hidden)
        elif kind == "vector":
            self.modulation = VectorModulation(channels, condition)
        else:
            self.modulation = LabelModulation(channels, condition)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, channels, H, W] and its condition to the same shape as x."""
        scale, shift = self.modulation(condition, (x.shape[-2], x.shape[-1]))
        alone = self.training and len(x) * x.shape[-2] * x.shape[-1] == 1
        plain = x if alone and isinstance(self.norm, nn.BatchNorm2d) else self.norm(x)
        return plain * (1 + scale) + shift
