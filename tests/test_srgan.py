"""SRGAN: its networks' sizes, its two stages, its terms by hand, and what it refuses."""

import copy
import math
from typing import Any

import pytest
import torch
from synthetic import LARGER, batches, make, picture_batch
from torch import nn
from torch.nn import functional

from dragoman.convert import basicsr
from dragoman.engine import Engine, EngineSettings
from dragoman.errors import DataError, FileError, SettingsError
from dragoman.networks.blocks import initialise
from dragoman.networks.srresnet import MSRResNet, SRResNet, factors
from dragoman.networks.unet_discriminator import UNetDiscriminator
from dragoman.networks.vgg_discriminator import VGGDiscriminator
from dragoman.settings import build
from dragoman.system import Facts
from dragoman.tiling import receptive_field

PLAIN: dict[str, Any] = {"blocks": 1, "perceptual": "none", "lambda_l2": 1.0}


def engine_of(system, steps=4, listen=None, **over):
    how = build(EngineSettings, {"device": "cpu", "precision": "fp32"} | over)
    return Engine(system, how, steps, listen)


class Brightness(nn.Module):
    """A discriminator whose logit is the mean of a picture, times a weight of 1."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.weight * x.mean((1, 2, 3))[:, None]


@pytest.mark.parametrize("network", [SRResNet, MSRResNet])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_pictures_of_odd_sizes_become_so_many_times_larger(network, scale):
    made = network(3, 3, width=4, blocks=2, scale=scale)(torch.rand(1, 3, 5, 7))
    assert made.shape == (1, 3, 5 * scale, 7 * scale)


@pytest.mark.parametrize("scale", [0, 1, 5, 6, 12])
def test_scales_that_no_sub_pixel_convolutions_make_are_refused(scale):
    with pytest.raises(SettingsError, match="--scale must be 2, 3, 4 or 8"):
        factors(scale)


def test_srresnet_has_the_paper_s_layers_and_weights():
    network = SRResNet(3, 3)
    convolution = 64 * 64 * 9
    blocks = 16 * (2 * convolution + 2 * 2 * 64 + 1)
    after, up = convolution + 2 * 64, 2 * (4 * convolution + 256 + 1)
    ends = 2 * 3 * 64 * 81 + 64 + 3 + 1
    assert sum(p.numel() for p in network.parameters()) == blocks + after + up + ends


def test_srresnet_begins_at_mid_grey():
    network = initialise(SRResNet(3, 3, width=4, blocks=1, norm="none"), "normal")
    network.begin("normal")
    made = network(torch.rand(2, 3, 6, 6))
    assert (made - 0.5).abs().max() < 0.05


@pytest.mark.parametrize("start", ["normal", "kaiming"])
def test_msrresnet_begins_with_the_bilinear_enlargement(start):
    network = initialise(MSRResNet(3, 3, width=8, blocks=2, scale=2), start)
    network.begin(start)
    x = torch.rand(2, 3, 6, 6)
    base = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(network(x), base, atol=1e-2, rtol=0)


def test_msrresnet_cannot_change_the_channels():
    with pytest.raises(SettingsError, match="--generator srresnet"):
        MSRResNet(2, 3)
    assert MSRResNet(1, 3, width=2, blocks=1)(torch.rand(1, 1, 4, 4)).shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    ("size", "halvings"),
    [(16, 2), (32, 3), (64, 4), (96, 4), (128, 5), (256, 6), (80, 4), (48, 3)],
)
def test_discriminators_halve_down_to_few_pixels(size, halvings):
    network = VGGDiscriminator(3, (size, size), width=2)
    assert len(network.layers) == 2 * halvings
    assert network(torch.rand(2, 3, size, size)).shape == (2, 1)


def test_discriminator_of_oblong_pictures():
    assert VGGDiscriminator(1, (32, 64), width=2)(torch.rand(1, 1, 32, 64)).shape == (1, 1)


def test_the_srgan_paper_s_discriminator_has_its_weights():
    network = VGGDiscriminator(3, (96, 96), kernel=3, hidden=1024)
    pairs = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512)]
    pairs.append((512, 512))
    convolutions = sum(9 * a * b for a, b in pairs) + 64
    norms = sum(2 * b for _, b in pairs[1:])
    dense = 512 * 6 * 6 * 1024 + 1024 + 1024 + 1
    assert sum(p.numel() for p in network.parameters()) == convolutions + norms + dense


@pytest.mark.parametrize("size", [(100, 100), (33, 33), (6, 6), (64, 50)])
def test_sizes_that_cannot_be_halved_are_refused_with_the_remedy(size):
    with pytest.raises(SettingsError, match="or --discriminator unet and sides divisible by 8"):
        VGGDiscriminator(3, size)


def test_halvings_that_cannot_be_are_refused():
    with pytest.raises(SettingsError, match=r"--halvings 6 .* can be halved 5 times"):
        VGGDiscriminator(3, (96, 96), halvings=6)


def test_a_discriminator_says_which_pictures_it_judges():
    with pytest.raises(DataError, match="judges pictures of 32 x 32 px, not 32 x 48"):
        VGGDiscriminator(3, (32, 32), width=2)(torch.rand(1, 3, 32, 48))


def test_unet_discriminator_has_a_logit_for_each_pixel():
    assert UNetDiscriminator(3, width=2)(torch.rand(2, 3, 16, 24)).shape == (2, 1, 16, 24)
    torch.manual_seed(0)
    added = UNetDiscriminator(3, width=2).eval()
    plain = UNetDiscriminator(3, width=2, skips=False).eval()
    plain.load_state_dict(added.state_dict())
    x = torch.rand(1, 3, 16, 16)
    assert not torch.allclose(added(x), plain(x))


def test_pictures_are_in_the_unit_range_within_and_clamped_only_when_used():
    system = make("srgan", **PLAIN)
    seen = []
    system.generator = nn.Module()
    system.generator.forward = lambda x: seen.append(x) or torch.tensor([-1.0, 0.5, 2.0])
    low = torch.tensor([-1.0, 0.0, 1.0])
    torch.testing.assert_close(system.generate({"low": low}), torch.tensor([-3.0, 0.0, 3.0]))
    torch.testing.assert_close(seen[0], torch.tensor([0.0, 0.5, 1.0]))
    used = system.eval().generate({"low": low})
    torch.testing.assert_close(used, torch.tensor([-1.0, 0.0, 1.0]))


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.5, [("psnr", 5), ("gan", 5)]),
        (0.3, [("psnr", 3), ("gan", 7)]),
        (1.0, [("psnr", 10)]),
        (0.0, [("gan", 10)]),
    ],
)
def test_steps_are_divided_into_the_stages(share, expected):
    stages = make("srgan", **PLAIN, psnr_share=share).stages(10)
    assert [(stage.name, stage.steps) for stage in stages] == expected
    order = {"psnr": ["pixels"], "gan": ["generator", "discriminator"]}
    assert all([turn.name for turn in s.turns] == order[s.name] for s in stages)


def test_only_the_generator_learns_at_first():
    system = make("srgan", **PLAIN)
    engine = engine_of(system, 4)
    moved = []
    for _ in engine.run(batches):
        before = moved[-1][1] if moved else None
        now = copy.deepcopy(system.discriminator.state_dict())
        same = before is None or all(torch.equal(before[k], v) for k, v in now.items())
        moved.append((not same, now))
    assert [changed for changed, _ in moved] == [False, False, True, True]


def test_without_a_second_stage_there_is_no_discriminator():
    assert not hasattr(make("srgan", **PLAIN, psnr_share=1.0), "discriminator")


def test_the_discriminator_sees_what_was_made_before_the_generator_s_update():
    system = make("srgan", **PLAIN, psnr_share=0.0, norm="none")
    seen = []
    system.discriminator.register_forward_hook(lambda net, given, made: seen.append(given[0]))
    engine = engine_of(system, 1)
    (stage,) = engine.stages
    engine.enter(stage)
    batch = picture_batch(0)
    before = system.enlarge(batch)
    engine.take_step(stage, batch)
    made, real, made_again = seen
    torch.testing.assert_close(made, before)
    torch.testing.assert_close(made_again, before)
    torch.testing.assert_close(real, batch["high"] / 2 + 0.5)
    assert not torch.equal(system.enlarge(batch), before)


def test_terms_by_hand():
    system = make("srgan", **PLAIN, lambda_l1=0.1)
    system.discriminator = Brightness()
    batch = {"high": torch.zeros(2, 3, 8, 8)}  # 0.5 within
    fake = torch.full((2, 3, 8, 8), 0.75)
    told = {k: v.item() for k, v in system.generator_loss(batch, fake).items()}
    fooling = math.log(1 + math.exp(-0.75))
    assert told == pytest.approx({"adversarial": 1e-3 * fooling, "l1": 0.025, "l2": 0.0625})
    told = {k: v.item() for k, v in system.discriminator_loss(batch, fake).items()}
    true, made = math.log(1 + math.exp(-0.5)), math.log(1 + math.exp(0.75))
    assert told == pytest.approx({"real": true, "fake": made})
    assert system.pixels_loss(batch, fake)["l2"].item() == pytest.approx(0.0625)


@pytest.mark.usefixtures("unmoved")
def test_the_perceptual_term_is_the_weighted_squared_difference_of_activations():
    system = make("srgan", blocks=1, lambda_perceptual=2.0)
    batch = picture_batch(0)
    fake = system.share(batch, None)
    term = system.generator_loss(batch, fake)["perceptual"]
    ours, theirs = (system.perceptual.features(x)["relu5"] for x in (2 * fake - 1, batch["high"]))
    torch.testing.assert_close(term, 2 * 0.006 * (ours - theirs).square().mean())


@pytest.mark.parametrize("discriminator", ["srgan", "vgg", "unet"])
@pytest.mark.parametrize("generator", ["srresnet", "msrresnet"])
@pytest.mark.parametrize(
    "adversarial", ["minimax", "nonsaturating", "least_squares", "hinge", "wasserstein"]
)
def test_every_variant_trains(discriminator, generator, adversarial):
    heard = {}
    knobs = {"discriminator": discriminator, "generator": generator, "adversarial": adversarial}
    system = make("srgan", **PLAIN, **knobs, norm="instance", psnr_share=0.0)
    engine = engine_of(system, 1, lambda step, turn, terms: heard.update({turn: terms}))
    for _ in engine.run(batches):
        pass
    wanted = {"real", "fake"} | ({"penalty"} if adversarial == "wasserstein" else set())
    assert set(heard["discriminator"]) == wanted
    assert all(term.isfinite() for term in heard["discriminator"].values())


@pytest.mark.parametrize("skip", ["bilinear", "bicubic"])
def test_a_skip_begins_with_the_enlarged_picture(skip):
    system = make("srgan", **PLAIN, skip=skip).eval()
    batch = picture_batch(0)
    enlarged = functional.interpolate(batch["low"], scale_factor=2, mode=skip)
    torch.testing.assert_close(system.generate(batch), enlarged.clamp(-1, 1))


def test_each_stage_has_its_rate_also_when_resumed():
    def rates(engine):
        return {o.param_groups[0]["lr"] for o in engine.optimizers.values()}

    knobs: dict[str, Any] = {**PLAIN, "lr": 1e-4, "lr_psnr": 3e-4, "lr_discriminator": 5e-4}
    engine = engine_of(make("srgan", **knobs), 4)
    found = []
    for done in engine.run(batches):
        found.append(rates(engine))
        if done == 3:
            state = copy.deepcopy(engine.state())
    assert found == [{3e-4}, {3e-4}, {1e-4, 5e-4}, {1e-4, 5e-4}]
    other = engine_of(make("srgan", **knobs), 4)
    other.load(state)
    assert rates(other) == {1e-4, 5e-4}
    assert bool(other.system.refining)


def test_it_can_be_followed_and_tiles_know_its_reach():
    system = make("srgan", **PLAIN).eval()
    reach = receptive_field(system)
    # ends 4 + one block 2 + after 1 + one doubling 1, and the last 9 x 9 at twice the size 2
    assert tuple(reach.margins) == (10, 10, 10, 10)
    assert reach.scale == 2


def test_it_is_judged_by_luminance_without_the_border():
    assert [m.name for m in make("srgan", **PLAIN).measures()] == ["psnr_y", "ssim_y"]


@pytest.mark.parametrize(
    ("knobs", "match"),
    [
        ({"perceptual": "none"}, "nothing holds the second stage"),
        ({"adversarial": "relativistic"}, "train esrgan"),
        ({"adversarial": "wasserstein"}, "--discriminator_norm instance"),
        ({"psnr_share": 1.5}, "--psnr_share must be at most 1"),
        ({"generator": "msrresnet", "skip": "bicubic"}, "--skip none"),
    ],
)
def test_settings_at_odds_are_refused(knobs, match):
    with pytest.raises(SettingsError, match=match):
        make("srgan", **knobs)


@pytest.mark.parametrize(
    ("size", "scale", "knobs", "match"),
    [
        ((32, 32), 1, {}, "choose --scale 2, 4 or 8"),
        ((25, 25), 4, {}, "or --discriminator unet and sides divisible by 8"),
        ((9, 9), 2, {"discriminator": "unet"}, "sides divisible by 8, .* 18 x 18"),
    ],
)
def test_data_it_cannot_learn_from_are_refused(size, scale, knobs, match):
    facts = Facts({"low": 3, "high": 3}, size, scale=scale)
    if "unet" in knobs.values():
        knobs = {**knobs, **PLAIN}
    with pytest.raises(SettingsError, match=match):
        make("srgan", facts=facts, **knobs)


def test_missing_weights_are_told_before_training_only():
    system = make("srgan", blocks=1, perceptual="vgg19")
    with pytest.raises(FileError, match="VGG19 needs its ImageNet weights"):
        system.check()
    make("srgan", blocks=1, perceptual="vgg19", psnr_share=1.0).check()


def official(network: nn.Module) -> dict[str, torch.Tensor]:
    """The network's state under official names."""
    from dragoman.convert.renaming import our_keys

    named, state = our_keys(network, basicsr.network_layers(network)), network.state_dict()
    return {theirs: state[ours] for theirs, ours in named.items()}


