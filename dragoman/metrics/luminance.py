"""PSNR and SSIM of the luminance, as super-resolution is judged (Ledig et al. 2017)."""

from functools import partial

import torch
from torch import Tensor

from dragoman.errors import DataError
from dragoman.metrics.metric import Metric, unit_range
from dragoman.metrics.psnr import psnr
from dragoman.metrics.ssim import ssim

WEIGHTS = (65.481, 128.553, 24.966)  # of red, green and blue in [0, 1]: BT.601 in 16 to 235
BLACK = 16.0


def luminance(pictures: Tensor) -> Tensor:
    """Return Y of BT.601 as MATLAB's rgb2ycbcr, 16/255 to 235/255: [B, C, H, W] to [B, 1, H, W].

    Pictures are in [0, 1]. Of other than three channels it is their mean, from 0 to 1.
    """
    if pictures.shape[1] != 3:
        return pictures.mean(1, keepdim=True)
    weights = torch.tensor(WEIGHTS, device=pictures.device, dtype=pictures.dtype)
    return (torch.einsum("c,bchw->bhw", weights, pictures)[:, None] + BLACK) / 255


def _cropped(fake: Tensor, real: Tensor, border: int) -> tuple[Tensor, Tensor]:
    """The luminance of both without the border, in [-1, 1] as measures take it."""
    fake, real = unit_range(fake, real)
    height, width = real.shape[-2:]
    if min(height, width) <= 2 * border:
        raise DataError(
            f"pictures of {height} x {width} px have nothing within a border of {border} px"
        )
    inside = (..., slice(border, height - border), slice(border, width - border))
    return 2 * luminance(fake)[inside] - 1, 2 * luminance(real)[inside] - 1


def _psnr(fake: Tensor, real: Tensor, border: int) -> Tensor:
    return psnr(*_cropped(fake, real, border))


def _ssim(fake: Tensor, real: Tensor, border: int) -> Tensor:
    return ssim(*_cropped(fake, real, border))


def _protocol(scale: int) -> str:
    return (
        "of the luminance of BT.601 in 16 to 235 (of other than three channels their mean) without "
        f"a border of {scale} px, not rounded to 8 bits"
    )


def psnr_y(scale: int) -> Metric:
    """PSNR of the luminance, [B] in dB; a border as wide as the enlargement does not count."""
    protocol = f"PSNR {_protocol(scale)}, data range 255, mean over pictures"
    return Metric("psnr_y", "dB", "high", partial(_psnr, border=scale), protocol)


def ssim_y(scale: int) -> Metric:
    """SSIM of the luminance, [B], 1 if equal; a border as wide as the enlargement is left out."""
    protocol = f"SSIM as ssim, {_protocol(scale)}, data range 255, mean over pictures"
    return Metric("ssim_y", "", "high", partial(_ssim, border=scale), protocol)
