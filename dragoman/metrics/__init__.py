"""Measures of generated pictures against the truth, one file each, and their intervals."""

from dragoman.metrics.interval import interval
from dragoman.metrics.l1 import L1, L1_PERCENT
from dragoman.metrics.l2 import L2_PERCENT
from dragoman.metrics.lpips import LPIPS, LPIPS_ALEX
from dragoman.metrics.metric import BatchMetric, Metric
from dragoman.metrics.ms_ssim import MS_SSIM
from dragoman.metrics.psnr import PSNR
from dragoman.metrics.ssim import SSIM

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (L1, L1_PERCENT, L2_PERCENT, PSNR, SSIM, MS_SSIM, LPIPS_ALEX)
}

__all__ = ["LPIPS", "METRICS", "BatchMetric", "Metric", "interval"]
