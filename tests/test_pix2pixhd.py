"""pix2pixHD: who learns when, what the discriminator hears, and how instances look."""

import copy
from typing import Any

import pytest
import torch
from synthetic import KEYS, batches, make, picture_batch
from torch.nn import functional

from dragoman.engine import Engine, EngineSettings
from dragoman.errors import FileError, SettingsError
from dragoman.losses.distances import l1
from dragoman.networks.pix2pixhd import halve
from dragoman.pipeline import Translator, load
from dragoman.settings import build
from dragoman.system import Facts, Progress
from dragoman.systems.pix2pixhd import Pix2PixHD, Pix2PixHDSettings, classes, matching
from dragoman.tiling.reach import Untileable, receptive_field

FAST: dict[str, Any] = {
    "blocks": 1,
    "enhancer_blocks": 1,
    "scales": 2,
    "discriminator_layers": 2,
    "encoder_width": 4,
    "perceptual": "none",
}
NAMES = ("generator.coarse", "generator.enhancers", "discriminator", "encoder")


def small(**knobs: Any) -> Pix2PixHD:
    return make("pix2pixhd", **(FAST | knobs))


def engine_of(system, steps, listen=None):
    how = build(EngineSettings, {"device": "cpu", "precision": "fp32"})
    return Engine(system, how, steps, listen)


def label_batch(number=0, batch=3, size=32):
    """A batch whose inputs are label maps of three classes in blocks of 8 px."""
    drawn = torch.randint(
        3, (batch, size // 8, size // 8), generator=torch.Generator().manual_seed(number)
    )
    labels = drawn.repeat_interleave(8, 1).repeat_interleave(8, 2)
    a = functional.one_hot(labels, 3).movedim(3, 1).float() * 2 - 1
    return picture_batch(number, batch, size) | {"a": a, "map": labels}


def moved(before, system):
    """The networks whose parameters have changed."""
    now = dict(system.named_parameters())
    return {n for n in NAMES for k in now if k.startswith(n) and not torch.equal(before[k], now[k])}


def test_stages_divide_the_steps_and_use_reduced_pictures_first():
    system = small(share_global=0.5, share_enhancer=0.2)
    stages = system.stages(100)
    assert [(s.name, s.steps, s.data) for s in stages] == [
        ("global", 50, {"size": 16}),
        ("enhancer", 20, {}),
        ("joint", 30, {}),
    ]
    assert [t.name for t in stages[0].turns] == ["generator", "discriminator"]
    assert [stage.course for stage in stages] == [(0, 1), (0, 0.4), (0.4, 1)]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, ["joint"]), (2, ["global", "joint"]), (3, ["global", "enhancer", "joint"])],
)
def test_the_last_stage_has_steps_however_few_there_are(steps, expected):
    stages = small().stages(steps)
    assert [stage.name for stage in stages] == expected
    assert sum(stage.steps for stage in stages) == steps


def test_without_enhancers_there_is_one_stage():
    stages = small(enhancers=0).stages(7)
    assert [(s.name, s.steps, s.data) for s in stages] == [("train", 7, {})]


def test_who_learns_in_each_stage():
    system = small(features=2)
    engine = engine_of(system, 3)
    learned = {}
    for stage in engine.stages:
        engine.enter(stage)
        before = copy.deepcopy(dict(system.named_parameters()))
        engine.take_step(stage, picture_batch(0, size=stage.data.get("size", 32)))
        learned[stage.name] = moved(before, system)
    rest = {"discriminator", "encoder"}
    assert learned == {
        "global": rest | {"generator.coarse"},
        "enhancer": rest | {"generator.enhancers"},
        "joint": rest | {"generator.coarse", "generator.enhancers"},
    }


