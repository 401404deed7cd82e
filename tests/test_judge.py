"""What is judged beside pictures one by one: answers, sets, holes, enlargements, stages."""

import json
import math
from typing import Any

import pytest
import torch

from dragoman.baselines import baselines, learn
from dragoman.judge import Judged, judge, judge_all, table
from dragoman.metrics import KID_ALEX, METRICS, psnr_y
from dragoman.metrics.l1 import l1
from dragoman.metrics.metric import BatchMetric


class Memory:
    """Data in memory with the interface of dragoman.data.Data: batches by key, in splits."""

    name = "memory"

    def __init__(self, **splits: dict[str, torch.Tensor]) -> None:
        self.splits = splits
        self.counts = {name: len(next(iter(split.values()))) for name, split in splits.items()}

    def partners(self, split):
        return True

    def count(self, split, key):
        return self.counts[split]

    def split(self, name, batch=4):
        starts = range(0, self.counts[name], batch)
        return (self.rows(name, range(n, min(n + batch, self.counts[name]))) for n in starts)

    def rows(self, split, numbers):
        numbers = list(numbers)
        return {key: value[numbers] for key, value in self.splits[split].items()}


def noise(count: int, side: int = 32, seed: int = 0, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, side, side, generator=generator) * 2 - 1


def enlargement(channels: int = 3, scale: int = 2) -> Memory:
    def split(count, seed):
        rough = noise(count, 6, seed, channels)
        high = torch.nn.functional.interpolate(rough, 8 * scale, mode="bicubic").clamp(-1, 1)
        return {"low": torch.nn.functional.avg_pool2d(high, scale), "high": high}

    return Memory(train=split(30, 0), test=split(6, 1))


PAIRS = Memory(
    train={"a": noise(9), "b": noise(9, seed=1)}, test={"a": noise(7, seed=2), "b": noise(7, 32, 3)}
)


def means(row: dict[str, Any]) -> dict[str, float]:
    return {name: row[name]["mean"] for name in row if name in METRICS}


# Super-resolution


@pytest.mark.parametrize("scale", [2, 3])
def test_enlarged_pictures_stand_beside_bicubic_and_repeated(scale):
    data = enlargement(scale=scale)
    found = baselines(data, "low", "high")
    assert list(found) == ["constant", "bicubic", "repeated", "linear"]
    low, high = data.splits["test"]["low"], data.splits["test"]["high"]
    squares = low.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    assert torch.equal(found["repeated"], squares)
    if scale == 2:  # at a quarter of a pixel, by Keys 1981 with a = -0.5
        far = [-0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 for t in (1.25, 1.75)]
        near = [1.5 * t**3 - 2.5 * t**2 + 1 for t in (0.25, 0.75)]
        row = torch.tensor([far[0], *near, far[1]])
        expected = (low[0, 0, 1:5, 2:6] * row.outer(row)).sum().clamp(-1, 1)
        assert found["bicubic"][0, 0, 5, 7].item() == pytest.approx(expected.item(), abs=1e-5)
    assert found["bicubic"].abs().max() <= 1
    scores = judge(lambda batch: batch["high"], data, source="low", target="high")
    errors = {name: scores["baselines"][name]["l2_percent"]["mean"] for name in found}
    assert errors["linear"] < errors["bicubic"] < errors["repeated"] < errors["constant"]
    assert errors["linear"] == pytest.approx(
        100 * ((found["linear"] - high) ** 2).mean().item() / 4, rel=1e-4
    )


def test_a_linear_law_of_enlargement_is_found():
    low = noise(40, 9)
    high = torch.nn.functional.pixel_shuffle(low.repeat_interleave(4, 1) * 0.5, 2)
    made = torch.stack([high[:, :, ::2, ::2], -high[:, :, 1::2, 1::2]], 2)
    high = torch.nn.functional.pixel_shuffle(made.repeat_interleave(2, 2).flatten(1, 2), 2)
    data = Memory(train={"low": low, "high": high}, test={"low": low[:3], "high": high[:3]})
    found = baselines(data, "low", "high")["linear"]
    torch.testing.assert_close(found, high[:3], rtol=0, atol=1e-5)


def test_sizes_without_a_whole_factor_have_no_enlargement():
    data = Memory(**{n: {"a": noise(4, 8), "b": noise(4, 12)} for n in ("train", "test")})
    assert list(baselines(data)) == ["constant", "nearest"]
    assert learn(data).scale == 1
    wide = {"a": noise(4, 8), "b": noise(4, 32)[:, :, :16]}
    assert list(baselines(Memory(train=wide, test=wide))) == ["constant", "nearest"]


