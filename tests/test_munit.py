"""MUNIT: its terms, styles from the prior and of references, what a step computes."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from synthetic import FACTS, make, picture_batch
from tiles import furthest
from torch import Tensor, nn

from dragoman.controls import changed
from dragoman.engine import Engine, EngineSettings
from dragoman.errors import SettingsError
from dragoman.losses.distances import l1
from dragoman.matching import check_shapes
from dragoman.networks.munit import Autoencoder
from dragoman.shared_latent import default_scales
from dragoman.system import Facts, Progress
from dragoman.systems.munit import MUNIT, MUNITControls

GREY = Facts({"a": 3, "b": 1}, (32, 32))  # domains of different channels
WEIGHTS = {"lambda_image": 2.0, "lambda_style": 3.0, "lambda_content": 5.0, "lambda_cycle": 7.0}


def small(**knobs: Any) -> MUNIT:
    few: dict[str, Any] = {"blocks": 1, "mapping_width": 8, "style": 3}
    return make("munit", **(few | knobs))


def pictures(count: int = 2, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, 32, 32, generator=generator) * 2 - 1


def grey_batch() -> dict[str, Tensor]:
    return {"a": pictures(), "b": pictures(2, 1, 1)}


def codes_of(system: MUNIT, batch: dict[str, Tensor]) -> Any:
    return system.share(batch, Progress(0, 1))


def count_calls(system: MUNIT) -> Counter[str]:
    """Counts the runs of encoders, decoders and discriminators from now on."""
    calls: Counter[str] = Counter()
    for domain in "ab":
        parts = ("content", "style", "decoder")
        for part in parts:
            network = system.of(domain).get_submodule(part)
            network.register_forward_hook(lambda *_, part=part: calls.update([part]))
        system.judge(domain).register_forward_hook(lambda *_: calls.update(["judge"]))
    return calls


# Learning


@pytest.mark.parametrize("redraw", [False, True])
def test_terms_are_those_of_the_networks_called_directly(redraw):
    knobs = {"lambda_adversarial": 0.5, "redraw": redraw, **WEIGHTS}
    system, batch = small(facts=GREY, **knobs), grey_batch()
    torch.manual_seed(3)
    terms = system.generator_loss(batch, codes_of(system, batch))
    torch.manual_seed(3)
    drawn = torch.randn(2, 2, 3)
    style = {"a": drawn[:, 0], "b": drawn[:, 1]}
    nets: dict[str, Autoencoder] = {"a": system.autoencoder_a, "b": system.autoencoder_b}
    for own, other in (("a", "b"), ("b", "a")):
        true, content, fitting = batch[own], *nets[own].encode(batch[own])
        fake = nets[own].decode(nets[other].content(batch[other]), style[own])
        there = nets[other].decode(content, style[other])  # own pictures in the other domain
        found = nets[other].content(there)
        wanted = {
            "adversarial": 0.5 * sum((one - 1).square().mean() for one in system.judge(own)(fake)),
            "image": 2 * (nets[own](true) - true).abs().mean(),
            "style": 3 * (nets[own].style(fake) - style[own]).abs().mean(),
            "content": 5 * (found - content).abs().mean(),
            "cycle": 7 * (nets[own].decode(found, fitting) - true).abs().mean(),
        }
        for name, value in wanted.items():
            torch.testing.assert_close(terms.pop(f"{name}_{own}"), value, msg=f"{name}_{own}")
    assert not terms


@pytest.mark.parametrize("redraw", [False, True])
def test_discriminators_judge_translations_at_every_scale(redraw):
    system, batch = small(facts=GREY, lambda_adversarial=0.5, redraw=redraw), grey_batch()
    torch.manual_seed(4)
    shared = codes_of(system, batch)
    terms = system.discriminator_loss(batch, shared)
    torch.manual_seed(4)
    style_a, style_b = torch.randn(2, 2, 3).unbind(1)
    codes = shared.codes
    fake = {
        "a": system.autoencoder_a.decode(codes["b"][0], style_a),
        "b": system.autoencoder_b.decode(codes["a"][0], style_b),
    }
    for domain in "ab":
        judge = system.judge(domain)
        assert len(judge(fake[domain])) == 2
        real = 0.5 * sum((one - 1).square().mean() for one in judge(batch[domain]))
        made = 0.5 * sum(one.square().mean() for one in judge(fake[domain]))
        torch.testing.assert_close(terms[f"real_{domain}"], real)
        torch.testing.assert_close(terms[f"fake_{domain}"], made)
    assert len(terms) == 4


@pytest.mark.parametrize("redraw", [False, True])
@pytest.mark.parametrize("cycle", [0.0, 1.0])
def test_a_step_computes_nothing_twice(cycle, redraw):
    """Pictures, true and made, are encoded once; decoded are translations and pictures anew."""
    system = small(lambda_cycle=cycle, redraw=redraw)
    calls = count_calls(system)
    engine = Engine(system, EngineSettings(precision="fp32", device="cpu", average=0.0), 1)
    (stage,) = engine.stages
    assert [turn.name for turn in stage.turns] == ["discriminator", "generator"]
    engine.enter(stage)
    engine.take_step(stage, picture_batch(0, 2))
    decoded = 4 + (2 if cycle else 0) + (2 if redraw else 0)  # the way back; the first turn's own
    assert calls == {"content": 4, "style": 4, "decoder": decoded, "judge": 4 + 2}


@pytest.mark.parametrize("redraw", [False, True])
def test_the_discriminators_turn_moves_no_generator(redraw):
    system, batch = small(redraw=redraw), picture_batch(0, 2)
    shared = codes_of(system, batch)
    terms = system.discriminator_loss(batch, shared)
    sum(terms.values()).backward()  # ty: ignore
    for domain in "ab":
        assert all(p.grad is None for p in system.of(domain).parameters())
        assert all(p.grad is not None for p in system.judge(domain).parameters())
    assert bool(shared.fake) is not redraw


def test_with_redraw_each_turn_has_its_own_styles():
    batch = picture_batch(0, 2)
    for redraw in (False, True):
        system = small(redraw=redraw)
        seen: list[Tensor] = []
        system.discriminator_a.register_forward_pre_hook(lambda _, x, seen=seen: seen.append(x[0]))
        shared = codes_of(system, batch)
        system.discriminator_loss(batch, shared)
        system.generator_loss(batch, shared)
        against, _, fooling = seen
        assert torch.equal(against, fooling) is not redraw


def test_styles_of_a_batch_in_parts_are_those_of_the_whole():
    system, batch = small(style=8), picture_batch(0)
    codes = codes_of(system, batch).codes
    torch.manual_seed(0)
    (whole,) = system.noise(codes, 1)
    torch.manual_seed(0)
    parts = [
        system.noise({d: (c[rows], s[rows]) for d, (c, s) in codes.items()}, 1)[0]
        for rows in (slice(0, 2), slice(2, 4))
    ]
    for domain in "ab":
        assert torch.equal(torch.cat([part[domain] for part in parts]), whole[domain])
    assert not torch.equal(whole["a"], whole["b"])


def test_the_perceptual_term_compares_a_picture_with_what_was_made_of_it():
    system, batch = small(lambda_perceptual=3.0), picture_batch(0, 2)
    assert system.perceptual.weights == {"relu5": 1.0}
    shown = []
    system.perceptual = lambda *pair: shown.append(pair) or l1(*pair)  # ty: ignore
    terms = system.generator_loss(batch, codes_of(system, batch))
    for (fake, given), (own, other) in zip(shown, ("ab", "ba"), strict=True):
        assert torch.equal(given, batch[other])
        torch.testing.assert_close(terms[f"perceptual_{own}"], 3 * l1(fake, given))
    system = small(lambda_perceptual=1.0)
    system.check()
    assert system.generator_loss(batch, codes_of(system, batch))["perceptual_a"] > 0
    assert "perceptual_a" not in small().generator_loss(batch, codes_of(system, batch))


def test_relativistic_judges_hear_true_pictures_too():
    system, batch = small(adversarial="relativistic"), picture_batch(0, 2)
    fake, true = batch["b"], batch["a"]
    both = zip(system.judge("a")(fake), system.judge("a")(true), strict=True)
    wanted = sum(
        nn.functional.softplus(real - made.mean()).mean()
        + nn.functional.softplus(-(made - real.mean())).mean()
        for made, real in both
    )
    torch.testing.assert_close(system.fooling("a", fake, true), wanted)


def test_official_starts_and_optimizers():
    system = small(width=32, discriminator_width=32, lr_discriminator=3e-4)
    conv = system.autoencoder_a.content.blocks[0].get_parameter("conv1.weight")
    assert float(conv.detach().std()) == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    judged = system.judge("b").get_parameter("scales.0.layers.1.conv.weight")
    assert float(judged.detach().std()) == pytest.approx(0.02, rel=0.05)
    for network, rate in ((system.autoencoder_b, 1e-4), (system.judge("a"), 3e-4)):
        (group,) = system.optimizer(network).param_groups
        assert (group["lr"], group["betas"]) == (rate, (0.5, 0.999))
        assert group["weight_decay"] == 1e-4


def test_weights_decay_as_an_l2_term():
    """Where no other gradient is, Adam's first step is the rate, towards 0."""
    system = small(weight_decay=0.1, lr=0.01)
    network = nn.Linear(1, 1)
    nn.init.constant_(network.weight, 2.0)
    optimizer = system.optimizer(network)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert float(network.weight.detach()) == pytest.approx(2 - 0.01, abs=1e-6)


