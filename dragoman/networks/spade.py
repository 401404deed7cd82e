"""The SPADE generator, which reads a map in its norms, and its image encoder (Park et al. 2019)."""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import choose
from dragoman.networks import blocks
from dragoman.networks.blocks import Norm, Resize
from dragoman.networks.spatial_norm import HIDDEN, Base, ModulatedNorm
from dragoman.networks.spectral import SpectralConv2d

SLOPE = 0.2  # of all leaky ReLUs
HALVINGS = 4  # of the channels, at most, as in the reference code
DEEPEST = 7  # doublings: the reference code's "normal", "more" and "most" are 5, 6 and 7
SMALLEST = 4  # px of the map from which the encoder reads mean and variance

Modulation = Literal["map", "vector"]


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    bias: bool = True,
    spectral: bool = True,
) -> nn.Conv2d:
    """Make a convolution that keeps the sides, or halves them, spectrally normalised if wanted."""
    kind = SpectralConv2d if spectral else nn.Conv2d
    return kind(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias)


class SPADEBlock(nn.Module):
    """Two convolutions and a shortcut, each after a norm that knows the condition (figure 4).

    As in the reference code, the shortcut is learned where the channels change, has neither bias
    nor activation, and the middle has the fewer channels. norm: makes one for so many channels.
    """

    def __init__(
        self, inputs: int, outputs: int, norm: Callable[[int], nn.Module], spectral: bool = True
    ) -> None:
        super().__init__()
        middle = min(inputs, outputs)
        self.norm0, self.norm1 = norm(inputs), norm(middle)
        self.conv0 = convolution(inputs, middle, 3, spectral=spectral)
        self.conv1 = convolution(middle, outputs, 3, spectral=spectral)
        self.learned = inputs != outputs
        if self.learned:
            self.norm_shortcut = norm(inputs)
            self.conv_shortcut = convolution(inputs, outputs, 1, bias=False, spectral=spectral)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, inputs, H, W] and the norms' condition to [B, outputs, H, W]."""
        hidden = self.conv0(functional.leaky_relu(self.norm0(x, condition), SLOPE))
        hidden = self.conv1(functional.leaky_relu(self.norm1(hidden, condition), SLOPE))
        if self.learned:
            x = self.conv_shortcut(self.norm_shortcut(x, condition))
        return x + hidden


