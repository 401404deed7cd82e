"""StarGAN v2's four networks (Choi et al. 2020, section 2.1 and appendix A)."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import DataError, SettingsError
from dragoman.networks.blocks import Resize, up_convolution
from dragoman.networks.scaled_norm import ScaledNorm, scaled_norm
from dragoman.networks.spatial_norm import Base, ModulatedNorm

SLOPE = 0.2
HALF = math.sqrt(0.5)  # so that the sum of two values of variance 1 has variance 1
SMALLEST = 4  # px of the sides that the last convolution of discriminator and style encoder sees
BOTTOM, DEEPER = 16, 8  # px in the middle of the generator, and of one with a high pass
CARRIED = (32, 64, 128)  # heights of the maps of which a high pass brings details across
BOTTLENECK = 2  # blocks at the smallest size, on either side


def halvings(size: int | tuple[int, int], least: int) -> int:
    """How often the shorter side can be halved so that at least `least` px are left.

    least: BOTTOM for the generator, DEEPER for one with a high pass, SMALLEST for discriminator
    and style encoder, as the reference code has it for sides that are a power of two. Raises
    SettingsError where the pictures are smaller than that.
    """
    sides = (size, size) if isinstance(size, int) else size
    if min(sides) < least:
        raise SettingsError(
            f"this network needs pictures of at least {least} x {least} px, these have "
            f"{sides[0]} x {sides[1]}; choose a larger --size"
        )
    return (min(sides) // least).bit_length() - 1


def widths_of(width: int, halved: int, most: int) -> list[int]:
    """Channels before, between and after so many halvings: each doubles them, up to `most`."""
    widths = [width]
    for _ in range(halved):
        widths.append(min(2 * widths[-1], most))
    return widths


class Residual(nn.Module):
    """A residual block that may halve the sides; its norms have a scale of their own.

    norm: see `scaled_norm`; discriminator and style encoder have none.
    """

    def __init__(
        self, inputs: int, outputs: int, norm: ScaledNorm = "none", halve: bool = False
    ) -> None:
        super().__init__()
        self.halve = halve
        self.norm1, self.norm2 = (scaled_norm(norm, inputs) for _ in range(2))
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.shortcut = _shortcut(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H, W], or [B, outputs, H // 2, W // 2]."""
        hidden = self.conv1(functional.leaky_relu(self.norm1(x), SLOPE))
        if self.halve:
            # Means of pixels and mixtures of channels commute: fewer pixels come to be mixed.
            x, hidden = functional.avg_pool2d(x, 2), functional.avg_pool2d(hidden, 2)
        hidden = self.conv2(functional.leaky_relu(self.norm2(hidden), SLOPE))
        return (self.shortcut(x) + hidden) * HALF


class StyledResidual(nn.Module):
    """A residual block whose norms are AdaIN of a style vector; it may double the sides.

    upsample: None, or how the sides are doubled. alone: without a shortcut, as in generators with a
    high pass, whose details come across otherwise. base: the norm, instance for AdaIN.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        style: int,
        upsample: Resize | None = None,
        alone: bool = False,
        base: Base = "instance",
    ) -> None:
        super().__init__()
        self.upsample = upsample
        self.norm1 = ModulatedNorm(inputs, style, "vector", base)
        self.norm2 = ModulatedNorm(outputs, style, "vector", base)
        if upsample:
            self.conv1 = up_convolution(upsample, inputs, outputs)
        else:
            self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = None if alone else _shortcut(inputs, outputs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[B, inputs, H, W] and styles [B, style] to [B, outputs, H, W] or [B, outputs, 2H, 2W]."""
        hidden = self.conv1(functional.leaky_relu(self.norm1(x, style), SLOPE))
        hidden = self.conv2(functional.leaky_relu(self.norm2(hidden, style), SLOPE))
        if self.shortcut is None:
            return hidden
        x = self.shortcut(x)
        if self.upsample:
            x = functional.interpolate(x, scale_factor=2, mode=self.upsample)
        return (x + hidden) * HALF


