"""The networks of MUNIT (Huang et al. 2018, section 5.1 and figure 3), by the reference code."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import choose
from dragoman.networks import blocks
from dragoman.networks.blocks import InstanceNorm, halve
from dragoman.networks.resnet import Padding
from dragoman.networks.spectral import SpectralConv2d

Activation = Literal["relu", "leaky_relu"]
Norm = Literal["none", "instance", "batch", "layer", "spectral"]

SLOPE = 0.2  # of all leaky ReLUs
WIDENED = 2  # halvings of the style encoder that double the channels; later ones keep them
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, SLOPE),
}


def activation_of(kind: Activation) -> nn.Module:
    """Make an activation; raises SettingsError for one that is not known."""
    return ACTIVATIONS[choose("activation", kind, get_args(Activation))]()


class LayerNorm(nn.Module):
    """Each picture's values, of all channels and places together, to mean 0 and deviation 1.

    As in the reference code the deviation is the unbiased one and `eps` is added to it, not to the
    variance; the scale of each channel starts at U(0, 1), its shift at 0.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.rand(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to the same shape and kind of number."""
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        deviation, mean = torch.std_mean(exact, (1, 2, 3), keepdim=True)
        plain = (exact - mean) / (deviation + self.eps)
        return (plain * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class AdaIN(nn.Module):
    """Instance norm, then the mean and deviation that a style gives each channel.

    Huang & Belongie 2017, equation 8. Both are used as they come: unlike those of `ModulatedNorm`
    the deviation is not counted from 1. Without a style it is the instance norm alone.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = InstanceNorm(channels)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """[B, C, H, W] and style [B, 2 * C], means before deviations, to the same shape as x."""
        plain = self.norm(x)
        if style is None:
            return plain
        mean, deviation = style[..., None, None].chunk(2, dim=1)
        return plain * deviation + mean


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int, padding: Padding, spectral: bool = False
) -> nn.Conv2d:
    """A convolution with a bias whose stride alone changes the sides."""
    choose("padding", padding, get_args(Padding))
    mode = "zeros" if padding == "zero" else padding
    kind = SpectralConv2d if spectral else nn.Conv2d
    around = (kernel - 1) // 2
    return kind(inputs, outputs, kernel, stride, padding=around, padding_mode=mode)


class Layer(nn.Module):
    """Convolution, norm, activation. The norm "spectral" is that of the convolution's weight."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        norm: Norm,
        activation: Activation,
        padding: Padding,
    ) -> None:
        super().__init__()
        choose("norm", norm, get_args(Norm))
        self.conv = convolution(inputs, outputs, kernel, stride, padding, norm == "spectral")
        if norm == "layer":
            self.norm: nn.Module = LayerNorm(outputs)
        else:
            self.norm = blocks.norm("none" if norm == "spectral" else norm, outputs)
        self.activation = activation_of(activation)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H // stride, W // stride]."""
        return self.activation(self.norm(self.conv(x)))


class Residual(nn.Module):
    """Adds to its input what two 3 x 3 convolutions make of it, with AdaIN after each."""

    def __init__(self, channels: int, activation: Activation, padding: Padding) -> None:
        super().__init__()
        self.conv1, self.conv2 = (convolution(channels, channels, 3, 1, padding) for _ in range(2))
        self.norm1, self.norm2 = (AdaIN(channels) for _ in range(2))
        self.activation = activation_of(activation)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """[B, C, H, W] and style [B, 4 * C], that of the first norm first, to the shape of x.

        Without a style the norms are plain instance norms.
        """
        first, second = (None, None) if style is None else style.chunk(2, dim=1)
        hidden = self.activation(self.norm1(self.conv1(x), first))
        return x + self.norm2(self.conv2(hidden), second)


