"""Random stacks of layers as systems, and how far they see, found by trying."""

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from dragoman.controls import Controls
from dragoman.networks.blocks import NearestConvolution
from dragoman.system import Batch, Facts, System

CHANNELS = 2


class Wrapped(System):
    """Any network as a system."""

    def __init__(
        self, network: nn.Module, stride: int = 1, size: int = 48, channels: int = CHANNELS
    ) -> None:
        super().__init__(None, Facts({"a": channels, "b": channels}, (size, size)))
        self.network, self._stride = network, stride
        self.eval().requires_grad_(False)

    def generate(self, batch: Batch, controls: Controls | None = None) -> Tensor:
        return self.network(batch["a"])

    @property
    def stride(self) -> int:
        return self._stride


class Around(nn.Module):
    """Pads unequally, so that a convolution with an even kernel keeps the size."""

    def __init__(self, conv: nn.Conv2d, before: int, after: int, mode: str) -> None:
        super().__init__()
        self.conv, self.ends, self.mode = conv, (before, after, before, after), mode

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.pad(x, self.ends, mode=self.mode))


class There(nn.Module):
    """Moves a picture by some pixels and back: nothing changes, but more than it sees is made."""

    def forward(self, x: Tensor) -> Tensor:
        moved = functional.pad(x, (3, 0, 3, 0))[..., :-3, :-3]
        return functional.pad(moved, (0, 3, 0, 3))[..., 3:, 3:]


class Sum(nn.Module):
    """Adds what a part makes to what it was given."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        return x + self.part(x)


class Beside(nn.Module):
    """Lays what a part makes beside what it was given, channel by channel."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part, self.join = part, nn.Conv2d(2 * CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(torch.cat([x, self.part(x)], 1))


def conv(kernel: int, **over: Any) -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, CHANNELS, kernel, **over)


@st.composite
def same(draw: Any) -> nn.Module:
    """A layer that keeps the size."""
    kernel, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 2))
    width = dilation * (kernel - 1)
    before = draw(st.integers(0, width))
    mode = draw(st.sampled_from(["constant", "reflect", "replicate"]))
    layer = Around(conv(kernel, dilation=dilation), before, width - before, mode)
    return draw(
        st.sampled_from(
            [layer, nn.Sequential(layer, nn.LeakyReLU(0.2)), nn.MaxPool2d(3, 1, 1), nn.GELU()]
        )
    )


HALVING = {
    "conv2": lambda: conv(2, stride=2),
    "conv3": lambda: conv(3, stride=2, padding=1),
    "conv4": lambda: conv(4, stride=2, padding=1, padding_mode="replicate"),
    "conv5": lambda: conv(5, stride=2, padding=2),
    "average": lambda: nn.AvgPool2d(2),
    "maximum": lambda: nn.MaxPool2d(3, 2, 1),
    "unshuffle": lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * CHANNELS, CHANNELS, 1)),
    "shrink": lambda: nn.Upsample(scale_factor=0.5, mode="bilinear"),
}
DOUBLING = {
    "transposed2": lambda: nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, 2),
    "transposed3": lambda: nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, 2, 1, 1),
    "transposed4": lambda: nn.ConvTranspose2d(CHANNELS, CHANNELS, 4, 2, 1),
    "nearest": lambda: nn.Upsample(scale_factor=2),
    "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "zeros": lambda: NearestConvolution(CHANNELS, CHANNELS),
    "replicate": lambda: NearestConvolution(CHANNELS, CHANNELS, border="replicate"),
    "shuffle": lambda: nn.Sequential(nn.Conv2d(CHANNELS, 4 * CHANNELS, 1), nn.PixelShuffle(2)),
}


# They leave out lines, so that a value may not see the very place it stands for.
HOLED = {
    "conv1": lambda: conv(1, stride=2),
    "far": lambda: nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, 2, 2, 1, dilation=2),
}


@st.composite
def parts(draw: Any, depth: int, holes: bool) -> tuple[nn.Module, int]:
    """A network that keeps the size, and its stride; `depth`: times it may halve the picture."""
    halving = HALVING | ({"conv1": HOLED["conv1"]} if holes else {})
    doubling = DOUBLING | ({"far": HOLED["far"]} if holes else {})
    layers, stride = [], 1
    for _ in range(draw(st.integers(1, 2))):
        if depth and draw(st.booleans()):
            inner, own = draw(parts(depth - 1, holes))
            part: nn.Module = nn.Sequential(
                halving[draw(st.sampled_from(sorted(halving)))](),
                inner,
                doubling[draw(st.sampled_from(sorted(doubling)))](),
            )
            stride = max(stride, 2 * own)
        else:
            part = draw(same())
        layers.append(draw(st.sampled_from([part, Sum(part), Beside(part)])))
    return nn.Sequential(*layers), stride


@st.composite
def systems(draw: Any, holes: bool, depth: int = 2) -> Wrapped:
    """A random system with random weights, which may enlarge by two."""
    torch.manual_seed(draw(st.integers(0, 1000)))
    network, stride = draw(parts(depth, holes))
    if draw(st.booleans()):
        network = nn.Sequential(network, DOUBLING[draw(st.sampled_from(sorted(DOUBLING)))]())
    return Wrapped(network, stride)


@torch.no_grad()
def tried(system: System, around: int) -> tuple[int, int, int, int]:
    """How far outputs see up, down, left and right, as NaN in a line of the input tells.

    There is one picture for each of its lines: so every place within the stride is tried, and
    places near the border. `around`: px that the picture goes beyond a stride on both sides.
    """
    system = system.double()  # single precision may run in blocks, in which NaN spreads
    channels = system.facts.channels[system.source]
    size = (2 * around // system.stride + 2) * system.stride
    short = max(system.facts.size)
    found = []
    for axis in (2, 3):
        pictures = torch.rand(size, channels, size, short, dtype=torch.double)
        pictures[range(size), :, range(size)] = torch.nan
        made = system.generate({system.source: pictures.transpose(2, axis)}).transpose(2, axis)
        scale = made.shape[2] // size
        touched = made.isnan().any(dim=1).any(dim=-1)  # [line of the input, line of the output]
        apart = torch.arange(touched.shape[1]) // scale - torch.arange(size)[:, None]
        seen = torch.where(touched, apart, 0)
        found += [int(seen.max()), int(-seen.min())]
    return found[0], found[1], found[2], found[3]
