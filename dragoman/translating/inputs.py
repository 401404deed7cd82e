"""What is read of a picture's files, whole or in windows, and what its transparency becomes."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.data.catalogue import EXTENT, Domain
from dragoman.data.decoding import fitted
from dragoman.data.raster import Header, Raster, on_white, read_header, read_raster
from dragoman.data.windows import open_windows
from dragoman.errors import DataError


@dataclass(frozen=True)
class Part:
    """A picture or a window of one.

    pixels: [H, W, planes] that fit the source domain. alpha: its transparency [H, W, 1] as stored,
    if it has such and is one file.
    """

    pixels: NDArray
    alpha: NDArray | None = None


def headers_of(files: tuple[Path, ...], domain: Domain, limit: int) -> list[Header]:
    """Read what the files of one picture say of themselves; raises DataError if sizes differ."""
    headers = [read_header(file, domain.kind == "labels", limit) for file in files]
    for file, header in zip(files, headers, strict=True):
        if (header.height, header.width) != (headers[0].height, headers[0].width):
            raise DataError(
                f"{file} is {header.width}x{header.height} pixels, but {files[0]}, with which it "
                f"is stacked, is {headers[0].width}x{headers[0].height}"
            )
    return headers


def read_whole(files: tuple[Path, ...], domain: Domain, limit: int) -> tuple[Part, bytes | None]:
    """Read a picture and the colour profile of its first file."""
    rasters = [read_raster(file, domain.kind == "labels", limit) for file in files]
    return part_of(rasters, files, domain), rasters[0].icc


def part_of(rasters: list[Raster], files: tuple[Path, ...], domain: Domain) -> Part:
    """Bring the rasters of a picture's files to the domain; several are stacked as in training."""
    if len(rasters) == 1:
        raster = rasters[0]
        alpha = raster.pixels[..., -1:] if raster.header.alpha else None
        return Part(fitted(raster, domain, str(files[0])), alpha)
    laid = [on_white(raster).pixels for raster in rasters]
    for file, pixels in zip(files, laid, strict=True):
        if pixels.dtype != domain.dtype:
            raise DataError(
                f"{file} holds {pixels.dtype}, but what is stacked in {domain.name} holds "
                f"{domain.dtype}; convert it"
            )
    stacked = np.concatenate(laid, 2)
    if stacked.shape[2] != domain.planes:
        raise DataError(
            f"{files[0]} and its fellows have {stacked.shape[2]} channels, but pictures of "
            f"{domain.name} have {domain.planes}"
        )
    return Part(stacked)


def hole_of(alpha: NDArray | None) -> Tensor | None:
    """What is fully transparent, [1, 1, H, W], 1 there; None if nothing is."""
    if alpha is None or alpha.all():
        return None
    return torch.from_numpy(alpha[..., 0] == 0)[None, None].float()


class Wide:
    """The files of a picture that is read in windows."""

    def __init__(
        self, files: tuple[Path, ...], domain: Domain, limit: int, scratch: Path | None
    ) -> None:
        self.files, self.domain = files, domain
        self._stack = ExitStack()
        self._windows = []
        try:
            for file in files:
                opened = open_windows(file, domain.kind == "labels", limit, scratch)
                self._windows.append(self._stack.enter_context(opened))
        except BaseException:
            self._stack.close()
            raise
        self.icc = self._windows[0].icc
        self.size = self._windows[0].height, self._windows[0].width

    def part(self, y0: int, y1: int, x0: int, x1: int) -> Part:
        """Read a window."""
        rasters = [windows.raster(y0, y1, x0, x1) for windows in self._windows]
        return part_of(rasters, self.files, self.domain)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def alpha_as(alpha: NDArray, dtype: str, shape: tuple[int, ...]) -> NDArray:
    """Return transparency [H, W, 1] in another depth, and enlarged by repeating to a shape."""
    if alpha.dtype != dtype:
        whole = EXTENT.get(alpha.dtype.name, (0.0, 1.0))[1]
        wanted = EXTENT.get(dtype, (0.0, 1.0))[1]
        values = alpha.astype(np.float64).clip(0, whole) * (wanted / whole)
        alpha = (np.rint(values) if dtype in EXTENT else values).astype(dtype)
    for axis in (0, 1):
        if shape[axis] != alpha.shape[axis]:
            alpha = alpha.repeat(shape[axis] // alpha.shape[axis], axis)
    return alpha
