"""Pictures in tiles and as a whole, for tests of tiling."""

from collections.abc import Callable
from typing import Any

import torch
from synthetic import make
from torch import Tensor
from torch.nn import functional

from dragoman.networks.blocks import initialise
from dragoman.system import Facts, System
from dragoman.tiling import Tiler, TileSettings, steady_noise
from dragoman.tiling.layout import mirrored, padded
from dragoman.tiling.place import Box

FACTS = Facts({"a": 3, "b": 3}, (32, 32), images=1)


def photograph(height: int, width: int, channels: int = 3) -> Tensor:
    """A picture of soft large forms and some grain, brighter to the right."""
    torch.manual_seed(7)
    coarse = torch.randn(1, channels, height // 24 + 2, width // 24 + 2)
    forms = functional.interpolate(coarse, (height, width), mode="bicubic")
    ramp = torch.linspace(-0.5, 0.5, width)
    return (0.3 * forms + ramp + 0.1 * torch.randn(1, channels, height, width)).clamp(-1, 1)


@torch.no_grad()
def untiled(system: System, picture: Tensor, seed: int = 0) -> Tensor:
    """What the system makes of the padded whole, cut back."""
    height, width = picture.shape[2:]
    least = padded(min(system.facts.size), system.stride, 1)
    sides = [padded(side, system.stride, least) for side in (height, width)]
    whole = mirrored(reading(picture), Box(0, sides[0], 0, sides[1]), height, width)
    with torch.random.fork_rng(), steady_noise(system, seed):
        torch.manual_seed(seed)
        made = system.generate({system.source: whole})
    scale = made.shape[-1] // whole.shape[-1]
    return made[..., : height * scale, : width * scale]


def reading(picture: Tensor) -> Callable[[int, int, int, int], Tensor]:
    height, width = picture.shape[2:]

    def read(y0: int, y1: int, x0: int, x1: int) -> Tensor:
        assert 0 <= y0 < y1 <= height
        assert 0 <= x0 < x1 <= width
        return picture[..., y0:y1, x0:x1]

    return read


class Canvas:
    """What is written, which must come row by row and nothing twice."""

    def __init__(self, like: Tensor, channels: int = 3, scale: int = 1) -> None:
        height, width = like.shape[2] * scale, like.shape[3] * scale
        self.pixels = torch.full((1, channels, height, width), torch.nan)
        self.last = 0

    def write(self, y: int, x: int, pixels: Tensor) -> None:
        assert y >= self.last, "from top to bottom"
        assert pixels.dtype == torch.float32
        assert pixels.numel()
        place = self.pixels[..., y : y + pixels.shape[2], x : x + pixels.shape[3]]
        assert place.shape == pixels.shape
        assert place.isnan().all(), "nothing is written twice"
        place.copy_(pixels)
        self.last = y


def tiled(
    system: System,
    picture: Tensor,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
    scale: int = 1,
    channels: int = 3,
    **knobs: Any,
) -> Tensor:
    """What a tiler makes of a picture."""
    canvas = Canvas(picture, channels, scale)
    tiler = Tiler(system, "cpu", TileSettings(**knobs), seed)
    tiler.run(reading(picture), canvas.write, picture.shape[2], picture.shape[3], say)
    assert not canvas.pixels.isnan().any(), "all is written"
    return canvas.pixels


def furthest(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


def clean(system: System) -> bool:
    """No trace of tiling is left in a system."""
    layers = [m for m in system.modules() if "forward" in vars(m) or m._forward_pre_hooks]
    return not layers and "generate" not in vars(system)


PLAIN: list[dict[str, Any]] = [
    {"depth": 3, "norm": "none"},
    {"depth": 4, "norm": "batch", "at_test": "eval"},
    {"depth": 3, "norm": "none", "upsample": "nearest", "border": "replicate"},
    {"depth": 3, "norm": "none", "upsample": "bilinear"},
    {"depth": 2, "norm": "none", "upsample": "pixelshuffle", "generator": "encoder_decoder"},
    {"generator": "resnet", "blocks": 2, "norm": "none", "dropout": 0.5},
    {"generator": "resnet", "blocks": 1, "norm": "batch", "upsample": "nearest"},
    {"depth": 3, "norm": "none", "upsample": "nearest", "residual": True},
    {"generator": "resnet", "blocks": 1, "norm": "none", "residual": True},
]
NORMED: list[dict[str, Any]] = [
    {"depth": 3, "norm": "instance"},
    {"depth": 5, "norm": "instance", "dropout": 0.5, "width": 2},
    {"depth": 3, "norm": "group", "upsample": "nearest", "border": "replicate", "residual": True},
    {"depth": 3, "norm": "batch", "at_test": "train"},
    {"generator": "resnet", "blocks": 2, "norm": "instance", "dropout": 0.5},
    {"generator": "resnet", "blocks": 1, "norm": "batch", "dropout": 0.5, "at_test": "train"},
]


def started(knobs: dict[str, Any], **over: Any) -> System:
    system = make("pix2pix", facts=FACTS, start="kaiming", **(knobs | over)).eval()
    if system.settings.residual:  # it would paint nothing yet
        initialise(system.generator.last, "kaiming")
    return system
