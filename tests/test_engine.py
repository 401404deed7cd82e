"""The engine's arithmetic, worked by hand on a system of one or two numbers."""

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from pair import FACTS, Pair, settings, trained, twos, values
from synthetic import batches, make, picture_batch
from torch import Tensor, nn
from torch.optim import LBFGS

from dragoman.engine import Engine, NotFinite, computes_bf16
from dragoman.errors import SettingsError
from dragoman.losses.penalties import gradient_penalty, r1
from dragoman.schedules import SCHEDULES
from dragoman.system import Batch, Stage, System, Terms, Turn


def test_one_step_is_the_gradient_times_the_rate():
    system = Pair([(1, [("one", 1)])])
    trained(system)
    # (2 w)^2 / 2 at w = 1 has the gradient 4: 1 - 0.1 * 4
    assert values(system) == (pytest.approx(0.6), 10)


def test_turns_act_in_their_order_and_the_share_is_of_the_beginning():
    heard = []
    system = Pair([(1, [("one", 1), ("two", 1)])])
    engine = Engine(system, settings(), 0, lambda *told: heard.append(told))
    for _ in engine.run(twos):
        pass
    # two's gradient is the shared 2 w = 2, computed before one moved; it does not reach one.
    assert values(system) == (pytest.approx(0.6), pytest.approx(9.8))
    assert [(step, turn) for step, turn, _ in heard] == [(0, "one"), (0, "two")]
    assert heard[0][2] == {"square": 2}
    assert heard[1][2] == {"product": 20, "offset": 0}
    assert system.shared == 1


def test_every_says_at_which_steps_a_turn_is_due():
    heard = []
    system = Pair([(7, [("one", 1), ("two", 3)])])
    engine = Engine(system, settings(), 0, lambda step, turn, _: heard.append((turn, step)))
    for _ in engine.run(twos):
        pass
    assert [step for turn, step in heard if turn == "two"] == [0, 3, 6]
    assert [step for turn, step in heard if turn == "one"] == list(range(7))


def test_a_stage_begins_with_fresh_optimizers_and_its_data():
    plan = [(2, [("one", 1)]), (0, [("two", 1)]), (1, [("one", 1), ("two", 1)])]
    system = Pair(plan)
    asked = []

    def loader(start: int, **overrides: Any):
        asked.append((start, overrides))
        return twos()

    engine = Engine(system, settings(), 0)
    engine.stages[2].data["size"] = 64
    seen = [engine.done for _ in engine.run(loader)]
    assert seen == [1, 2, 3]
    assert system.begun == [0, 1, 2]
    assert system.asked == [system.one, system.two, system.one, system.two]
    assert asked[0] == (0, {})
    assert asked[2] == (2, {"size": 64})
    # w = 1; 0.6; momentum: 0.6 - 0.1 * (4 * 0.6 + 0.5 * 4) = 0.16; afresh: 0.16 - 0.1 * 0.64
    assert values(system)[0] == pytest.approx(0.096)


def test_several_optimizers_in_one_turn_and_the_clipped_norm():
    system = Pair([(1, [("both", 1)])])
    trained(system)
    assert values(system) == (pytest.approx(0.7), pytest.approx(9.6))
    system = Pair([(1, [("both", 1)])])
    trained(system, clip=1.0)  # the gradient (3, 4) of norm 5 becomes (0.6, 0.8)
    assert values(system) == (pytest.approx(0.94), pytest.approx(9.92))
    system = Pair([(1, [("both", 1)])])
    trained(system, clip=6.0)  # short enough as it is
    assert values(system) == (pytest.approx(0.7), pytest.approx(9.6))


def test_the_average_worked_by_hand():
    plan = [(2, [("one", 1)])]
    plain = Pair(plan)
    engine = trained(plain, average=0.9, average_warmup=False)
    # weights 1 -> 0.6 -> 0.16; average 0.9 * 1 + 0.1 * 0.6 = 0.96; 0.9 * 0.96 + 0.1 * 0.16
    assert plain.one.value.item() == pytest.approx(0.16)
    assert values(engine.average) == (pytest.approx(0.88), 10)
    assert engine.average.two is plain.two, "what is not averaged is shared"
    warm = Pair(plan)
    engine = trained(warm, average=0.9, average_warmup=True)
    # decays 2/11 and 3/12: 2/11 * 1 + 9/11 * 0.6 = 7.4/11; then a quarter of it and 0.75 * 0.16
    assert values(engine.average)[0] == pytest.approx(0.25 * 7.4 / 11 + 0.75 * 0.16)
    with engine.generating() as system:
        made = system.generate({"a": torch.ones(1)})
    assert made.item() == pytest.approx(values(engine.average)[0])


