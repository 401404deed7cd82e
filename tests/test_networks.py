"""Networks have the shapes, reach and behaviour that their papers give them."""

import math
from typing import Any, cast

import pytest
import torch
from synthetic import make
from torch import nn
from torch.nn import functional

from dragoman.convert import junyanz
from dragoman.convert.renaming import our_keys
from dragoman.errors import FileError, SettingsError
from dragoman.networks import blocks
from dragoman.networks.patch import (
    PatchDiscriminator,
    PixelDiscriminator,
    field_of,
    patch_discriminator,
)
from dragoman.networks.resnet import ResNetGenerator
from dragoman.networks.unet import UNet
from dragoman.system import Facts

NORMS = ["batch", "instance", "group", "none"]
UPSAMPLES = ["transposed", "nearest", "bilinear", "pixelshuffle"]


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def widths(layers: nn.ModuleList) -> list[int]:
    """First side of every layer's kernel."""
    return [layer.get_parameter("conv.weight").shape[0] for layer in layers]


def test_nearest_convolution_is_repetition_then_convolution():
    layer = blocks.NearestConvolution(3, 5).double()
    x = torch.randn(2, 3, 4, 6, dtype=torch.double, requires_grad=True)
    plain = functional.conv2d(
        functional.interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=1
    )
    torch.testing.assert_close(layer(x), plain)
    parts = [layer.weight, x]
    ours = torch.autograd.grad(layer(x).square().sum(), parts)
    torch.testing.assert_close(ours, torch.autograd.grad(plain.square().sum(), parts))


@pytest.mark.parametrize("kind", UPSAMPLES)
@pytest.mark.parametrize("kernel", [3, 4])
def test_up_convolutions_double_the_sides(kind, kernel):
    layer = blocks.up_convolution(kind, 4, 3, kernel=kernel)
    assert layer(torch.randn(2, 4, 5, 7)).shape == (2, 3, 10, 14)


def test_constant_picture_stays_constant_when_resized_but_not_when_transposed():
    torch.manual_seed(0)
    grid = {}
    for kind in ("transposed", "nearest", "bilinear"):
        layer = blocks.up_convolution(kind, 1, 1, bias=False)
        middle = layer(torch.ones(1, 1, 6, 6))[..., 4:-4, 4:-4]
        grid[kind] = (middle.max() - middle.min()).item()
    assert grid["transposed"] > 0.01
    assert grid["nearest"] < 1e-6
    assert grid["bilinear"] < 1e-6


def test_instance_norm_keeps_a_single_pixel_and_normalises_more():
    layer = blocks.norm("instance", 2)
    pixel = torch.randn(1, 2, 1, 1)
    assert torch.equal(layer(pixel), pixel)
    x = torch.tensor([[1.0, 3.0], [5.0, 7.0]]).expand(1, 2, 2, 2)  # mean 4, variance 5
    assert layer(x)[0, 1, 0, 0].item() == pytest.approx(-3 / math.sqrt(5 + 1e-5))
    torch.testing.assert_close(layer(x), nn.InstanceNorm2d(2)(x))
    assert not list(layer.parameters())


@pytest.mark.parametrize(("channels", "count"), [(64, 16), (512, 32), (3, 1), (7, 1), (10, 2)])
def test_groups_divide_any_number_of_channels(channels, count):
    assert blocks.groups(channels) == count
    assert blocks.norm("group", channels)(torch.randn(1, channels, 1, 1)).isfinite().all()


