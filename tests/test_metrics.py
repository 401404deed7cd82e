"""Measures against numbers worked by hand and independent formulas."""

import importlib
import json
import math

import numpy as np
import pytest
import torch

from dragoman.errors import DataError
from dragoman.metrics import METRICS, interval
from dragoman.metrics.ms_ssim import WEIGHTS, scales


def level(value: float, side: int = 16, channels: int = 3) -> torch.Tensor:
    """One picture whose values are all `value` of [0, 1]."""
    return torch.full((1, channels, side, side), 2 * value - 1)


def noise(side: int, seed: int = 0, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, side, side, generator=generator) * 2 - 1


def measure(name: str, fake: torch.Tensor, real: torch.Tensor) -> list[float]:
    return METRICS[name].measure(fake, real).tolist()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", [0.25, 0.5]),
        ("l1_percent", [25, 50]),
        ("l2_percent", [6.25, 25]),
        ("psnr", [-10 * math.log10(0.0625), -10 * math.log10(0.25)]),
    ],
)
def test_differences_by_hand(name, expected):
    fake = torch.cat([level(0.75), level(0.0)])
    real = torch.cat([level(0.5), level(0.5)])
    assert measure(name, fake, real) == pytest.approx(expected, rel=1e-5)


def test_half_the_pixels_wrong_is_averaged_inside_the_picture():
    fake, real = level(0.5), level(0.5)
    fake[..., :8] = 1.0  # half of the pixels off by 0.5
    assert measure("l1", fake, real) == pytest.approx([0.25])
    assert measure("psnr", fake, real) == pytest.approx([-10 * math.log10(0.125)], rel=1e-5)


def test_psnr_of_equal_pictures_is_finite():
    assert measure("psnr", level(0.3), level(0.3)) == [pytest.approx(100)]


def test_values_outside_the_range_are_cut_as_a_screen_would():
    assert measure("l1", torch.full((1, 3, 16, 16), 3.0), level(0.75)) == pytest.approx([0.25])


def test_half_precision_is_judged_in_float32():
    fake = noise(32).bfloat16()
    for name in METRICS:
        assert METRICS[name].measure(fake, noise(32, 1)).dtype == torch.float32
        assert measure(name, fake, noise(32, 1)) == measure(name, fake.float(), noise(32, 1))


def test_ssim_of_flat_pictures_by_hand():
    # no variance: only the luminance term (2 m n + C1) / (m^2 + n^2 + C1), C1 = 0.01^2
    luminance = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    fake, real = level(0.25, 64), level(0.75, 64)
    assert measure("ssim", fake, real) == pytest.approx(
        [luminance], abs=1e-3
    )  # variance in float32
    # over scales only the last one counts luminance, to the power of its share of the weights
    share = WEIGHTS[2] / sum(WEIGHTS[:3])
    assert measure("ms_ssim", fake, real) == pytest.approx([luminance**share], abs=1e-3)
    fake, real = level(0.25, 176), level(0.75, 176)
    share = WEIGHTS[4] / sum(WEIGHTS)
    assert measure("ms_ssim", fake, real) == pytest.approx([luminance**share], abs=1e-3)


def test_ssim_equals_the_formula_with_scipy_windows():
    ndimage = pytest.importorskip("scipy.ndimage")
    fake, real = noise(40), (noise(40) + noise(40, 1)).clamp(-1, 1)

    def window(x):
        return ndimage.gaussian_filter(
            x, 1.5, mode="mirror", radius=5, axes=(2, 3), output=np.float64
        )

    x, y = ((t.double().numpy() + 1) / 2 for t in (fake, real))
    mean_x, mean_y = window(x), window(y)
    var_x, var_y = window(x * x) - mean_x**2, window(y * y) - mean_y**2
    both = window(x * y) - mean_x * mean_y
    first, second = 0.01**2, 0.03**2
    index = (2 * mean_x * mean_y + first) * (2 * both + second)
    index /= (mean_x**2 + mean_y**2 + first) * (var_x + var_y + second)
    assert measure("ssim", fake, real) == pytest.approx(index.mean((1, 2, 3)), abs=2e-4)


