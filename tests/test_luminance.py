"""PSNR and SSIM of the luminance against numbers worked by hand."""

import math

import pytest
import torch

from dragoman.errors import DataError
from dragoman.metrics import METRICS, psnr_y, ssim_y
from dragoman.metrics.luminance import luminance


def colour(red: float, green: float, blue: float, side: int = 16) -> torch.Tensor:
    """One flat picture, given in [0, 1]."""
    values = torch.tensor([red, green, blue])[None, :, None, None]
    return (2 * values - 1).expand(1, 3, side, side).clone()


def test_luminance_of_primary_colours_is_matlab_s():
    # round(rgb2ycbcr(uint8([255 0 0]))) is [81 90 240], and so on
    rows = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)]
    seen = [255 * luminance((colour(*row) + 1) / 2)[0, 0, 0, 0].item() for row in rows]
    assert [round(value) for value in seen] == [81, 145, 41, 235, 16]
    assert seen[0] == pytest.approx(65.481 + 16, abs=1e-4)


def test_psnr_of_the_luminance_by_hand():
    found = psnr_y(4).measure(colour(0.2, 0.5, 0.5), colour(0.6, 0.5, 0.5))
    assert found.tolist() == [pytest.approx(-20 * math.log10(0.4 * 65.481 / 255), rel=1e-5)]


def test_of_other_than_three_channels_the_mean_is_judged():
    fake, real = torch.full((1, 1, 9, 9), 0.0), torch.full((1, 1, 9, 9), 0.5)
    expected = METRICS["psnr"].measure(fake, real)
    torch.testing.assert_close(psnr_y(2).measure(fake, real), expected)
    six = torch.tensor([0.5, -0.5, 0.5, -0.5, 0.2, -0.2])[None, :, None, None].expand(1, 6, 9, 9)
    torch.testing.assert_close(psnr_y(2).measure(six, real.expand(1, 6, 9, 9)), expected)


def test_the_border_does_not_count():
    real = torch.rand(2, 3, 30, 26, generator=torch.Generator().manual_seed(0)) * 2 - 1
    fake = real.clone()
    fake[..., :3, :] = fake[..., -3:, :] = fake[..., :3] = fake[..., -3:] = 1
    assert psnr_y(3).measure(fake, real).tolist() == [100, 100]
    assert ssim_y(3).measure(fake, real).tolist() == pytest.approx([1, 1])
    assert (psnr_y(2).measure(fake, real) < 40).all()
    assert (ssim_y(2).measure(fake, real) < 1).all()


def test_ssim_of_flat_luminance_by_hand():
    one, other = (16 + 65.481) / 255, 16 / 255
    expected = (2 * one * other + 1e-4) / (one**2 + other**2 + 1e-4)
    found = ssim_y(1).measure(colour(1, 0, 0, 32), colour(0, 0, 0, 32))
    assert found.tolist() == [pytest.approx(expected, abs=1e-3)]


def test_pictures_must_be_larger_than_the_border():
    small = torch.zeros(1, 3, 8, 20)
    with pytest.raises(DataError, match="8 x 20 px have nothing within a border of 4 px"):
        psnr_y(4).measure(small, small)
    with pytest.raises(DataError, match="SSIM needs pictures of at least 11 px, not 6 x 18"):
        ssim_y(1).measure(small, small)


def test_both_say_what_they_are():
    metric = psnr_y(8)
    assert (metric.name, metric.unit, metric.better) == ("psnr_y", "dB", "high")
    assert "without a border of 8 px" in metric.protocol
    assert (ssim_y(8).name, ssim_y(8).better) == ("ssim_y", "high")
