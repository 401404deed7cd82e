"""SPADE: norms by hand, generators of every size, what is learned, and what is refused."""

import copy
from typing import Any

import pytest
import torch
from stacks import tried
from synthetic import FACTS, batches, make, picture_batch
from tiles import tiled
from torch import Tensor, nn

from dragoman.convert import renaming, spade
from dragoman.engine import Engine, EngineSettings
from dragoman.errors import FileError, SettingsError
from dragoman.networks.boundaries import boundaries
from dragoman.networks.spade import ImageEncoder, SPADEGenerator
from dragoman.settings import build
from dragoman.system import Facts, Progress
from dragoman.tiling import Untileable, receptive_field

SMALL: dict[str, Any] = {"hidden": 4, "perceptual": "none"}
BEGIN = Progress(0, 1)


def small(**knobs: Any) -> Any:
    return make("spade", **(SMALL | knobs))


def trained(steps: int = 2, cut: int | None = None, **knobs: Any) -> dict[str, Tensor]:
    """The system's state after some steps; if cut, saved there and gone on with afresh."""
    how = build(EngineSettings, {"device": "cpu", "precision": "fp32"})
    engine = Engine(small(**knobs), how, steps)
    torch.manual_seed(1)
    for done in engine.run(batches):
        if done == cut:
            state = copy.deepcopy(engine.state())
            engine = Engine(make("spade", seed=9, **(SMALL | knobs)), how, steps)
            torch.manual_seed(77)
            engine.load(state)
            for _ in engine.run(batches):
                pass
            break
    return dict(engine.system.state_dict())


# The system


