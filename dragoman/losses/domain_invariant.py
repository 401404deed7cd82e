"""The domain-invariant perceptual distance of MUNIT (Huang et al. 2018, section 5.1)."""

from pathlib import Path
from typing import Literal

from torch import Tensor

from dragoman.losses.distances import full
from dragoman.losses.perceptual import Layers, Perceptual, PerceptualSettings, Scaling
from dragoman.networks.blocks import InstanceNorm
from dragoman.networks.frozen_features import FrozenFeatures
from dragoman.networks.vgg import VGG

DEEPEST: Layers = {"alex": {"relu5": 1.0}, "vgg16": {"relu5_3": 1.0}, "vgg19": {"relu5_4": 1.0}}
POOLS = (1, 2, 3)  # blocks of VGG16 that end in a pooling: the reference code has no fourth


class DomainInvariant(Perceptual):
    """The mean squared difference of activations after instance norm, which takes the style away.

    So a picture may be compared with its translation: what is left of the activations is less of
    how things look than of what they are. As in the reference code relu5_3 of VGG16 is heard, at
    twice its usual resolution, since the fourth pooling is left out.
    """

    def __init__(
        self,
        settings: PerceptualSettings,
        layers: Layers = DEEPEST,
        distance: Literal["l1", "l2"] = "l2",
        scaling: Scaling = "imagenet",
    ) -> None:
        """Takes what `Perceptual` takes; the official weights of VGG16 want the scaling "caffe"."""
        super().__init__(settings, layers, distance, scaling)

    def features(self, pictures: Tensor) -> dict[str, Tensor]:
        """The normalised activations of its layers for pictures [B, C, H, W] in [-1, 1], by name.

        An activation of a single pixel, which has no variance, stays as it is.
        """
        heard = super().features(pictures)
        return {name: InstanceNorm(x.shape[1])(full(x)) for name, x in heard.items()}

    def _read(self) -> FrozenFeatures:
        if self.backbone != "vgg16":
            return super()._read()
        return VGG(Path(self.file) if self.file else None, 16, list(self.weights), pools=POOLS)