# Generating


@pytest.mark.parametrize(("to", "source"), [("b", "a"), ("a", "b")])
def test_a_reference_gives_the_mean_of_its_styles(to, source):
    system, batch = small(facts=GREY).eval(), grey_batch()
    shown = pictures(20, GREY.channels[to], 5)
    with torch.no_grad():
        style = system.of(to).style(shown).mean(0, keepdim=True)
        content = system.of(source).content(batch[source])
        wanted = system.of(to).decode(content, style.expand(2, -1))
        system.choose(MUNITControls(to=to, reference=shown))
        calls = count_calls(system)
        made = system.generate(batch)
    assert (system.source, system.target, system.answers) == (source, to, 1)
    assert calls == {"content": 1, "decoder": 1}, "the reference was encoded before"
    assert made.shape == (2, GREY.channels[to], 32, 32)
    torch.testing.assert_close(made, wanted)
    system.choose(MUNITControls(to=to))
    assert system.answers is None


def test_controls_may_be_given_for_one_batch_alone():
    system, batch = small().eval(), picture_batch(0, 2)
    controls = MUNITControls(to="a", reference=pictures(2, seed=7))
    with torch.no_grad():
        alone = system.generate(batch, controls)
        assert system.target == "b"
        with system.choosing(controls):
            assert torch.equal(system.generate(batch), alone)
            assert torch.equal(system.generate(batch, replace(controls, answer=3)), alone)
            torch.manual_seed(0)
            other = system.generate(batch, MUNITControls(to="a"))
        torch.manual_seed(0)
        assert torch.equal(system.generate(batch, MUNITControls(to="a")), other)
    assert not torch.equal(other, alone)


