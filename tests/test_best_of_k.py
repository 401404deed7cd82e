"""Best of k: the nearest answer by hand, and heads that divide two right answers among them."""

from typing import Any

import pytest
import torch
from synthetic import batches, make, picture_batch

from dragoman.controls import Controls
from dragoman.engine import Engine, EngineSettings
from dragoman.errors import SettingsError
from dragoman.losses import nearest
from dragoman.settings import build
from dragoman.system import Facts, Progress

FAST: dict[str, Any] = {"norm": "none", "dropout": 0.0, "at_test": "eval"}
HOW = build(EngineSettings, {"device": "cpu", "precision": "fp32"})


def two_answers() -> tuple[torch.Tensor, torch.Tensor]:
    """Answers [1, 2, 1, 1, 4] and the truth of 4 pixels, the left two of one region."""
    answers = torch.tensor([[1.0, 1, 4, 4], [3, 3, 2, 2]]).reshape(1, 2, 1, 1, 4)
    return answers, torch.tensor([1.0, 2, 2, 2]).reshape(1, 1, 1, 4)


def test_errors_of_whole_pictures_by_hand():
    answers, true = two_answers()
    assert nearest.errors(answers, true).tolist() == [[[5 / 4], [3 / 4]]]
    assert nearest.errors(answers, true, "l2").tolist() == [[[9 / 4], [5 / 4]]]


def test_errors_of_regions_by_hand():
    answers, true = two_answers()
    left = torch.tensor([1.0, 1, 0, 0]).reshape(1, 1, 1, 4)
    masks = torch.cat([left, 1 - left], 1)
    assert nearest.errors(answers, true, masks=masks).tolist() == [[[1 / 4, 1], [3 / 4, 0]]]
    # masks of twice the sides are brought to the pictures' by areas
    larger = masks.repeat_interleave(2, 3).repeat_interleave(2, 2)
    assert nearest.errors(answers, true, masks=larger).tolist() == [[[1 / 4, 1], [3 / 4, 0]]]


def test_errors_are_averaged_over_channels_and_kept_by_sample():
    answers = torch.zeros(2, 3, 2, 1, 1)
    true = torch.tensor([[1.0, 3], [5, 5]]).reshape(2, 2, 1, 1)
    assert nearest.errors(answers, true)[..., 0].tolist() == [[2.0] * 3, [5.0] * 3]


def test_shares_by_hand():
    errors = torch.tensor([[[5.0, 1], [3, 2]]])  # [1, 2 answers, 2 regions]
    assert nearest.shares(errors, 0).tolist() == [[[0, 1], [1, 0]]]
    torch.testing.assert_close(
        nearest.shares(errors, 0.2), torch.tensor([[[0.1, 0.9], [0.9, 0.1]]])
    )
    ties = torch.zeros(1, 4)
    assert nearest.shares(ties, 0).tolist() == [[1, 0, 0, 0]]


def test_the_loss_is_the_minimum_of_each_sample_and_a_share_of_the_mean():
    made = torch.tensor([[0.0, 3.0], [4.0, 1.0]]).reshape(2, 2, 1, 1, 1)
    batch = {"b": torch.tensor([1.0, 1.0]).reshape(2, 1, 1, 1)}
    facts = Facts({"a": 3, "b": 1}, (32, 32))
    system = make("best_of_k", facts=facts, answers=2, mean_share=0.1, **FAST)
    terms = system.generator_loss(batch, (made, 0.1))
    assert terms["nearest"].item() == pytest.approx(0.9 * (1 + 0) / 2)
    assert terms["mean"].item() == pytest.approx(0.1 * (1 + 2 + 3 + 0) / 4)


def test_one_answer_is_the_regression():
    batch = picture_batch(0)
    for distance in ("l1", "l2"):
        one = make("best_of_k", answers=1, distance=distance, **FAST)
        plain = make("regression", distance=distance, **FAST)
        made, fake = one.made(batch), plain.generate(batch)
        assert torch.equal(made[:, 0], fake)
        terms = one.generator_loss(batch, one.share(batch, Progress(0, 10)))
        assert list(terms) == ["nearest"]
        torch.testing.assert_close(
            terms["nearest"], plain.generator_loss(batch, fake)[distance], rtol=1e-6, atol=0
        )


