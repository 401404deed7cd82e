"""Systems that learn from piles without pairs: what their terms are, and what they refuse."""

from typing import Any, ClassVar

import pytest
import torch
from synthetic import FACTS, batches, make, picture_batch, runs_of_steps
from torch.nn import functional

from dragoman.engine import Engine, EngineSettings
from dragoman.errors import SettingsError
from dragoman.losses.contrastive import unit_length
from dragoman.settings import build
from dragoman.system import Facts, Progress
from dragoman.systems import find_system

START = Progress(0, 10)


def l1(one, other):
    return (one - other).abs().mean()


def built(name, facts=FACTS, **over):
    kind = find_system(name)
    return kind(build(kind.Settings, {"width": 4, "discriminator_width": 4, **over}), facts)


def turns(system):
    (stage,) = system.stages(10)
    return {turn.name: turn for turn in stage.turns}


def near(term, value):
    torch.testing.assert_close(term, torch.as_tensor(value), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "first"),
    [("cyclegan", "generator"), ("distribution_matching", "generator"), ("cut", "discriminator")],
)
def test_who_steps_first_is_as_in_the_reference_code(name, first):
    (second,) = {"generator", "discriminator"} - {first}
    assert list(turns(make(name))) == [first, second]


@pytest.mark.parametrize("name", ["cyclegan", "discogan"])
def test_the_way_back_teaches_the_way_there(name):
    system, batch = make(name), picture_batch(0)
    terms = system.generator_loss(batch, system.share(batch, START))
    for source, to in ("ab", "ba"):
        there = next(system.get_submodule(f"to_{to}").parameters())
        (slope,) = torch.autograd.grad(terms[f"cycle_{source}"], there, retain_graph=True)
        assert slope.any()


class TestCycleGAN:
    def test_terms_are_those_of_the_paper(self):
        system, batch = make("cyclegan", lambda_a=2.0, lambda_b=3.0), picture_batch(0)
        a, b, to_a, to_b = batch["a"], batch["b"], system.to_a, system.to_b
        terms = system.generator_loss(batch, system.share(batch, START))
        near(terms["cycle_a"], 2 * l1(to_a(to_b(a)), a))
        near(terms["cycle_b"], 3 * l1(to_b(to_a(b)), b))
        near(terms["identity_a"], 2 * 0.5 * l1(to_a(a), a))
        near(terms["identity_b"], 3 * 0.5 * l1(to_b(b), b))
        near(terms["adversarial_b"], (system.discriminator_b(to_b(a)) - 1).square().mean())

    def test_d_is_halved_and_sees_the_history(self):
        system, batch = make("cyclegan", history=4), picture_batch(0)
        fake = system.share(batch, START)
        terms = system.discriminator_loss(batch, fake)
        near(terms["fake_b"], system.discriminator_b(fake.b).square().mean() / 2)
        near(terms["real_a"], (system.discriminator_a(batch["a"]) - 1).square().mean() / 2)
        assert torch.equal(system.past_b.pictures, fake.b.detach())

    def test_no_identity_where_channels_differ(self):
        facts = Facts({"a": 1, "b": 3}, (32, 32))
        batch = {"a": picture_batch(0)["a"][:, :1], "b": picture_batch(0)["b"]}
        system = built("cyclegan", facts, patch=16)
        terms = system.generator_loss(batch, system.share(batch, START))
        assert not any(name.startswith("identity") for name in terms)
        with system.choosing(system.Controls(to="a")):
            assert system.generate(batch).shape == (4, 1, 32, 32)
        assert system.generate(batch).shape == (4, 3, 32, 32)

    def test_with_noise_there_are_many_answers(self):
        system, batch = make("cyclegan", noise=2), picture_batch(0)
        assert system.answers is None
        torch.manual_seed(0)
        one, other = system.generate(batch), system.generate(batch)
        assert not torch.equal(one, other)
        assert make("cyclegan").answers == 1

    def test_each_generator_runs_six_times_in_a_step_at_most(self):
        """Twice for fakes, twice for cycles, twice for identity: nothing twice."""
        system, seen = make("cyclegan"), []
        for network in (system.to_a, system.to_b):
            network.register_forward_hook(lambda *_: seen.append(1))
        engine = Engine(system, build(EngineSettings, {"average": 0.0, "device": "cpu"}), 2)
        next(iter(engine.run(batches)))
        assert len(seen) == 6

    def test_the_measure_of_the_way_back(self):
        system, batch = make("cyclegan").eval(), picture_batch(0)
        with torch.no_grad():
            made = system.generate(batch)
            (measure,) = system.measures()
            expected = (system.to_a(made) - batch["a"]).abs().flatten(1).mean(1) / 2
        near(measure.of(made, batch["b"], batch), expected)
        assert measure.ours