def _shortcut(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()


class HighPass(nn.Module):
    """What a pixel differs by from its 8 neighbours, summed and divided by `strength`."""

    kernel: Tensor

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength
        kernel = torch.full((3, 3), -1.0)
        kernel[1, 1] = 8.0
        self.register_buffer("kernel", kernel / strength, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape; beyond the border there is 0."""
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, 3, 3)
        return functional.conv2d(x, kernel, padding=1, groups=channels)


class StyleGenerator(nn.Module):
    """Gives a picture another style: halvings, blocks at the bottom, doublings with AdaIN.

    Encoding blocks have plain instance norms, decoding blocks AdaIN, two of either at the bottom.
    channels: of pictures read and made. style: length of style vectors. halved: times that the
    sides are halved, see `halvings`. high_pass: 0, or what the details of masked places, such as
    a face's eyes, are divided by before they are added to what is decoded; the decoding blocks
    have no shortcuts then (appendix A: the skip connections for CelebA-HQ). norm: the plain norms;
    with "none" how light a picture is can pass through the shortcuts, with "layer", which is the
    styled blocks' norm then too, also how strong its patterns are.
    upsample: how the sides are doubled.
    """

    def __init__(
        self,
        channels: int,
        style: int = 64,
        width: int = 64,
        halved: int = 4,
        high_pass: float = 0.0,
        max_width: int = 512,
        norm: ScaledNorm = "instance",
        upsample: Resize = "nearest",
    ) -> None:
        super().__init__()
        self.stride = 2**halved
        widths = widths_of(width, halved, max_width)
        pairs, widest = list(pairwise(widths)), widths[-1]
        alone = high_pass > 0
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.encode = nn.ModuleList(Residual(c, more, norm, halve=True) for c, more in pairs)
        self.encode.extend(Residual(widest, widest, norm) for _ in range(BOTTLENECK))
        base: Base = "layer" if norm == "layer" else "instance"
        self.decode = nn.ModuleList(
            StyledResidual(widest, widest, style, None, alone, base) for _ in range(BOTTLENECK)
        )
        self.decode.extend(
            StyledResidual(more, c, style, upsample, alone, base) for c, more in reversed(pairs)
        )
        self.high_pass = HighPass(high_pass) if alone else None
        self.norm = scaled_norm(norm, width)
        self.last = nn.Conv2d(width, channels, 1)

    def forward(
        self, x: Tensor, style: Tensor, masks: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Pictures [B, channels, H, W] and styles [B, style] to pictures, which no bound holds.

        masks: with a high pass, where details are kept, [B, 1, h, w] in [0, 1] of any sides: the
        first at a height of 32 px, the second at 64 and 128 px. Raises SettingsError for masks
        without a high pass.
        """
        if masks is not None and self.high_pass is None:
            raise SettingsError("masks need a generator with a high pass: set --high_pass 1")
        hidden, kept = self.first(x), {}
        for block in self.encode:
            if masks is not None:
                kept[hidden.shape[-2]] = hidden
            hidden = block(hidden)
        for block in self.decode:
            hidden = block(hidden, style)
            height = hidden.shape[-2]
            if masks is not None and height in CARRIED:
                hidden = hidden + self._details(kept[height], masks[int(height != CARRIED[0])])
        hidden = self.last(functional.leaky_relu(self.norm(hidden), SLOPE))
        return hidden.to(x.dtype)

    def _details(self, hidden: Tensor, mask: Tensor) -> Tensor:
        assert self.high_pass is not None
        mask = functional.interpolate(mask, hidden.shape[-2:], mode="bilinear")
        return self.high_pass(mask * hidden)


class MappingNetwork(nn.Module):
    """From noise to a style of each domain: layers in common, then some of each domain's own."""

    def __init__(
        self,
        domains: int,
        latent: int = 16,
        style: int = 64,
        hidden: int = 512,
        shared: int = 4,
        own: int = 4,
    ) -> None:
        """shared, own: numbers of linear layers, of which the very last has no ReLU."""
        super().__init__()
        self.shared = _dense([latent, *[hidden] * shared])
        widths = [hidden if shared else latent, *[hidden] * (own - 1), style]
        self.heads = nn.ModuleList(_dense(widths) for _ in range(domains))

    def forward(self, noise: Tensor, domain: Tensor | int) -> Tensor:
        """Noise [B, latent] from N(0, I) and domains [B], int64, to styles [B, style].

        Of a single domain, given as its number, only that head runs.
        """
        for layer in self.shared:
            noise = functional.relu(layer(noise))
        if isinstance(domain, int):
            return _through(noise, self.heads[domain])
        return _of_domain([_through(noise, head) for head in self.heads], domain)


def _dense(widths: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))


def _through(x: Tensor, layers: nn.Module) -> Tensor:
    """Linear layers with ReLUs between."""
    for index, layer in enumerate(layers.children()):
        x = layer(functional.relu(x) if index else x)
    return x


def _of_domain(each: Sequence[Tensor], domain: Tensor) -> Tensor:
    """Of what every domain's head gives, [B, D] each, that of each picture's domain: [B, D].

    All heads take part, so that those not asked for have a gradient of 0 and move on as Adam does.
    """
    return torch.stack(tuple(each), 1)[torch.arange(len(domain), device=domain.device), domain]


class Trunk(nn.Module):
    """Residual blocks without norms that halve the sides, then a convolution of all that is left.

    inputs: channels of pictures. Where more than 4 x 4 px are left, its places are averaged.
    """

    def __init__(self, inputs: int, width: int, halved: int, max_width: int) -> None:
        super().__init__()
        widths = widths_of(width, halved, max_width)
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.blocks = nn.ModuleList(Residual(c, more, halve=True) for c, more in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], widths[-1], SMALLEST)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs]; raises DataError for pictures that are too small."""
        least = SMALLEST << len(self.blocks)
        if min(x.shape[-2:]) < least:
            raise DataError(
                f"this network judges pictures of at least {least} x {least} px, not "
                f"{x.shape[-2]} x {x.shape[-1]}; choose a larger --size"
            )
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        x = self.last(functional.leaky_relu(x, SLOPE))
        return functional.leaky_relu(x, SLOPE).mean((2, 3))

    @property
    def outputs(self) -> int:
        """Length of the vector that it makes."""
        return self.last.out_channels


class StyleEncoder(nn.Module):
    """The style of a picture as each domain sees it: a trunk, and a linear head for each."""

    def __init__(
        self,
        inputs: int,
        domains: int,
        style: int = 64,
        width: int = 64,
        halved: int = 6,
        max_width: int = 512,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(inputs, width, halved, max_width)
        self.heads = nn.ModuleList(nn.Linear(self.trunk.outputs, style) for _ in range(domains))

    def forward(self, x: Tensor, domain: Tensor | int) -> Tensor:
        """Pictures [B, inputs, H, W] and domains [B], int64, or a single one, to [B, style]."""
        seen = self.trunk(x)
        if isinstance(domain, int):
            return self.heads[domain](seen)
        return _of_domain([head(seen) for head in self.heads], domain)


class DomainDiscriminator(nn.Module):
    """Judges a picture as one of its domain: a trunk, and a logit for each (section 2.1)."""

    def __init__(
        self, inputs: int, domains: int, width: int = 64, halved: int = 6, max_width: int = 512
    ) -> None:
        super().__init__()
        self.trunk = Trunk(inputs, width, halved, max_width)
        self.last = nn.Linear(self.trunk.outputs, domains)

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        """Pictures [B, inputs, H, W] and domains [B], int64, to logits [B]."""
        logits = self.last(self.trunk(x))
        return logits[torch.arange(len(domain), device=domain.device), domain]