@pytest.mark.parametrize("to", ["a", "b"])
def test_styles_of_the_prior_differ_unless_they_are_truncated(to):
    system, batch = small().eval(), picture_batch(0, 2)

    def drawn(seed: int, truncation: float) -> Tensor:
        torch.manual_seed(seed)
        with torch.no_grad():
            return system.generate(batch, MUNITControls(to=to, truncation=truncation))

    assert torch.equal(drawn(0, 1.0), drawn(0, 1.0))
    assert furthest(drawn(0, 1.0), drawn(1, 1.0)) > 0.01
    assert torch.equal(drawn(0, 0.0), drawn(1, 0.0))
    torch.manual_seed(0)
    style = torch.randn(2, 3)
    with torch.no_grad():
        half = system.styled(to, batch["a" if to == "b" else "b"], 0.5 * style)
    assert torch.equal(drawn(0, 0.5), half)
    assert not torch.equal(style[0], style[1]), "each picture has a style of its own"
    system.choose(MUNITControls(to=to, truncation=0.0))
    assert system.answers == 1


def test_the_reference_is_neither_saved_nor_learned():
    system = small()
    before = [*system.state_dict()]
    system.choose(MUNITControls(reference=pictures()))
    assert [*system.state_dict()] == before
    assert system.shown is not None
    assert not system.shown.requires_grad
    assert system.double().generate({"a": pictures().double()}).dtype == torch.float64


def test_what_comes_back_has_the_style_that_was_given():
    system, batch = small(facts=GREY).eval(), grey_batch()
    (measure,) = system.measures()
    made = system.generate(batch)
    found = measure.of(made, batch["b"], batch)
    network = system.autoencoder_a
    back = network.decode(system.autoencoder_b.content(made), network.style(batch["a"]))
    wanted = ((back.clamp(-1, 1) - batch["a"]).abs() / 2).mean((1, 2, 3))
    torch.testing.assert_close(found, wanted.detach())
    assert torch.equal(measure.of(made, batch["b"], batch), found), "nothing is drawn"


# Refusals


@pytest.mark.parametrize(
    ("knobs", "side", "words"),
    [
        (
            {},
            12,
            "--discriminator_layers 4 with --scales 1 needs pictures of at least 16 px, these",
        ),
        ({"scales": 3}, 32, "--scales 3 needs pictures of at least 61 px, these have 32; use less"),
        (
            {"discriminator_layers": 2},
            12,
            "--depth 2 with --style_depth 4 needs pictures of at least 16 px, these have 12",
        ),
    ],
)
def test_pictures_that_are_too_small(knobs, side, words):
    with pytest.raises(SettingsError, match=words):
        small(facts=Facts(FACTS.channels, (side, 64)), **knobs)


def test_sides_that_the_encoders_cannot_halve():
    data: Any = SimpleNamespace(shapes=[(64, 64), (64, 66)])
    with pytest.raises(SettingsError, match=r"munit .* needs sides divisible by 4, .* 64 x 66"):
        check_shapes("munit", small(), data)


@pytest.mark.parametrize(("value", "words"), [(1.5, "at most 1, got"), (-0.1, "at least 0, got")])
def test_truncation_lies_between_0_and_1(value, words):
    with pytest.raises(SettingsError, match=f"--truncation must be {words}"):
        changed(MUNITControls(), {"truncation": value})


def test_pictures_of_other_channels_cannot_be_compared():
    assert small(facts=GREY, lambda_perceptual=1.0).perceptual, "grey is compared as colour"
    facts = Facts({"a": 3, "b": 4}, (32, 32))
    assert small(facts=facts)
    with pytest.raises(
        SettingsError, match="a have 3 channels and those of b 4; use --lambda_perc"
    ):
        small(facts=facts, lambda_perceptual=1.0)


@pytest.mark.parametrize(
    ("layers", "side", "count"),
    [(4, 15, 1), (4, 30, 1), (4, 31, 2), (4, 60, 2), (4, 61, 3), (4, 512, 3), (3, 29, 3)],
)
def test_as_many_scales_as_pictures_allow(layers, side, count):
    assert default_scales(layers, side) == count
