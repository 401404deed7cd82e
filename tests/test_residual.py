"""Generators that paint onto their picture."""

import pytest
import torch
from synthetic import batches, make, picture_batch

from dragoman.engine import Engine, EngineSettings
from dragoman.errors import SettingsError
from dragoman.networks.blocks import painted
from dragoman.settings import build
from dragoman.system import Facts
from dragoman.systems import SYSTEMS, find_system

WITH = [name for name in SYSTEMS if hasattr(find_system(name).Settings(), "residual")]
UNKNOWN = ("cut", "unet")  # it taps layers of the other generator
BUILT = [(name, kind) for name in WITH for kind in ("unet", "resnet") if (name, kind) != UNKNOWN]


def test_which_systems_have_such_generators():
    found = {"best_of_k", "cut", "cyclegan", "distribution_matching", "pix2pix", "regression"}
    assert set(WITH) == found


@pytest.mark.parametrize(("name", "kind"), BUILT)
def test_at_first_it_copies_all_but_for_the_tanh_and_then_it_learns(name, kind):
    system, batch = make(name, generator=kind, residual=True), picture_batch(0)
    copied = torch.tanh(batch["a"])
    with torch.no_grad():
        assert torch.equal(system.generate(batch), copied)
    engine = Engine(system, build(EngineSettings, {"average": 0.0, "device": "cpu"}), 2)
    list(engine.run(batches))
    with torch.no_grad():
        assert not torch.equal(system.generate(batch), copied)


@pytest.mark.parametrize("to", ["a", "b"])
def test_noise_is_not_painted_onto(to):
    system, batch = make("cyclegan", noise=2, residual=True), picture_batch(0)
    source = {"a": "b", "b": "a"}[to]
    assert torch.equal(system.translated(to, batch[source]), torch.tanh(batch[source]))


def test_every_channel_of_colours_is_painted_onto_the_grey_picture():
    system = make("regression", facts=Facts({"a": 1, "b": 3}, (32, 32)), residual=True)
    grey = picture_batch(0)["a"][:, :1]
    assert torch.equal(system.generate({"a": grey}), torch.tanh(grey).expand(-1, 3, -1, -1))


@pytest.mark.parametrize("name", WITH)
def test_channels_that_do_not_fit_are_refused(name):
    with pytest.raises(SettingsError) as error:
        make(name, facts=Facts({"a": 3, "b": 4}, (32, 32)), residual=True, **identity(name))
    assert str(error.value) == (
        "--residual true adds the picture to what the generator draws, which has 4 channels "
        "where the picture has 3; use --residual false"
    )


def identity(name):
    return {"identity": False} if name == "cut" else {}


def test_sums_are_in_full_precision():
    picture = torch.linspace(-1, 1, 3 * 16).view(1, 3, 4, 4)
    logits = torch.full((1, 6, 4, 4), 0.5, dtype=torch.bfloat16)
    made = painted(logits, picture, 3)
    assert made.dtype == torch.float32
    assert torch.equal(made, torch.tanh(picture + 0.5).repeat(1, 2, 1, 1))
    assert torch.equal(painted(logits, picture, 0), torch.tanh(logits.float()))