class Halvings(nn.Module):
    """7 x 7 convolution to the first of the widths, then a halving to each of the others."""

    def __init__(
        self, inputs: int, widths: list[int], norm: Norm, activation: Activation, padding: Padding
    ) -> None:
        super().__init__()
        self.first = Layer(inputs, widths[0], 7, 1, norm, activation, padding)
        self.down = nn.ModuleList(
            Layer(i, o, 4, 2, norm, activation, padding) for i, o in pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, widths[-1], H / 2**h, W / 2**h] by h = len(widths) - 1."""
        x = self.first(x)
        for layer in self.down:
            x = layer(x)
        return x


class ContentEncoder(Halvings):
    """7 x 7 convolution, `depth` halvings that double the channels, `blocks` residual blocks."""

    def __init__(
        self,
        inputs: int,
        width: int = 64,
        depth: int = 2,
        blocks: int = 4,
        activation: Activation = "relu",
        padding: Padding = "reflect",
    ) -> None:
        widths = [width << index for index in range(depth + 1)]
        super().__init__(inputs, widths, "instance", activation, padding)
        self.blocks = nn.ModuleList(
            Residual(widths[-1], activation, padding) for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to the content code [B, width * 2**depth, H / 2**depth, ...]."""
        x = super().forward(x)
        for block in self.blocks:
            x = block(x)
        return x


class StyleEncoder(Halvings):
    """7 x 7 convolution, `depth` halvings, the mean over all places; no norms, which lose it."""

    def __init__(
        self,
        inputs: int,
        style: int = 8,
        width: int = 64,
        depth: int = 4,
        activation: Activation = "relu",
        padding: Padding = "reflect",
    ) -> None:
        widths = [width << min(index, WIDENED) for index in range(depth + 1)]
        super().__init__(inputs, widths, "none", activation, padding)
        self.last = nn.Conv2d(widths[-1], style, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to the style code [B, style], of any values."""
        x = super().forward(x)
        return self.last(functional.adaptive_avg_pool2d(x, 1)).flatten(1)


class Mapping(nn.Module):
    """Linear layers from a style code to the means and deviations of all AdaINs.

    layers: all of them, the last included, which no activation follows.
    """

    def __init__(
        self,
        style: int,
        outputs: int,
        width: int = 256,
        layers: int = 3,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        widths = [style, *[width] * (layers - 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))
        self.activation = activation_of(activation)

    def forward(self, style: Tensor) -> Tensor:
        """[B, style] to [B, outputs]."""
        for index, layer in enumerate(self.layers):
            style = layer(self.activation(style) if index else style)
        return style


class Decoder(nn.Module):
    """Residual blocks with AdaIN, `depth` doublings with layer norm, 7 x 7 convolution, tanh.

    channels: of the content code, halved by each doubling.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        depth: int = 2,
        blocks: int = 4,
        activation: Activation = "relu",
        padding: Padding = "reflect",
    ) -> None:
        super().__init__()
        self.channels = channels
        self.blocks = nn.ModuleList(Residual(channels, activation, padding) for _ in range(blocks))
        widths = [channels >> index for index in range(depth + 1)]
        self.up = nn.ModuleList(
            Layer(i, o, 5, 1, "layer", activation, padding) for i, o in pairwise(widths)
        )
        self.last = convolution(widths[-1], outputs, 7, 1, padding)

    @property
    def styles(self) -> int:
        """How many means and deviations its AdaINs take in all."""
        return 4 * self.channels * len(self.blocks)

    def forward(self, code: Tensor, style: Tensor | None = None) -> Tensor:
        """Content code [B, channels, h, w] to [B, outputs, h * 2**depth, w * 2**depth] in (-1, 1).

        style: [B, styles], from the first block to the last; without it the norms are plain.
        """
        each = 4 * self.channels
        for index, block in enumerate(self.blocks):
            code = block(
                code, None if style is None else style[:, each * index : each * (index + 1)]
            )
        for layer in self.up:
            code = layer(functional.interpolate(code, scale_factor=2))
        return torch.tanh(self.last(code).to(self.last.weight.dtype))