@pytest.mark.parametrize(
    ("side", "count"), [(11, 1), (21, 1), (22, 2), (44, 3), (64, 3), (99, 4), (175, 4), (176, 5)]
)
def test_as_many_scales_as_fit(side, count):
    assert scales(side, 300) == scales(300, side) == count
    assert measure("ms_ssim", noise(side, count=1), noise(side, count=1)) == pytest.approx([1])


@pytest.mark.parametrize("name", list(METRICS))
def test_every_measure_falls_or_rises_as_it_says(name):
    real = torch.nn.functional.interpolate(noise(6), 48, mode="bicubic").clamp(-1, 1)
    generator = torch.Generator().manual_seed(5)
    step = torch.randn(real.shape, generator=generator)
    means = [METRICS[name].measure(real + s * step, real).mean().item() for s in (0, 0.05, 0.3)]
    rising = METRICS[name].better == "low"
    assert means == sorted(means, reverse=not rising)
    assert len(set(means)) == 3
    assert METRICS[name].name == name
    assert METRICS[name].protocol[-1] != "."


@pytest.mark.parametrize("name", list(METRICS))
def test_shapes_that_do_not_fit_are_named(name):
    with pytest.raises(DataError, match=r"shape \[2, 3, 16, 16\] cannot be compared .*\[1, 3, 16"):
        METRICS[name].measure(noise(16), level(0.5))


@pytest.mark.parametrize(("name", "side"), [("ssim", 11), ("ms_ssim", 11), ("lpips", 31)])
def test_pictures_too_small_are_refused(name, side):
    assert len(measure(name, noise(side), noise(side, 1))) == 2
    small = noise(side - 1)
    with pytest.raises(DataError, match=f"needs pictures of at least {side} px, not {side - 1} x"):
        METRICS[name].measure(small, small)


def test_measures_draw_no_random_numbers():
    from dragoman.metrics.lpips import alex

    alex.cache_clear()  # building the network must not draw either
    before = torch.get_rng_state()
    for name in METRICS:
        interval(METRICS[name].measure(noise(48), noise(48, 1)))
    assert torch.equal(before, torch.get_rng_state())


def test_interval_of_equal_values_is_a_point():
    assert interval([0.5] * 10) == {"mean": 0.5, "low": 0.5, "high": 0.5}
    assert interval(torch.tensor([3.0])) == {"mean": 3.0, "low": 3.0, "high": 3.0}


def test_interval_is_that_of_the_normal_law_for_many_values():
    values = [0.0, 1.0] * 200  # standard error 0.5 / 20
    found = interval(values)
    assert found["mean"] == 0.5
    assert found["low"] == pytest.approx(0.5 - 1.96 * 0.025, abs=0.004)
    assert found["high"] == pytest.approx(0.5 + 1.96 * 0.025, abs=0.004)
    assert found == interval(values)
    json.dumps(found, allow_nan=False)


def test_interval_holds_the_truth_nine_times_in_ten():
    generator = np.random.default_rng(3)
    inside = 0
    for _ in range(150):
        found = interval(generator.normal(1.0, 2.0, 40), draws=400)
        inside += found["low"] <= 1.0 <= found["high"]
    assert 0.87 <= inside / 150 <= 0.99


def test_interval_of_many_pictures_is_drawn_in_parts(monkeypatch):
    values = np.linspace(0, 1, 50)
    whole = interval(values)
    assert whole != interval(values, seed=1)
    module = importlib.import_module("dragoman.metrics.interval")  # not the function
    monkeypatch.setattr(module, "AT_ONCE", 333)
    assert interval(values) == whole


def test_interval_refuses_what_has_no_mean():
    with pytest.raises(DataError, match="no pictures to judge; choose a split"):
        interval([])
    with pytest.raises(DataError, match="not finite; look for NaN"):
        interval([1.0, math.nan])
