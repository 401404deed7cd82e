"""Perceptual distance: how far the activations of a frozen classifier are apart."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dragoman.errors import SettingsError
from dragoman.losses.distances import l1, l2
from dragoman.networks import alexnet, vgg
from dragoman.networks.alexnet import AlexNet
from dragoman.networks.frozen_features import FrozenFeatures, as_colour, imagenet
from dragoman.networks.vgg import VGG
from dragoman.settings import knob

Backbone = Literal["none", "alex", "vgg16", "vgg19"]
Scaling = Literal["imagenet", "signed", "caffe"]
Shifts = list[list[int]]  # down and to the right, for each picture
Layers = Mapping[str, Mapping[str, float]]  # by backbone: the weight of each layer

CAFFE_MEAN = (123.68, 116.779, 103.939)  # of the red, green and blue of ImageNet, in 0 ... 255
# The layers of the reference codes of pix2pixHD (Wang et al. 2018) and SPADE, shallow to deep.
RISING = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
RISING_VGG = {f"relu{block}_1": weight for block, weight in enumerate(RISING, start=1)}
RISING_LAYERS: Layers = {
    "alex": dict(zip(alexnet.RELUS, RISING, strict=True)),
    "vgg16": RISING_VGG,
    "vgg19": RISING_VGG,
}


@dataclass(frozen=True)
class PerceptualSettings:
    """Knobs of a perceptual term."""

    perceptual: Backbone = knob(
        "alex", "classifier of the perceptual term; alex comes along, vgg16 and vgg19 need a file"
    )
    perceptual_file: str | None = knob(
        None, "ImageNet weights of vgg16 or vgg19: safetensors or torchvision's state dict (.pth)"
    )
    perceptual_layers: str | None = knob(
        None,
        "its layers and their weights, as conv5_4=1 (before activation) or relu1_2=0.5,relu2_2=1; "
        "without it the paper's",
    )


UNUSED = {"file": ("none", "alex"), "layers": ("none",)}  # with which classifiers


class Perceptual:
    """Weighted sum over layers of the mean distance of activations (Johnson et al. 2016).

    No module: what never learns is neither saved nor averaged. The classifier is read at the
    first use, on the device and in the precision of the pictures; no gradient reaches it.
    """

    def __init__(
        self,
        settings: PerceptualSettings,
        layers: Layers,
        distance: Literal["l1", "l2"] = "l1",
        scaling: Scaling = "imagenet",
    ) -> None:
        """layers: the weights of the paper's layers for each classifier.

        scaling: what the classifier is given of pictures in [-1, 1]: "imagenet" brings them to
        mean 0 and variance 1, "signed" leaves them, "caffe" makes 0 ... 255 less ImageNet's mean.
        Raises SettingsError for layers that are not.
        """
        self.backbone, self.file = settings.perceptual, settings.perceptual_file
        for name, value in (("file", self.file), ("layers", settings.perceptual_layers)):
            if value is not None and self.backbone in UNUSED[name]:
                raise SettingsError(
                    f"--perceptual_{name} says nothing with --perceptual {self.backbone}; leave "
                    "one of them out"
                )
        self.distance = {"l1": l1, "l2": l2}[distance]
        self.scaling: Scaling = scaling
        self.weights = dict(layers.get(self.backbone, {}))
        if settings.perceptual_layers is not None and self.backbone != "none":
            self.weights = parse_layers(settings.perceptual_layers, known_layers(self.backbone))
        self._networks: dict[tuple[torch.device, torch.dtype], FrozenFeatures] = {}
        self._given: FrozenFeatures | None = None

    @classmethod
    def of(
        cls,
        network: FrozenFeatures,
        weights: Mapping[str, float],
        distance: Literal["l1", "l2"] = "l1",
        scaling: Scaling = "imagenet",
    ) -> "Perceptual":
        """One whose classifier is at hand; weights: of its layers."""
        made = cls(PerceptualSettings("vgg19"), {"vgg19": weights}, distance, scaling)
        made._given = network
        return made

    def __bool__(self) -> bool:
        """False if there is no perceptual term."""
        return self.backbone != "none" and bool(self.weights)

    def check(self) -> None:
        """Read the classifier now; raises FileError that says where its weights are to be had."""
        if self:
            self._network(torch.device("cpu"), torch.float32)

    def features(self, pictures: Tensor) -> dict[str, Tensor]:
        """The activations of its layers for pictures [B, C, H, W] in [-1, 1], by name.

        One channel is repeated to three; of other numbers than three each is a grey picture, so
        that activations have B * C of them (see `as_colour`). Pictures too small for the layers
        are enlarged first (see `perceptible`).
        """
        # channels of a bf16 picture would be rounded twice: the classifier's input is never short
        pictures = pictures.float() if pictures.dtype != torch.float64 else pictures
        network = self._network(pictures.device, pictures.dtype)
        return network(perceptible(self._scaled(as_colour(pictures)), network.smallest))

    def draw(self, count: int) -> Shifts | None:
        """By how much each of so many pictures is to be moved beneath the classifier's grid.

        AlexNet looks at every fourth pixel, and a loss that always looked at the same ones would
        print that grid into what is made. VGG looks at all: None.
        """
        if self.backbone != "alex":
            return None
        return torch.randint(alexnet.STRIDE, (count, 2)).tolist()

    def __call__(self, fake: Tensor, real: Tensor) -> Tensor:
        """The distance of pictures [B, C, H, W] in [-1, 1] from the true ones, a scalar."""
        shifts = self.draw(len(fake))
        ours = self.features(shifted(fake, shifts))
        with torch.no_grad():
            theirs = self.features(shifted(real, shifts))
        parts = [w * self.distance(ours[name], theirs[name]) for name, w in self.weights.items()]
        return torch.stack(parts).sum()

    def _scaled(self, pictures: Tensor) -> Tensor:
        if self.scaling == "imagenet":
            return imagenet(pictures)
        if self.scaling == "signed":
            return pictures
        mean = torch.tensor(CAFFE_MEAN, device=pictures.device, dtype=pictures.dtype)
        return (pictures + 1) * 127.5 - mean[:, None, None]

    def _network(self, device: torch.device, dtype: torch.dtype) -> FrozenFeatures:
        key = (device, dtype)
        if key not in self._networks:
            # a copy: `to` would move the given one away from under another key
            network = self._read() if self._given is None else copy.deepcopy(self._given)
            self._networks[key] = network.to(device=device, dtype=dtype)
        return self._networks[key]

    def _read(self) -> FrozenFeatures:
        taps = list(self.weights)
        if self.backbone == "alex":
            return AlexNet(taps)
        file = Path(self.file) if self.file else None
        return VGG(file, 16 if self.backbone == "vgg16" else 19, taps)


def shifted(pictures: Tensor, shifts: Shifts | None) -> Tensor:
    """Cut each of [B, C, H, W] at its own place, to sides of 3 px less; None leaves them."""
    if shifts is None:
        return pictures
    height, width = (side - alexnet.STRIDE + 1 for side in pictures.shape[-2:])
    pairs = zip(pictures, shifts, strict=True)
    return torch.stack([one[:, y : y + height, x : x + width] for one, (y, x) in pairs])


def perceptible(pictures: Tensor, smallest: int) -> Tensor:
    """Enlarge pictures [B, C, H, W] by a power of two until no side is below `smallest` px.

    So small pictures, as those of an early stage, are judged by the same layers.
    """
    scale = 1
    while min(pictures.shape[-2:]) * scale < smallest:
        scale *= 2
    if scale == 1:
        return pictures
    return functional.interpolate(pictures, scale_factor=float(scale), mode="bilinear")


def known_layers(backbone: Backbone) -> list[str]:
    """The names of a classifier's layers."""
    if backbone == "alex":
        return [name for name, _ in alexnet.layers()]
    return [name for name, _ in vgg.layers(16 if backbone == "vgg16" else 19)]


def parse_layers(text: str, known: list[str]) -> dict[str, float]:
    """Read "relu1_2=0.5,relu2_2=1"; raises SettingsError."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        try:
            weight = float(number or "1")
        except ValueError:
            weight = float("nan")
        if name not in known or name in found or not 0 < weight < float("inf"):
            raise SettingsError(
                f"--perceptual_layers '{part.strip()}' must be LAYER=WEIGHT with a weight above 0, "
                f"each layer once; layers: {', '.join(known)}"
            )
        found[name] = weight
    return found
