"""Losses, penalties, the history and schedules give numbers worked out by hand."""

import copy
import itertools
import math
import subprocess
import sys
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from dragoman import schedules
from dragoman.errors import SettingsError
from dragoman.losses import distances, penalties
from dragoman.losses.adversarial import discriminator_terms, generator_term
from dragoman.losses.history import History

LOG2 = math.log(2)
LOG4 = math.log(4)  # of 1 / sigmoid(-log 3) = 4
REAL, FAKE = torch.tensor([[0.0], [-math.log(3)]]), torch.tensor([math.log(3)])  # D: 1/2, 1/4; 3/4


@pytest.mark.parametrize(
    ("kind", "real", "fake", "generator"),
    [
        ("minimax", (LOG2 + LOG4) / 2, LOG4, -LOG4),
        ("nonsaturating", (LOG2 + LOG4) / 2, LOG4, math.log(4 / 3)),
        (
            "least_squares",
            (1 + (1 + math.log(3)) ** 2) / 2,
            math.log(3) ** 2,
            (math.log(3) - 1) ** 2,
        ),
        ("hinge", (2 + math.log(3)) / 2, 1 + math.log(3), -math.log(3)),
        ("wasserstein", math.log(3) / 2, math.log(3), -math.log(3)),
    ],
)
def test_adversarial_objectives_by_hand(kind, real, fake, generator):
    terms = discriminator_terms(kind, REAL, FAKE)
    assert terms["real"].item() == pytest.approx(real, rel=1e-6)
    assert terms["fake"].item() == pytest.approx(fake, rel=1e-6)
    assert generator_term(kind, FAKE).item() == pytest.approx(generator, rel=1e-6)


def test_relativistic_compares_with_the_other_sides_mean():
    real, fake = torch.tensor([math.log(3) + 1.0]), torch.tensor([1.0 + 1, 1.0 - 1])
    terms = discriminator_terms("relativistic", real, fake)
    assert terms["real"].item() == pytest.approx(math.log(4 / 3), rel=1e-6)  # sigmoid(log 3) = 3/4
    above, below = (math.log(1 + math.exp(x - math.log(3))) for x in (1, -1))
    assert terms["fake"].item() == pytest.approx((above + below) / 2, rel=1e-6)
    exchanged = discriminator_terms("relativistic", real, fake, real_label=0.0, fake_label=1.0)
    total = exchanged["real"] + exchanged["fake"]
    assert generator_term("relativistic", fake, real).item() == pytest.approx(total.item())
    with pytest.raises(ValueError, match="needs the logits of real pictures"):
        generator_term("relativistic", fake)


def test_held_means_pass_no_gradient_to_the_other_side():
    for held in (False, True):
        real, fake = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
        terms = discriminator_terms("relativistic", real, fake, hold_means=held)
        (gradient,) = torch.autograd.grad(terms["real"], fake, allow_unused=True)
        assert (gradient is None) == held


def test_minimax_saturates_where_nonsaturating_learns():
    slopes = {}
    for kind in ("minimax", "nonsaturating"):
        fake = torch.tensor([-8.0], requires_grad=True)  # the discriminator is sure
        slopes[kind] = torch.autograd.grad(generator_term(kind, fake), fake)[0].item()
    assert slopes["minimax"] == pytest.approx(-1 / (1 + math.exp(8)), rel=1e-4)
    assert slopes["nonsaturating"] == pytest.approx(-1 / (1 + math.exp(-8)), rel=1e-4)


def test_smoothing_is_one_sided_and_refused_where_there_are_no_labels():
    smooth = discriminator_terms("nonsaturating", REAL[:1], FAKE, real_label=0.9)
    assert smooth["real"].item() == pytest.approx(LOG2)
    assert discriminator_terms("least_squares", REAL[:1], FAKE, 0.9)["real"].item() == (
        pytest.approx(0.81)
    )
    assert smooth["fake"] == discriminator_terms("nonsaturating", REAL, FAKE)["fake"]
    for kind in ("hinge", "wasserstein"):
        with pytest.raises(SettingsError, match="leave real_label at 1 or choose one of minimax"):
            discriminator_terms(kind, REAL, FAKE, real_label=0.9)
    with pytest.raises(SettingsError, match="did you mean 'hinge'"):
        discriminator_terms(cast(Any, "hingee"), REAL, FAKE)


