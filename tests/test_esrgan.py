"""ESRGAN: dense blocks, the relativistic average by hand, and what it refuses."""

import math
import re
from typing import Any

import pytest
import torch
from synthetic import LARGER, batches, make, picture_batch
from test_srgan import engine_of, official
from torch import nn
from torch.nn import functional

from dragoman.convert import basicsr
from dragoman.errors import FileError, SettingsError
from dragoman.losses import relativistic
from dragoman.losses.relativistic import Base
from dragoman.networks.blocks import initialise
from dragoman.networks.rrdb import DenseBlock, RRDBNet
from dragoman.networks.unet_discriminator import UNetDiscriminator
from dragoman.networks.vgg_discriminator import VGGDiscriminator
from dragoman.system import Facts
from dragoman.tiling import Tiler, TileSettings, receptive_field

PLAIN: dict[str, Any] = {"blocks": 1, "growth": 2, "perceptual": "none"}
REAL, FAKE = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [2.0]])  # means 2 and 1


def entropy(x: float) -> float:
    return math.log(1 + math.exp(-x))


class Told(nn.Module):
    """A discriminator that says what it is told: 1 and 3 of true pictures, 0 and 2 of made ones."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.weight * (REAL if x.mean() > 0.5 else FAKE)


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_pictures_become_so_many_times_larger(scale):
    network = RRDBNet(3, 2, width=4, blocks=2, growth=3, scale=scale)
    assert network.stride == {1: 4, 2: 2}.get(scale, 1)
    made = network(torch.rand(1, 3, 8, 12))
    assert made.shape == (1, 2, 8 * scale, 12 * scale)


@pytest.mark.parametrize("scale", [0, 3, 6])
def test_other_scales_are_refused(scale):
    with pytest.raises(SettingsError, match="--scale must be 2, 4 or 8"):
        RRDBNet(3, 3, scale=scale)


def test_the_official_size():
    """16.70 million weights, as the authors' RRDB_ESRGAN_x4 has."""
    assert sum(p.numel() for p in RRDBNet(3, 3).parameters()) == 16_697_987


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_a_dense_block_by_hand(share):
    """One channel, kernels that only pass the middle pixel: 1, 1 + 1, ... are gathered."""
    block = DenseBlock(1, 1, share)
    for conv in block.convs:
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        nn.init.zeros_(conv.bias)
        nn.init.zeros_(conv.weight)
        conv.weight.data[:, :, 1, 1] = 1.0
    # seen: 1; 1, 1; 1, 1, 2; 1, 1, 2, 4; sum of all 5 is 16, of which a share is added
    assert block(torch.ones(1, 1, 1, 1)).item() == pytest.approx(1 + share * 16)
    negative = block(-torch.ones(1, 1, 1, 1)).item()
    # -1; -0.2; -0.24; -0.288; -0.3456, the last convolution without activation
    assert negative == pytest.approx(-1 + share * (-1 - 0.2 - 0.24 - 0.288 - 0.3456))


@pytest.mark.parametrize(("knobs", "share"), [({}, 0.2), ({"residual_scale": 0.5}, 0.5)])
def test_a_share_of_three_dense_blocks_is_added(knobs, share):
    block = make("esrgan", **knobs).generator.body[0]
    x = torch.rand(2, block.dense[0].convs[0].in_channels, 5, 5)
    inner = block.dense[2](block.dense[1](block.dense[0](x)))
    torch.testing.assert_close(block(x), x + share * inner)


def test_enlarging_repeats_pixels_and_convolves():
    network = RRDBNet(3, 3, width=4, blocks=1, growth=2, scale=4).double()
    x = torch.rand(1, 3, 4, 4).double()
    hidden = network.first(x)
    hidden = hidden + network.after(network.body[0](hidden))
    for up in network.up.children():
        assert isinstance(up, nn.Conv2d)
        larger = functional.interpolate(hidden, scale_factor=2, mode="nearest")
        made = functional.conv2d(larger, up.weight, up.bias, padding=1)
        hidden = functional.leaky_relu(made, 0.2)
    hidden = functional.leaky_relu(network.full(hidden), 0.2)
    torch.testing.assert_close(network(x), network.last(hidden))


@pytest.mark.parametrize(
    ("start", "in_blocks", "elsewhere"), [("kaiming", 0.1, 6**-0.5), ("normal", 1, 1)]
)
def test_dense_blocks_begin_with_a_tenth(start, in_blocks, elsewhere):
    pair = []
    for _ in range(2):
        torch.manual_seed(0)
        pair.append(initialise(RRDBNet(3, 3, width=4, blocks=1, growth=2), start))
    pair[1].begin(start)
    parameters = zip(pair[0].named_parameters(), pair[1].parameters(), strict=True)
    for (name, before), now in parameters:
        if name.endswith("weight"):
            factor = in_blocks if name.startswith("body") else elsewhere
            torch.testing.assert_close(now, factor * before)
    bias = pair[1].last.bias
    assert bias is not None
    assert torch.equal(bias, torch.full((3,), 0.5))


