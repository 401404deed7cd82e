"""The generator of ESRGAN: residual-in-residual dense blocks (Wang et al. 2018, section 3.1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import SettingsError
from dragoman.networks.blocks import NearestConvolution, Start

SLOPE = 0.2  # of all leaky ReLUs
SHARE = 0.2  # of a branch that is added to its input: residual scaling, for deep networks
IN_BLOCKS = 0.1  # of Kaiming's starting weights: "smaller initialization"
ELSEWHERE = 6**-0.5  # PyTorch draws evenly from +-1/sqrt(n), Kaiming with the variance 2/n


class DenseBlock(nn.Module):
    """Five 3 x 3 convolutions, each of which sees the block's input and all before it."""

    def __init__(self, width: int, growth: int, share: float = SHARE) -> None:
        super().__init__()
        self.share = share
        outputs = (growth, growth, growth, growth, width)
        self.convs = nn.ModuleList(
            nn.Conv2d(width + index * growth, made, 3, padding=1)
            for index, made in enumerate(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, H, W] to the same shape."""
        seen = [x]
        for conv in self.convs[:-1]:
            seen.append(functional.leaky_relu(conv(torch.cat(seen, 1)), SLOPE))
        return x + self.share * self.convs[-1](torch.cat(seen, 1))


class RRDB(nn.Module):
    """Three dense blocks, of whose result a part is added to the input."""

    def __init__(self, width: int, growth: int, share: float = SHARE) -> None:
        super().__init__()
        self.share = share
        self.dense = nn.ModuleList(DenseBlock(width, growth, share) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, H, W] to the same shape."""
        hidden = x
        for block in self.dense:
            hidden = block(hidden)
        return x + self.share * hidden


class RRDBNet(nn.Module):
    """RRDBs with a skip over all, then a repetition of pixels and a convolution each doubling.

    As in the reference code, scales 1 and 2 first turn squares of 4 x 4 or 2 x 2 pixels into
    channels and then enlarge four times, so that the blocks work at a quarter of the output.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        blocks: int = 23,
        growth: int = 32,
        scale: int = 4,
        share: float = SHARE,
    ) -> None:
        """Raises SettingsError for another scale than 1, 2, 4, 8, 16 ...

        share: what is added of each branch.
        """
        super().__init__()
        if scale < 1 or scale & (scale - 1):
            raise SettingsError(f"--scale must be 2, 4 or 8 for this generator, not {scale}")
        self.stride = max(4 // scale, 1)
        doublings = (scale * self.stride).bit_length() - 1
        self.first = nn.Conv2d(inputs * self.stride**2, width, 3, padding=1)
        self.body = nn.ModuleList(RRDB(width, growth, share) for _ in range(blocks))
        self.after = nn.Conv2d(width, width, 3, padding=1)
        self.up = nn.ModuleList(NearestConvolution(width, width) for _ in range(doublings))
        self.full = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, scale * H, scale * W]; both in [0, 1], not clamped.

        Sides must be divisible by `stride`.
        """
        squares = functional.pixel_unshuffle(x, self.stride) if self.stride > 1 else x
        start = hidden = self.first(squares)
        for block in self.body:
            hidden = block(hidden)
        hidden = start + self.after(hidden)
        for up in self.up:
            hidden = functional.leaky_relu(up(hidden), SLOPE)
        hidden = functional.leaky_relu(self.full(hidden), SLOPE)
        return self.last(hidden).to(x.dtype)

    @torch.no_grad()
    def begin(self, start: Start) -> None:
        """Once weights are drawn by a start: make those of "kaiming" smaller; begin at mid-grey.

        A tenth in the dense blocks (Wang et al. 2018, section 3.1); elsewhere to the deviation of
        PyTorch's own start, which the code has there.
        """
        nn.init.constant_(self.last.bias, 0.5)  # ty: ignore
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d) and start == "kaiming":
                layer.weight.mul_(IN_BLOCKS if name.startswith("body.") else ELSEWHERE)