class Told(nn.Module):
    """A discriminator of two scales whose activations are known."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        self.seen.append(x)
        fake, real = torch.zeros(len(x) // 2, 1, 1, 1), torch.ones(len(x) // 2, 1, 1, 1)

        def layer(of_fake: float, of_real: float) -> Tensor:
            return torch.cat([fake + of_fake, real * of_real])

        return [
            [layer(0, 3), layer(2, 2.5), layer(0.5, 2)],
            [layer(1, 2), layer(4, 4), layer(-2, 0)],
        ]


def test_terms_by_hand():
    system, batch = small(), picture_batch(0)
    system.discriminator = Told()
    shared = system.share(batch, BEGIN)
    terms = system.generator_loss(batch, shared)
    assert terms.keys() == {"adversarial", "feature"}
    assert terms["adversarial"].item() == pytest.approx(-(0.5 - 2) / 2)
    assert terms["feature"].item() == pytest.approx(10 * ((3 + 0.5) + (1 + 0)) / 2)
    terms = system.discriminator_loss(batch, shared)
    assert terms["real"].item() == pytest.approx((0 + 1) / 2)
    assert terms["fake"].item() == pytest.approx((1.5 + 0) / 2)


def test_the_perceptual_term_is_there_at_every_size():
    facts, batch = Facts({"a": 3, "b": 3}, (16, 16)), picture_batch(0, 2, 16)
    system = make("spade", facts=facts, hidden=4, perceptual="alex")
    system.check()
    assert system.generator_loss(batch, system.share(batch, BEGIN))["perceptual"] > 0


def test_the_discriminator_sees_fakes_and_reals_with_their_maps_in_one_batch():
    system, batch = small(instances="regions"), picture_batch(0)
    system.discriminator = Told()
    shared = system.share(batch, BEGIN)
    system.discriminator_loss(batch, shared)
    (seen,) = system.discriminator.seen
    half = torch.cat([(batch["a"] + 1) / 2, boundaries(batch["a"])], 1)
    assert torch.equal(seen[:, :4], torch.cat([half, half]))
    assert torch.equal(seen[:, 4:], torch.cat([shared["fake"], batch["b"]]))


@pytest.mark.parametrize(("kl", "expected"), [("mean", 2.5 / 2 * 0.05), ("sum", 2.5 * 0.05)])
def test_the_divergence_by_hand(kl, expected):
    system, batch = small(multimodal=True, kl=kl), picture_batch(0, batch=2)
    mean = torch.tensor([[1.0, 2.0], [0.0, 0.0]])  # (1 + 4) / 2 in all
    shared = {"fake": batch["b"], "mean": mean, "log_variance": torch.zeros(2, 2)}
    assert system.generator_loss(batch, shared)["kl"].item() == pytest.approx(expected)


def test_z_is_the_encoder_s_mean_plus_noise_of_its_deviation():
    system, batch = small(multimodal=True, latent=6), picture_batch(0)
    seen: list[Tensor] = []
    system.generator.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    torch.manual_seed(4)
    shared = system.share(batch, BEGIN)
    torch.manual_seed(4)
    noise = torch.randn(4, 6)
    wanted = shared["mean"] + noise * (shared["log_variance"] / 2).exp()
    torch.testing.assert_close(seen[0], wanted)


@pytest.mark.parametrize("modulation", ["spade", "batch", "adain"])
def test_z_changes_the_picture_and_the_seed_repeats_it(modulation):
    system = small(multimodal=True, modulation=modulation, start="kaiming").eval()
    assert system.answers is None
    batch, made = picture_batch(0), []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        made.append(system.generate(batch))
    assert torch.equal(made[0], made[2])
    assert not torch.equal(made[0], made[1])


def test_without_z_there_is_one_answer():
    system = small().eval()
    assert system.answers == 1
    assert not hasattr(system, "encoder")
    assert torch.equal(system.generate(picture_batch(0)), system.generate(picture_batch(0)))


@pytest.mark.parametrize("modulation", ["batch", "adain"])
def test_vector_modulation_sees_shares_alone(modulation):
    """Moving what the map shows changes the bottom only, hence nothing where z makes that."""
    system = small(modulation=modulation, multimodal=True, start="kaiming").eval()
    batch = picture_batch(0)
    moved = {"a": batch["a"].flip(2)}
    torch.manual_seed(0)
    here = system.generate(batch)
    torch.manual_seed(0)
    torch.testing.assert_close(system.generate(moved), here, rtol=1e-4, atol=1e-5)


def test_encoder_and_generator_learn_together_and_the_discriminator_alone():
    system = small(multimodal=True)
    engine = Engine(system, build(EngineSettings, {"device": "cpu", "precision": "fp32"}), 1)
    (stage,) = engine.stages
    engine.enter(stage)
    learned = {"generator": {"generator", "encoder"}, "discriminator": {"discriminator"}}
    for turn in stage.turns:
        before = copy.deepcopy(dict(system.named_parameters()))
        alone = type(stage)(stage.name, stage.steps, [turn])
        engine.take_step(alone, picture_batch(0))
        moved = {k for k, p in system.named_parameters() if not torch.equal(before[k], p)}
        assert {key.split(".")[0] for key in moved} == learned[turn.name]


@pytest.mark.parametrize(
    "knobs",
    [
        {"multimodal": True},
        {"multimodal": True, "modulation": "adain", "norm": "instance", "kl": "sum"},
        {"modulation": "batch", "spectral": False, "discriminator_norm": "batch"},
        {"norm": "none", "kernel": 5, "upsample": "bilinear", "adversarial": "relativistic"},
        {"instances": "map", "scales": 3, "discriminator_layers": 1, "lambda_feature": 0.0},
        {"lambda_adversarial": 0.0, "norm": "instance", "adversarial": "wasserstein"},
    ],
    ids=str,
)
def test_a_cut_run_of_any_kind_equals_the_whole_run(knobs):
    whole, pieces = trained(**knobs), trained(cut=1, **knobs)
    assert whole.keys() == pieces.keys()
    for key, value in whole.items():
        assert value.isfinite().all()
        assert torch.equal(value, pieces[key]), key


@pytest.mark.usefixtures("unmoved")
def test_the_perceptual_term_counts_ten_times():
    system, batch = small(perceptual="alex"), picture_batch(0)
    shared = system.share(batch, BEGIN)
    term = system.generator_loss(batch, shared)["perceptual"]
    torch.testing.assert_close(term, 10 * system.perceptual(shared["fake"], batch["b"]))
    assert "perceptual" not in small(perceptual="alex", lambda_perceptual=0.0).generator_loss(
        batch, shared
    )


def test_learning_rates_are_those_of_two_time_scales():
    system = small(multimodal=True)
    rates = {}
    for name in ("generator", "encoder", "discriminator"):
        (group,) = system.optimizer(system.get_submodule(name)).param_groups
        rates[name] = (group["lr"], group["betas"])
    assert rates["generator"] == rates["encoder"] == (1e-4, (0.0, 0.9))
    assert rates["discriminator"] == (4e-4, (0.0, 0.9))


@pytest.mark.parametrize("knobs", [{}, {"multimodal": True}, {"modulation": "adain"}], ids=str)
@pytest.mark.parametrize("sides", [(16, 48), (64, 32)])
def test_pictures_of_other_sides(knobs, sides):
    system = small(**knobs).eval()
    assert system.stride == 16
    made = system.generate({"a": torch.rand(1, 3, *sides) * 2 - 1})
    assert made.shape == (1, 3, *sides)


@pytest.mark.parametrize("channels", [1, 7])
def test_any_source_will_do(channels):
    facts = Facts({"a": channels, "b": 2}, (32, 32))
    system = make("spade", facts=facts, **SMALL)
    batch = {"a": torch.rand(2, channels, 32, 32) * 2 - 1, "b": torch.rand(2, 2, 32, 32)}
    assert system.generate(batch).shape == (2, 2, 32, 32)
    assert system.generator_loss(batch, system.share(batch, BEGIN))["feature"].isfinite()


def test_bf16_is_near_fp32():
    system, batch = small(instances="regions").eval(), picture_batch(0)
    plain = system.generate(batch)
    with torch.autocast("cpu", torch.bfloat16):
        short = system.generate(batch)
    assert short.dtype == torch.float32
    torch.testing.assert_close(short, plain, rtol=0.1, atol=0.02)


# Boundaries of instances


def test_boundaries_are_of_regions_or_of_the_map():
    batch = picture_batch(0)
    del batch["b"]
    seen = {kind: small(instances=kind).condition(batch) for kind in ("regions", "map", "none")}
    assert torch.equal(seen["regions"][:, 3:], boundaries(batch["a"]))
    assert torch.equal(seen["map"][:, 3:], boundaries(batch["instance"]))
    assert seen["none"].shape[1] == 3
    del batch["instance"]  # as when translating
    assert torch.equal(small(instances="map").condition(batch), seen["regions"])


def test_instance_maps_are_needed_only_if_they_are_used():
    kind = type(small())
    assert kind.needed(small().settings) == ("a", "b")
    assert kind.needed(small(instances="map").settings) == ("a", "b", "instance")


# Tiles


@pytest.mark.parametrize("knobs", [{"kernel": 3}, {"kernel": 5, "instances": "regions"}], ids=str)
def test_the_receptive_field_is_hardly_more_than_trying_finds(knobs):
    """Nearest pixels leave out lines, and comparisons what a line holds."""
    facts = Facts(FACTS.channels, (16, 16))
    knobs |= {"depth": 2, "norm": "none", "hidden": 2, "width": 1, "perceptual": "none"}
    system = make("spade", facts=facts, **knobs).eval()
    reach = receptive_field(system)
    real = tried(system, reach.furthest + 8)
    for bound, found in zip(reach.margins, real, strict=True):
        assert found <= bound <= found + system.stride


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_tiles_make_what_the_whole_picture_makes(norm):
    system = small(depth=2, norm=norm, instances="regions", start="kaiming").eval()
    picture = picture_batch(0, batch=1, size=96)["a"]
    with torch.no_grad():
        whole = system.generate({"a": picture})
    parts = tiled(system, picture, tile=32, norms="exact")
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("knobs", [{"multimodal": True}, {"modulation": "batch"}], ids=str)
def test_what_depends_on_the_whole_picture_is_not_tiled(knobs):
    with pytest.raises(Untileable, match="depend on the whole picture"):
        receptive_field(small(**knobs).eval())


# Refusals


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"modulation": "adain", "norm": "batch"}, "--modulation adain .* leave --norm out"),
        ({"modulation": "batch", "norm": "none"}, "--modulation batch .* leave --norm out"),
        ({"depth": 7, "width": 1}, "--depth 7 halves --width 1 .* --width 2"),
        (
            {"adversarial": "wasserstein", "spectral": False},
            "slope grow without end; leave --spectral true",
        ),
        ({"lambda_adversarial": 0.0, "lambda_feature": 0.0}, "discriminator without a say"),
        ({"scales": 6}, "--scales 6 leaves less than 2 px .*--scales 5 or less"),
        ({"kernel": 4}, "--kernel"),
        ({"depth": 8}, "--depth"),
    ],
)
def test_settings_that_cannot_work_are_refused(knobs, words):
    with pytest.raises(SettingsError, match=words):
        small(**knobs)


def test_training_with_missing_weights_is_refused():
    with pytest.raises(FileError, match="VGG19"):
        small(perceptual="vgg19").check()
    small(perceptual="vgg19", lambda_perceptual=0.0).check()


# Official weights


def official(network: nn.Module) -> dict[str, Tensor]:
    """The state of a network of ours under the official names."""
    named = renaming.our_keys(network, spade.network_layers(network))
    state = network.state_dict()
    return {theirs: state[ours] for theirs, ours in named.items()}


@pytest.mark.parametrize("depth", [5, 6, 7])
@pytest.mark.parametrize("latent", [0, 5])
@pytest.mark.parametrize("knobs", [{"base": "instance", "kernel": 5}, {"spectral": False}], ids=str)
def test_official_generators_are_read_from_their_weights(depth, latent, knobs):
    torch.manual_seed(0)
    bottom = (1, 2)
    ours = SPADEGenerator(2, 3, 2, depth, hidden=3, latent=latent, bottom=bottom, **knobs).eval()
    size = (1 << depth, 2 << depth)
    again = spade.generator(official(ours), 5 if depth == 7 else depth, size).eval()
    z = torch.randn(1, latent) if latent else None
    segments = torch.rand(1, 2, *size)
    assert torch.equal(ours(segments, z), again(segments, z))


def test_a_square_bottom_needs_no_size_and_others_are_refused():
    square = SPADEGenerator(2, 3, 1, hidden=2, latent=5, bottom=(2, 2))
    assert spade.generator(official(square)).bottom == (2, 2)
    oblong = official(SPADEGenerator(2, 3, 1, hidden=2, latent=5, bottom=(2, 3)))
    with pytest.raises(FileError, match=r"6 places, .* square pictures"):
        spade.generator(oblong)
    with pytest.raises(FileError, match=r"6 places, .* 64 x 64 px"):
        spade.generator(oblong, size=(64, 64))


def official_parts(**knobs: Any) -> tuple[Any, list[dict[str, Tensor]]]:
    """A system of ours of the official depth, and the official states of its networks."""
    system = small(depth=5, **knobs)
    names = [n for n in ("generator", "discriminator", "encoder") if hasattr(system, n)]
    return system, [official(system.get_submodule(name)) for name in names]


def test_an_official_model_becomes_the_system_it_was():
    knobs: dict[str, Any] = {"norm": "instance", "scales": 3, "discriminator_norm": "none"}
    knobs |= {"instances": "map"}
    system, (first, second) = official_parts(**knobs)
    again = spade.spade(first, second, FACTS, perceptual="none")
    assert vars(again.settings) == vars(system.settings)
    batch = picture_batch(0)
    system.eval(), again.eval()
    assert torch.equal(system.generate(batch), again.generate(batch))
    shared = system.share(batch, BEGIN)
    assert system.generator_loss(batch, shared) == again.generator_loss(batch, shared)


def test_an_official_encoder_sees_256_px():
    encoder = ImageEncoder(3, 8, 1, (256, 256), norm="batch")
    again = spade.encoder(official(encoder))
    assert again.size == (256, 256)
    pictures = torch.randn(1, 3, 40, 30)
    assert torch.equal(encoder.eval()(pictures)[1], again.eval()(pictures)[1])


def test_networks_that_do_not_belong_together_are_refused():
    _, (first, second) = official_parts()
    with pytest.raises(FileError, match=r"maps of 4 channels .* the data has 5 and 3"):
        spade.spade(first, second, Facts({"a": 5, "b": 3}, (32, 32)))
    with pytest.raises(FileError, match="leave instances out"):
        spade.spade(first, second, FACTS, instances="none")
    with pytest.raises(FileError, match="encoder"):
        spade.spade(first, second, FACTS, {"fc_mu.weight": torch.zeros(1, 1)})


@pytest.mark.parametrize("convert", ["norm", "block", "generator", "discriminator", "encoder"])
def test_other_weights_are_refused(convert):
    with pytest.raises(FileError, match="these weights have no"):
        getattr(spade, convert)({"conv.weight": torch.zeros(1, 1, 3, 3)})