def test_elsewhere_weights_begin_as_pytorch_draws_them():
    plain = nn.Conv2d(64, 64, 3)
    network = initialise(RRDBNet(3, 3, blocks=1), "kaiming")
    network.begin("kaiming")
    assert network.full.weight.std().item() == pytest.approx(plain.weight.std().item(), rel=0.03)


def test_the_spectral_norm_fits_the_starting_weights():
    system = make("esrgan", **PLAIN, discriminator="unet")
    for layer in system.discriminator.down:
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        torch.testing.assert_close(layer.largest(), largest, rtol=0.05, atol=0)


@pytest.mark.parametrize(
    ("base", "real", "fake"),
    [
        ("nonsaturating", (entropy(0) + entropy(2)) / 2, (entropy(2) + entropy(0)) / 2),
        ("least_squares", (1 + 1) / 2, (4 + 0) / 2),
        ("hinge", (1 + 0) / 2, (0 + 1) / 2),
        ("wasserstein", -1.0, -1.0),
    ],
)
def test_relativistic_discriminator_by_hand(base: Base, real, fake):
    """True minus made mean: 0 and 2; made minus true mean: -2 and 0."""
    for held in (None, FAKE):
        terms = relativistic.discriminator_terms(base, REAL, FAKE, held)
        assert terms["real"].item() == pytest.approx(real)
        assert terms["fake"].item() == pytest.approx(fake)


@pytest.mark.parametrize(
    ("base", "real", "fake"),
    [
        ("nonsaturating", (entropy(0) + entropy(-2)) / 2, (entropy(2 - 4) + entropy(0)) / 2),
        ("least_squares", (0 + 4) / 2, (9 + 1) / 2),
        ("hinge", (1 + 3) / 2, (3 + 1) / 2),
        ("wasserstein", 1.0, 1.0),
    ],
)
def test_relativistic_generator_by_hand(base: Base, real, fake):
    """The same with labels exchanged: the generator wants made pictures above true ones."""
    terms = relativistic.generator_terms(base, REAL, FAKE)
    assert terms["real"].item() == pytest.approx(real)
    assert terms["fake"].item() == pytest.approx(fake)


def test_held_means_teach_nothing():
    for held, reached in ((None, True), (FAKE, False)):
        fake = FAKE.clone().requires_grad_(True)
        term = relativistic.discriminator_terms("nonsaturating", REAL, fake, held)["real"]
        assert term.requires_grad is reached
    real = REAL.clone().requires_grad_(True)
    terms = relativistic.discriminator_terms("nonsaturating", real, FAKE, held=FAKE)
    terms["real"].backward()
    # d entropy(x) / dx = -sigmoid(-x), of which each picture has half
    expected = torch.tensor([[-0.5 / 2], [-1 / (1 + math.exp(2)) / 2]])
    torch.testing.assert_close(real.grad, expected)


def test_terms_by_hand():
    system = make("esrgan", **PLAIN)
    system.discriminator = Told()
    batch = {"high": torch.full((2, 3, 8, 8), 0.2)}  # 0.6 within
    fake = torch.full((2, 3, 8, 8), 0.4)
    told = {k: v.item() for k, v in system.generator_loss(batch, fake).items()}
    each = (entropy(0) + entropy(-2)) / 2
    assert told == pytest.approx({"adversarial": 5e-3 * each, "l1": 1e-2 * 0.2})
    told = {k: v.item() for k, v in system.discriminator_loss(batch, fake).items()}
    each = (entropy(0) + entropy(2)) / 2
    assert told == pytest.approx({"real": each / 2, "fake": each / 2})
    assert system.pixels_loss(batch, fake)["l1"].item() == pytest.approx(0.2)


@pytest.mark.usefixtures("unmoved")
def test_activations_are_compared_before_the_activation():
    system = make("esrgan", blocks=1, growth=2)
    batch = picture_batch(0)
    fake = system.share(batch, None)
    term = system.generator_loss(batch, fake)["perceptual"]
    ours, theirs = (system.perceptual.features(x)["conv5"] for x in (2 * fake - 1, batch["high"]))
    assert ours.min() < 0
    torch.testing.assert_close(term, (ours - theirs).abs().mean())


@pytest.mark.parametrize("hold_means", [True, False])
@pytest.mark.parametrize("base", ["nonsaturating", "least_squares", "hinge", "wasserstein"])
def test_every_objective_trains(base, hold_means):
    heard = {}
    knobs = {"relativistic_of": base, "hold_means": hold_means, "discriminator": "unet"}
    system = make("esrgan", **PLAIN, **knobs)
    engine = engine_of(system, 4, lambda step, turn, terms: heard.update({turn: terms}))
    for _ in engine.run(batches):
        pass
    assert set(heard) == {"pixels", "generator", "discriminator"}
    assert all(term.isfinite() for terms in heard.values() for term in terms.values())


