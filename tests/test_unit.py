"""UNIT: its terms, the latent space that both domains share, noise in training alone, tiles."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from synthetic import FACTS, make, picture_batch
from tiles import furthest, photograph, tiled, untiled
from torch import Tensor

from dragoman.controls import Towards
from dragoman.engine import Engine, EngineSettings
from dragoman.errors import SettingsError
from dragoman.matching import check_shapes
from dragoman.system import Facts, Progress
from dragoman.systems.unit import UNIT, divergence

GREY = Facts({"a": 3, "b": 1}, (32, 32))  # domains of different channels
WEIGHTS = {"lambda_image": 2.0, "lambda_kl": 3.0, "lambda_cycle": 5.0, "lambda_kl_cycle": 7.0}


def small(**knobs: Any) -> UNIT:
    few: dict[str, Any] = {"blocks": 2}
    return make("unit", **(few | knobs))


def grey_batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(2, n, 32, 32, generator=generator) * 2 - 1 for n in (3, 1))
    return {"a": a, "b": b}


def test_the_divergence_by_hand():
    assert float(divergence(torch.tensor([[[[1.0, -3.0]]]]))) == 5.0  # twice (1/2 + 9/2) / 2
    assert divergence(torch.ones(1, 1, 1, 1, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize(("share", "redraw"), [(True, True), (True, False), (False, False)])
def test_terms_are_those_of_the_networks_called_directly(share, redraw):
    how = {"share_weights": share, "redraw": redraw, **WEIGHTS}
    system = small(facts=GREY, lambda_adversarial=0.5, **how)
    batch, network = grey_batch(), system.generator
    torch.manual_seed(3)
    shared = system.share(batch, Progress(0, 1))
    codes, terms = shared.codes, system.generator_loss(batch, shared)
    torch.manual_seed(3)
    drawn = torch.randn(2, 2, 2, 16, 8, 8)  # picture, first or later, domain
    noise = {"a": drawn[:, 0, 0], "b": drawn[:, 0, 1]}
    later = {"a": drawn[:, 1, 0], "b": drawn[:, 1, 1]}
    for own, other in (("a", "b"), ("b", "a")):
        true, code = batch[own], network.encode(batch[own], own)
        assert torch.equal(codes[own], code)
        theirs = network.encode(batch[other], other)
        fake = network.decode(theirs + noise[other], own)
        again = network.encode(network.decode(code + noise[own], other), other)
        wanted = {
            "adversarial": 0.5 * sum((one - 1).square().mean() for one in system.judge(own)(fake)),
            "image": 2 * (network.decode(code + noise[own], own) - true).abs().mean(),
            "kl": 3 * code.square().mean(),
            "kl_cycle": 7 * again.square().mean(),
            "cycle": 5 * (network.decode(again + later[own], own) - true).abs().mean(),
        }
        for name, value in wanted.items():
            torch.testing.assert_close(terms.pop(f"{name}_{own}"), value, msg=f"{name}_{own}")
    assert not terms


@pytest.mark.parametrize("redraw", [False, True])
def test_discriminators_judge_translations(redraw):
    system, batch = small(facts=GREY, redraw=redraw), grey_batch()
    torch.manual_seed(4)
    shared = system.share(batch, Progress(0, 1))
    terms = system.discriminator_loss(batch, shared)
    torch.manual_seed(4)
    noise = torch.randn(2, 1 if redraw else 2, 2, 16, 8, 8)[:, 0]  # else the way back's too
    fake = system.generator.decode(shared.codes["a"] + noise[:, 0], "b")
    wanted = sum(one.square().mean() for one in system.judge("b")(fake))
    torch.testing.assert_close(terms["fake_b"], wanted)
    sum(terms.values()).backward()  # ty: ignore
    assert all(p.grad is None for p in system.generator.parameters())


@pytest.mark.parametrize("redraw", [False, True])
@pytest.mark.parametrize("cycle", [10.0, 0.0])
def test_a_step_computes_nothing_twice(cycle, redraw):
    """Pictures, true and made, are encoded once; decoded are translations and pictures anew."""
    system = small(lambda_cycle=cycle, redraw=redraw)
    calls: Counter[str] = Counter()
    for domain in (system.generator.a, system.generator.b):
        for part in ("encoder", "decoder"):
            network = domain.get_submodule(part)
            network.register_forward_hook(lambda *_, part=part: calls.update([part]))
    engine = Engine(system, EngineSettings(precision="fp32", device="cpu", average=0.0), 1)
    (stage,) = engine.stages
    assert [turn.name for turn in stage.turns] == ["discriminator", "generator"]
    engine.enter(stage)
    engine.take_step(stage, picture_batch(0, 2))
    decoded = 4 + (2 if cycle else 0) + (2 if redraw else 0)  # the way back; the first turn's own
    assert calls == {"encoder": 4, "decoder": decoded}


def test_the_innermost_blocks_are_shared_or_not():
    shared, apart = small(), small(share_weights=False)
    inner = ("last_encoding", "first_decoding")
    for system, count in ((shared, 1), (apart, 0)):
        network = system.generator
        assert [len(network.get_submodule(name)) for name in inner] == [count] * 2  # ty: ignore
        assert len(network.a.encoder.blocks) == len(network.b.decoder.blocks) == 2 - count
    batch = picture_batch(0, 2)
    shared.generator_loss(batch, shared.share(batch, Progress(0, 1)))["image_a"].backward()
    for name in inner:
        learned = shared.generator.get_submodule(name).parameters()
        assert all(p.grad is not None for p in learned)
    a, b = shared.generator.a, shared.generator.b
    assert all(p.grad is None for p in b.parameters())
    assert all(p.grad is not None for p in a.parameters())


def test_codes_have_noise_in_training_and_are_their_mean_when_generating():
    system, batch = small(facts=GREY).eval(), grey_batch()
    with torch.no_grad():
        made = system.generate(batch)
        back = system.generate(batch, Towards(to="a"))
        assert torch.equal(system.generate(batch), made)
        assert torch.equal(made, system.generator(batch["a"], "a", "b"))
        assert torch.equal(back, system.generator(batch["b"], "b", "a"))
        first, second = (system.share(batch, Progress(0, 1)).fake for _ in range(2))
    assert (made.shape[1], back.shape[1], system.answers) == (1, 3, 1)
    assert not torch.equal(first["b"], second["b"])
    assert not torch.equal(first["b"], made)


def test_the_noise_of_a_batch_in_parts_is_that_of_the_whole():
    system = small()
    codes = system.share(picture_batch(0), Progress(0, 1)).codes
    torch.manual_seed(0)
    whole = system.noise(codes, 2)
    torch.manual_seed(0)
    parts = [system.noise({d: c[rows] for d, c in codes.items()}, 2) for rows in (slice(0, 3), [3])]
    for time in range(2):
        for domain in "ab":
            joined = torch.cat([part[time][domain] for part in parts])
            assert torch.equal(joined, whole[time][domain])
    assert abs(float(whole[0]["a"].mean())) < 0.05
    assert float(whole[1]["b"].std()) == pytest.approx(1, abs=0.05)


def test_what_comes_back():
    system, batch = small(facts=GREY).eval(), grey_batch()
    (measure,) = system.measures()
    with torch.no_grad():
        made = system.generate(batch)
        back = system.generator(made, "b", "a")
    wanted = ((back - batch["a"]).abs() / 2).mean((1, 2, 3))
    torch.testing.assert_close(measure.of(made, batch["b"], batch), wanted)


def test_tiles_agree_with_the_whole_picture():
    system, picture = small(depth=1).eval(), photograph(80, 112)
    whole = untiled(system, picture)
    assert float(whole.std()) > 0.05
    assert furthest(tiled(system, picture, tile=48, norms="exact"), whole) < 1e-3


@pytest.mark.parametrize(
    ("knobs", "side", "words"),
    [
        ({}, 12, "--discriminator_layers 4 with --scales 1 needs pictures of at least 16 px"),
        (
            {"depth": 5, "discriminator_layers": 2},
            32,
            "--depth 5 needs pictures of at least 64 px, these have 32; use less",
        ),
    ],
)
def test_pictures_that_are_too_small(knobs, side, words):
    with pytest.raises(SettingsError, match=words):
        small(facts=Facts(FACTS.channels, (side, 64)), **knobs)


def test_sides_that_the_encoders_cannot_halve():
    data: Any = SimpleNamespace(shapes=[(30, 32)])
    with pytest.raises(SettingsError, match=r"unit .* needs sides divisible by 4, .* 30 x 32"):
        check_shapes("unit", small(), data)