@pytest.mark.parametrize("enhancers", [1, 2])
def test_in_the_global_stage_the_enlarged_coarse_picture_is_generated(enhancers):
    system = small(enhancers=enhancers, depth=2).eval()
    batch, x = picture_batch(0), system.condition(picture_batch(0))
    for _ in range(enhancers):
        x = halve(x)
    coarse = system.generator.coarse(x)
    assert coarse.shape[-1] == 32 >> enhancers
    wanted = functional.interpolate(coarse, size=(32, 32), mode="bilinear")
    torch.testing.assert_close(system.generate(batch), wanted)
    system.stages(3)[1].begin()
    fine = system.generator(system.condition(batch))
    assert torch.equal(system.generate(batch), fine)
    assert not torch.allclose(fine, wanted)


def test_a_translator_saved_in_the_global_stage_still_knows_it(tmp_path):
    picture = picture_batch(0)["a"]
    for stage in (0, 1):
        system = small()
        system.stages(3)[stage].begin()
        first = translator_of(system)
        first.save(tmp_path / str(stage))
        second = load(tmp_path / str(stage), "cpu")
        assert isinstance(second.system, Pix2PixHD)
        assert second.system.level.enhanced == bool(stage)
        assert torch.equal(first.translate(picture), second.translate(picture))


def translator_of(system):
    domain = {"name": "photo", "kind": "photo", "channels": 3, "classes": (), "palette": ()}
    config = {
        "library": "dragoman",
        "version": "0",
        "system": "pix2pixhd",
        "settings": vars(system.settings),
        "facts": vars(system.facts),
        "domains": dict.fromkeys(KEYS, domain),
        "data": "synthetic",
        "training": {},
        "credits": "",
    }
    return Translator(system, config, "cpu")


@pytest.mark.parametrize("cut", [2, 3, 4])
def test_a_run_cut_in_any_stage_goes_on_bit_for_bit(cut):
    knobs: dict[str, Any] = {
        "features": 2,
        "instances": "map",
        "share_global": 0.4,
        "share_enhancer": 0.2,
    }
    ends = []
    for at in (None, cut):
        engine = engine_of(small(**knobs), 5)
        torch.manual_seed(1)
        for done in engine.run(batches):
            if done == at:
                state = copy.deepcopy(engine.state())
                engine = engine_of(make("pix2pixhd", seed=9, **(FAST | knobs)), 5)
                engine.load(state)
                for _ in engine.run(batches):
                    pass
                break
        with engine.generating(3) as system:
            ends.append((system.generate(picture_batch(7)), engine.state()["system"]))
    assert torch.equal(ends[0][0], ends[1][0])
    assert all(torch.equal(value, ends[1][1][key]) for key, value in ends[0][1].items())


def test_the_boundaries_are_the_regions_or_those_of_the_map():
    a = torch.full((1, 3, 4, 4), -1.0)
    a[:, 0, :, :2], a[:, 1, :, 2:] = 1, 1
    batch = {"a": a, "instance": torch.zeros(1, 4, 4).long()}
    batch["instance"][0, 0] = 26001
    between = torch.tensor([0.0, 1, 1, 0]).expand(4, 4)
    above = torch.tensor([1.0, 1, 0, 0])[:, None].expand(4, 4)
    for instances, wanted in (("regions", between), ("map", above)):
        condition = small(instances=instances).condition(batch)
        assert torch.equal(condition[:, :3], a)
        assert torch.equal(condition[0, 3], wanted)
    del batch["instance"]
    assert torch.equal(small(instances="map").condition(batch)[0, 3], between)
    assert torch.equal(small(instances="none").condition(batch), a)


def test_maps_of_instances_are_asked_of_the_data_only_where_used():
    needed = {
        i: Pix2PixHD.needed(Pix2PixHDSettings(instances=i)) for i in ("none", "regions", "map")
    }
    assert needed == {"none": ("a", "b"), "regions": ("a", "b"), "map": ("a", "b", "instance")}


