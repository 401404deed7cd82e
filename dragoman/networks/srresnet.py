"""Generators of SRGAN: residual blocks at the small size, then sub-pixel convolutions."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import SettingsError
from dragoman.networks import blocks as layers
from dragoman.networks.blocks import Norm, Start

SLOPE = 0.1  # of the leaky ReLUs outside MSRResNet's blocks
Activation = Literal["prelu", "relu"]


class Residual(nn.Module):
    """Adds to its input what two 3 x 3 convolutions, with or without norms, make of it."""

    def __init__(self, channels: int, norm: Norm, activation: Activation) -> None:
        super().__init__()
        bias = norm == "none"  # every norm takes the mean off, and some put one of their own back
        self.conv1, self.conv2 = (
            nn.Conv2d(channels, channels, 3, padding=1, bias=bias) for _ in range(2)
        )
        self.norm1, self.norm2 = (layers.norm(norm, channels) for _ in range(2))
        self.activation = nn.PReLU() if activation == "prelu" else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to the same shape."""
        hidden = self.activation(self.norm1(self.conv1(x)))
        return x + self.norm2(self.conv2(hidden))


class SRResNet(nn.Module):
    """The generator of Ledig et al. 2017, figure 4.

    9 x 9 convolutions at both ends, parametric ReLUs, a skip over all blocks, and one sub-pixel
    convolution (Shi et al. 2016) for each doubling; 3 times is one of factor 3. The last bias
    begins at mid-grey of [0, 1].
    """

    stride = 1

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        blocks: int = 16,
        scale: int = 4,
        norm: Norm = "batch",
    ) -> None:
        """`scale`: 2, 3, 4, 8 ..., how many times larger; raises SettingsError for others."""
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 9, padding=4)
        self.activation = nn.PReLU()
        self.body = nn.ModuleList(Residual(width, norm, "prelu") for _ in range(blocks))
        self.after = nn.Conv2d(width, width, 3, padding=1, bias=norm == "none")
        self.norm = layers.norm(norm, width)
        self.up = nn.ModuleList(SubPixel(width, factor) for factor in factors(scale))
        self.up_activations = nn.ModuleList(nn.PReLU() for _ in self.up)
        self.last = nn.Conv2d(width, outputs, 9, padding=4)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, scale * H, scale * W]; both in [0, 1], not clamped."""
        start = hidden = self.activation(self.first(x))
        for block in self.body:
            hidden = block(hidden)
        hidden = start + self.norm(self.after(hidden))
        for up, activation in zip(self.up, self.up_activations, strict=True):
            hidden = activation(up(hidden))
        return self.last(hidden).to(x.dtype)

    def begin(self, start: Start) -> None:
        """Let pictures begin at mid-grey, once weights are drawn by a start."""
        nn.init.constant_(self.last.bias, 0.5)  # ty: ignore


class MSRResNet(nn.Module):
    """SRResNet as BasicSR has it: without norms, and with the bilinear enlargement as its skip.

    3 x 3 convolutions at both ends, leaky ReLUs of slope 0.1 outside the blocks, one more
    convolution at the full size.
    """

    stride = 1

    def __init__(
        self, inputs: int, outputs: int, width: int = 64, blocks: int = 16, scale: int = 4
    ) -> None:
        """`scale` as in SRResNet; raises SettingsError also unless inputs are 1 or outputs."""
        super().__init__()
        if inputs not in (1, outputs):
            raise SettingsError(
                f"--generator msrresnet adds to its input, so that pictures of {inputs} channels "
                f"cannot become such of {outputs}; use --generator srresnet"
            )
        self.scale = scale
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.body = nn.ModuleList(Residual(width, "none", "relu") for _ in range(blocks))
        self.up = nn.ModuleList(SubPixel(width, factor) for factor in factors(scale))
        self.full = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, scale * H, scale * W]; both in [0, 1], not clamped."""
        hidden = functional.leaky_relu(self.first(x), SLOPE)
        for block in self.body:
            hidden = block(hidden)
        for up in self.up:
            hidden = functional.leaky_relu(up(hidden), SLOPE)
        hidden = functional.leaky_relu(self.full(hidden), SLOPE)
        base = functional.interpolate(x, scale_factor=self.scale, mode="bilinear")
        return base + self.last(hidden).to(x.dtype)

    @torch.no_grad()
    def begin(self, start: Start) -> None:
        """Make the weights a tenth after a "kaiming" start, as the code: it begins bilinear."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and start == "kaiming":
                layer.weight.mul_(0.1)


class SubPixel(nn.Conv2d):
    """A 3 x 3 convolution whose channels become factor x factor pixels (Shi et al. 2016)."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__(channels, channels * factor**2, 3, padding=1)
        self.factor = factor

    def forward(self, input: Tensor) -> Tensor:
        """[B, channels, H, W] to [B, channels, factor * H, factor * W]."""
        return functional.pixel_shuffle(super().forward(input), self.factor)


def factors(scale: int) -> list[int]:
    """The factors of the sub-pixel convolutions: 2 for each doubling, or a single 3."""
    if scale == 3:
        return [3]
    if scale < 2 or scale & (scale - 1):
        raise SettingsError(f"--scale must be 2, 3, 4 or 8 for this generator, not {scale}")
    return [2] * (scale.bit_length() - 1)