def test_six_channels_are_enlarged_and_grey_is_repeated_to_colour():
    assert "bicubic" in baselines(enlargement(channels=6), "low", "high")
    split = {"low": noise(4, 8, channels=1), "high": noise(4, 16)}
    found = baselines(Memory(train=split, test=split), "low", "high")
    assert torch.equal(found["repeated"][:, 0], found["repeated"][:, 2])
    split = {"low": noise(4, 8), "high": noise(4, 16, channels=1)}
    assert list(baselines(Memory(train=split, test=split), "low", "high")) == ["constant", "linear"]


# Pictures made from themselves


def test_a_picture_made_from_itself_stands_beside_what_was_given():
    split = {"image": noise(5), "mask": torch.zeros(5, 1, 32, 32)}
    split["mask"][:, :, 8:24, 8:24] = 1
    data = Memory(test=split)

    def inside(fake, real, batch):
        wrong = (fake - real).abs() * batch["mask"]
        return wrong.sum((1, 2, 3)) / 3 / batch["mask"].sum((1, 2, 3))

    hole = BatchMetric("hole", "", "low", inside, "wrong in the hole")
    judged = Judged(
        lambda batch: batch["image"] + 0.1 * batch["mask"],
        source="image",
        target="image",
        further=[hole],
        given=lambda batch: batch["image"] * (1 - batch["mask"]),
    )
    scores = judge_all(judged, data)
    assert list(scores["baselines"]) == ["input"]
    assert scores["hole"]["mean"] == pytest.approx(0.1, rel=1e-5)
    expected = split["image"][:, :, 8:24, 8:24].abs().mean().item()
    assert scores["baselines"]["input"]["hole"]["mean"] == pytest.approx(expected, rel=1e-5)
    assert scores["protocol"]["hole"] == "wrong in the hole"
    assert judge_all(judged, data, with_baselines=False)["baselines"] == {}
    assert "hole" in table(scores).splitlines()[1]


# Several answers


def test_answers_are_judged_one_by_one_and_together():
    asked = []

    def answer(batch, number):
        asked.append((len(batch["b"]), number))
        return (batch["b"] + 0.4 - 0.1 * number).bfloat16()

    judged = Judged(lambda batch: batch["b"] + 0.4, answer=answer, answers=3)
    scores = judge_all(judged, PAIRS, metrics=["l1", "lpips"])
    assert asked == [(4, 1), (4, 2), (3, 1), (3, 2)]
    assert scores["nearest_l1"]["mean"] < scores["l1"]["mean"]
    exact = l1(answer(PAIRS.splits["test"], 2), PAIRS.splits["test"]["b"])
    assert scores["nearest_l1"]["mean"] == pytest.approx(exact.mean().item(), rel=1e-4)
    assert 0 < scores["nearest_lpips"]["mean"] < scores["lpips"]["mean"]
    assert scores["diversity"]["low"] <= scores["diversity"]["mean"] <= scores["diversity"]["high"]
    assert scores["better"]["diversity"] == "high"
    assert "diversity" not in scores["baselines"]["constant"]
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    row = table(scores).splitlines()[-1].split()
    assert row[0] == "linear"
    assert row[-3:] == ["-", "-", "-"]


def test_equal_answers_change_nothing():
    judged = Judged(lambda batch: batch["a"], answer=lambda batch, _: batch["a"], answers=2)
    scores = judge_all(judged, PAIRS, with_baselines=False)
    assert scores["diversity"] == {"mean": 0, "low": 0, "high": 0}
    assert scores["nearest_l1"] == scores["l1"]
    assert scores["nearest_lpips"]["mean"] == pytest.approx(scores["lpips"]["mean"], rel=1e-4)


def test_one_answer_is_not_judged_as_several():
    asked = []

    def answer(batch, number):
        asked.append(number)
        return batch["a"]

    judged = Judged(lambda batch: batch["a"], answer=answer, answers=1)
    assert "nearest_l1" not in judge_all(judged, PAIRS, metrics=["l1"], with_baselines=False)
    assert asked == []


def test_answers_too_small_for_lpips_have_the_nearest_by_l1():
    small = Memory(test={"a": noise(3, 16), "b": noise(3, 16, 1)})
    judged = Judged(lambda batch: batch["a"], answer=lambda batch, _: -batch["a"], answers=2)
    scores = judge_all(judged, small, metrics=["l1"], with_baselines=False)
    assert "nearest_l1" in scores
    assert "diversity" not in scores
    assert "at least 31 px" in scores["left_out"]["diversity and nearest_lpips"]