def test_the_turns_minimise_the_official_sums():
    system, batch = small(), picture_batch(0)
    made = system.share(batch, Progress(0, 1))
    fake = system.judged(batch, made.pictures)
    real = system.judged(batch, batch["b"])
    judge = system.discriminator_loss(batch, made)
    torch.testing.assert_close(judge["fake"], sum(s[-1].square().mean() for s in fake) / 2)
    torch.testing.assert_close(judge["real"], sum((s[-1] - 1).square().mean() for s in real) / 2)
    terms = system.generator_loss(batch, made)
    torch.testing.assert_close(terms["adversarial"], sum((s[-1] - 1).square().mean() for s in fake))
    # two halvings: 3 layers before the logits, each weighs 4 / 3, on average over 2 scales
    each = [
        l1(f, r) for s, t in zip(fake, real, strict=True) for f, r in zip(s[:3], t[:3], strict=True)
    ]
    torch.testing.assert_close(terms["feature"], 10 * sum(each) * 4 / 3 / 2)
    assert set(terms) == {"adversarial", "feature"}


def test_feature_matching_leaves_the_logits_out():
    same, other = torch.ones(1, 2, 3, 3), torch.zeros(1, 1, 3, 3)
    assert matching([[same, other]], [[same, other + 5]]) == 0
    assert matching([[same, other]], [[same + 1, other]]) == 4


@pytest.mark.parametrize("kind", ["hinge", "relativistic", "nonsaturating", "minimax"])
def test_other_objectives_train(kind):
    heard = {}
    engine = engine_of(
        small(adversarial=kind, lambda_feature=0.0),
        3,
        lambda step, turn, terms: heard.update({f"{turn}.{n}": t for n, t in terms.items()}),
    )
    for _ in engine.run(batches):
        pass
    assert set(heard) == {"generator.adversarial", "discriminator.real", "discriminator.fake"}
    assert all(term.isfinite() for term in heard.values())


def test_the_perceptual_term_is_there_at_every_size():
    system = small(perceptual="alex")
    system.check()
    batch = picture_batch(0, 1, 16)
    term = system.generator_loss(batch, system.share(batch, Progress(0, 1)))["perceptual"]
    assert term > 0
    missing = small(perceptual="vgg19")
    with pytest.raises(FileError, match="VGG19 needs its ImageNet weights"):
        missing.check()
    small(perceptual="vgg19", lambda_perceptual=0.0).check()


def test_features_are_drawn_by_seed_and_alike_alone_and_in_a_batch():
    system = small(features=2, enhancers=0)
    engine = engine_of(system, 3)
    for _ in engine.run(lambda start: (label_batch(n) for n in range(3))):
        pass
    system.eval()
    batch = label_batch(5)
    made = {}
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        again = system.generate(batch)
        assert seed not in made or torch.equal(made[seed], again)
        made[seed] = again
    assert not torch.allclose(made[1], made[2])
    torch.manual_seed(1)
    alone = system.generate({key: value[2:] for key, value in batch.items()})
    torch.testing.assert_close(alone, made[1][2:])
    assert system.answers is None
    assert small().answers == 1


def test_pixels_without_a_class_are_not_of_the_first():
    batch = label_batch()
    batch["a"][:, :, :8] = -1
    expected = batch["map"].clone()
    expected[:, :8] = 3
    assert torch.equal(classes(batch["a"]), expected)
    system = small(features=2)
    system.generator_loss(batch, system.share(batch, Progress(0, 1)))
    assert system.bank.count[3].item() == pytest.approx(1 / 4)


def test_label_maps_are_shown_as_0_and_1_and_pictures_as_they_are():
    batch = label_batch()
    channels = {"a": batch["a"].shape[1], "b": 3}
    for maps, low in (((), -1), (("a",), 0)):
        facts = Facts(channels=channels, size=(32, 32), maps=maps)
        seen = make("pix2pixhd", facts=facts, **FAST).condition(batch)
        assert set(seen[:, :-1].unique().tolist()) == {low, 1}
        assert set(seen[:, -1].unique().tolist()) <= {0, 1}


