"""The U-Net and the encoder-decoder of pix2pix (Isola et al. 2017, appendix 6.1.1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.networks import blocks
from dragoman.networks.blocks import Norm, Upsample

DROPOUT_LEVEL = 4  # from this level inwards the decoder drops features, save the innermost


class Down(nn.Module):
    """Leaky ReLU (but for the first), convolution of stride 2, norm: half the sides."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, bias: bool, first: bool) -> None:
        super().__init__()
        self.first = first
        self.conv = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)
        self.norm = blocks.norm(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H/2, W/2]."""
        return self.norm(self.conv(x if self.first else functional.leaky_relu(x, 0.2)))


class Up(nn.Module):
    """ReLU, upsampling convolution, norm, dropout: twice the sides."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        norm: Norm,
        bias: bool,
        dropout: float,
        upsample: Upsample,
    ) -> None:
        super().__init__()
        self.conv = blocks.up_convolution(upsample, inputs, outputs, bias)
        self.norm = blocks.norm(norm, outputs)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, 2H, 2W]."""
        return self.dropout(self.norm(self.conv(functional.relu(x))))


class UNet(nn.Module):
    """Halves the sides `depth` times, then doubles them as often, seeing each size again.

    With `skips` off it is the paper's encoder-decoder. Any sides divisible by `stride` will do.
    As in the reference code, convolutions have biases only beside instance norms (and the last
    one always), neither the first nor the innermost convolution has a norm, and dropout acts in
    the decoder's levels from the fifth inwards save the innermost: one level at depth 6, three
    at depth 8, none at 5 or less. `kept`: channels of the input, its first, onto which it paints.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        depth: int = 6,
        norm: Norm = "batch",
        dropout: float = 0.5,
        upsample: Upsample = "transposed",
        max_width: int | None = None,
        skips: bool = True,
        kept: int = 0,
    ) -> None:
        super().__init__()
        self.skips, self.stride, self.kept = skips, 2**depth, kept
        widest = max_width or 8 * width
        widths = [min(width * 2**level, widest) for level in range(depth)]
        bias = norm == "instance"
        self.down, self.up = nn.ModuleList(), nn.ModuleList()  # up: innermost first
        for level, channels in enumerate(widths):
            kind: Norm = norm if 0 < level < depth - 1 else "none"
            before = widths[level - 1] if level else inputs
            self.down.append(Down(before, channels, kind, bias, first=level == 0))
        for level in reversed(range(depth)):
            channels = widths[level] * (2 if skips and level < depth - 1 else 1)
            drop = dropout if DROPOUT_LEVEL <= level < depth - 1 else 0.0
            if level:
                self.up.append(Up(channels, widths[level - 1], norm, bias, drop, upsample))
            else:
                self.up.append(Up(channels, outputs, "none", True, 0.0, upsample))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H, W] in (-1, 1)."""
        features: list[Tensor] = []
        for block in self.down:
            features.append(block(features[-1] if features else x))
        hidden = features.pop()
        for index, block in enumerate(self.up):
            if self.skips and index:
                hidden = torch.cat([features.pop(), hidden], 1)
            hidden = block(hidden)
        return blocks.painted(hidden, x, self.kept)

    @property
    def last(self) -> nn.Module:
        """The layer that makes the picture."""
        return self.up[-1]