@pytest.mark.parametrize("kind", ["normal", "xavier", "kaiming", "orthogonal"])
def test_initialise_draws_every_weight_anew(kind):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(64, 32, 3), nn.BatchNorm2d(32), nn.ConvTranspose2d(32, 64, 4))
    assert blocks.initialise(network, kind, gain=0.02) is network
    names = ("0.weight", "0.bias", "1.weight", "2.bias")
    weight, bias, scale, other = (network.get_parameter(name) for name in names)
    assert bias.abs().max() == 0
    assert other.abs().max() == 0
    assert 0.005 < scale.std() < 0.05
    assert scale.mean().item() == pytest.approx(1, abs=0.02)
    deviation = {  # fan-in 64 * 9, fan-out 32 * 9; rows of an orthogonal 32 x 576 have length 1
        "normal": 0.02,
        "xavier": 0.02 * math.sqrt(2 / (96 * 9)),
        "kaiming": math.sqrt(2 / (64 * 9)),
        "orthogonal": 0.02 / math.sqrt(576),
    }[kind]
    assert weight.std().item() == pytest.approx(deviation, rel=0.05)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("train", [True, False])
def test_unet_runs_at_one_picture_of_its_stride(norm, skips, train):
    network = UNet(3, 2, width=4, depth=4, norm=norm, skips=skips).train(train)
    assert network.stride == 16
    for height, width in ((16, 16), (16, 48), (32, 64)):
        out = network(torch.randn(1, 3, height, width))
        assert out.shape == (1, 2, height, width)
        assert out.abs().max() <= 1


@pytest.mark.parametrize("upsample", UPSAMPLES)
def test_generators_run_with_every_upsampling_and_in_bf16(upsample):
    x = torch.randn(2, 3, 32, 32)
    for network in (
        UNet(3, 3, width=4, depth=5, norm="group", upsample=upsample),
        ResNetGenerator(3, 3, width=4, blocks=1, upsample=upsample),
    ):
        with torch.autocast("cpu", torch.bfloat16):
            out = network(x)
        assert out.shape == x.shape
        assert out.dtype == torch.float32
        out.sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_unet_of_the_paper_has_its_parameters():
    # The official unet_256 (3 to 3 channels, batch norm) has 54.414 million parameters.
    with torch.device("meta"):
        assert parameters(UNet(3, 3, depth=8)) == 54_413_955
        assert parameters(ResNetGenerator(3, 3)) == 11_378_179  # resnet_9blocks, instance
        assert parameters(PatchDiscriminator(6)) == 2_768_705  # basic, batch


def test_unet_drops_in_three_blocks_at_depth_8_and_in_none_at_5():
    for depth, count in ((5, 0), (6, 1), (8, 3)):
        with torch.device("meta"):
            network = UNet(3, 3, width=2, depth=depth)
        drops = [i for i, up in enumerate(network.up) if isinstance(up.dropout, nn.Dropout)]
        assert drops == list(range(1, count + 1))  # next to the innermost, which has none


def test_unet_without_skips_loses_position_but_skips_keep_it():
    x = torch.randn(1, 1, 16, 16, requires_grad=True)
    for skips, narrow in ((True, False), (False, True)):
        network = UNet(1, 1, width=2, depth=4, norm="none", skips=skips)
        decoder = widths(network.up)
        encoder = widths(network.down)
        assert (decoder == encoder[::-1]) == narrow
        assert decoder[0] == encoder[-1]
        assert torch.autograd.grad(network(x).sum(), x)[0].abs().sum() > 0


def test_max_width_bounds_every_layer():
    network = UNet(3, 3, width=8, depth=6, max_width=20)
    assert widths(network.down) == [8, 16, 20, 20, 20, 20]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("padding", ["reflect", "replicate", "zero"])
def test_resnet_keeps_any_sides_divisible_by_4(norm, padding):
    network = ResNetGenerator(3, 1, width=4, blocks=2, norm=norm, padding=padding, dropout=0.5)
    assert network.stride == 4
    assert network(torch.randn(1, 3, 12, 20)).shape == (1, 1, 12, 20)


def sees(network: nn.Module, size: int) -> tuple[int, int]:
    """Sides of the box of pixels that reach the middle logit."""
    x = torch.randn(1, 2, size, size, dtype=torch.double, requires_grad=True)
    logits = network.double().eval()(x)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], x)
    rows, columns = gradient.abs().sum((0, 1)).nonzero().unbind(1)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


