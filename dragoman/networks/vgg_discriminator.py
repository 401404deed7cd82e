"""The discriminators of SRGAN and ESRGAN: halvings like VGG's, then one logit for a picture."""

from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import DataError, SettingsError
from dragoman.networks import blocks
from dragoman.networks.blocks import Norm

SLOPE = 0.2
SMALLEST = 4  # px of the sides that are left before the dense layers, unless told otherwise


class Layer(nn.Module):
    """Convolution, norm, leaky ReLU."""

    def __init__(self, conv: nn.Conv2d, norm: Norm) -> None:
        super().__init__()
        self.conv, self.norm = conv, blocks.norm(norm, conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, ...]."""
        return functional.leaky_relu(self.norm(self.conv(x)), SLOPE)


class VGGDiscriminator(nn.Module):
    """Pairs of convolutions, of which the second halves the sides, then two dense layers.

    Channels double with every pair up to 8 times `width`; the very first layer has no norm. With
    kernel 3 and 1024 hidden units it is the discriminator of Ledig et al. 2017, figure 4 (4
    halvings at 96 px); with kernel 4 and 100 that of BasicSR (5 at 128 px, 6 at 256 px).
    """

    def __init__(
        self,
        inputs: int,
        size: tuple[int, int],
        width: int = 64,
        halvings: int | None = None,
        norm: Norm = "batch",
        kernel: int = 4,
        hidden: int = 100,
    ) -> None:
        """size: height and width of the pictures; halvings: by default as often as leaves 4 px.

        Raises SettingsError for sides that cannot be halved so.
        """
        super().__init__()
        self.size = size
        levels = fitting_halvings(size, halvings)
        bias = norm == "none"
        self.layers = nn.ModuleList()
        before = inputs
        for level in range(levels):
            made = width * min(2**level, 8)
            first = nn.Conv2d(before, made, 3, padding=1, bias=bias or level == 0)
            self.layers.append(Layer(first, norm if level else "none"))
            second = nn.Conv2d(made, made, kernel, stride=2, padding=1, bias=bias)
            self.layers.append(Layer(second, norm))
            before = made
        pixels = (size[0] >> levels) * (size[1] >> levels)
        self.hidden = nn.Linear(before * pixels, hidden)
        self.last = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] of the sizes it was made for to logits [B, 1]; raises DataError."""
        if tuple(x.shape[-2:]) != tuple(self.size):
            raise DataError(
                f"this discriminator judges pictures of {self.size[0]} x {self.size[1]} px, not "
                f"{x.shape[-2]} x {x.shape[-1]}; --discriminator unet judges any size"
            )
        for layer in self.layers:
            x = layer(x)
        return self.last(functional.leaky_relu(self.hidden(x.flatten(1)), SLOPE))


def fitting_halvings(size: tuple[int, int], wanted: int | None = None) -> int:
    """How often sides are halved: as wanted, or while they stay whole and at least 4 px.

    Raises SettingsError if that cannot be.
    """
    least = min(size)
    most = min((side & -side).bit_length() - 1 for side in size)  # while they stay whole
    if wanted is not None:
        if not 1 <= wanted <= most:
            raise SettingsError(
                f"--halvings {wanted} is at odds with pictures of {size[0]} x {size[1]} px, which "
                f"can be halved {most} times; choose from 1 to {most} or another --size"
                if most
                else odd(size)
            )
        return wanted
    usual = [n for n in range(1, most + 1) if least >> n >= SMALLEST]
    if not usual or max(size) >> usual[-1] > 4 * SMALLEST:
        raise SettingsError(odd(size))
    return usual[-1]


def odd(size: tuple[int, int]) -> str:
    """What is told of sides that this discriminator cannot halve."""
    return (
        f"the discriminator halves its pictures down to {SMALLEST} to {4 * SMALLEST} px, which "
        f"pictures of {size[0]} x {size[1]} px do not allow; choose --size 32, 64, 96, 128 or 256 "
        "(with --scale 3: 96), or --discriminator unet and sides divisible by 8"
    )
