"""The variants of pix2pix: every objective trains, and what cannot work is refused by name."""

from typing import Any, get_args

import pytest
import torch
from synthetic import FACTS, batches, make, picture_batch

from dragoman.engine import Engine, EngineSettings
from dragoman.errors import FileError, SettingsError
from dragoman.losses.adversarial import Adversarial
from dragoman.networks.patch import Field
from dragoman.run import Run
from dragoman.settings import build
from dragoman.system import Facts

FAST: dict[str, Any] = {"norm": "instance", "at_test": "eval"}


def heard_terms(steps=2, **knobs):
    """Train a small pix2pix and return the names of all terms it told."""
    heard = {}
    how = build(EngineSettings, {"device": "cpu", "precision": "fp32"})
    engine = Engine(
        make("pix2pix", **(FAST | knobs)),
        how,
        steps,
        lambda step, turn, terms: heard.update({f"{turn}.{n}": t for n, t in terms.items()}),
    )
    for _ in engine.run(batches):
        pass
    assert all(term.isfinite() for term in heard.values())
    return set(heard)


D = {"discriminator.real", "discriminator.fake"}


@pytest.mark.parametrize(
    ("objective", "terms"),
    [
        ("L1", {"generator.l1"}),
        ("GAN", D | {"generator.adversarial"}),
        ("cGAN", D | {"generator.adversarial"}),
        ("L1+GAN", D | {"generator.adversarial", "generator.l1"}),
        ("L1+cGAN", D | {"generator.adversarial", "generator.l1"}),
    ],
)
def test_each_objective_has_its_terms(objective, terms):
    assert heard_terms(objective=objective) == terms


@pytest.mark.parametrize("kind", get_args(Adversarial))
def test_every_adversarial_objective_trains(kind):
    terms = heard_terms(adversarial=kind)
    assert ("discriminator.penalty" in terms) == (kind == "wasserstein")


@pytest.mark.parametrize("patch", get_args(Field))
@pytest.mark.parametrize("generator", ["unet", "encoder_decoder"])
def test_every_patch_and_generator_trains(patch, generator):
    assert "generator.l1" in heard_terms(1, patch=patch, generator=generator)


def test_the_unconditional_discriminator_does_not_see_the_input():
    batch, other = picture_batch(0), picture_batch(1)
    for objective, sees in (("GAN", False), ("cGAN", True)):
        system = make("pix2pix", objective=objective, **FAST)
        here = system.judged(batch, batch["b"])
        there = system.judged({"a": other["a"], "b": batch["b"]}, batch["b"])
        assert torch.equal(here, there) != sees


def test_wasserstein_with_batch_norm_is_refused():
    with pytest.raises(SettingsError, match="--discriminator_norm instance"):
        make("pix2pix", adversarial="wasserstein")


@pytest.mark.parametrize(("size", "depth"), [(48, 5), (33, 1)])
def test_a_size_that_cannot_be_halved_so_often_is_refused(size, depth):
    facts = Facts({"a": 3, "b": 3}, (size, size))
    with pytest.raises(SettingsError, match=f"{size} px cannot be halved {depth} times"):
        make("pix2pix", facts=facts, depth=depth, **FAST)


def test_the_default_depth_is_what_the_size_allows():
    facts = Facts({"a": 3, "b": 3}, (96, 96))
    assert make("pix2pix", facts=facts, **FAST).stride == 32


@pytest.mark.parametrize("name", ["pix2pix", "regression"])
def test_batch_statistics_at_test_are_each_picture_s_own(name):
    system = make(name, at_test="train", dropout=0.0).eval()
    batch = picture_batch(0)
    with torch.no_grad():
        together = system.generate(batch)
        alone = torch.cat([system.generate({"a": one}) for one in batch["a"].split(1)])
    assert torch.equal(together, alone)


def test_dropout_at_test_draws_by_seed_and_eval_does_not():
    batch = picture_batch(0, 1, 64)
    facts = Facts(FACTS.channels, (64, 64))
    for how, varies in (("dropout", True), ("eval", False)):
        system = make("pix2pix", facts=facts, at_test=how).eval()
        made = []
        for seed in (0, 1, 0):
            torch.manual_seed(seed)
            made.append(system.generate(batch))
        assert torch.equal(made[0], made[2])
        assert torch.equal(made[0], made[1]) != varies


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path):
    words = "is being trained by another process"
    with Run(tmp_path).alone(), pytest.raises(FileError, match=words), Run(tmp_path).alone():
        pass