@pytest.mark.parametrize(("field", "size"), [(1, 32), (16, 64), (70, 160)])
def test_a_logit_sees_its_field_and_no_more(field, size):
    network = patch_discriminator(2, field, width=2, norm="none", size=size)
    assert network.field == field
    assert sees(network, size) == (field, field)


def test_layers_between_have_the_fields_of_the_formula():
    for layers in (2, 4):
        network = PatchDiscriminator(2, width=1, layers=layers, norm="none")
        assert sees(network, 2 * field_of(layers)) == (field_of(layers), field_of(layers))


def test_the_field_image_is_the_papers_286_at_256_and_covers_the_picture():
    assert patch_discriminator(6, "image", width=1, size=256).field == 286
    assert patch_discriminator(6, "image", width=1, size=(64, 128)).field == 142
    assert patch_discriminator(6, "image", width=1, size=12).field == 16
    network = patch_discriminator(2, "image", width=2, norm="none", size=60)
    assert sees(network, 60) == (60, 60)


def test_impossible_patches_are_refused():
    with pytest.raises(SettingsError, match="patch of 70 needs pictures of at least 24 x 24"):
        patch_discriminator(3, 70, size=(64, 16))
    with pytest.raises(SettingsError, match="unknown patch '35'; known: 1, 16, 70, image"):
        patch_discriminator(3, cast(Any, 35))
    smallest = patch_discriminator(3, 70, width=2, size=24)
    assert smallest(torch.randn(2, 3, 24, 24)).shape == (2, 1, 1, 1)


def test_unknown_kinds_are_named():
    with pytest.raises(SettingsError, match=r"unknown norm 'bath' \(did you mean 'batch'"):
        blocks.norm(cast(Any, "bath"), 3)
    with pytest.raises(SettingsError, match="unknown upsample 'near'"):
        blocks.up_convolution(cast(Any, "near"), 3, 3)
    with pytest.raises(SettingsError, match="unknown padding 'mirror'"):
        ResNetGenerator(3, 3, width=2, blocks=1, padding=cast(Any, "mirror"))


CONVERTED = [
    UNet(3, 2, width=2, depth=6, dropout=0.5),
    UNet(1, 3, width=3, depth=5, norm="instance"),
    UNet(3, 3, width=2, depth=7, norm="none"),
    ResNetGenerator(3, 2, width=2, blocks=3, dropout=0.5),
    ResNetGenerator(3, 3, width=2, blocks=1, norm="batch", padding="zero"),
    ResNetGenerator(3, 3, width=2, blocks=2, norm="batch", padding="replicate", dropout=0.5),
    ResNetGenerator(1, 3, width=2, blocks=2, norm="none", padding="zero", dropout=0.5),
    PatchDiscriminator(3, width=2, layers=1),
    PatchDiscriminator(6, width=2, layers=4, norm="instance"),
    PixelDiscriminator(3, width=2, norm="none"),
]


def official(network: nn.Module) -> dict[str, torch.Tensor]:
    """The network's state under official keys."""
    state = network.state_dict()
    keys = our_keys(network, junyanz.network_layers(network))
    return {key: state[ours] for key, ours in keys.items()}


@pytest.mark.parametrize("network", CONVERTED, ids=lambda n: type(n).__name__)
def test_conversion_finds_every_setting(network):
    state = official(network)
    if isinstance(network, UNet):
        dropout = 0.5 if any(isinstance(m, nn.Dropout) for m in network.modules()) else 0.0
        made = junyanz.unet(state, dropout=dropout)
    elif isinstance(network, ResNetGenerator):
        made = junyanz.resnet(state, padding="replicate" if "replicate" in repr(network) else None)
    else:
        made = junyanz.discriminator(state)
    assert repr(made) == repr(network)
    channels = next(p for p in network.parameters() if p.ndim == 4).shape[1]
    x = torch.randn(2, channels, 128, 128)
    assert torch.equal(made.eval()(x), network.eval()(x))


