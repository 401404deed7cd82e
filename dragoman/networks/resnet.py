"""The residual generator of CycleGAN (Johnson et al. 2016; Zhu et al. 2017, appendix 7.2)."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import choose
from dragoman.networks import blocks
from dragoman.networks.blocks import Norm, Upsample

Padding = Literal["reflect", "replicate", "zero"]


class Layer(nn.Module):
    """Convolution, norm, ReLU."""

    def __init__(self, conv: nn.Module, norm: Norm, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = conv, blocks.norm(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, channels, ...] of sides as the convolution makes them."""
        return functional.relu(self.norm(self.conv(x)))


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
    ) -> None:
        super().__init__()
        choose("padding", padding, get_args(Padding))
        bias = norm == "instance"
        first = nn.Conv2d(inputs, width, 7, padding=3, padding_mode="reflect", bias=bias)
        self.first = Layer(first, norm, width)
        self.down = nn.ModuleList(
            Layer(nn.Conv2d(c, 2 * c, 3, stride=2, padding=1, bias=bias), norm, 2 * c)
            for c in (width, 2 * width)
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
        return torch.tanh(self.last(hidden).to(x.dtype))


def _up(upsample: Upsample, channels: int, bias: bool) -> nn.Module:
    return blocks.up_convolution(upsample, channels, channels // 2, bias, kernel=3)
