"""Patch discriminators at several scales of a picture, whose every layer is heard."""

from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import SettingsError
from dragoman.networks import blocks
from dragoman.networks.blocks import Norm
from dragoman.networks.spectral import SpectralConv2d

KERNEL, PADDING = 4, 2


class Layer(nn.Module):
    """Convolution, norm, leaky ReLU."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, norm: Norm, spectral: bool = False
    ) -> None:
        super().__init__()
        kind = SpectralConv2d if spectral else nn.Conv2d
        bias = not spectral or norm == "none"  # as the two reference codes have it
        self.conv = kind(inputs, outputs, KERNEL, stride, PADDING, bias=bias)
        self.norm = blocks.norm(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H // stride + 1, W // stride + 1]."""
        return functional.leaky_relu(self.norm(self.conv(x)), 0.2)


class PatchLayers(nn.Module):
    """The discriminator of one scale: `layers` halvings, then two convolutions of stride 1."""

    def __init__(
        self, inputs: int, width: int, layers: int, norm: Norm, spectral: bool, max_width: int
    ) -> None:
        super().__init__()
        widths = [min(width * 2**index, max_width) for index in range(layers + 1)]
        self.layers = nn.ModuleList([Layer(inputs, width, 2, "none")])
        for index in range(1, layers + 1):
            stride = 2 if index < layers else 1
            self.layers.append(Layer(widths[index - 1], widths[index], stride, norm, spectral))
        self.last = nn.Conv2d(widths[-1], 1, KERNEL, padding=PADDING)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, inputs, H, W] to the activation of each layer, the logits [B, 1, ...] last."""
        heard = []
        for layer in self.layers:
            x = layer(x)
            heard.append(x)
        return [*heard, self.last(x)]


def check_scales(scales: int, side: int) -> None:
    """Raise SettingsError if pictures of that shorter side have too few pixels for the scales.

    Of a single pixel batch norm has no variance and no layer sees more than itself.
    """
    most = (side - 1).bit_length()
    if scales > most:
        raise SettingsError(
            f"--scales {scales} leaves less than 2 px of pictures of {side} px, which the "
            "discriminator sees; use "
            + (f"--scales {most} or less, or " if most else "")
            + "a larger --size"
        )


class MultiscaleDiscriminator(nn.Module):
    """Judges a picture at full, half, quarter ... size, each with its own network.

    Wang et al. 2018 (section 3.2); with `spectral` that of Park et al. 2019 (appendix A), where
    all convolutions but the first and the last of each scale are spectrally normalised and those
    with a norm have no bias. `layers` counts the halvings: 3 is `n_layers` 3 of pix2pixHD's code
    and `n_layers_D` 4 of SPADE's. Widths double from `width` up to `max_width`.
    """

    def __init__(
        self,
        inputs: int,
        width: int = 64,
        layers: int = 3,
        scales: int = 2,
        norm: Norm = "instance",
        spectral: bool = False,
        max_width: int = 512,
    ) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(
            PatchLayers(inputs, width, layers, norm, spectral, max(width, max_width))
            for _ in range(scales)
        )

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """[B, inputs, H, W] to the activations of each scale, full resolution first.

        Of each scale: the output of each layer, logits [B, 1, ...] last.
        """
        judged = []
        for index, discriminator in enumerate(self.discriminators):
            if index:
                x = blocks.halve(x)
            judged.append(discriminator(x))
        return judged
