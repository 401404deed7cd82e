"""StarGAN's generator and discriminator (Choi et al. 2018, appendix 7.2, tables 4 and 5)."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import DataError, SettingsError
from dragoman.networks.blocks import Upsample, up_convolution
from dragoman.networks.scaled_norm import ScaledNorm, scaled_norm

SLOPE = 0.01  # of the discriminator's leaky ReLUs
RESTS = -2.0  # of the attention's logit: at first an eighth of each pixel changes

GeneratorNorm = ScaledNorm | Literal["running"]


def _norm(channels: int, kind: GeneratorNorm) -> nn.Module:
    if kind == "running":
        return nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)
    return scaled_norm(kind, channels)


class Layer(nn.Module):
    """Convolution, norm, ReLU."""

    def __init__(self, conv: nn.Module, channels: int, norm: GeneratorNorm) -> None:
        super().__init__()
        self.conv, self.norm = conv, _norm(channels, norm)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, channels, ...] of sides as the convolution makes them."""
        return functional.relu(self.norm(self.conv(x)))


class Residual(nn.Module):
    """Adds to its input what two 3 x 3 convolutions with norms make of it."""

    def __init__(self, channels: int, norm: GeneratorNorm) -> None:
        super().__init__()
        self.conv1, self.conv2 = (
            nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2)
        )
        self.norm1, self.norm2 = (_norm(channels, norm) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to the same shape."""
        return x + self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))


class StarGANGenerator(nn.Module):
    """One generator for all domains: it sees the wanted labels as constant planes beside x.

    channels: of the pictures that it reads and makes. labels: length of the label vector, of
    `networks.label_vector.label_vector` where there are several label sets. depth: halvings, 2 in
    the paper. norm: instance, the reference code's; layer, which does not take away constant planes
    of labels; none; or running: instance norms that keep running statistics and go by them in
    evaluation, as the reference code's would if it ever evaluated. upsample:
    how sides are doubled, by transposed convolutions in the paper. attention: the generator makes
    a mask M in (0, 1) too, and gives M C + (1 - M) x for the colours C that it makes else (Pumarola
    et al. 2018, equation 1), so that what need not change stays exactly. `opened` in [0, 1] holds
    the mask open, as o + (1 - o) M: at 1 all is drawn anew. skip: the last convolution sees the
    first layer's maps too, so that fine details need not pass the halvings.
    """

    opened: Tensor

    def __init__(
        self,
        channels: int,
        labels: int,
        width: int = 64,
        blocks: int = 6,
        depth: int = 2,
        norm: GeneratorNorm = "instance",
        attention: bool = False,
        upsample: Upsample = "transposed",
        skip: bool = False,
    ) -> None:
        super().__init__()
        self.labels, self.stride = labels, 2**depth
        widths = [width * 2**index for index in range(depth + 1)]
        pairs = list(pairwise(widths))
        first = nn.Conv2d(channels + labels, width, 7, padding=3, bias=False)
        self.first = Layer(first, width, norm)
        self.down = nn.ModuleList(
            Layer(nn.Conv2d(c, more, 4, stride=2, padding=1, bias=False), more, norm)
            for c, more in pairs
        )
        self.blocks = nn.ModuleList(Residual(widths[-1], norm) for _ in range(blocks))
        self.up = nn.ModuleList(
            Layer(up_convolution(upsample, more, c, bias=False), c, norm)
            for c, more in reversed(pairs)
        )
        self.skip = skip
        seen = 2 * width if skip else width
        self.last = nn.Conv2d(seen, channels, 7, padding=3, bias=False)
        self.attention = nn.Conv2d(seen, 1, 7, padding=3) if attention else None
        if attention:  # a buffer, so that moving averages and translators know it
            self.register_buffer("opened", torch.zeros(()))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Pictures [B, channels, H, W] and label vectors [B, labels] to pictures in (-1, 1)."""
        if label.shape != (len(x), self.labels):
            raise ValueError(
                f"label vectors of shape {tuple(label.shape)}, not {(len(x), self.labels)}"
            )
        planes = label.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[-2:])
        hidden = first = self.first(torch.cat([x, planes], 1))
        for block in (*self.down, *self.blocks, *self.up):
            hidden = block(hidden)
        if self.skip:
            hidden = torch.cat([hidden, first], 1)
        if self.attention is None:
            return torch.tanh(self.last(hidden).to(x.dtype))
        # In one convolution: on CPUs one of so few channels takes as long as one of all.
        kernels = torch.cat([self.last.weight, self.attention.weight])
        colours, mask = functional.conv2d(hidden, kernels, padding=3).split([x.shape[1], 1], 1)
        shift = self.attention.get_parameter("bias")[:, None, None] + RESTS
        share = torch.sigmoid(mask.to(x.dtype) + shift)
        share = self.opened + (1 - self.opened) * share
        return torch.lerp(x, torch.tanh(colours.to(x.dtype)), share)


class StarGANDiscriminator(nn.Module):
    """Judges patches of a picture and tells the classes of the whole; halves it `layers` times.

    size: side, or height and width, of the pictures. labels: number of logits of classes. Raises
    SettingsError where nothing is left of such pictures.
    """

    def __init__(
        self,
        inputs: int,
        labels: int,
        size: int | tuple[int, int] = 128,
        width: int = 64,
        layers: int = 6,
    ) -> None:
        super().__init__()
        height, breadth = (size, size) if isinstance(size, int) else size
        most = min(height, breadth).bit_length() - 1
        if not 1 <= layers <= most:
            raise SettingsError(
                f"--discriminator_layers {layers} does not go with pictures of {height} x {breadth}"
                f" px, whose sides each layer halves; choose from 1 to {most}, or a larger --size"
            )
        self.left = (height >> layers, breadth >> layers)
        widths = [inputs, *(width * 2**index for index in range(layers))]
        self.layers = nn.ModuleList(
            nn.Conv2d(c, more, 4, stride=2, padding=1) for c, more in pairwise(widths)
        )
        self.patches = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)
        self.classes = nn.Conv2d(widths[-1], labels, self.left, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, inputs, H, W] to logits of patches [B, 1, h, w] and of classes [B, labels].

        h and w are the sides halved `layers` times. Raises DataError for pictures of another size.
        """
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), SLOPE)
        if tuple(x.shape[-2:]) != self.left:
            height, breadth = (side << len(self.layers) for side in self.left)
            raise DataError(
                f"this discriminator tells the classes of pictures of {height} x {breadth} px "
                "only; bring them to that size"
            )
        return self.patches(x), self.classes(x).flatten(1)