def test_conversion_names_what_is_wrong():
    state = official(PatchDiscriminator(3, width=2, layers=2, norm="instance"))
    with pytest.raises(FileError, match=r"unknown: model\.99\.bias"):
        junyanz.discriminator(state | {"model.99.bias": torch.zeros(2)})
    shorter = {key: value for key, value in state.items() if key != "model.5.bias"}
    with pytest.raises(FileError, match=r"missing: model\.5\.bias"):
        junyanz.discriminator(shorter)
    with pytest.raises(FileError, match=r"model\.5\.bias \(9,\) instead of \(8,\)"):
        junyanz.discriminator(state | {"model.5.bias": torch.zeros(9)})
    for convert in (junyanz.generator, junyanz.unet, junyanz.resnet, junyanz.discriminator):
        with pytest.raises(FileError, match="these weights"):
            convert({"something": torch.zeros(3)})
    reflecting = official(ResNetGenerator(3, 3, width=2, blocks=1))
    with pytest.raises(FileError, match="at odds with padding=zero"):
        junyanz.resnet(reflecting, padding="zero")


def test_old_files_with_statistics_of_instance_norms_load():
    state = official(UNet(3, 3, width=2, depth=5, norm="instance"))
    stale = {"model.model.1.model.2.running_mean": torch.zeros(4)}
    assert junyanz.unet(state | stale, dropout=0.0).state_dict().keys()


def test_an_official_pix2pix_becomes_a_system():
    generator, judge = UNet(1, 3, width=4, depth=5), PatchDiscriminator(4, width=2, layers=1)
    facts = Facts(channels={"a": 1, "b": 3}, size=(32, 32))
    system = junyanz.pix2pix(official(generator), official(judge), facts, lambda_l1=7.0)
    assert system.settings.patch == 16
    assert system.settings.depth == 5
    assert system.settings.lambda_l1 == 7
    x = torch.randn(1, 1, 32, 32)
    assert torch.equal(system.generator.eval()(x), generator.eval()(x))
    rebuilt = type(system)(system.settings, facts)  # the settings alone make the same networks
    rebuilt.load_state_dict(system.state_dict())
    other = Facts(channels={"a": 3, "b": 3}, size=(32, 32))
    with pytest.raises(FileError, match="for 1 to 3 channels, judged by 4; the data has 3 and 3"):
        junyanz.pix2pix(official(generator), official(judge), other)


@pytest.mark.parametrize("size", [1, 4, 7])
def test_nearest_convolution_with_replicated_border_equals_resizing_then_convolving(size):
    layer = blocks.NearestConvolution(3, 5, border="replicate").double()
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    large = functional.pad(x.repeat_interleave(2, 2).repeat_interleave(2, 3), (1,) * 4, "replicate")
    torch.testing.assert_close(layer(x), functional.conv2d(large, layer.weight, layer.bias))


@pytest.mark.parametrize(("border", "shown_even"), [("replicate", True), ("zeros", False)])
@pytest.mark.parametrize("name", ["regression", "pix2pixhd", "spade", "esrgan"])
def test_only_zeros_beyond_the_border_show_in_an_even_picture(name, border, shown_even):
    enlarging = {"upsample": "nearest"} if name in ("regression", "pix2pixhd") else {}
    knobs: dict[str, Any] = {"norm": "none", "border": border, **enlarging}
    system = make(name, **knobs).double().eval()
    even = torch.full((1, 3, 32, 32), 0.1, dtype=torch.float64)
    batch = {"low" if "low" in system.needs else "a": even}
    spread = system.generate(batch).flatten(2).std(2).max().item()
    assert (spread < 1e-9) == shown_even