def test_heads_differ_from_the_start_and_generate_gives_the_one_asked_for():
    system = make("best_of_k", answers=3, **FAST).eval()
    batch = picture_batch(0)
    with torch.no_grad():
        made = system.made(batch)
        assert made.shape == (4, 3, 3, 32, 32)
        for number in range(3):
            assert torch.equal(system.generate(batch, Controls(answer=number)), made[:, number])
        assert torch.equal(system.generate(batch), made[:, 0])
    assert system.answers == 3
    assert not torch.equal(made[:, 0], made[:, 1])


def test_without_a_share_of_the_mean_the_other_head_gets_no_gradient():
    made = torch.tensor([0.0, 3.0]).reshape(1, 2, 1, 1, 1).requires_grad_(True)
    batch = {"b": torch.zeros(1, 1, 1, 1) + 1}
    for share, others in ((0.0, 0.0), (0.1, 0.05)):
        system = make("best_of_k", answers=2, mean_share=share, **FAST)
        mean = system.mean_share(1.0)
        loss = torch.stack(list(system.generator_loss(batch, (made, mean)).values())).sum()
        (gradient,) = torch.autograd.grad(loss, made)
        assert gradient.flatten()[1].item() == pytest.approx(others)


def test_the_share_of_the_mean_falls_by_hand():
    system = make("best_of_k", answers=2, mean_share=0.1, mean_steps=0.5, **FAST)
    assert [system.mean_share(f) for f in (0, 0.25, 0.5, 0.9)] == pytest.approx([1, 0.55, 0.1, 0.1])
    at_once = make("best_of_k", answers=2, mean_share=0.1, mean_steps=0.0, **FAST)
    assert at_once.mean_share(0.0) == pytest.approx(0.1)
    assert make("best_of_k", answers=1, **FAST).mean_share(0.0) == 0


def ambiguous(start: int = 0, **_: int):
    """Pictures that say nothing; the truth is light for some and dark for the others."""
    while True:
        sign = torch.tensor([1.0, -1, -1, 1]).roll(start)[:, None, None, None]
        a = picture_batch(start, size=16)["a"]
        yield {"a": a, "b": 0.5 * sign.expand(4, 3, 16, 16)}
        start += 1


def trained_on_ambiguous(answers: int):
    """A system and what its heads make of the last batch, with that batch."""
    facts = Facts({"a": 3, "b": 3}, (16, 16), images=64)
    system = make("best_of_k", facts=facts, answers=answers, lr=0.01, start="kaiming", **FAST)
    for _ in Engine(system, HOW, 60).run(ambiguous):
        pass
    batch = next(ambiguous(7))
    with torch.no_grad():
        return system.made(batch), batch


def test_two_heads_take_the_two_right_answers():
    made, batch = trained_on_ambiguous(2)
    light, dark = sorted(made.mean((0, 2, 3, 4)).tolist(), reverse=True)
    assert light == pytest.approx(0.5, abs=0.12)
    assert dark == pytest.approx(-0.5, abs=0.12)
    winners = nearest.errors(made, batch["b"])[..., 0].argmin(1)
    truths = batch["b"][:, 0, 0, 0] > 0
    lit = made.mean((0, 2, 3, 4)).argmax()
    assert torch.equal(winners == lit, truths)  # by sample: both heads win in this batch


def test_one_head_cannot():
    made, batch = trained_on_ambiguous(1)
    assert nearest.errors(made, batch["b"]).mean() > 0.4


def test_no_answers_are_refused():
    with pytest.raises(SettingsError, match="--answers must be at least 1, got 0"):
        make("best_of_k", answers=0)
    with pytest.raises(SettingsError, match="--mean_share must be at most 1"):
        make("best_of_k", mean_share=1.5)


@pytest.mark.parametrize("generator", ["unet", "encoder_decoder", "resnet"])
def test_every_generator_has_heads(generator):
    system = make("best_of_k", generator=generator, blocks=1, answers=2, at_test="train")
    heard = []
    for _ in Engine(system, HOW, 2, lambda *told: heard.append(told[2])).run(batches):
        pass
    assert all(set(terms) == {"nearest", "mean"} for terms in heard)
    assert system.eval().generate(picture_batch(0), Controls(answer=1)).shape == (4, 3, 32, 32)