# Sets of pictures, and rows beside ours


def test_measures_of_sets_and_of_the_system_are_taken_of_every_row():
    judged = Judged(lambda batch: batch["a"], further=[psnr_y(2), KID_ALEX])
    scores = judge_all(judged, PAIRS)
    for row in (scores, *scores["baselines"].values()):
        assert {"psnr_y", "kid_alex", *METRICS} <= set(row)
    assert scores["baselines"]["input"]["kid_alex"] == scores["kid_alex"]
    assert scores["unit"]["kid_alex"] == "/1000"
    assert scores["better"]["kid_alex"] == "low"
    assert "AlexNet" in scores["protocol"]["kid_alex"]


def test_sets_too_small_are_left_out_with_the_reason():
    one = Memory(test={"a": noise(1), "b": noise(1, seed=1)})
    judged = Judged(lambda batch: batch["a"], further=[KID_ALEX])
    scores = judge_all(judged, one, with_baselines=False)
    assert scores["left_out"] == {"kid_alex": "KID compares sets of at least two pictures, not 1"}
    assert "kid_alex" not in scores["better"]


def test_earlier_stages_have_rows_and_their_faults_hide_nothing():
    def broken(batch):
        return batch["b"] * (math.nan if len(batch["b"]) < 4 else 1)  # in the last batch

    beside = {
        "after first": lambda batch: batch["b"] * 0.5,
        "after second": broken,
        "after third": lambda batch: batch["b"][:, :, ::2],
    }
    scores = judge_all(Judged(lambda batch: batch["a"], beside=beside), PAIRS, metrics=["l1"])
    assert list(scores["baselines"])[-1] == "after first"
    alone = judge(lambda batch: batch["b"] * 0.5, PAIRS, metrics=["l1"], with_baselines=False)
    assert scores["baselines"]["after first"]["l1"] == alone["l1"]
    assert "NaN or infinity, the first for picture 4" in scores["left_out"]["after second"]
    assert "made pictures of shape [4, 3, 16, 32]" in scores["left_out"]["after third"]


# The table


def test_many_measures_are_set_in_blocks_of_a_hundred_characters():
    judged = Judged(
        lambda batch: batch["a"],
        further=[psnr_y(2), KID_ALEX],
        answer=lambda batch, _: -batch["a"],
        answers=2,
        beside={"after a stage with a name": lambda batch: batch["b"]},
    )
    text = table(judge_all(judged, PAIRS))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    empty = lines.index("")
    heads = lines[1].split() + lines[empty + 1].split()
    told = ["psnr_y", "nearest_l1", "nearest_lpips", "diversity", "kid_alex"]
    assert heads == [*METRICS, *told]
    starts = [line.split("  ")[0] for line in lines[2:empty] if not line.startswith("  ")]
    ours = ["better", "translator", "constant", "input", "nearest", "linear"]
    assert starts == [*ours, "after a stage with a name"]
    assert sum(line.startswith("translator") for line in lines) == 2
    assert sum(line.startswith("  95 % low") for line in lines) == 2
    best = [line for line in lines if line.startswith("after a stage")]
    assert best[0].count("*") == 7
    assert best[1].rstrip().split()[-4:-1] == ["-", "-", "-"]


def test_numbers_without_interval_leave_its_lines_empty():
    scores = {
        "l1": {"mean": 0.5, "low": 0.4, "high": 0.6},
        "odd": {"mean": 123456.7},
        "better": {"l1": "low", "odd": "high"},
        "unit": {"l1": "", "odd": "px"},
        "data": "d",
        "split": "test",
        "count": 3,
        "baselines": {"input": {"l1": {"mean": 0.6, "low": 0.5, "high": 0.7}}},
    }
    assert table(scores).splitlines() == [
        "d, test split, 3 pictures (* best)",
        "                  l1        odd",
        "better           low    px high",
        "translator     0.500* 123456.70",
        "  95 % low     0.400",
        "  95 % high    0.600",
        "input          0.600          -",
    ]
    del scores["l1"], scores["baselines"]["input"]["l1"]
    assert "95 %" not in table(scores)


def test_scores_of_older_runs_are_set_as_before():
    old = {"psnr": {"mean": 20.0, "low": 19.0, "high": 21.0}, "count": 3, "baselines": {}}
    lines = table(old | {"data": "d", "split": "test"}).splitlines()
    assert lines[1].split() == ["psnr"]
    assert lines[2].split() == ["better", "dB", "high"]
