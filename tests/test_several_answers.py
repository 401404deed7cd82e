"""Several answers to one input: how they differ, and how near the nearest is."""

import pytest
import torch

from dragoman.errors import DataError
from dragoman.metrics import METRICS, answers_metrics
from dragoman.metrics.answers import nearest_l1, perceptual


def noise(count: int, seed: int = 0, side: int = 40, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, side, side, generator=generator) * 2 - 1


def lpips(fake, real):
    return METRICS["lpips"].measure(fake, real)


def test_nearest_l1_by_hand():
    real = torch.tensor([0.0, 0.0])[:, None, None, None].expand(2, 3, 4, 4)
    answers = [real + 1.0, real + torch.tensor([0.5, -0.8])[:, None, None, None]]
    assert nearest_l1(answers, real)["nearest_l1"].tolist() == pytest.approx([0.25, 0.4])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_perceptual_measures_are_those_of_lpips(channels):
    real = noise(2, channels=channels)
    answers = [noise(2, seed, channels=channels) for seed in (1, 2, 3)]
    found = perceptual(answers, real)
    pairs = [lpips(answers[i], answers[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    torch.testing.assert_close(found["diversity"], sum(pairs) / 3, rtol=1e-4, atol=1e-6)
    each = torch.stack([lpips(answer, real) for answer in answers])
    torch.testing.assert_close(found["nearest_lpips"], each.amin(0), rtol=1e-4, atol=1e-6)


def test_equal_answers_have_no_diversity():
    answer = noise(2)
    found = perceptual([answer] * 4, noise(2, 1))
    assert found["diversity"].tolist() == [0, 0]
    torch.testing.assert_close(found["nearest_lpips"], lpips(answer, noise(2, 1)))
    assert perceptual([answer, noise(2, 1)], answer)["diversity"].min() > 0.01


def test_large_pictures_are_measured_in_parts(monkeypatch):
    real, answers = noise(3), [noise(3, seed) for seed in (1, 2)]
    whole = perceptual(answers, real)
    seen = []
    from dragoman.metrics import answers as module

    network = module.alex("cpu")
    before = network.activations
    monkeypatch.setattr(network, "activations", lambda x: seen.append(len(x)) or before(x))
    monkeypatch.setattr(module, "AT_ONCE", 3 * 40 * 40)
    parts = perceptual(answers, real)
    assert seen == [1] * 9
    for name, values in whole.items():
        torch.testing.assert_close(parts[name], values, rtol=1e-4, atol=1e-6)


def test_small_pictures_have_the_nearest_by_l1_only():
    small = noise(1, side=16)
    by_l1, by_lpips = answers_metrics(6)
    assert by_l1.measure([small, -small], small)["nearest_l1"] == 0
    with pytest.raises(DataError, match="at least 31 px"):
        by_lpips.measure([small, -small], small)
    told = [number for metric in (by_l1, by_lpips) for number in metric.numbers]
    assert [number.name for number in told] == ["nearest_l1", "nearest_lpips", "diversity"]
    assert all("6 answers" in number.protocol for number in told)