def test_losses_of_bf16_logits_are_float32_also_under_autocast():
    half = torch.linspace(-3, 3, 7).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        for kind in ("minimax", "nonsaturating", "least_squares", "hinge", "wasserstein"):
            terms = discriminator_terms(kind, half, half)
            assert {t.dtype for t in terms.values()} == {torch.float32}
            assert generator_term(kind, half).dtype == torch.float32
        for distance in (distances.l1, distances.l2, distances.charbonnier):
            assert distance(half, half + 1).dtype == torch.float32
        assert distances.gram(half.view(1, 7, 1, 1)).dtype == torch.float32


def test_distances_by_hand():
    x, y = torch.tensor([[1.0, 2.0], [4.0, 8.0]]), torch.zeros(2, 2)
    assert distances.l1(x, y) == 3.75
    assert distances.l2(x, y) == 21.25
    smooth = distances.charbonnier(torch.tensor([3.0, 0.0]), torch.zeros(2), epsilon=4.0)
    assert smooth == 4.5  # sqrt(9 + 16), sqrt(16)
    assert distances.total_variation(x.view(1, 1, 2, 2)) == 4.5 + 2.5
    mean, log_variance = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.zeros(2, 2)
    assert distances.kl_normal(mean, log_variance) == 1.25  # (1 + 4) / 2 over two samples
    wide = torch.full((1, 1), math.log(3.0))
    expected = (3 - 1 - math.log(3)) / 2
    assert distances.kl_normal(torch.zeros(1, 1), wide).item() == pytest.approx(expected)


def test_gram_style_and_feature_distances_by_hand():
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 2, 1, 2)
    matrix = torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / 4
    torch.testing.assert_close(distances.gram(features), matrix)
    zero = torch.zeros_like(features)
    style = distances.style_distance([features, features], [zero, features], weights=[2.0, 5.0])
    assert style.item() == pytest.approx(2 * (25 + 121 + 121 + 625) / 16 / 4)
    assert distances.feature_distance([features, features], [zero, zero], [1.0, 3.0]) == 10
    assert distances.feature_distance([features], [zero]) == 2.5
    with pytest.raises(ValueError, match=r"shorter|longer"):
        distances.feature_distance([features], [zero, zero])


def quadratic(x: Tensor) -> Tensor:
    """A patch critic: half the square of each pixel, so that the slope is the picture."""
    return x.square() / 2


def test_penalties_by_hand():
    real = torch.tensor([[3.0, 4.0], [0.0, 2.0]]).view(2, 1, 1, 2)
    fake = torch.zeros_like(real)
    assert penalties.r1(quadratic, real).item() == pytest.approx((25 + 4) / 2 / 2)
    penalty = penalties.gradient_penalty(quadratic, real, fake, mix=torch.ones(2))
    assert penalty.item() == pytest.approx((16 + 1) / 2)
    half = penalties.gradient_penalty(quadratic, real, fake, mix=torch.tensor([[0.5], [0.0]]))
    assert half.item() == pytest.approx((1.5**2 + 1) / 2)
    to_two = penalties.gradient_penalty(quadratic, real, fake, mix=torch.ones(2), target=2.0)
    assert to_two.item() == pytest.approx(9 / 2)


def test_one_mix_is_drawn_for_each_sample():
    seen = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.sum()

    torch.manual_seed(0)
    penalties.gradient_penalty(critic, torch.ones(64, 3, 2, 2), torch.zeros(64, 3, 2, 2))
    mixes = seen[0].flatten(1)
    assert torch.equal(mixes, mixes[:, :1].expand_as(mixes))
    assert mixes.min() < 0.1
    assert mixes.max() > 0.9


def test_penalties_teach_the_critic_in_float32_under_autocast_and_no_grad():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3))
    real, fake = torch.randn(2, 2, 3, 8, 8).bfloat16()
    dtypes = []
    critic[0].register_forward_hook(lambda module, args, out: dtypes.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        total = penalties.gradient_penalty(critic, real, fake) + penalties.r1(critic, real)
    total.backward()
    assert dtypes == [torch.float32] * 2
    for parameter in critic.parameters():
        if parameter.ndim > 1:
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0
    assert real.grad is None
    with torch.no_grad():
        assert penalties.r1(critic, real) > 0


def test_a_flat_critic_has_a_finite_gradient():
    critic = nn.Conv2d(1, 1, 1)
    nn.init.zeros_(critic.weight)
    penalty = penalties.gradient_penalty(critic, torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    penalty.backward()
    assert penalty.item() == 1
    assert critic.weight.grad is not None
    assert critic.weight.grad.isfinite().all()


def test_clipped_and_orthogonal_weights():
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[3.0, 4.0], [0.5, -2.0]])
    products = 1.5 - 8  # of the two rows
    assert penalties.orthogonal(layer.parameters()).item() == 2 * products**2
    diagonal = 2 * products**2 + 24**2 + 3.25**2
    assert penalties.orthogonal([layer.weight, torch.ones(5)], diagonal=True).item() == diagonal
    with pytest.raises(ValueError, match="no weight of two or more dimensions"):
        penalties.orthogonal([torch.ones(5)])
    penalties.clip_weights(layer, 1.0)
    assert layer.weight.tolist() == [[1, 1], [0.5, -1]]


