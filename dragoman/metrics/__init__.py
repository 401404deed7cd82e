"""Measures of generated pictures against the truth, one file each, and their intervals."""

from dragoman.metrics.answers import answers_metrics
from dragoman.metrics.cover import cover_agreement
from dragoman.metrics.interval import interval
from dragoman.metrics.kid import KID_ALEX
from dragoman.metrics.l1 import L1, L1_PERCENT
from dragoman.metrics.l2 import L2_PERCENT
from dragoman.metrics.lpips import LPIPS, LPIPS_ALEX
from dragoman.metrics.luminance import psnr_y, ssim_y
from dragoman.metrics.metric import BatchMetric, Metric
from dragoman.metrics.ms_ssim import MS_SSIM
from dragoman.metrics.psnr import PSNR
from dragoman.metrics.set_metric import Number, SetMetric
from dragoman.metrics.ssim import SSIM

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (L1, L1_PERCENT, L2_PERCENT, PSNR, SSIM, MS_SSIM, LPIPS_ALEX)
}

__all__ = [
    "KID_ALEX",
    "LPIPS",
    "METRICS",
    "BatchMetric",
    "Metric",
    "Number",
    "SetMetric",
    "answers_metrics",
    "cover_agreement",
    "interval",
    "psnr_y",
    "ssim_y",
]
