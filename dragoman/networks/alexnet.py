"""AlexNet's convolutions (Krizhevsky 2014, one tower) with torchvision's ImageNet weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from dragoman.networks.frozen_features import FrozenFeatures, Layers
from dragoman.weights import FOLDER

SMALLEST = 31  # px: a smaller side leaves nothing for the second pooling
STRIDE = 4  # px between the places that its first layer looks at
RELUS = ("relu1", "relu2", "relu3", "relu4", "relu5")


def layers() -> Layers:
    """The layers by name, without values."""
    with torch.device("meta"):
        return [
            ("conv1", nn.Conv2d(3, 64, 11, stride=STRIDE, padding=2)),
            ("relu1", nn.ReLU()),
            ("pool1", nn.MaxPool2d(3, 2)),
            ("conv2", nn.Conv2d(64, 192, 5, padding=2)),
            ("relu2", nn.ReLU()),
            ("pool2", nn.MaxPool2d(3, 2)),
            ("conv3", nn.Conv2d(192, 384, 3, padding=1)),
            ("relu3", nn.ReLU()),
            ("conv4", nn.Conv2d(384, 256, 3, padding=1)),
            ("relu4", nn.ReLU()),
            ("conv5", nn.Conv2d(256, 256, 3, padding=1)),
            ("relu5", nn.ReLU()),
            ("pool5", nn.MaxPool2d(3, 2)),
        ]


class AlexNet(FrozenFeatures):
    """Named activations: conv1, relu1, pool1, conv2, ..., relu5, pool5.

    Input [B, 3, H, W] with sides of at least 31 px, scaled by `frozen_features.imagenet` or, for
    LPIPS, by its own shift and scale. The weights come with the package.
    """

    def __init__(
        self,
        taps: Sequence[str] = RELUS,
        weights: Path | Mapping[str, Tensor] = FOLDER / "alexnet_features.safetensors",
    ) -> None:
        super().__init__(layers(), taps, weights)
