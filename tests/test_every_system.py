"""What every system of the registry must do; a new system is tested here by its one line."""

import copy
from typing import Any

import pytest
import torch
from synthetic import batches, facts_of, make, picture_batch, shown, translator

from dragoman.engine import Engine, EngineSettings
from dragoman.pipeline import load
from dragoman.settings import build, knobs
from dragoman.system import Progress
from dragoman.systems import SYSTEMS, find_system
from dragoman.training import groups

# Knobs by which no picture of a batch matters to another.
ALONE: dict[str, Any] = {
    "norm": "none",
    "dropout": 0.0,
    "adversarial": "nonsaturating",
    "spectral": False,
    "lambda_matching": 0.0,
    "patches": 1 << 16,
    "layers": "border",  # of deeper ones the heads' last biases learn from rounding alone
    "lambda_slope": 0.0,  # of the mean logit: each picture's part depends on their number
}

every_system = pytest.mark.parametrize("name", SYSTEMS)


def settings(**over):
    return build(EngineSettings, {"precision": "fp32", "device": "cpu"} | over)


def final_state(name, steps=5, cut=None, **over):
    """Train; if cut, stop there, save, and go on in a fresh engine from what was saved."""
    engine = Engine(make(name), settings(**over), steps)
    torch.manual_seed(1)
    for done in engine.run(batches):
        if done == cut:
            state = copy.deepcopy(engine.state())
            engine = Engine(make(name, seed=9), settings(**over), steps)
            torch.manual_seed(77)
            engine.load(state)
            for _ in engine.run(batches):
                pass
            break
    return engine.state()


def leaves(tree, path=""):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path}/{key}")
    elif isinstance(tree, list | tuple):
        for number, value in enumerate(tree):
            yield from leaves(value, f"{path}/{number}")
    else:
        yield path, tree


@every_system
def test_knobs_do_not_collide_and_have_help(name):
    assert all(one.help for one in knobs(groups(name)).values())


@every_system
def test_defaults_of_the_run_are_known_knobs(name):
    assert set(find_system(name).defaults) <= set(knobs(groups(name)))


@every_system
def test_each_turn_moves_only_its_networks(name):
    system = make(name)
    engine = Engine(system, settings(), 4)
    for stage in engine.stages:
        engine.enter(stage)
        for turn in stage.turns:
            before = copy.deepcopy(system.state_dict())
            alone = type(stage)(stage.name, stage.steps, [turn], stage.begin, stage.data)
            for _ in range(turn.every):  # by then it was due
                engine.take_step(alone, picture_batch(0))
            learned = {id(p) for network in turn.networks for p in network.parameters()}
            moved = {
                key
                for key, parameter in system.named_parameters()
                if not torch.equal(before[key], parameter)
            }
            owned = {key for key, p in system.named_parameters() if id(p) in learned}
            assert moved, f"{turn.name} moved nothing"
            assert moved <= owned


@every_system
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_terms_are_finite_scalars(name, precision):
    heard = []
    engine = Engine(make(name), settings(precision=precision), 2, lambda *told: heard.append(told))
    for _ in engine.run(batches):
        pass
    assert heard
    for _, turn, terms in heard:
        assert terms, f"{turn} has no terms"
        assert all(t.dim() == 0 and t.isfinite() for t in terms.values())


@every_system
@pytest.mark.parametrize("cut", [1, 3])
def test_a_cut_run_equals_the_whole_run_bit_for_bit(name, cut):
    whole, pieces = dict(leaves(final_state(name))), dict(leaves(final_state(name, cut=cut)))
    assert whole.keys() == pieces.keys()
    for path, value in whole.items():
        same = torch.equal(value, pieces[path]) if torch.is_tensor(value) else value == pieces[path]
        assert same, path


@every_system
def test_training_changes_what_is_generated(name):
    system = make(name)
    engine = Engine(system, settings(average_warmup=True), 3)
    batch = picture_batch(0)
    with engine.generating() as one:
        before = shown(one).generate(batch)
    for _ in engine.run(batches):
        pass
    with engine.generating() as one:
        after, again = shown(one).generate(batch), None
    with engine.generating() as one:
        again = shown(one).generate(batch)
    assert not torch.equal(before, after)
    assert torch.equal(after, again), "the same seed must generate the same"


@every_system
def test_generated_pictures_have_the_data_s_channels_and_range(name):
    system = shown(make(name).eval())
    with torch.no_grad():
        made = system.generate(picture_batch(0))
    key = system.target or system.source
    facts = facts_of(name)
    side = facts.size[0] * facts.scale
    assert made.shape == (4, facts.channels[key], side, side)
    assert made.abs().max() <= 1


@every_system
def test_save_and_load_round_trip(name, tmp_path):
    first = translator(name)
    shown(first.system)
    first.save(tmp_path / "one")
    second = load(tmp_path / "one", "cpu")
    shown(second.system)
    batch = picture_batch(0)[first.system.source]
    assert torch.equal(first.translate(batch, seed=3), second.translate(batch, seed=3))
    assert second.system.settings == first.system.settings


def doubles(**how):
    for batch in batches(**how):
        yield {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}


@every_system
def test_accumulation_equals_the_whole_batch(name):
    """With norms and noise that do not depend on the batch, in float64."""
    states = []
    for parts in (1, 2):
        system = make(name, **ALONE).double()
        engine = Engine(system, settings(accumulate=parts), 2)
        torch.manual_seed(1)
        for _ in engine.run(doubles):
            pass
        states.append(dict(system.named_parameters()))
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=1e-6, atol=1e-9, msg=key)


@every_system
def test_share_is_asked_once_a_step(name, monkeypatch):
    system = make(name)
    asked = []
    kind = type(system)
    share = kind.share
    monkeypatch.setattr(
        kind,
        "share",
        lambda self, batch, progress: asked.append(progress) or share(self, batch, progress),
    )
    engine = Engine(system, settings(), 3)
    for _ in engine.run(batches):
        pass
    assert len(asked) == 3
    assert isinstance(asked[0], Progress)
