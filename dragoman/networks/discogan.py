"""DiscoGAN's generator and discriminator (Kim et al. 2017, section 2.2 and the reference code)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.networks import blocks
from dragoman.networks.blocks import Norm, Upsample, up_convolution
from dragoman.networks.patch import Layer
from dragoman.networks.resnet import Layer as UpLayer

INMOST = 4  # px: side of the maps that the bottleneck, and the last judgement, see at once


class Squeeze(nn.Module):
    """Convolution over 4 x 4 places without a frame, norm, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, INMOST, bias=False)
        self.norm = blocks.norm(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H - 3, W - 3]."""
        return functional.leaky_relu(self.norm(self.conv(x)), 0.2)


class DiscoGenerator(nn.Module):
    """Halves the sides `depth` times and doubles them again; no skips, no biases.

    bottleneck: channels of two more layers between, which bring 4 x 4 places to one and back, so
    that at 4 * 2**depth px (64) a picture is that many numbers. 0: none; reference code: 0, or 100.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        depth: int = 4,
        bottleneck: int = 0,
        norm: Norm = "batch",
        upsample: Upsample = "transposed",
    ) -> None:
        super().__init__()
        self.stride = 2**depth
        widths = [width * 2**level for level in range(depth)]
        self.down = _halvings(inputs, widths, norm)
        self.squeeze = self.spread = None
        if bottleneck:
            spread = nn.ConvTranspose2d(bottleneck, widths[-1], INMOST, bias=False)
            self.squeeze = Squeeze(widths[-1], bottleneck, norm)
            self.spread = UpLayer(spread, norm, widths[-1])
        self.up = nn.ModuleList(
            UpLayer(up_convolution(upsample, 2 * after, after, bias=False), norm, after)
            for after in reversed(widths[:-1])
        )
        self.last = up_convolution(upsample, width, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] in [0, 1] to [B, outputs, H, W] in (0, 1).

        Sides must be divisible by 2**depth; with a bottleneck they are 4 * 2**depth at least.
        """
        hidden = x
        for layer in self.down:
            hidden = layer(hidden)
        if self.squeeze is not None and self.spread is not None:
            hidden = self.spread(self.squeeze(hidden))
        for layer in self.up:
            hidden = layer(hidden)
        return torch.sigmoid(self.last(hidden).to(x.dtype))


class DiscoDiscriminator(nn.Module):
    """Halves the sides `depth` times, then judges 4 x 4 places at once: 64 px for each logit.

    So one logit judges a whole picture of 4 * 2**depth px. No biases, no norm in the first layer.
    """

    def __init__(self, inputs: int, width: int = 64, depth: int = 4, norm: Norm = "batch") -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        self.layers = _halvings(inputs, widths, norm)
        self.last = nn.Conv2d(widths[-1], 1, INMOST, bias=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, inputs, H, W] in [0, 1] to the activation of each layer, the logits last.

        These are [B, 1, H / 2**depth - 3, W / 2**depth - 3].
        """
        heard = []
        for layer in self.layers:
            x = layer(x)
            heard.append(x)
        return [*heard, self.last(x)]


def _halvings(inputs: int, widths: list[int], norm: Norm) -> nn.ModuleList:
    before = [inputs, *widths]
    return nn.ModuleList(
        Layer(before[level], width, norm if level else "none", False, kernel=4, stride=2)
        for level, width in enumerate(widths)
    )
