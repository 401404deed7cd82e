"""Discriminators that judge each patch of a picture (Isola et al. 2017, appendix 6.1.2)."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import SettingsError
from dragoman.networks import blocks
from dragoman.networks.blocks import Norm

Field = Literal[1, 16, 70, "image"]  # side of the patch that one logit judges, in pixels
LAYERS = {16: 1, 70: 3}


class Layer(nn.Module):
    """Convolution, norm, leaky ReLU."""

    def __init__(
        self, inputs: int, outputs: int, norm: Norm, bias: bool, kernel: int, stride: int
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 3, bias=bias)
        self.norm = blocks.norm(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, ...]."""
        return functional.leaky_relu(self.norm(self.conv(x)), 0.2)


class PatchDiscriminator(nn.Module):
    """Halves the sides `layers` times, then two convolutions of stride 1 give the logits.

    Each logit sees `field` x `field` pixels. As in the reference code, the first layer has no
    norm, and convolutions have biases only beside instance norms and at both ends.
    """

    def __init__(self, inputs: int, width: int = 64, layers: int = 3, norm: Norm = "batch") -> None:
        super().__init__()
        self.field = field_of(layers)
        bias = norm == "instance"
        widths = [width * min(2**layer, 8) for layer in range(layers + 1)]
        self.layers = nn.ModuleList([Layer(inputs, width, "none", True, kernel=4, stride=2)])
        for index in range(1, layers + 1):
            stride = 2 if index < layers else 1
            self.layers.append(Layer(widths[index - 1], widths[index], norm, bias, 4, stride))
        self.last = nn.Conv2d(widths[-1], 1, 4, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to logits [B, 1, H / 2**layers - 2, W / 2**layers - 2]."""
        for layer in self.layers:
            x = layer(x)
        return self.last(x)


class PixelDiscriminator(nn.Module):
    """Judges each pixel by itself."""

    field = 1

    def __init__(self, inputs: int, width: int = 64, norm: Norm = "batch") -> None:
        super().__init__()
        bias = norm == "instance"
        self.layers = nn.ModuleList(
            [
                Layer(inputs, width, "none", True, kernel=1, stride=1),
                Layer(width, 2 * width, norm, bias, kernel=1, stride=1),
            ]
        )
        self.last = nn.Conv2d(2 * width, 1, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to logits [B, 1, H, W]."""
        for layer in self.layers:
            x = layer(x)
        return self.last(x)


def field_of(layers: int) -> int:
    """Side of the patch seen by a logit of a PatchDiscriminator: 16, 34, 70, 142, 286, ..."""
    return 9 * 2**layers - 2


def patch_discriminator(
    inputs: int,
    field: Field = 70,
    width: int = 64,
    norm: Norm = "batch",
    size: int | tuple[int, int] = 256,
) -> nn.Module:
    """Make a discriminator that judges such patches in pictures of `size` (side, or both sides).

    The field "image" is the smallest of at least the picture's longer side, as the paper's 286
    at 256 (at sides that are a power of two, a middle logit misses one line at the border).
    Raises SettingsError where the pictures are too small for it.
    """
    sides = (size, size) if isinstance(size, int) else size
    if field == 1:
        return PixelDiscriminator(inputs, width, norm)
    if field == "image":
        layers = next(n for n in range(1, 64) if field_of(n) >= max(sides))
    elif field in LAYERS:
        layers = LAYERS[field]
    else:
        raise SettingsError(f"unknown patch '{field}'; known: 1, 16, 70, image")
    least = 3 * 2**layers
    if min(sides) < least:
        raise SettingsError(
            f"a patch of {field} needs pictures of at least {least} x {least} pixels, these have "
            f"{sides[0]} x {sides[1]}: choose a smaller patch"
        )
    return PatchDiscriminator(inputs, width, layers, norm)