def test_the_first_stage_has_twice_the_rate():
    system = make("esrgan", **PLAIN)
    engine = engine_of(system, 2)
    rates = []
    for _ in engine.run(batches):
        rates.append([o.param_groups[0]["lr"] for o in engine.optimizers.values()])
    assert rates == [[2e-4], [1e-4, 1e-4]]


def test_it_can_be_followed_and_tiles_know_its_reach():
    """2 px of 4 x for the last two, 1 of each enlargement: 2 squares; 17 for all before."""
    reach = receptive_field(make("esrgan", **PLAIN).eval())
    assert reach.scale == 2
    assert tuple(reach.margins) == (2 * 19,) * 4


def test_sides_must_be_whole_squares():
    assert make("esrgan", **PLAIN).stride == 2


@pytest.mark.parametrize(("scale", "match"), [(1, "choose --scale"), (3, "must be 2, 4 or 8")])
def test_scales_are_refused_by_name(scale, match):
    with pytest.raises(SettingsError, match=match):
        make("esrgan", facts=Facts({"low": 3, "high": 3}, (32, 32), scale=scale), **PLAIN)


def test_a_second_stage_without_truth_is_refused():
    with pytest.raises(SettingsError, match="give --lambda_l1 or --lambda_l2"):
        make("esrgan", **PLAIN, lambda_l1=0.0)


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("channels", [(1, 1), (3, 3), (2, 5)])
def test_converted_generators_have_the_sizes_that_weights_tell(scale, channels):
    network = RRDBNet(*channels, width=5, blocks=2, growth=3, scale=scale)
    state = official(network)
    if channels == (2, 5):
        with pytest.raises(FileError, match="give scale"):
            basicsr.rrdb(state)
    if channels != (2, 5) and scale < 8:
        assert str(basicsr.generator(state)) == str(network)
    made = basicsr.rrdb(state, scale)
    assert str(made) == str(network)
    x = torch.rand(1, channels[0], 8, 8)
    assert torch.equal(made(x), network(x))


def test_the_earlier_names_of_the_authors_are_known_too():
    network = RRDBNet(3, 3, width=4, blocks=2, growth=3)
    state = {}
    for key, value in official(network).items():
        key = re.sub(r"^body\.(\d+)\.rdb", r"RRDB_trunk.\1.RDB", key)
        key = key.replace("conv_body", "trunk_conv").replace("conv_hr", "HRconv")
        state[key.replace("conv_up", "upconv")] = value
    assert {"RRDB_trunk.1.RDB3.conv5.weight", "upconv2.bias"} <= state.keys()
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(basicsr.generator(state)(x), network(x))


@pytest.mark.parametrize(
    "judge", [VGGDiscriminator(3, (64, 64), width=4), UNetDiscriminator(3, width=4)]
)
def test_a_system_of_official_weights(judge):
    generator = RRDBNet(3, 3, width=4, blocks=2, growth=3, scale=2)
    system = basicsr.esrgan(official(generator), official(judge), LARGER, perceptual="none")
    low = picture_batch(0)["low"]
    assert torch.equal(system.enlarge({"low": low}), generator(low * 0.5 + 0.5))
    settings = system.settings
    assert (settings.blocks, settings.growth, settings.width) == (2, 3, 4)
    with pytest.raises(FileError, match="choose another --scale or --size"):
        basicsr.esrgan(
            official(generator),
            official(judge),
            Facts(LARGER.channels, (32, 32), scale=4),
            perceptual="none",
        )


def test_a_deep_network_is_tiled_with_as_much_context_as_counts():
    facts = Facts({"low": 3, "high": 3}, (16, 16), scale=4)
    system = make("esrgan", facts=facts, width=8, growth=4, blocks=8, psnr_share=1).eval()
    tiler = Tiler(system, "cpu", TileSettings(tile=32))
    assert tiler.reach is not None
    assert tiler.reach.furthest > 100
    assert (tiler.margins, tiler.overlap) == ((32, 32, 32, 32), 0)
    assert Tiler(system, "cpu", TileSettings(context=999)).margins == tiler.reach.margins
    picture = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    made = torch.full((1, 3, 384, 512), torch.nan)

    def write(y, x, part):
        made[..., y : y + part.shape[2], x : x + part.shape[3]] = part

    tiler.run(lambda y0, y1, x0, x1: picture[..., y0:y1, x0:x1], write, 96, 128)
    with torch.no_grad():
        whole = system.generate({"low": picture})
    assert (made - whole).abs().max() < 2 / 127.5
