"""The convolutions of VGG16 and VGG19 (Simonyan and Zisserman 2015, table 1, columns D and E)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from dragoman.errors import FileError
from dragoman.networks.frozen_features import FrozenFeatures, Layers

SMALLEST = 16  # px: relu5_3 lies behind four halvings
DEPTHS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
LPIPS_RELUS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")


def layers(
    depth: int, width: int = 64, average: bool = False, pools: Sequence[int] = (1, 2, 3, 4, 5)
) -> Layers:
    """The layers by name, without values."""
    made: Layers = []
    channels = 3
    with torch.device("meta"):
        for block, convolutions in enumerate(DEPTHS[depth], start=1):
            wide = width * min(2 ** (block - 1), 8)
            for number in range(1, convolutions + 1):
                made.append((f"conv{block}_{number}", nn.Conv2d(channels, wide, 3, padding=1)))
                made.append((f"relu{block}_{number}", nn.ReLU()))
                channels = wide
            pool = nn.AvgPool2d(2) if average else nn.MaxPool2d(2)
            # a place holder where no pooling is wanted keeps torchvision's numbers
            made.append((f"pool{block}", pool if block in pools else nn.Identity()))
    return made


class VGG(FrozenFeatures):
    """Named activations: conv1_1, relu1_1, conv1_2, ..., pool5.

    Input [B, 3, H, W]; which scaling it wants depends on where the weights come from: those of
    torchvision want `frozen_features.imagenet`. No weights come with the package.

    width: channels of the first block (64; less for tests). pooling: "max", or "average" as in
    Gatys et al. 2016. pools: the blocks that end in a pooling; MUNIT leaves out the fourth.
    """

    def __init__(
        self,
        weights: Path | Mapping[str, Tensor] | None,
        depth: Literal[16, 19] = 16,
        taps: Sequence[str] = LPIPS_RELUS,
        width: int = 64,
        pooling: Literal["max", "average"] = "max",
        pools: Sequence[int] = (1, 2, 3, 4, 5),
    ) -> None:
        if weights is None or (isinstance(weights, Path) and not weights.is_file()):
            raise FileError(missing(weights, depth))
        super().__init__(layers(depth, width, pooling == "average", pools), taps, weights)


def missing(file: Path | None, depth: int) -> str:
    """Say where VGG weights are to be had and what to type."""
    found = f"there is no file '{file}'" if file else "no file was given"
    return (
        f"VGG{depth} needs its ImageNet weights, but {found}; get them with "
        f"`hf download timm/vgg{depth}.tv_in1k model.safetensors --local-dir vgg{depth}` and name "
        f"the file vgg{depth}/model.safetensors, or name torchvision's own "
        f"(its `vgg{depth}(weights='IMAGENET1K_V1').state_dict()` as .pth)"
    )
