"""Going on from a state of the engine, and refusing one that does not fit."""

from typing import Any

import pytest
import torch
from pair import Pair, settings, trained, twos, values

from dragoman.engine import Engine
from dragoman.errors import FileError, SettingsError


def taken(plan: list, until: int) -> dict[str, Any]:
    engine = Engine(Pair(plan), settings(), 0)
    for done in engine.run(twos):
        if done == until:
            return engine.state()
    raise AssertionError("there are fewer steps")


def test_resuming_between_stages_begins_the_next_one():
    plan = [(2, [("one", 1)]), (2, [("two", 1)])]
    whole = trained(Pair(plan))
    engine = Engine(Pair(plan), settings(), 0)
    engine.load(taken(plan, 2))
    for _ in engine.run(twos):
        pass
    assert values(engine.system) == values(whole.system)
    assert engine.system.begun == [1]


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ([(1, [("one", 1)]), (1, [("two", 1)])], "already taken 3 steps, --steps 2 is less"),
        ([(4, [("one", 1)]), (2, [("two", 1)])], "--steps 6 would change the stages that are al"),
    ],
)
def test_steps_that_contradict_the_past_are_refused(plan, words):
    state = taken([(2, [("one", 1)]), (2, [("two", 1)])], 3)
    with pytest.raises(SettingsError, match=words):
        Engine(Pair(plan), settings(), 0).load(state)


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s.pop("processes"),
        lambda s: s.update(processes=5),
        lambda s: s.pop("done"),
        lambda s: s.update(stage=7),
        lambda s: s.update(step="one"),
        lambda s: s["system"].pop("one.value"),
        lambda s: s["system"].update({"one.value": torch.ones(3)}),
        lambda s: s["optimizers"].update(other={}),
        lambda s: s["optimizers"]["one"].pop("param_groups"),
        lambda s: s["processes"][0]["random"].update(torch=torch.zeros(3)),
    ],
)
def test_a_state_that_does_not_fit_is_a_file_error(damage):
    plan = [(2, [("one", 1)])]
    state = taken(plan, 1)
    damage(state)
    with pytest.raises(
        (FileError, SettingsError), match=r"does not fit the run's settings|--steps"
    ):
        Engine(Pair(plan), settings(), 0).load(state)


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        (2, "trained by 2 processes, now there is 1 process; .* torchrun --nproc_per_node 2 -m "),
        (0, "trained by 0 processes"),
    ],
)
def test_another_number_of_processes_is_refused(saved, words):
    plan = [(2, [("one", 1)])]
    state = taken(plan, 1)
    state["processes"] *= saved
    with pytest.raises(FileError, match=words):
        Engine(Pair(plan), settings(), 0).load(state)
