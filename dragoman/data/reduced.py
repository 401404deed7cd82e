"""Pairs for super-resolution: pictures of one domain, and the same made smaller."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dragoman.data.catalogue import Domain
from dragoman.data.settings import DataSettings, Reduction
from dragoman.data.sizes import Size, resized
from dragoman.data.source import INTS, Source, reduce
from dragoman.data.wrapping import Wrapping
from dragoman.errors import SettingsError

SCALES = (2, 3, 4, 8)
SIGMA = 0.4  # of the Gaussian, in pixels of the small picture: 1.6 of the large one at scale 4
_REACH = 3.0  # sigmas beyond which the Gaussian counts as nothing


def reduced(source: Source, settings: DataSettings) -> Source:
    """Return the source as keys low and high if the settings have a scale, else as it is."""
    check_scale(settings, source.name, source.domains)
    return source if settings.scale == 1 else Reduced(source, settings.scale, settings.reduction)


def check_scale(settings: DataSettings, name: str, domains: Mapping[str, Domain]) -> None:
    """Raise SettingsError if the data set of that name cannot be made smaller by --scale."""
    scale = settings.scale
    if scale == 1:
        if settings.reduction != "bicubic":
            raise SettingsError(
                f"--reduction {settings.reduction} says how pictures are made smaller, but "
                "--scale is 1; add --scale 4, or leave it out"
            )
        return
    if scale not in SCALES:
        known = ", ".join(map(str, SCALES))
        raise SettingsError(f"--scale must be one of {known}, or 1 for none, got {scale}")
    if tuple(domains) != ("image",):
        raise SettingsError(
            f"--scale {scale} makes low and high from the same picture, but {name} has "
            f"{' and '.join(domains)}; name one domain or folder, such as earth64:relief, or use "
            "--scale 1"
        )
    if domains["image"].kind == "labels":
        raise SettingsError(
            f"--scale {scale} would mix the class numbers of the label maps {name}; name pictures, "
            "or use --scale 1"
        )
    if settings.pairing == "unpaired":
        raise SettingsError(
            f"--scale {scale} makes pairs, low and high; leave --pairing unpaired out"
        )


def check_divides(scale: int, size: Size, tile: int = 0) -> None:
    """Raise SettingsError if pictures of that height and width cannot be made smaller evenly.

    tile: side that the size must divide, if there is one.
    """
    height, width = size
    if height % scale == width % scale == 0:
        return
    fits = [str(n) for n in range(8, tile + 1) if tile % n == 0 and n % scale == 0]
    if tile:
        remedy = f"use --size {', '.join(fits)}" if fits else "use --scale 2, 4 or 8"
    elif height == width:
        remedy = f"use --size {max(1, round(height / scale)) * scale}"
    else:
        remedy = "choose another --size, --aspect or --fit"
    raise SettingsError(
        f"--size gives pictures of {height} x {width} px, which --scale {scale} does not divide; "
        f"{remedy}"
    )


class Reduced(Wrapping):
    """The only pictures of a source as `high`, and as `low` the same in 1/scale of the size.

    Sizes are those of `high`, to whose pixels layers belong. low is made of the stored numbers of
    high, cropped and mirrored as they are, and rounded to the stored depth, as in a small file.
    """

    def __init__(self, source: Source, scale: int, reduction: Reduction) -> None:
        super().__init__(source)
        self.scale, self._reduction = scale, reduction
        manner = "" if reduction == "bicubic" else f"_{reduction}"
        self.name = f"{source.name}-x{scale}{manner}"
        domain = source.domains["image"]
        self.domains = {"low": domain, "high": domain}
        for shape in self.shapes:
            check_divides(scale, shape, self.tile)

    @property
    def stored(self) -> tuple[str, ...]:
        """The large pictures and what belongs to their pixels."""
        return ("high", *self.layers)

    def completed(self, pictures: dict[str, NDArray]) -> dict[str, NDArray]:
        """Add the small pictures."""
        return {**pictures, "low": smaller(pictures["high"], self.scale, self._reduction)}

    def count(self, split: str, key: str) -> int:
        """Return how many pictures a key has in a split."""
        return self._inner.count(split, _key(key))

    def pictures(
        self, split: str, key: str, rows: INTS, places: NDArray[np.float64] | None, size: Size
    ) -> NDArray:
        """Return pictures [B, planes, *size] as stored; those of low are smaller by the scale."""
        large = self._inner.pictures(split, _key(key), rows, places, size)
        return smaller(large, self.scale, self._reduction) if key == "low" else large

    def check_size(self, size: Size) -> None:
        """Raise SettingsError if pictures cannot be had in this size."""
        super().check_size(size)
        check_divides(self.scale, size, self.tile)


def _key(key: str) -> str:
    """The key of the underlying source: low and high are made of its pictures."""
    return "image" if key in ("low", "high") else key


def smaller(pictures: NDArray, scale: int, reduction: Reduction) -> NDArray:
    """Make pictures [B, C, H, W] smaller by a scale that divides their sides, in their depth.

    bicubic: a = -0.5 over `scale` times its support, so that nothing is aliased, as Pillow
    does, and but for the borders Matlab; gaussian: blurred with sigma 0.4 * scale, one sample from
    the middle of each cell of scale x scale pixels; area: the mean of each cell. Whole numbers are
    rounded.
    """
    height, width = pictures.shape[2] // scale, pictures.shape[3] // scale
    if reduction == "area":
        return reduce(pictures, width, "values")
    if reduction == "gaussian":
        blurred = _sampled(_sampled(pictures.astype(np.float32), scale).swapaxes(2, 3), scale)
        return _rounded(blurred.swapaxes(2, 3), pictures.dtype)
    made = [resized(one, (height, width)) for one in pictures.transpose(0, 2, 3, 1)]
    return np.ascontiguousarray(np.stack(made).transpose(0, 3, 1, 2))


def _sampled(pictures: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Weigh the rows about the middle of every `scale` rows; borders are mirrored."""
    sigma, middle = SIGMA * scale, (scale - 1) / 2
    beyond = int(_REACH * sigma - middle)
    offsets = np.arange(-beyond, scale + beyond) - middle
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).astype(np.float32)
    rows = pictures.shape[2]
    padded = np.pad(pictures, ((0, 0), (0, 0), (beyond, beyond), (0, 0)), "symmetric")
    # Adding strided slices costs as many products as there are weights, whatever the size.
    return sum(weight * padded[:, :, at : at + rows : scale] for at, weight in enumerate(weights))


def _rounded(values: NDArray[np.float32], dtype: np.dtype) -> NDArray:
    """Values in a depth, whole numbers rounded; a mean never leaves the extent."""
    return np.ascontiguousarray(values if dtype.kind == "f" else np.rint(values), dtype)