@pytest.mark.parametrize(
    "network",
    [
        MSRResNet(1, 1, width=5, blocks=3, scale=2),
        MSRResNet(3, 3, width=4, blocks=1, scale=3),
        MSRResNet(2, 2, width=4, blocks=2, scale=8),
        VGGDiscriminator(1, (256, 256), width=2),
        VGGDiscriminator(3, (64, 64), width=3),
        UNetDiscriminator(4, width=3),
    ],
    ids=lambda network: type(network).__name__,
)
def test_converted_networks_have_the_sizes_that_weights_tell(network):
    state = official(network)
    makers = {MSRResNet: basicsr.generator, UNetDiscriminator: basicsr.discriminator}
    made = makers.get(type(network), basicsr.discriminator)({"params_ema": state})
    assert str(made) == str(network)
    assert all(torch.equal(v, made.state_dict()[k]) for k, v in network.state_dict().items())


def test_a_system_of_official_weights_refuses_other_data():
    generator, judge = MSRResNet(3, 3, 4, 1, 2), VGGDiscriminator(3, (64, 64), width=4)
    states = official(generator), official(judge)
    system = basicsr.srgan(*states, LARGER, perceptual="none", lambda_l1=1.0)
    low = picture_batch(0)["low"]
    torch.testing.assert_close(
        system.enlarge({"low": low}), generator(low / 2 + 0.5), rtol=0, atol=0
    )
    for facts in (
        Facts(LARGER.channels, (32, 32), scale=4),
        Facts(LARGER.channels, (64, 64), scale=2),
    ):
        with pytest.raises(FileError, match="choose another --scale or --size"):
            basicsr.srgan(*states, facts, perceptual="none", lambda_l1=1.0)


def test_files_of_other_networks_are_refused():
    with pytest.raises(FileError, match=r"no layer 'conv_first\.weight'"):
        basicsr.msrresnet({"model.weight": torch.zeros(1)})
    with pytest.raises(FileError, match=r"no layer 'conv0\.weight'"):
        basicsr.discriminator({"model.weight": torch.zeros(1)})