class Coded(nn.Module):
    """A generator by way of codes, with sides that are halved `depth` times.

    Where it also has an encoder of styles, that halves them `style_depth` times.
    """

    def __init__(self, depth: int, style_depth: int = 0) -> None:
        super().__init__()
        self.depth, self.style_depth = depth, style_depth

    @property
    def stride(self) -> int:
        """The sides of pictures must be divisible by this to be made again as large."""
        return 2**self.depth

    @property
    def smallest(self) -> int:
        """The least side in px, of pictures shown for style too, of which every layer sees enough.

        Whatever the padding: 3 x 3 convolutions that reflect need 2 px, those of 7 x 7 need 4.
        """
        return max(4, 2 ** (self.depth + 1), 2**self.style_depth)


class Autoencoder(Coded):
    """The networks of one domain: a picture is a content code, shared by all, and a style code."""

    def __init__(
        self,
        channels: int,
        style: int = 8,
        width: int = 64,
        depth: int = 2,
        blocks: int = 4,
        style_depth: int = 4,
        mapping_width: int = 256,
        mapping_layers: int = 3,
        activation: Activation = "relu",
        padding: Padding = "reflect",
    ) -> None:
        super().__init__(depth, style_depth)
        self.content = ContentEncoder(channels, width, depth, blocks, activation, padding)
        self.style = StyleEncoder(channels, style, width, style_depth, activation, padding)
        self.decoder = Decoder(width << depth, channels, depth, blocks, activation, padding)
        self.mapping = Mapping(
            style, self.decoder.styles, mapping_width, mapping_layers, activation
        )

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, H, W] to content [B, width * 2**depth, h, w] and style [B, style]."""
        return self.content(pictures), self.style(pictures)

    def decode(self, content: Tensor, style: Tensor) -> Tensor:
        """Content [B, width * 2**depth, h, w], style [B, style] to [B, C, H, W] in (-1, 1)."""
        return self.decoder(content, self.mapping(style))

    def forward(self, pictures: Tensor, style: Tensor | None = None) -> Tensor:
        """[B, C, H, W] made anew, with another style [B, style] if one is given."""
        content = self.content(pictures)
        return self.decode(content, self.style(pictures) if style is None else style)


class Judge(nn.Module):
    """The discriminator of one scale: `layers` halvings, then a 1 x 1 convolution."""

    def __init__(
        self,
        inputs: int,
        width: int,
        layers: int,
        norm: Norm,
        activation: Activation,
        padding: Padding,
    ) -> None:
        super().__init__()
        widths = [inputs, *(width << index for index in range(layers))]
        norms: list[Norm] = ["none", *[norm] * (layers - 1)]
        self.layers = nn.ModuleList(
            Layer(i, o, 4, 2, kind, activation, padding)
            for (i, o), kind in zip(pairwise(widths), norms, strict=True)
        )
        self.last = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to logits [B, 1, H // 2**layers, W // 2**layers]."""
        for layer in self.layers:
            x = layer(x)
        return self.last(x)


class Judges(nn.Module):
    """Judges a picture at full, half, quarter ... size, each with its own network.

    The discriminator of MUNIT and UNIT. It differs from `MultiscaleDiscriminator`, that of
    pix2pixHD: every convolution but the last halves, widths double without end, the border is
    reflected, and nobody hears the layers. The first layer has no norm.
    """

    def __init__(
        self,
        inputs: int,
        width: int = 64,
        layers: int = 4,
        scales: int = 3,
        norm: Norm = "none",
        activation: Activation = "leaky_relu",
        padding: Padding = "reflect",
    ) -> None:
        super().__init__()
        self.layers = layers
        self.scales = nn.ModuleList(
            Judge(inputs, width, layers, norm, activation, padding) for _ in range(scales)
        )

    @property
    def smallest(self) -> int:
        """The least side in px of pictures of which every scale has a logit."""
        return (2**self.layers - 1) * 2 ** (len(self.scales) - 1) + 1

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, inputs, H, W] to the logits of each scale, full resolution first."""
        logits = []
        for index, judge in enumerate(self.scales):
            x = halve(x) if index else x
            logits.append(judge(x))
        return logits