def test_distribution_matching_computes_nothing_twice():
    """A fake, which G's turn and D's judge for themselves, and a real picture."""
    counts = {"generator": 1, "discriminator": 3}
    assert runs_of_steps(make("distribution_matching"), list(counts), 1) == [counts]


def test_distribution_matching_has_the_adversarial_term_only():
    system, batch = make("distribution_matching"), picture_batch(0)
    fake = system.share(batch, START)
    assert list(system.generator_loss(batch, fake)) == ["adversarial"]
    terms = system.discriminator_loss(batch, fake)
    near(terms["real"], (system.discriminator(batch["b"]) - 1).square().mean() / 2)


class TestDiscoGAN:
    def test_terms_are_those_of_the_reference_code(self):
        system, batch = make("discogan"), picture_batch(0)
        made = system.share(batch, START)
        terms, judged = system.generator_loss(batch, made), system.discriminator_loss(batch, made)
        for source, to in ("ab", "ba"):
            there, back, judge = (
                system.get_submodule(name)
                for name in (f"to_{to}", f"to_{source}", f"discriminator_{to}")
            )
            x, y = (batch[source] + 1) / 2, (batch[to] + 1) / 2
            fake = there(x)
            heard, wanted = judge(fake), judge(y)
            near(terms[f"adversarial_{to}"], 0.99 * 0.1 * functional.softplus(-heard[-1]).mean())
            pairs = list(zip(wanted[1:-1], heard[1:-1], strict=True))
            matched = sum((w.mean(0) - h.mean(0)).square().mean() for w, h in pairs)
            near(terms[f"matching_{to}"], 0.99 * 0.9 * matched)
            near(terms[f"cycle_{source}"], 0.01 * (back(fake) - x).square().mean())
            near(judged[f"real_{to}"], functional.softplus(-wanted[-1]).mean() / 2)
            near(judged[f"fake_{to}"], functional.softplus(heard[-1]).mean() / 2)

    def test_both_ways_learn(self):
        system = built_disco()
        learning = {name: list(turn.networks) for name, turn in turns(system).items()}
        assert learning == {
            "discriminator": [system.discriminator_b, system.discriminator_a],
            "generator": [system.to_b, system.to_a],
        }

    def test_the_rate_changes_once(self):
        system, batch = make("discogan", rate_steps=3), picture_batch(0)
        rates = [system.share(batch, Progress(step, 10)).rate for step in range(5)]
        assert rates == [0.01] * 3 + [0.5] * 2
        plain = make("discogan")
        rates = [plain.share(batch, Progress(step, 10)).rate for step in range(3, 7)]
        assert rates == [0.01] * 2 + [0.5] * 2, "half of the steps, as there are less than 10000"

    def test_d_steps_every_third_time_and_g_on_the_others(self):
        due = {name: [turn.due(n) for n in range(6)] for name, turn in turns(built_disco()).items()}
        assert due["discriminator"] == [True, False, False] * 2
        assert due["generator"] == [False, True, True] * 2

    def test_a_step_computes_nothing_twice(self):
        """D's step: a fake and two judgements each; G's: the way back besides."""
        there, back, judge_a, judge_b = "to_b", "to_a", "discriminator_a", "discriminator_b"
        names = there, back, judge_a, judge_b
        first, second = runs_of_steps(make("discogan"), names, 2)
        assert first == {there: 1, back: 1, judge_a: 2, judge_b: 2}
        assert second == {there: 2, back: 2, judge_a: 2, judge_b: 2}

    def test_weights_decay(self):
        system = built_disco()
        assert system.optimizer(system.to_a).param_groups[0]["weight_decay"] == 1e-5

    def test_pictures_that_are_too_small_are_refused(self):
        words = "--depth 4 needs pictures of at least 64 px, these have 32; use --depth 3 or less"
        with pytest.raises(SettingsError, match=words):
            built("discogan", depth=4)