def test_features_of_classes_and_without_boundaries():
    batch = label_batch()
    everywhere = (batch["map"] == 1)[:, None].expand(-1, 2, -1, -1)
    system = small(features=2, features_of="classes", instances="none")
    features = system.share(batch, Progress(0, 1)).features
    assert features is not None
    for picture, place in zip(features, everywhere, strict=True):
        values = picture[place].view(2, -1)
        torch.testing.assert_close(values, values[:, :1].expand_as(values))
    hidden = small(features=2, instances="map", boundaries=False)
    assert torch.equal(hidden.condition(batch), batch["a"])
    assert hidden.needed(hidden.settings) == ("a", "b", "instance")
    unused = small(instances="map", boundaries=False)
    assert unused.needed(unused.settings) == ("a", "b")


def test_the_encoder_may_halve_whole_pictures_if_the_global_generator_never_learns_alone():
    knobs = {"depth": 1, "features": 2, "encoder_depth": 4}
    with pytest.raises(SettingsError, match="the feature encoder's pictures of 16 x 16 px"):
        small(**knobs)
    assert len(small(**knobs, share_global=0.0).encoder.down) == 4


def test_only_what_draws_is_saved_and_not_the_encoder(tmp_path):
    system = small(features=2)
    system.generator_loss(label_batch(), system.share(label_batch(), Progress(0, 1)))
    first = translator_of(system)
    first.save(tmp_path)
    second = load(tmp_path, "cpu")
    picture = label_batch()["a"]
    assert torch.equal(first.translate(picture, 4), second.translate(picture, 4))
    assert not torch.allclose(second.translate(picture, 4), second.translate(picture, 5))
    assert all(network is not system.encoder for network in system.generates())


def test_a_picture_is_followed_unless_regions_reach_all_through_it():
    reach = receptive_field(small(depth=1))
    assert 10 < reach.furthest < 200
    assert reach.scale == 1
    with pytest.raises(Untileable):
        receptive_field(small(features=2))


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        (
            {"depth": 4},
            "pictures of 16 x 16 px cannot be halved 4 times so that 2 px are left; use --depth 3",
        ),
        ({"features": 1, "encoder_depth": 5}, "use --encoder_depth 3 or less"),
        (
            {"width": 6, "enhancers": 2},
            "--width 6 cannot be halved for each of 2 enhancers; use a multiple of 4",
        ),
        ({"share_global": 0.9, "share_enhancer": 0.1}, "let their sum be below 1"),
        (
            {"features": 3, "instances": "none"},
            "use --instances regions or --features_of classes",
        ),
        ({"adversarial": "wasserstein"}, "use least_squares or hinge"),
        ({"lambda_adversarial": 0.0, "lambda_feature": 0.0}, "discriminator without a say"),
        ({"scales": 5}, "--scales 5 leaves less than 2 px of pictures of 16 px.*--scales 4 or"),
        ({"scales": 6, "share_global": 0.0}, "of pictures of 32 px.*--scales 5 or less"),
    ],
)
def test_settings_that_cannot_work_are_refused(knobs, told):
    with pytest.raises(SettingsError, match=told):
        small(**knobs)


def test_pictures_that_cannot_be_halved_are_refused():
    facts = Facts(channels=dict.fromkeys(KEYS, 3), size=(34, 32))
    with pytest.raises(
        SettingsError, match=r"of 16 x 17 px cannot be halved 1 times .* another --size"
    ):
        make("pix2pixhd", facts=facts, **FAST)


@pytest.mark.parametrize(
    ("knobs", "stride"),
    [
        ({"depth": 2}, 8),
        ({"depth": 2, "enhancers": 0}, 4),
        ({"depth": 1, "enhancers": 2}, 8),
        ({"depth": 1, "features": 2, "encoder_depth": 3}, 16),
        ({"depth": 1, "features": 2, "encoder_depth": 3, "share_global": 0.0}, 8),
        ({}, 16),  # a picture of 16 px for the global generator is halved three times
    ],
)
def test_stride_is_that_of_all_networks(knobs, stride):
    assert small(**knobs).stride == stride
