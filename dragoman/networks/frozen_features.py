"""Convolutions with fixed weights whose named activations serve measures and perceptual losses."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from dragoman.errors import choose
from dragoman.weights import read_weights

Layers = list[tuple[str, nn.Module]]


class FrozenFeatures(nn.Module):
    """A chain of named layers that never learns and returns the activations asked for.

    The layers keep torchvision's numbers (`features.N`), so its weights fit as they are. Only
    layers up to the last one asked for are kept. Build the layers on the meta device: then no
    random number is drawn and no memory is filled before the weights arrive.
    """

    def __init__(
        self, layers: Layers, taps: Sequence[str], weights: Path | Mapping[str, Tensor]
    ) -> None:
        """`weights` is a safetensors file or a state dict with the keys `features.N.*`."""
        super().__init__()
        names = [name for name, _ in layers]
        self.taps = tuple(choose("layer", tap, names) for tap in taps)
        end = 1 + max(names.index(tap) for tap in self.taps)
        self.names = names[:end]
        self.features = nn.Sequential(*(layer for _, layer in layers[:end]))
        expected = {key: tuple(value.shape) for key, value in self.state_dict().items()}
        if isinstance(weights, Path):
            weights = read_weights(weights, expected)
        else:
            weights = {key: weights[key].detach().float() for key in expected}
        self.load_state_dict(weights, assign=True)
        self.requires_grad_(False)

    @property
    def smallest(self) -> int:
        """The least side in pixels of pictures of which the last layer still sees something."""
        side = 1
        for layer in reversed(self.features):
            if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
                kernel, stride, padding = (
                    v if isinstance(v, int) else int(v[0])
                    for v in (layer.kernel_size, layer.stride, layer.padding)
                )
                side = max(1, (side - 1) * stride + kernel - 2 * padding)
        return side

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return {name: activation [B, C, H, W]} for [B, 3, H, W] in the range of the weights."""
        activations = {}
        for name, layer in zip(self.names, self.features, strict=True):
            pictures = layer(pictures)
            if name in self.taps:
                activations[name] = pictures
        return {tap: activations[tap] for tap in self.taps}


def imagenet(pictures: Tensor) -> Tensor:
    """Bring [-1, 1] to the mean 0 and variance 1 per colour on which ImageNet nets were trained."""
    mean = torch.tensor((0.485, 0.456, 0.406), device=pictures.device, dtype=pictures.dtype)
    deviation = torch.tensor((0.229, 0.224, 0.225), device=pictures.device, dtype=pictures.dtype)
    return ((pictures + 1) / 2 - mean[:, None, None]) / deviation[:, None, None]


def as_colour(pictures: Tensor) -> Tensor:
    """Bring pictures [B, C, H, W] of any channels to what colour networks see: [B * n, 3, H, W].

    The one rule for measures and losses on perceptual features: three channels are a colour
    picture (n = 1); one channel is repeated to three (n = 1); of any other number each channel is
    a grey picture of its own (n = C), and what is measured is averaged over them with `per_one`.
    """
    channels = pictures.shape[1]
    if channels == 3:
        return pictures
    return pictures.reshape(-1, 1, *pictures.shape[2:]).expand(-1, 3, -1, -1)


def per_one(values: Tensor, count: int) -> Tensor:
    """Average what was measured of `as_colour` pictures over those of each picture.

    values: [B * n, ...], count: B; returns [B, ...].
    """
    return values.unflatten(0, (count, -1)).mean(1)