def built_disco():
    return make("discogan")


def contrast_by_hand(system, sources, made):
    """Of a border of 38 x 38 places, all of them taken: the cross entropy of the diagonal."""
    (head,) = system.heads.heads

    def vectors(pictures):
        padded = functional.pad(pictures, (3, 3, 3, 3), mode="reflect")
        return unit_length(head(padded.flatten(2).transpose(1, 2)))[0]

    similar = vectors(made) @ vectors(sources).T / 0.07
    with_self = torch.cat([similar.diagonal()[:, None], similar], 1)
    with_self[:, 1:].fill_diagonal_(-10 / 0.07)
    return (with_self.logsumexp(1) - with_self[:, 0]).mean()


class TestCUT:
    border: ClassVar[dict[str, Any]] = {"layers": "border", "patches": 4096}

    def test_the_contrast_by_hand(self):
        system = make("cut", **self.border, identity=False, lambda_nce=2.0)
        batch = {key: picture_batch(0)[key][:1] for key in "ab"}
        made = system.share(batch, START)
        terms = system.generator_loss(batch, made)
        assert set(terms) == {"adversarial", "contrast"}
        near(terms["contrast"], 2 * contrast_by_hand(system, batch["a"], made.fake))

    def test_mirrored_patches_are_told_by_those_that_they_were(self):
        """Not by those that stand where they are now, on the other side of the picture."""
        system = make("cut", **self.border, flip_equivariance=True)
        batch = {key: picture_batch(0)[key][:1] for key in "ab"}
        made = next(m for m in (system.share(batch, START) for _ in range(64)) if m.flipped)
        near(made.same, system.generator(batch["b"].flip(3)))
        terms = system.generator_loss(batch, made)
        near(terms["contrast"], contrast_by_hand(system, batch["a"], made.fake.flip(3)) / 2)
        near(terms["identity"], contrast_by_hand(system, batch["b"], made.same.flip(3)) / 2)

    def test_the_generator_is_traced_once_for_each_picture(self):
        """Made: a and b; looked at again: what was made of them."""
        system, seen = make("cut"), []
        system.generator.first.conv.register_forward_hook(lambda *_: seen.append(1))
        engine = Engine(system, build(EngineSettings, {"average": 0.0, "device": "cpu"}), 2)
        next(iter(engine.run(batches)))
        assert len(seen) == 4

    def test_half_of_the_batches_are_mirrored(self):
        system, batch = make("cut", flip_equivariance=True).eval(), picture_batch(0)
        seen = {}
        for seed in range(8):
            torch.manual_seed(seed)
            made = system.share(batch, START)
            seen[made.flipped] = made
        assert set(seen) == {True, False}
        near(seen[True].fake, system.generator(batch["a"].flip(3)))
        for one, other in zip(seen[True].keys, seen[False].keys, strict=True):
            near(one, other)

    def test_heads_learn_with_the_generator_and_are_not_kept(self):
        system = make("cut")
        networks = list(turns(system)["generator"].networks)
        assert networks == [system.generator, system.heads]
        assert system.generates() == [system.generator]

    def test_refusals(self):
        with pytest.raises(SettingsError, match="--identity true gives the generator pictures"):
            built("cut", Facts({"a": 1, "b": 3}, (32, 32)))
        with pytest.raises(SettingsError, match=r"down\.0\.convv"):
            built("cut", layers="border,down.0.convv")

    def test_a_perfect_copy_has_little_contrast(self):
        system = make("cut", layers="border", patches=64, temperature=0.01)
        pictures = picture_batch(0)["a"]
        keys = system.generator.features(pictures, system.taps)
        assert system.contrast(pictures, keys, False) < system.contrast(-pictures, keys, False)
