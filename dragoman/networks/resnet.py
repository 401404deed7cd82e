"""The residual generator of CycleGAN (Johnson et al. 2016; Zhu et al. 2017, appendix 7.2)."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import choose
from dragoman.networks import blocks
from dragoman.networks.blocks import Norm, Upsample, halve_smoothly, painted

Padding = Literal["reflect", "replicate", "zero"]
Steps = dict[str, Callable[[Tensor], Tensor]]  # by name, to be taken one after another

BORDER = "border"  # the tap of the reflected picture, as the first convolution sees it


class Layer(nn.Module):
    """Convolution, norm, ReLU; with `halves` then half the sides, antialiased."""

    def __init__(self, conv: nn.Module, norm: Norm, channels: int, halves: bool = False) -> None:
        super().__init__()
        self.conv, self.norm, self.halves = conv, blocks.norm(norm, channels), halves

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, channels, ...] of sides as the convolution makes them."""
        hidden = self._activated(self.conv(x))
        return halve_smoothly(hidden) if self.halves else hidden

    def steps(self, name: str) -> Steps:
        """The steps of `forward`: the convolution's parts, "full" ahead of halving, the result."""
        if isinstance(self.conv, nn.Sequential):
            parts: Steps = {f"{name}.conv.{i}": part for i, part in enumerate(self.conv)}
        else:
            parts = {f"{name}.conv": self.conv}
        if self.halves:
            return parts | {f"{name}.full": self._activated, name: halve_smoothly}
        return parts | {name: self._activated}

    def _activated(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(x))


class Residual(nn.Module):
    """Adds to its input what two 3 x 3 convolutions with norms make of it."""

    def __init__(
        self, channels: int, norm: Norm, bias: bool, dropout: float, padding: Padding
    ) -> None:
        super().__init__()
        mode = "zeros" if padding == "zero" else padding
        self.conv1, self.conv2 = (
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode=mode, bias=bias)
            for _ in range(2)
        )
        self.norm1, self.norm2 = (blocks.norm(norm, channels) for _ in range(2))
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to the same shape."""
        hidden = self.dropout(functional.relu(self.norm1(self.conv1(x))))
        return x + self.norm2(self.conv2(hidden))


class ResNetGenerator(nn.Module):
    """Two halvings, residual blocks at a quarter of the size, two doublings.

    As in the reference code, the 7 x 7 convolutions at both ends always reflect at the border;
    `padding` is that of the residual blocks. Biases only beside instance norms, and at the end.
    With `antialias` the halving layers keep the sides, and a fixed blur halves them afterwards
    (Zhang 2019); with the upsampling "bilinear" it is the generator of CUT (Park et al. 2020),
    whose layers `features` taps. `kept`: channels of the input, its first, onto which it paints.
    """

    stride = 4

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        blocks: int = 9,
        norm: Norm = "instance",
        dropout: float = 0.0,
        padding: Padding = "reflect",
        upsample: Upsample = "transposed",
        antialias: bool = False,
        kept: int = 0,
    ) -> None:
        super().__init__()
        self.kept = kept
        choose("padding", padding, get_args(Padding))
        bias = norm == "instance"
        first = nn.Conv2d(inputs, width, 7, padding=3, padding_mode="reflect", bias=bias)
        self.first = Layer(first, norm, width)
        self.down = nn.ModuleList(
            Layer(_down(antialias, c, bias), norm, 2 * c, antialias) for c in (width, 2 * width)
        )
        self.blocks = nn.ModuleList(
            Residual(4 * width, norm, bias, dropout, padding) for _ in range(blocks)
        )
        self.up = nn.ModuleList(
            Layer(_up(upsample, c, bias), norm, c // 2) for c in (4 * width, 2 * width)
        )
        self.last = nn.Conv2d(width, outputs, 7, padding=3, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H, W] in (-1, 1)."""
        hidden = self.first(x)
        for block in (*self.down, *self.blocks, *self.up):
            hidden = block(hidden)
        return painted(self.last(hidden), x, self.kept)

    def features(self, x: Tensor, taps: Sequence[str]) -> list[Tensor]:
        """What pictures [B, inputs, H, W] are at the tapped layers, [B, C, ...] each, as `taps`.

        No layer beyond the last of them is computed. Taps are "border", the picture with the
        reflected 3 px around it, and names of layers: "first", "down.0", "blocks.3", "up.1", "last"
        (before the tanh), "down.0.conv" (before norm and ReLU), "down.0.full" (before the
        antialiased halving). Raises SettingsError for others.
        """
        steps = self._steps()
        for tap in taps:
            choose("layer", tap, [BORDER, *steps])
        found: dict[str, Tensor] = {}
        if BORDER in taps:
            found[BORDER] = functional.pad(x, (3, 3, 3, 3), mode="reflect")
        for name, step in steps.items():
            if found.keys() >= set(taps):
                break
            x = step(x)
            if name in taps:
                found[name] = x
        return [found[tap] for tap in taps]

    def _steps(self) -> Steps:
        steps = self.first.steps("first")
        for name, group in (("down", self.down), ("blocks", self.blocks), ("up", self.up)):
            for index, layer in enumerate(group):
                own = f"{name}.{index}"
                steps |= layer.steps(own) if isinstance(layer, Layer) else {own: layer}
        return steps | {"last": self.last}


def _down(antialias: bool, channels: int, bias: bool) -> nn.Module:
    stride = 1 if antialias else 2
    return nn.Conv2d(channels, 2 * channels, 3, stride=stride, padding=1, bias=bias)


def _up(upsample: Upsample, channels: int, bias: bool) -> nn.Module:
    return blocks.up_convolution(upsample, channels, channels // 2, bias, kernel=3)