def plan(width: int, depth: int) -> list[tuple[int, int, bool]]:
    """The blocks of a generator: channels in and out, and whether the sides double before it.

    Depths 5 to 7 are the reference code's; shallower ones leave out the innermost halvings of
    channels, so that the last block always makes `width` channels (half of it at depth 7).
    """
    halvings = min(depth - 1, HALVINGS)
    inner = width << halvings
    made = [(inner, inner, False), (inner, inner, True), (inner, inner, depth > HALVINGS + 1)]
    made += [(width << n + 1, width << n, True) for n in reversed(range(halvings))]
    return [*made, (width, width // 2, True)] if depth == DEEPEST else made


class SPADEGenerator(nn.Module):
    """Makes a picture from the bottom up; no encoder, since every norm sees the map (figure 4).

    inputs: channels of the map. width: channels before the last convolution. depth: how often the
    sides double, 1 to 7. The bottom is the map at 1 / 2**depth of its sides (nearest pixels), or,
    with `latent`, what a linear layer makes of a vector of that length: a map of `bottom` sides,
    those of the training pictures / 2**depth. For pictures of other sides this bottom is resized
    bilinearly, where the reference code can make pictures of one size only.

    condition: "map" is SPADE. "vector" is the ablation of its section 4: the norms see only each
    channel's mean over the map (the share of each class) and the vector z, if there is one. With
    base "batch" that is conditional batch norm, with "instance" AdaIN. base, kernel and hidden:
    see ModulatedNorm.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        depth: int = 5,
        condition: Modulation = "map",
        base: Base = "batch",
        kernel: Literal[3, 5] = 3,
        hidden: int = HIDDEN,
        spectral: bool = True,
        upsample: Resize = "nearest",
        latent: int = 0,
        bottom: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        choose("upsample", upsample, get_args(Resize))
        self.inputs, self.width, self.depth = inputs, width, depth
        self.condition, self.latent = condition, latent
        self.upsample, self.bottom = upsample, bottom

        def norm(channels: int) -> ModulatedNorm:
            seen = inputs + (latent if condition == "vector" else 0)
            return ModulatedNorm(channels, seen, condition, base, kernel, hidden)

        planned = plan(width, depth)
        inner = planned[0][0]
        self.first = (
            nn.Linear(latent, inner * bottom[0] * bottom[1])
            if latent
            else nn.Conv2d(inputs, inner, 3, padding=1)
        )
        self.blocks = nn.ModuleList(SPADEBlock(i, o, norm, spectral) for i, o, _ in planned)
        self.doubles = [double for _, _, double in planned]
        self.last = nn.Conv2d(planned[-1][1], outputs, 3, padding=1)

    @property
    def stride(self) -> int:
        """The sides of maps must be divisible by this."""
        return 2**self.depth

    def forward(
        self, segments: Tensor, z: Tensor | None = None, bottom: tuple[int, int] | None = None
    ) -> Tensor:
        """Map [B, inputs, H, W], and z [B, latent] if it has one, to [B, outputs, H, W] in (-1, 1).

        bottom: its sides, if not the map's / 2**depth; the picture is 2**depth as large. Raises
        ValueError if z is missing.
        """
        height, width = segments.shape[-2:]
        x = self._bottom(segments, z, bottom or (height >> self.depth, width >> self.depth))
        condition = segments
        if self.condition == "vector":
            condition = segments.mean((2, 3))
            condition = condition if z is None else torch.cat([condition, z], 1)
        for block, double in zip(self.blocks, self.doubles, strict=True):
            if double:
                x = functional.interpolate(x, scale_factor=2, mode=self.upsample)
            if self.condition == "map":  # resized once for all norms of the block
                condition = _nearest(segments, (x.shape[-2], x.shape[-1]))
            x = block(x, condition)
        made = self.last(functional.leaky_relu(x, SLOPE))
        return torch.tanh(made.to(segments.dtype))

    def _bottom(self, segments: Tensor, z: Tensor | None, sides: tuple[int, int]) -> Tensor:
        if not self.latent:
            return self.first(_nearest(segments, sides))
        if z is None:
            raise ValueError("this generator makes its pictures of a vector z too; give one")
        x = self.first(z).unflatten(1, (-1, *self.bottom))
        return x if sides == self.bottom else _stretched(x, sides)


def _nearest(x: Tensor, sides: tuple[int, int]) -> Tensor:
    return x if tuple(x.shape[-2:]) == sides else functional.interpolate(x, size=sides)


def _stretched(x: Tensor, sides: tuple[int, int]) -> Tensor:
    """Resize [B, C, h, w] bilinearly to `sides`, corners not aligned.

    As matrix products of the places of lines: whoever follows them sees that the result depends
    on the size of the whole picture, so that no tile can make it alone.
    """
    rows, columns = (
        _mixing(x, x.shape[dim], side) for dim, side in ((-2, sides[0]), (-1, sides[1]))
    )
    return rows @ x @ columns.T


def _mixing(x: Tensor, lines: int, wanted: int) -> Tensor:
    """How much of each of `lines` is in each wanted line: [wanted, lines], as exact as x."""
    kind = torch.promote_types(x.dtype, torch.float32)  # bf16 has no numbers between far lines
    place = (torch.arange(wanted, device=x.device, dtype=kind) + 0.5) * (lines / wanted) - 0.5
    known = torch.arange(lines, device=x.device, dtype=kind)
    return (1 - (place.clamp(0, lines - 1)[:, None] - known).abs()).clamp(min=0).to(x.dtype)


class Layer(nn.Module):
    """Convolution of stride 2, norm, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, spectral: bool) -> None:
        super().__init__()
        bias = not spectral or norm == "none"  # as the reference code has it
        self.conv = convolution(inputs, outputs, 3, 2, bias, spectral)
        self.norm = blocks.norm(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H / 2, W / 2], odd sides rounded up."""
        return functional.leaky_relu(self.norm(self.conv(x)), SLOPE)


class ImageEncoder(nn.Module):
    """Mean and log variance of z for a picture (appendix A).

    size: the sides at which a picture is encoded; others are resized to it bilinearly. The
    reference code always encodes at 256 x 256, which for smaller pictures costs much and shows
    nothing more. layers: halvings; by default as many as leave 4 px of the shorter side, which at
    256 px is the reference code's 6.
    """

    def __init__(
        self,
        inputs: int,
        latent: int = 256,
        width: int = 64,
        size: tuple[int, int] = (256, 256),
        layers: int | None = None,
        norm: Norm = "instance",
        spectral: bool = True,
    ) -> None:
        super().__init__()
        self.size = size
        layers = layers or max(1, (-(-min(size) // SMALLEST) - 1).bit_length())
        widths = [inputs] + [width << min(index, 3) for index in range(layers)]
        self.layers = nn.ModuleList(Layer(i, o, norm, spectral) for i, o in pairwise(widths))
        rows, columns = (-(-side // 2**layers) for side in size)
        self.mean, self.log_variance = (
            nn.Linear(widths[-1] * rows * columns, latent) for _ in range(2)
        )

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """[B, inputs, H, W] to mean and log variance, [B, latent] each."""
        if tuple(pictures.shape[-2:]) != self.size:
            pictures = functional.interpolate(pictures, size=self.size, mode="bilinear")
        for layer in self.layers:
            pictures = layer(pictures)
        flat = pictures.flatten(1)
        return self.mean(flat), self.log_variance(flat)