def test_the_average_has_averaged_statistics_of_its_own():
    system = make("regression", norm="batch")
    engine = Engine(system, settings(average=0.9, average_warmup=False), 3)
    name = next(n for n, _ in system.named_buffers() if n.endswith("running_mean"))
    expected = torch.zeros_like(system.get_buffer(name))
    for _ in engine.run(batches):
        expected = 0.9 * expected + 0.1 * system.get_buffer(name)
    torch.testing.assert_close(engine.average.get_buffer(name), expected)
    assert not torch.equal(system.get_buffer(name), expected)
    count = name.replace("running_mean", "num_batches_tracked")
    assert engine.average.get_buffer(count) == system.get_buffer(count) == 3


def test_the_average_warms_up_again_in_each_stage():
    plan = [(1, [("one", 1)]), (1, [("one", 1)])]
    system = Pair(plan)
    engine = trained(system, average=0.9, average_warmup=True)
    # each stage has a fresh optimizer: 1 -> 0.6 -> 0.36; both steps take 2/11 of what was before
    first = 2 / 11 * 1 + 9 / 11 * 0.6
    assert system.one.value.item() == pytest.approx(0.36)
    assert values(engine.average)[0] == pytest.approx(2 / 11 * first + 9 / 11 * 0.36)


def test_without_average_the_system_itself_generates():
    system = Pair([(1, [("one", 1)])])
    assert trained(system, average=0.0).average is system


def test_an_average_of_something_hidden_is_refused():
    system = Pair([(1, [("one", 1)])])
    system.averaged = lambda: [nn.Linear(1, 1)]
    with pytest.raises(TypeError, match="attributes of the system"):
        Engine(system, settings(average=0.5), 0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rate_follows_the_schedule_also_after_a_resume(name):
    plan = [(8, [("one", 1)])]
    rates: list[float] = []
    engine = Engine(Pair(plan), settings(schedule=name), 0)
    state = {}
    for done in engine.run(twos):
        (group,) = engine.optimizers[engine.system.one].param_groups
        rates.append(group["lr"])
        if done == 5:
            state = copy.deepcopy(engine.state())
    wanted = [0.1 * SCHEDULES[name](step / 8) for step in range(8)]
    assert rates == pytest.approx(wanted, rel=1e-12)
    again = Engine(Pair(plan), settings(schedule=name), 0)
    again.load(state)
    resumed = []
    for _ in again.run(twos):
        (group,) = again.optimizers[again.system.one].param_groups
        resumed.append(group["lr"])
    assert resumed == rates[5:]
    assert values(again.system) == values(engine.system)


@pytest.mark.parametrize(
    ("name", "fraction", "factor"),
    [
        ("constant", 0.99, 1),
        ("linear", 0.5, 1),
        ("linear", 0.75, 0.5),
        ("linear", 1, 0),
        ("late", 0.75, 1),
        ("late", 0.875, 0.5),
        ("cosine", 0, 1),
        ("cosine", 0.5, 0.5),
        ("cosine", 1 / 3, 0.75),
        ("step", 0.49, 1),
        ("step", 0.5, 0.1),
    ],
)
def test_schedules_by_hand(name, fraction, factor):
    assert SCHEDULES[name](fraction) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("found", "gains"),
    [
        ({"amx_bf16": True, "cpu_name": "Intel Xeon"}, True),
        ({"avx512_bf16": True, "cpu_name": "Intel Xeon"}, False),
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, True),
        ({"avx512_bf16": False, "cpu_name": "AMD EPYC"}, False),
        ({}, False),
    ],
)
def test_bf16_is_taken_where_a_processor_gains_by_it(found, gains, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert computes_bf16(torch.device("cpu")) is gains


def test_stages_may_share_one_course_of_the_schedule():
    system = Pair([(4, [("one", 1)]), (4, [("one", 1)])])
    own, rates = system.stages, []
    parts = ((0.0, 0.5), (0.5, 1.0))
    system.stages = lambda steps: [
        dataclasses.replace(stage, course=part)
        for stage, part in zip(own(steps), parts, strict=True)
    ]
    engine = Engine(system, settings(schedule="linear"), 0)
    for _ in engine.run(twos):
        rates.append(engine.rate)
    assert rates == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


class Searching(Pair):
    """Learns by an optimizer that evaluates the loss repeatedly."""

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        return LBFGS(network.parameters(), max_iter=20, line_search_fn="strong_wolfe")

    def one_loss(self, batch: Batch, shared: Tensor) -> Terms:
        return {"distance": (shared - 6).square(), "fourth": (shared - 6) ** 4}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_optimizer_with_closure_sees_the_loss_of_the_moment(accumulate):
    system = Searching([(1, [("one", 1)])])
    trained(system, accumulate=accumulate)
    assert values(system)[0] == pytest.approx(3.0, abs=1e-3)  # 2 w = 6
    assert system.shared > 3


@pytest.mark.parametrize(("accumulate", "calls"), [(1, 1), (2, 4)])
def test_the_share_is_recomputed_only_for_the_turn_that_learns_through_it(accumulate, calls):
    system = Pair([(1, [("two", 1), ("one", 1)])])
    trained(system, accumulate=accumulate)
    assert system.shared == calls  # with parts: once for the values, once for the learner
    assert values(system) == (pytest.approx(0.6), pytest.approx(9.8))
    alone = Pair([(1, [("two", 1)])])
    trained(alone, accumulate=2)
    assert alone.shared == 2


class Penalised(System):
    """A critic whose only terms are penalties, which note in what precision they compute."""

    def __init__(self) -> None:
        super().__init__(None, FACTS)
        self.critic = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 1))
        self.seen: dict[str, Any] = {}

    def stages(self, steps: int) -> list[Stage]:
        return [Stage("train", steps, [Turn(self.critic_loss, [self.critic])])]

    def judged(self, pictures: Tensor) -> Tensor:
        logits = self.critic(pictures)
        self.seen["inner"] = logits.dtype
        return logits

    def critic_loss(self, batch: Batch, shared: Any) -> Terms:
        self.seen["outer"] = self.critic(batch["a"]).dtype
        terms = {
            "penalty": gradient_penalty(self.judged, batch["b"], batch["a"]),
            "r1": r1(self.judged, batch["b"]),
        }
        self.seen["terms"] = {t.dtype for t in terms.values()}
        return terms


