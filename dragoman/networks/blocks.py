"""Building blocks of several networks: norms, upsampling convolutions, starting weights."""

from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import choose

Norm = Literal["batch", "instance", "group", "none"]
Upsample = Literal["transposed", "nearest", "bilinear", "pixelshuffle"]
Resize = Literal["nearest", "bilinear"]
Border = Literal["zeros", "replicate"]
Start = Literal["normal", "xavier", "kaiming", "orthogonal"]

Network = TypeVar("Network", bound=nn.Module)

GROUPS = 32  # at most
GROUP_CHANNELS = 4  # at least, where the channels can be divided so


class InstanceNorm(nn.Module):
    """Each channel of each picture to mean 0 and variance 1 (Ulyanov et al. 2016).

    A single pixel is its own mean and would become 0, so that everything it knows were lost;
    PyTorch's layer refuses it. Here a map of 1 x 1 passes unchanged.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        if x.shape[-2] * x.shape[-1] == 1:
            return x
        # A group norm of single channels gives the same numbers and is faster on CPUs.
        return functional.group_norm(x, self.channels)

    def extra_repr(self) -> str:
        """The number of channels."""
        return str(self.channels)


def groups(channels: int) -> int:
    """Number of groups for a group norm: the most, up to 32, of at least 4 channels each."""
    known = range(1, max(1, min(GROUPS, channels // GROUP_CHANNELS)) + 1)
    return max(count for count in known if channels % count == 0)


def norm(kind: Norm, channels: int) -> nn.Module:
    """Make a normalising layer for [B, channels, H, W].

    Instance norm has neither scale nor running statistics, as in the reference code of pix2pix;
    batch and group norm have a scale and shift for each channel.
    """
    choose("norm", kind, get_args(Norm))
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "instance":
        return InstanceNorm(channels)
    if kind == "group":
        return nn.GroupNorm(groups(channels), channels)
    return nn.Identity()


class NearestConvolution(nn.Conv2d):
    """Doubles the sides by repeating pixels, then convolves 3 x 3 (Odena et al. 2016).

    Both at once are a transposed convolution of stride 2 whose 4 x 4 kernel is the 3 x 3 kernel
    summed over the pixels that repeat the same value: the same numbers for 4/9 of the work.
    """

    spread: Tensor

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, border: Border = "zeros"
    ) -> None:
        super().__init__(inputs, outputs, 3, padding=1, padding_mode=border, bias=bias)
        # Row m of the line kernel: which of the 3 taps meet the pixel that tap m of 4 meets.
        line = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
        self.register_buffer("spread", torch.kron(line, line).T.contiguous(), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, 2H, 2W]."""
        kernel = self.weight.transpose(0, 1).flatten(2) @ self.spread
        kernel = kernel.unflatten(2, (4, 4))
        padding = 1
        if self.padding_mode == "replicate":  # a pixel more all around, whose two outputs go again
            input, padding = functional.pad(input, (1, 1, 1, 1), mode="replicate"), 3
        return functional.conv_transpose2d(input, kernel, self.bias, stride=2, padding=padding)


def halve(x: Tensor) -> Tensor:
    """[B, C, H, W] to half the sides, odd ones rounded up; the mean of the 3 x 3 in the picture."""
    return functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)


def halve_smoothly(x: Tensor) -> Tensor:
    """[B, C, H, W] to half the sides, odd ones rounded up, pixels weighed 1, 2, 1 (Zhang 2019).

    Reflected at the border, which takes sides of at least 2. The 3 x 3 weights are those of two
    averages of 2 x 2, one after the other, which need no kernel of every channel.
    """
    framed = functional.pad(x, (1, 1, 1, 1), mode="reflect")
    return functional.avg_pool2d(functional.avg_pool2d(framed, 2, 1), 2)


def up_convolution(
    kind: Upsample,
    inputs: int,
    outputs: int,
    bias: bool = True,
    kernel: Literal[3, 4] = 4,
) -> nn.Module:
    """Make a layer from [B, inputs, H, W] to [B, outputs, 2H, 2W].

    `kernel` is the side of the transposed convolution's kernel; the others convolve 3 x 3.
    """
    choose("upsample", kind, get_args(Upsample))
    if kind == "transposed":
        return nn.ConvTranspose2d(
            inputs, outputs, kernel, stride=2, padding=1, output_padding=4 - kernel, bias=bias
        )
    if kind == "nearest":
        return NearestConvolution(inputs, outputs, bias)
    if kind == "bilinear":
        return nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias),
        )
    return nn.Sequential(
        nn.Conv2d(inputs, 4 * outputs, 3, padding=1, bias=bias),
        nn.PixelShuffle(2),
    )


def painted(logits: Tensor, picture: Tensor, kept: int) -> Tensor:
    """tanh of logits [B, n * kept, H, W], each onto the first `kept` channels of a picture.

    kept 0: of any logits, onto nothing. In the picture's precision: bfloat16 would show as bands.
    """
    logits = logits.to(picture.dtype)
    if kept:
        logits = logits + torch.cat([picture[:, :kept]] * (logits.shape[1] // kept), 1)
    return torch.tanh(logits)


def silence(layer: nn.Module) -> None:
    """Let the convolutions of a layer make zeros at first (Goyal et al. 2017, section 5.1)."""
    for one in layer.modules():
        if isinstance(one, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.zeros_(one.weight)


def set_border(network: nn.Module, border: Border) -> None:
    """Let the convolutions of a network that see zeros beyond the border see `border` instead.

    Transposed convolutions know zeros only and stay as they are.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros":
            layer.padding_mode = border


def initialise(network: Network, kind: Start = "normal", gain: float = 0.02) -> Network:
    """Draw the starting weights of every convolution and linear layer; return the network.

    Biases start at 0, scales of norms at N(1, gain). The "normal" start has standard deviation
    `gain` (Radford et al. 2016); the others multiply their own by it, save "kaiming".
    """
    choose("start", kind, get_args(Start))
    for layer in network.modules():
        scaling = isinstance(layer, nn.BatchNorm2d | nn.GroupNorm)
        if not scaling and not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            continue
        if layer.weight is None:  # a norm that has no scale of its own
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if scaling:
            nn.init.normal_(layer.weight, 1.0, gain)
        elif kind == "normal":
            nn.init.normal_(layer.weight, 0.0, gain)
        elif kind == "xavier":
            nn.init.xavier_normal_(layer.weight, gain)
        elif kind == "kaiming":
            nn.init.kaiming_normal_(layer.weight)
        else:
            nn.init.orthogonal_(layer.weight, gain)
    return network
