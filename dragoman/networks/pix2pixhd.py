"""The coarse-to-fine generator of pix2pixHD: a global network and enhancers at larger sizes."""

import torch
from torch import Tensor, nn

from dragoman.networks import blocks as parts
from dragoman.networks.blocks import Norm, Upsample, halve
from dragoman.networks.resnet import Layer, Padding, Residual


class Head(nn.Module):
    """The picture: a 7 x 7 convolution that reflects at the border, then tanh."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 7, padding=3, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H, W] in (-1, 1)."""
        return torch.tanh(self.conv(x))


def first_layer(inputs: int, outputs: int, norm: Norm) -> Layer:
    """A 7 x 7 convolution that reflects at the border, with norm and ReLU."""
    conv = nn.Conv2d(inputs, outputs, 7, padding=3, padding_mode="reflect")
    return Layer(conv, norm, outputs)


def down_layer(channels: int, norm: Norm) -> Layer:
    """Halves the sides and doubles the channels."""
    conv = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
    return Layer(conv, norm, 2 * channels)


def up_layer(channels: int, norm: Norm, upsample: Upsample) -> Layer:
    """Doubles the sides and halves the channels."""
    conv = parts.up_convolution(upsample, channels, channels // 2, kernel=3)
    return Layer(conv, norm, channels // 2)


class GlobalGenerator(nn.Module):
    """Halves the sides `depth` times, residual blocks, as many doublings (Wang et al. 2018, G1).

    All convolutions have biases, as in the reference code. `outputs` None leaves the last
    convolution out: such a network gives features only.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int | None,
        width: int = 64,
        depth: int = 4,
        blocks: int = 9,
        norm: Norm = "instance",
        padding: Padding = "reflect",
        upsample: Upsample = "transposed",
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.first = first_layer(inputs, width, norm)
        self.down = nn.ModuleList(down_layer(channels, norm) for channels in widths[:-1])
        self.blocks = nn.ModuleList(
            Residual(widths[-1], norm, bias=True, dropout=0.0, padding=padding)
            for _ in range(blocks)
        )
        self.up = nn.ModuleList(up_layer(c, norm, upsample) for c in reversed(widths[1:]))
        self.last = None if outputs is None else Head(width, outputs)
        self.stride = 2**depth

    def forward(self, x: Tensor, features: bool = False) -> Tensor:
        """[B, inputs, H, W] to the picture [B, outputs, H, W] in (-1, 1).

        features: the activations [B, width, H, W] before the last convolution instead.
        """
        hidden = self.first(x)
        for block in (*self.down, *self.blocks, *self.up):
            hidden = block(hidden)
        return hidden if features or self.last is None else self.last(hidden).to(x.dtype)


class LocalEnhancer(nn.Module):
    """Adds detail at twice the size of what comes from below (Wang et al. 2018, G2).

    Its own features of the input, at half the size, are added to those from below, which have
    twice its width. `outputs` None: it gives features to the next enhancer, not a picture.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int | None,
        width: int = 32,
        blocks: int = 3,
        norm: Norm = "instance",
        padding: Padding = "reflect",
        upsample: Upsample = "transposed",
    ) -> None:
        super().__init__()
        self.first, self.down = first_layer(inputs, width, norm), down_layer(width, norm)
        self.blocks = nn.ModuleList(
            Residual(2 * width, norm, bias=True, dropout=0.0, padding=padding)
            for _ in range(blocks)
        )
        self.up = up_layer(2 * width, norm, upsample)
        self.last = None if outputs is None else Head(width, outputs)

    def forward(self, x: Tensor, below: Tensor) -> Tensor:
        """[B, inputs, H, W] and [B, 2 * width, H/2, W/2] to a picture or features at H x W."""
        hidden = self.down(self.first(x)) + below
        for block in (*self.blocks, self.up):
            hidden = block(hidden)
        return hidden if self.last is None else self.last(hidden).to(x.dtype)


class CoarseToFine(nn.Module):
    """A global generator whose features each of `enhancers` enhancers brings to twice the size.

    `width` is the global generator's; that of each enhancer is half of that below. alone: the
    global generator has a last convolution of its own, so that it can make pictures without the
    enhancers; without enhancers it always has.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        depth: int = 4,
        blocks: int = 9,
        enhancers: int = 1,
        enhancer_blocks: int = 3,
        norm: Norm = "instance",
        padding: Padding = "reflect",
        upsample: Upsample = "transposed",
        alone: bool = True,
    ) -> None:
        super().__init__()
        own = outputs if alone or not enhancers else None
        self.coarse = GlobalGenerator(inputs, own, width, depth, blocks, norm, padding, upsample)
        self.enhancers = nn.ModuleList(
            LocalEnhancer(
                inputs,
                outputs if level == enhancers else None,
                width // 2**level,
                enhancer_blocks,
                norm,
                padding,
                upsample,
            )
            for level in range(1, enhancers + 1)
        )
        self.stride = self.coarse.stride * 2**enhancers

    def forward(self, x: Tensor, enhanced: bool = True) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H, W] in (-1, 1).

        enhanced: False leaves the enhancers out: the global generator's picture of x itself.
        """
        if not enhanced or not len(self.enhancers):
            return self.coarse(x)
        pyramid = [x]
        for _ in self.enhancers:
            pyramid.append(halve(pyramid[-1]))
        hidden = self.coarse(pyramid[-1], features=True)
        for enhancer, level in zip(self.enhancers, reversed(pyramid[:-1]), strict=True):
            hidden = enhancer(level, hidden)
        return hidden


class Encoder(nn.Module):
    """A convolutional encoder and decoder that gives each pixel of a picture some features.

    Averaged over each instance (`instance_features.pool`), they tell how it looks
    (Wang et al. 2018, section 3.4).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 16,
        depth: int = 4,
        norm: Norm = "instance",
        upsample: Upsample = "transposed",
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.first = first_layer(inputs, width, norm)
        self.down = nn.ModuleList(down_layer(channels, norm) for channels in widths[:-1])
        self.up = nn.ModuleList(up_layer(c, norm, upsample) for c in reversed(widths[1:]))
        self.last = Head(width, outputs)

    def forward(self, picture: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H, W] in (-1, 1), sides divisible by 2**depth."""
        hidden = self.first(picture)
        for block in (*self.down, *self.up):
            hidden = block(hidden)
        return self.last(hidden)
