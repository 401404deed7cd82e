"""Learned perceptual distance LPIPS v0.1 (Zhang et al. 2018) of each picture."""

from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dragoman.errors import DataError, choose
from dragoman.metrics.metric import Metric, at_least, unit_range
from dragoman.networks import alexnet, vgg
from dragoman.networks.frozen_features import as_colour, per_one
from dragoman.weights import FOLDER, read_weights

WIDTHS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
SMALLEST = {"alex": alexnet.SMALLEST, "vgg": vgg.SMALLEST}
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # the official scaling layer
TINY = 1e-10  # the official epsilon beside the norm


class LPIPS(nn.Module):
    """Distance of pictures [B, C, H, W] in [-1, 1]; equal to the official network in float32.

    backbone: "alex" (AlexNet, weights in the package, sides from 31 px) or "vgg" (VGG16, sides
    from 16 px), whose weights are read from `vgg_file`: safetensors in torchvision's naming.
    Pictures of other than three channels follow the rule of `as_colour`. Never learns; gradients
    reach the pictures and are finite, also where all activations are zero. Smaller pictures are
    refused and not enlarged, since that would be another measure under the same name. Raises
    DataError, FileError.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, backbone: Literal["alex", "vgg"] = "alex", vgg_file: Path | str | None = None
    ) -> None:
        super().__init__()
        self.backbone = choose("backbone", backbone, WIDTHS)
        if backbone == "alex":
            self.network: nn.Module = alexnet.AlexNet()
        else:
            self.network = vgg.VGG(Path(vgg_file) if vgg_file else None)
        shapes = {
            f"{backbone}/lin{layer}.model.1.weight": (1, width, 1, 1)
            for layer, width in enumerate(WIDTHS[backbone])
        }
        weights = read_weights(FOLDER / "lpips_linear.safetensors", shapes)
        for layer, weight in enumerate(weights.values()):
            self.register_buffer(f"linear{layer}", weight)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the distances [B], 0 if equal (equation 1)."""
        return self.layers(x, y).sum(1)

    def layers(self, x: Tensor, y: Tensor) -> Tensor:
        """Return what each of the five layers adds to the distance: [B, 5]."""
        parts = [part.mean((1, 2, 3)) for part in self._differences(x, y)]
        return per_one(torch.stack(parts, dim=1), len(x))

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the distance of every pixel, [B, 1, H, W], the layers enlarged bilinearly."""
        enlarged = [
            interpolate(part, x.shape[-2:], mode="bilinear", align_corners=False)
            for part in self._differences(x, y)
        ]
        return per_one(torch.stack(enlarged).sum(0), len(x))

    def activations(self, pictures: Tensor) -> list[Tensor]:
        """Return the five layers' activations of `as_colour` pictures, of length 1 at each pixel.

        With `between`, of use where one picture is compared with many.
        """
        # the distance is a small difference of large numbers: never in half precision
        with torch.autocast(pictures.device.type, enabled=False):
            seen = as_colour(pictures.float())
            return [
                # vector_norm has the gradient 0 at 0, where the square root of a sum has none
                layer / (torch.linalg.vector_norm(layer, dim=1, keepdim=True) + TINY)
                for layer in self.network((seen - self.shift) / self.scale).values()
            ]

    def between(self, one: list[Tensor], other: list[Tensor], count: int) -> Tensor:
        """Return the distances [count] of `count` pictures by the `activations` of each."""
        parts = [
            self._difference(number, first, second).mean((1, 2, 3))
            for number, (first, second) in enumerate(zip(one, other, strict=True))
        ]
        return per_one(torch.stack(parts, dim=1), count).sum(1)

    def _differences(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """The weighted squared difference of the activations, [B, 1, h, w] a layer."""
        self.check(x, y)
        with torch.autocast(x.device.type, enabled=False):
            layers = self.activations(torch.cat([x.float(), y.float()]))
            return [
                self._difference(number, *layer.chunk(2)) for number, layer in enumerate(layers)
            ]

    def _difference(self, number: int, first: Tensor, second: Tensor) -> Tensor:
        return ((first - second) ** 2 * self.get_buffer(f"linear{number}")).sum(1, keepdim=True)

    def check(self, x: Tensor, y: Tensor) -> None:
        """Raise DataError unless both are pictures of one shape and large enough."""
        if x.shape != y.shape or x.ndim != 4:
            raise DataError(
                f"LPIPS compares pictures of one shape, not {list(x.shape)} with {list(y.shape)}"
            )
        at_least(SMALLEST[self.backbone], x, "LPIPS")


@lru_cache(maxsize=2)
def alex(device: str) -> LPIPS:
    """LPIPS with AlexNet on a device; the weights are read at the first call."""
    return LPIPS("alex").to(device)


def lpips(fake: Tensor, real: Tensor) -> Tensor:
    """LPIPS with AlexNet: [B], 0 if equal; the weights are read at the first call.

    Raises DataError for pictures below 31 px.
    """
    fake, real = unit_range(fake, real)
    network = alex(str(fake.device))
    seen = fake[0, 0].numel() * (1 if fake.shape[1] == 3 else fake.shape[1])
    few = max(1, 2**22 // seen)  # about 1.5 GB of activations at a time
    pairs = zip(fake.split(few), real.split(few), strict=True)
    return torch.cat([network(2 * one - 1, 2 * other - 1) for one, other in pairs])


LPIPS_ALEX = Metric(
    "lpips",
    "",
    "low",
    lpips,
    "LPIPS v0.1 with AlexNet on pictures in [-1, 1] at their own size, one channel repeated "
    "to three, of other than three channels the mean over each as grey, mean over pictures",
)
