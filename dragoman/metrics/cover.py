"""How well the land cover that is seen in made pictures agrees with that of the true ones."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, one_hot, pad

from dragoman.data.catalogue import EARTH
from dragoman.data.earth_colours import COVER_LAB
from dragoman.errors import DataError
from dragoman.metrics.interval import drawn, span
from dragoman.metrics.metric import unit_range
from dragoman.metrics.set_metric import Estimate, Number, SetMetric

COVERS = len(COVER_LAB)
WATER = EARTH.domains["cover"].classes[:-COVERS]  # the Earth's label maps begin with these
WINDOW = 5  # px: side of the window in which classes vote
OWN = 0.5  # more than nothing and less than a vote: on ties a pixel keeps its class
TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE = (0.9505, 1.0, 1.089)  # of D65


def land_cover(pictures: Tensor) -> Tensor:
    """Return the land cover seen in satellite pictures: [B, 3, H, W] in [0, 1] to [B, H, W].

    The fixed rule by which the layer `cover` of the embedded Earth was made: the nearest of seven
    CIELAB colours to the 3x3 mean, then the most frequent class of 5x5 pixels. What lies outside
    the picture has no vote. Class 0 is the first kind of land. Raises DataError for other than
    three channels.
    """
    if pictures.shape[1] != 3:
        raise DataError(
            f"land cover is told by colours, which pictures of {pictures.shape[1]} channels lack"
        )
    smooth = avg_pool2d(pad(pictures.float(), (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    colours = cielab(smooth).movedim(1, -1)
    centres = torch.tensor(COVER_LAB, device=pictures.device)
    # |x - c|^2 without |x|^2, which is the same for all centres
    nearest = ((centres**2).sum(1) - 2 * colours @ centres.T).argmin(-1)
    here = one_hot(nearest, COVERS).movedim(-1, 1).float()
    votes = avg_pool2d(here, WINDOW, stride=1, padding=WINDOW // 2, divisor_override=1)
    return (votes + OWN * here).argmax(1)


def cielab(pictures: Tensor) -> Tensor:
    """sRGB [B, 3, H, W] in [0, 1] to CIELAB under D65."""
    linear = torch.where(pictures > 0.04045, ((pictures + 0.055) / 1.055) ** 2.4, pictures / 12.92)
    to_xyz = torch.tensor(TO_XYZ, device=pictures.device)
    white = torch.tensor(WHITE, device=pictures.device)
    xyz = torch.einsum("dc,bchw->bdhw", to_xyz / white[:, None], linear)
    x, y, z = torch.where(xyz > 0.008856, xyz ** (1 / 3), 7.787 * xyz + 16 / 116).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def confusion(fake: Tensor, real: Tensor, counted: Tensor, classes: int) -> Tensor:
    """Count class numbers [B, H, W] where `counted`: [B, true class, made class]."""
    picture = torch.arange(len(real), device=real.device)[:, None, None]
    place = (picture * classes + real) * classes + fake
    counts = torch.bincount(place[counted], minlength=len(real) * classes**2)
    return counts.reshape(len(real), classes, classes)


def scores_of(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return the three numbers of confusion counts [..., true class, made class].

    Classes that are not there do not count: for `class_accuracy` those without a true pixel, for
    `miou` those with neither a true nor a made one.
    """
    right = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    true, made = counts.sum(-1), counts.sum(-2)
    either = true + made - right
    return {
        "pixel_accuracy": right.sum(-1) / np.maximum(true.sum(-1), 1),
        "class_accuracy": (right / np.maximum(true, 1)).sum(-1) / np.maximum((true > 0).sum(-1), 1),
        "miou": (right / np.maximum(either, 1)).sum(-1) / np.maximum((either > 0).sum(-1), 1),
    }


class _Agreement:
    """Counts which cover was made where which is true."""

    def __init__(self, water: int) -> None:
        self.water = water
        self.counts: list[np.ndarray] = []

    def add(self, fake: Tensor, real: Tensor, batch: Mapping[str, Tensor]) -> None:
        fake, real = unit_range(fake, real)
        land = batch["map"] >= self.water if self.water else torch.ones_like(real[:, 0])
        counts = confusion(land_cover(fake), land_cover(real), land.bool().to(real.device), COVERS)
        self.counts.append(counts.cpu().numpy())

    def result(self) -> dict[str, Estimate]:
        counts = np.concatenate(self.counts) if self.counts else np.zeros((0, COVERS, COVERS))
        if not counts.sum():
            raise DataError("land cover cannot be compared, there is no land in the pictures")
        flat = counts.reshape(len(counts), -1).astype(np.float64)
        draws = [
            scores_of((times @ flat).reshape(-1, COVERS, COVERS)) for times in drawn(len(counts))
        ]
        return {
            name: {"mean": float(mean), **span(np.concatenate([draw[name] for draw in draws]))}
            for name, mean in scores_of(counts.sum(0)).items()
        }


def cover_agreement(water: int = 0) -> SetMetric:
    """Agreement of land cover over a whole split.

    water: how many classes of batch["map"], the first ones, are water, whose pixels do not count;
    0: every pixel counts.
    """
    pixels = "pixels that are land in the label map" if water else "all pixels"
    how = (
        f"over {pixels}, the class of each being that of the nearest of 7 CIELAB colours to its "
        "3x3 mean and then of most of 5x5 pixels, in the made picture and in the true one alike"
    )
    named = {
        "pixel_accuracy": "share of pixels with the true land cover",
        "class_accuracy": "share of pixels with the true land cover, mean over the true classes",
        "miou": "intersection over union of the pixels of a land cover, mean over the classes",
    }
    numbers = tuple(Number(name, "", "high", f"{said}, {how}") for name, said in named.items())
    return SetMetric("land cover", numbers, partial(_Agreement, water))
