"""The context encoder's networks (Pathak et al. 2016): encoder, bottleneck, decoder, judge."""

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.networks import blocks
from dragoman.networks.blocks import Norm, Upsample, up_convolution
from dragoman.networks.patch import Layer

Bottleneck = Literal["channelwise", "conv"]
Size = tuple[int, int]

SMALLEST = 4  # px: side of the encoder's last maps, and of the discriminator's, as officially


def widths(width: int, depth: int) -> list[int]:
    """Channels after each halving: the last three double them, as 64, 64, 128, 256, 512."""
    return [width * 2 ** max(0, level - max(0, depth - 4)) for level in range(depth)]


def halvings(size: Size) -> int:
    """How often sides can be halved down to maps of at least 4 px: 4 at 64 px, 5 at 128 px."""
    depth = 0
    while all(side % 2 ** (depth + 1) == 0 and side >> (depth + 1) >= SMALLEST for side in size):
        depth += 1
    return depth


class Encoder(nn.Module):
    """Halves the sides `depth` times: convolution 4 x 4 of stride 2, norm, leaky ReLU.

    The first has no norm. Biases are beside all norms, as officially.
    """

    def __init__(self, inputs: int, width: int = 64, depth: int = 5, norm: Norm = "batch") -> None:
        super().__init__()
        channels = [inputs, *widths(width, depth)]
        self.outputs = channels[-1]
        self.layers = nn.ModuleList(
            Layer(channels[i], channels[i + 1], norm if i else "none", True, kernel=4, stride=2)
            for i in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to features [B, outputs, H / 2**depth, W / 2**depth]."""
        for layer in self.layers:
            x = layer(x)
        return x


class ChannelwiseLinear(nn.Module):
    """A full layer within each map, none between maps (Pathak et al. 2016, section 3.1).

    y[b, m, j] = sum_i x[b, m, i] W[m, i, j] + bias[m, j], with i and j the pixels of an h x w map
    row by row: m (h w)^2 weights, where a full layer would have m^2 (h w)^2.
    """

    def __init__(self, channels: int, size: Size) -> None:
        super().__init__()
        pixels = math.prod(size)
        self.weight = nn.Parameter(torch.empty(channels, pixels, pixels))
        self.bias = nn.Parameter(torch.zeros(channels, pixels))
        nn.init.normal_(self.weight, 0.0, pixels**-0.5)  # keeps the variance of what comes in

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, h, w] to the same shape."""
        rows = x.flatten(2).transpose(0, 1)  # [channels, B, pixels]
        made = torch.baddbmm(self.bias[:, None], rows, self.weight)
        return made.transpose(0, 1).unflatten(2, x.shape[-2:])


class ChannelwiseBottleneck(nn.Module):
    """The paper's: information spreads within each map, then, by a 1 x 1 convolution, between."""

    def __init__(self, inputs: int, outputs: int, size: Size, norm: Norm) -> None:
        super().__init__()
        self.within = ChannelwiseLinear(inputs, size)
        self.between = nn.Conv2d(inputs, outputs, 1)
        self.norm = blocks.norm(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] to [B, outputs, h, w]."""
        return functional.relu(self.norm(self.between(self.within(x))))


class ConvBottleneck(nn.Module):
    """The released code's: the whole map to `units` numbers, and these to a map again."""

    def __init__(self, inputs: int, outputs: int, size: Size, units: int, norm: Norm) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, units, size)
        self.norm = blocks.norm(norm, units)
        self.spread = nn.ConvTranspose2d(units, outputs, size)
        self.spread_norm = blocks.norm(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] to [B, outputs, h, w]."""
        x = functional.leaky_relu(self.norm(self.squeeze(x)), 0.2)
        return functional.relu(self.spread_norm(self.spread(x)))


class Up(nn.Module):
    """Up-convolution, norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, upsample: Upsample) -> None:
        super().__init__()
        self.conv = up_convolution(upsample, inputs, outputs)
        self.norm = blocks.norm(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, 2H, 2W]."""
        return functional.relu(self.norm(self.conv(x)))


class Inpainter(nn.Module):
    """Encoder, bottleneck and decoder of up-convolutions, for pictures of one size.

    size: height and width of the pictures it reads, divisible by 2**depth. ups: how often the
    decoder doubles; `depth` gives the whole picture, one less its centre of half the sides, as in
    the released code. decoder_width: as `width`, where the decoder's differs. units: of the "conv"
    bottleneck.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: Size,
        width: int = 64,
        depth: int = 5,
        bottleneck: Bottleneck = "channelwise",
        units: int = 4000,
        norm: Norm = "batch",
        upsample: Upsample = "transposed",
        ups: int | None = None,
        decoder_width: int | None = None,
    ) -> None:
        super().__init__()
        self.stride = 2**depth
        inmost = (size[0] >> depth, size[1] >> depth)
        self.encoder = Encoder(inputs, width, depth, norm)
        channels = widths(decoder_width or width, depth if ups is None else ups)[::-1]
        ends = (self.encoder.outputs, channels[0], inmost)
        if bottleneck == "channelwise":
            self.bottleneck: nn.Module = ChannelwiseBottleneck(*ends, norm)
        else:
            self.bottleneck = ConvBottleneck(*ends, units, norm)
        self.up = nn.ModuleList(
            Up(before, after, norm, upsample) for before, after in pairwise(channels)
        )
        self.last = up_convolution(upsample, channels[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to a prediction [B, outputs, ...] in [-1, 1]."""
        x = self.bottleneck(self.encoder(x))
        for layer in self.up:
            x = layer(x)
        return torch.tanh(self.last(x))


class WholeDiscriminator(nn.Module):
    """One logit for a picture of one size, as in DCGAN (Radford et al. 2016).

    Halves the sides like the encoder while they stay at 4 px or more, or `depth` times; then one
    convolution over all that is left.
    """

    def __init__(
        self,
        inputs: int,
        size: Size,
        width: int = 64,
        norm: Norm = "batch",
        depth: int | None = None,
    ) -> None:
        super().__init__()
        if depth is None:  # a map of odd sides loses a line, unlike in the encoder
            depth = max(1, (min(size) // SMALLEST).bit_length() - 1)
        self.encoder = Encoder(inputs, width, depth, norm)
        left = (max(1, size[0] >> depth), max(1, size[1] >> depth))
        self.last = nn.Conv2d(self.encoder.outputs, 1, left)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to logits [B, 1, 1, 1]."""
        return self.last(self.encoder(x))
