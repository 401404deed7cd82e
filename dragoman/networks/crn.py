"""The cascaded refinement network (Chen & Koltun 2017, section 3.1)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.networks import blocks

Norm = Literal["layer", "instance", "group", "none"]

EPSILON = 1e-12  # of the official layer norm


def norm(kind: Norm, channels: int) -> nn.Module:
    """Make a normalising layer for [B, channels, H, W].

    "layer" takes one mean and (biased) variance of a whole picture's values, and has a scale and
    shift for each channel: a group norm of one group, whose statistics tiles can share.
    """
    if kind == "layer":
        return nn.GroupNorm(1, channels, EPSILON)
    return blocks.norm(kind, channels)


class Refinement(nn.Module):
    """Twice convolution 3 x 3, norm, leaky ReLU: one module of the cascade."""

    def __init__(self, inputs: int, outputs: int, kind: Norm) -> None:
        super().__init__()
        bias = kind == "none"  # a norm takes it away, or brings its own
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
        self.norm1 = norm(kind, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias)
        self.norm2 = norm(kind, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H, W]."""
        x = functional.leaky_relu(self.norm1(self.conv1(x)), 0.2)
        return functional.leaky_relu(self.norm2(self.conv2(x)), 0.2)


class CascadedRefinement(nn.Module):
    """Modules from coarse to fine; each sees the layout at its size and what the last one made.

    Any sides divisible by `stride` will do: the first module works on pictures `stride` times
    smaller. The layout is reduced by areas, features are enlarged bilinearly. The official code
    enlarges with `align_corners`: then every place depends on the size of the whole picture, by
    which results at another size are stretched and a picture cannot be made in tiles. So it is
    off by default and for converted weights on. Pictures are not squashed, as officially.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: Sequence[int],
        kind: Norm = "layer",
        align_corners: bool = False,
    ) -> None:
        """widths: channels of each module, from the coarsest to that of the picture's size."""
        super().__init__()
        self.align_corners, self.stride = align_corners, 2 ** (len(widths) - 1)
        before = [0, *widths[:-1]]
        self.cascade = nn.ModuleList(
            Refinement(earlier + inputs, width, kind)
            for earlier, width in zip(before, widths, strict=True)
        )
        self.last = nn.Conv2d(widths[-1], outputs, 1)

    def forward(self, layout: Tensor) -> Tensor:
        """[B, inputs, H, W], by the official code in [0, 1], to [B, outputs, H, W], unbounded."""
        hidden, factor = None, self.stride
        for module in self.cascade:
            seen = functional.avg_pool2d(layout, factor) if factor > 1 else layout
            if hidden is not None:
                hidden = functional.interpolate(
                    hidden, scale_factor=2, mode="bilinear", align_corners=self.align_corners
                )
                seen = torch.cat([hidden, seen], 1)
            hidden, factor = module(seen), factor // 2
        assert hidden is not None
        return self.last(hidden).to(layout.dtype)