def test_penalties_compute_in_float32_under_bf16():
    system = Penalised()
    engine = Engine(system, settings(precision="bf16"), 1)
    for _ in engine.run(batches):
        pass
    assert system.seen == {
        "outer": torch.bfloat16,
        "inner": torch.float32,
        "terms": {torch.float32},
    }
    assert {p.dtype for p in system.parameters()} == {torch.float32}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_term_that_is_not_finite_stops_before_anything_moves(bad):
    system = Pair([(5, [("two", 1), ("one", 1)])])
    engine = Engine(system, settings(), 0)
    numbers = iter([2.0, 2.0, bad])

    def loader(start: int):
        while True:
            yield {"a": torch.full((1, 1, 1, 1), next(numbers)), "index": torch.arange(1)}

    steps = engine.run(loader)
    next(steps), next(steps)
    before = values(system)
    with pytest.raises(NotFinite) as caught:
        next(steps)
    assert (caught.value.turn, caught.value.term, caught.value.step) == ("two", "product", 2)
    assert set(caught.value.batch) == {"a", "index"}
    assert "'two.product' is no longer finite at step 2; try a lower --lr" in str(caught.value)
    assert values(system) == before
    assert engine.all_finite()


def test_all_finite_sees_a_single_bad_weight():
    engine = Engine(make("pix2pix"), settings(), 1)
    assert engine.all_finite()
    with torch.no_grad():
        next(reversed(list(engine.system.parameters()))).view(-1)[-1] = math.inf
    assert not engine.all_finite()


def test_generating_never_moves_what_training_draws():
    def final(disturb: bool) -> dict[str, Tensor]:
        system = make("pix2pix", generator="resnet", blocks=1, dropout=0.5)
        engine = Engine(system, settings(average=0.9), 3)
        torch.manual_seed(5)
        for done in engine.run(batches):
            if disturb and done < 3:
                with engine.generating(seed=done) as system:
                    system.generate(picture_batch(99))
                    torch.rand(7)
                assert engine.system.training
                assert engine.average.training
        return {**engine.system.state_dict(), "random": torch.get_rng_state()}

    one, other = final(False), final(True)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_generating_restores_training_after_an_error():
    engine = Engine(make("regression"), settings(), 1)
    state = torch.get_rng_state()

    def fail() -> None:
        with engine.generating() as system:
            assert not system.training
            assert not torch.is_grad_enabled()
            torch.rand(3)
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail()
    assert engine.system.training
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda"])
def test_unknown_devices_are_refused(device):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(SettingsError, match=f"--device {device}"):
        Engine(Pair([(1, [("one", 1)])]), settings(device=device), 0)


def test_integers_of_a_batch_are_taken_in_parts_too():
    seen = []

    class Noting(Pair):
        def one_loss(self, batch: Batch, shared: Tensor) -> Terms:
            seen.append({key: len(value) for key, value in batch.items()})
            return super().one_loss(batch, shared)

    system = Noting([(1, [("one", 1)])])
    engine = Engine(system, settings(accumulate=3), 0)

    def loader(start: int):
        while True:
            yield {"a": torch.full((5, 1, 1, 1), 2.0), "index": torch.arange(5)}

    for _ in engine.run(loader):
        pass
    assert seen == [{"a": 2, "index": 2}, {"a": 2, "index": 2}, {"a": 1, "index": 1}]
    assert values(system)[0] == pytest.approx(0.6)  # parts count by their size