def numbered(*numbers: int) -> Tensor:
    return torch.tensor(numbers).float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def shown(history: History, fakes: Tensor, **arguments: Any) -> list[float]:
    return history(fakes, **arguments)[:, 0, 0, 0].tolist()


def test_history_fills_then_exchanges():
    history, choices = History(2), iter([(True, 1), (False, 0), (True, 1)])
    assert shown(history, numbered(1), choices=choices) == [1]
    assert shown(history, numbered(2, 3), choices=choices) == [2, 2]  # 3 goes in for 2
    assert shown(history, numbered(4, 5), choices=choices) == [4, 3]  # 4 is not kept
    assert history.pictures[:, 0, 0, 0].tolist() == [1, 5]
    assert History(0)(numbered(7)).equal(numbered(7))


def test_history_shows_an_old_fake_half_of_the_time_and_keeps_copies():
    torch.manual_seed(0)
    history = History(50)
    fakes = numbered(*range(1050)).clone().requires_grad_(True)
    seen = history(fakes)
    assert not seen.requires_grad
    assert torch.equal(seen[:50], fakes[:50])
    old = (seen[50:] != fakes[50:]).flatten(1).any(1).float().mean().item()
    assert old == pytest.approx(0.5, abs=0.05)
    kept = history.pictures.clone()
    with torch.no_grad():
        fakes.zero_()
    assert torch.equal(history.pictures, kept)


def test_history_resumes_bit_for_bit_in_a_fresh_module():
    torch.manual_seed(0)
    whole = nn.ModuleDict({"past": History(3)})
    cast(History, whole["past"])(numbered(*range(5)))
    state, random = copy.deepcopy(whole.state_dict()), torch.get_rng_state()
    expected = shown(cast(History, whole["past"]), numbered(*range(5, 25)))
    again = nn.ModuleDict({"past": History(3)})
    again.load_state_dict(state)
    torch.set_rng_state(random)
    assert shown(cast(History, again["past"]), numbered(*range(5, 25))) == expected
    assert History.per_process
    with pytest.raises(RuntimeError, match="size mismatch"):
        History(4).load_state_dict(cast(History, again["past"]).state_dict())
    History(4).load_state_dict(History(4).state_dict())  # nothing seen yet


def test_schedules_at_their_corners():
    names = ("constant", "linear", "late", "cosine", "step", "halving", "tenths")
    assert tuple(schedules.SCHEDULES) == names
    at = {f: [round(schedules.SCHEDULES[n](f), 9) for n in names] for f in (0, 0.5, 0.75, 1)}
    assert at == {
        0: [1, 1, 1, 1, 1, 1, 1],
        0.5: [1, 1, 1, 0.5, 0.1, 0.125, 0.03125],
        0.75: [1, 0.5, 1, round((1 - math.sqrt(0.5)) / 2, 9), 0.1, 0.0625, 0.0078125],
        1: [1, 0, 0, 0, 0.1, 0.0625, round(0.5**9, 9)],
    }
    assert schedules.linear(0.9, start=0.8) == pytest.approx(0.5)
    assert schedules.step(0.9, at=(0.3, 0.6, 0.95), factor=0.5) == 0.25
    for schedule in schedules.SCHEDULES.values():
        values = [schedule(step / 100) for step in range(101)]
        assert all(a >= b >= 0 for a, b in itertools.pairwise(values))
    factors = [schedules.linear_by_epoch(epoch, 2, 3) for epoch in range(5)]
    assert factors == [1, 1, 0.75, 0.5, 0.25]


def test_schedules_do_not_import_torch():
    code = "import sys, dragoman.schedules; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
