"""A U-Net that also works at the picture's own resolution, for sharp detail at little cost."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.networks import blocks
from dragoman.networks.blocks import Norm, Upsample


class Convolution(nn.Module):
    """Mirror padding, convolution, norm, leaky ReLU; zeros at the border would darken it."""

    def __init__(
        self, inputs: int, outputs: int, norm: Norm, stride: int = 1, kernel: int = 3
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=1, padding_mode="reflect", bias=norm == "none"
        )
        self.norm = blocks.norm(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        return functional.leaky_relu(self.norm(self.conv(x)), 0.2)


class Residual(nn.Module):
    """x plus what two convolutions make of it (He et al. 2016), with dropout between them."""

    def __init__(self, channels: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.first, self.second = (Convolution(channels, channels, norm) for _ in range(2))
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to the same shape."""
        return x + self.second(self.dropout(self.first(x)))


class Up(nn.Module):
    """Upsampling convolution and norm, then a convolution that also sees the encoder's map."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, upsample: Upsample) -> None:
        super().__init__()
        self.enlarge = blocks.up_convolution(upsample, inputs, outputs)
        self.norm = blocks.norm(norm, outputs)
        self.join = Convolution(2 * outputs, outputs, norm)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """[B, inputs, H, W] and [B, outputs, 2H, 2W] to [B, outputs, 2H, 2W]."""
        x = functional.leaky_relu(self.norm(self.enlarge(x)), 0.2)
        return self.join(torch.cat([x, seen.to(x.dtype)], 1))


class FineUNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) of few channels with residual blocks at the bottom.

    pix2pix's U-Net meets the picture's own resolution only in its last convolution, so thin
    structures are lost on the way; here the first and last levels keep it. Any sides divisible
    by `stride`, at least 2 * stride, will do.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 16,
        depth: int = 4,
        norm: Norm = "group",
        dropout: float = 0.0,
        upsample: Upsample = "nearest",
        max_width: int | None = None,
        residual: int = 2,
    ) -> None:
        super().__init__()
        self.stride = 2**depth
        widest = max_width or 8 * width
        widths = [min(width * 2**level, widest) for level in range(depth + 1)]
        self.stem = Convolution(inputs, widths[0], "none")
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(Convolution(a, b, norm, stride=2, kernel=4) for a, b in pairs)
        self.bottom = nn.Sequential(*(Residual(widths[-1], norm, dropout) for _ in range(residual)))
        self.up = nn.ModuleList(Up(b, a, norm, upsample) for a, b in reversed(pairs))
        self.last = nn.Conv2d(widths[0], outputs, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H, W] in [-1, 1], in the input's type."""
        seen = [self.stem(x)]
        for down in self.down:
            seen.append(down(seen[-1]))
        made = self.bottom(seen.pop())
        for up in self.up:
            made = up(made, seen.pop())
        return torch.tanh(self.last(made)).to(x.dtype)
