"""The discriminator of Real-ESRGAN (Wang et al. 2021, section 3.3): a logit for each pixel."""

from torch import Tensor, nn
from torch.nn import functional

from dragoman.networks.spectral import SpectralConv2d

SLOPE = 0.2


class UNetDiscriminator(nn.Module):
    """Three halvings and three bilinear doublings with added skips, spectral norm inside.

    The first and the last convolution have biases and no spectral norm, the others the opposite.
    Sides must be divisible by `stride`. skips: off is the code's skip_connection=False.
    """

    stride = 8

    def __init__(self, inputs: int, width: int = 64, skips: bool = True) -> None:
        super().__init__()
        self.skips = skips
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.down = nn.ModuleList(
            SpectralConv2d(c, 2 * c, 4, stride=2, padding=1, bias=False)
            for c in (width, 2 * width, 4 * width)
        )
        self.up = nn.ModuleList(
            SpectralConv2d(c, c // 2, 3, padding=1, bias=False)
            for c in (8 * width, 4 * width, 2 * width)
        )
        self.full = nn.ModuleList(
            SpectralConv2d(width, width, 3, padding=1, bias=False) for _ in range(2)
        )
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to logits [B, 1, H, W]."""
        skips = [functional.leaky_relu(self.first(x), SLOPE)]
        for layer in self.down:
            skips.append(functional.leaky_relu(layer(skips[-1]), SLOPE))
        hidden = skips.pop()
        for layer in self.up:
            larger = functional.interpolate(hidden, scale_factor=2, mode="bilinear")
            hidden, skip = functional.leaky_relu(layer(larger), SLOPE), skips.pop()
            hidden = hidden + skip if self.skips else hidden
        for layer in self.full:
            hidden = functional.leaky_relu(layer(hidden), SLOPE)
        return self.last(hidden)
