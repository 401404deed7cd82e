"""The networks of MUNIT and UNIT, by hand and for every setting."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dragoman.errors import SettingsError
from dragoman.networks.blocks import halve, initialise
from dragoman.networks.munit import (
    AdaIN,
    Autoencoder,
    ContentEncoder,
    Decoder,
    Judge,
    Judges,
    Layer,
    LayerNorm,
    Mapping,
    Residual,
    StyleEncoder,
)
from dragoman.networks.spectral import SpectralConv2d
from dragoman.networks.unit import UNITGenerator, Variational


def shuffled(network: Any) -> Any:
    """The network with other values in every tensor."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                least = 0.1 if name.endswith("running_var") else -0.2
                value.copy_(torch.rand_like(value) * 0.4 + least)
    return network


# Layers


@pytest.mark.parametrize("batch", [1, 3])
def test_layer_norm_by_hand(batch):
    x = torch.tensor([[[[1.0, 2.0]], [[4.0, 5.0]]]]).repeat(batch, 1, 1, 1)  # mean 3
    x = x * torch.arange(1, batch + 1).view(-1, 1, 1, 1)
    norm = LayerNorm(2, eps=0.5)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, 3.0]))
        norm.bias.copy_(torch.tensor([-1.0, 1.0]))
    made = norm(x)
    for number in range(batch):
        scale = number + 1.0
        deviation = scale * (10 / 3) ** 0.5 + 0.5  # squares sum to 10, divided by 4 - 1
        plain = scale * torch.tensor([[[-2.0, -1.0]], [[1.0, 2.0]]]) / deviation
        wanted = plain * torch.tensor([2.0, 3.0]).view(2, 1, 1) + torch.tensor([-1.0, 1]).view(
            2, 1, 1
        )
        torch.testing.assert_close(made[number], wanted)


def test_layer_norm_is_exact_in_bf16_and_has_gradients_where_nothing_varies():
    norm = LayerNorm(3)
    x = (torch.randn(2, 3, 64, 64) + 30).bfloat16()
    assert norm(x).dtype == torch.bfloat16
    torch.testing.assert_close(norm(x), norm(x.float()).bfloat16())
    flat = torch.full((1, 3, 4, 4), 2.0, requires_grad=True)
    norm(flat).sum().backward()
    assert flat.grad is not None
    assert bool(flat.grad.isfinite().all())


def test_layer_norm_starts_with_scales_between_0_and_1():
    norm = initialise(LayerNorm(1000), "kaiming")
    scales = norm.weight.detach()
    assert 0 <= float(scales.min()) < 0.1
    assert 0.9 < float(scales.max()) <= 1
    assert not norm.bias.any()


def test_adain_gives_the_mean_and_deviation_of_the_style():
    """Huang & Belongie 2017, equation 8; means come first and are used as they are."""
    x = torch.randn(2, 3, 5, 8) * 4 - 1
    mean, deviation = torch.randn(2, 3), torch.rand(2, 3) + 0.5
    made = AdaIN(3)(x, torch.cat([mean, deviation], 1))
    torch.testing.assert_close(made.mean((2, 3)), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.std((2, 3), correction=0), deviation, rtol=1e-4, atol=1e-5)
    plain = AdaIN(3)(x)
    torch.testing.assert_close(plain, functional.instance_norm(x))


def test_a_residual_block_styles_its_first_norm_first():
    block = Residual(2, "leaky_relu", "zero")
    x, style = torch.randn(1, 2, 4, 5), torch.randn(1, 8)

    def normed(y: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        return functional.instance_norm(y) * deviation.view(1, 2, 1, 1) + mean.view(1, 2, 1, 1)

    parts = style[0].view(4, 2)
    hidden = functional.conv2d(x, block.conv1.weight, block.conv1.bias, padding=1)
    hidden = functional.leaky_relu(normed(hidden, parts[0], parts[1]), 0.2)
    hidden = functional.conv2d(hidden, block.conv2.weight, block.conv2.bias, padding=1)
    torch.testing.assert_close(block(x, style), x + normed(hidden, parts[2], parts[3]))


@pytest.mark.parametrize("norm", ["none", "instance", "batch", "layer", "spectral"])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 1), (5, 1), (4, 2), (3, 1)])
def test_layers_keep_the_sides_or_halve_them(norm, kernel, stride):
    layer = Layer(2, 4, kernel, stride, norm, "relu", "reflect")
    assert layer(torch.randn(2, 2, 9, 12)).shape == (2, 4, 9 // stride, 12 // stride)
    assert layer.conv.bias is not None  # whatever the norm
    assert isinstance(layer.conv, SpectralConv2d) == (norm == "spectral")


def test_the_border_is_reflected():
    layer = Layer(1, 1, 3, 1, "none", "relu", "reflect")
    x = torch.rand(1, 1, 4, 4)
    framed = functional.pad(x, (1, 1, 1, 1), mode="reflect")
    wanted = functional.conv2d(framed, layer.conv.weight, layer.conv.bias).relu()
    torch.testing.assert_close(layer(x), wanted)


def test_unknown_settings_are_refused():
    with pytest.raises(SettingsError, match="unknown activation 'lrelu'"):
        ContentEncoder(3, activation="lrelu")  # ty: ignore
    with pytest.raises(SettingsError, match="unknown padding 'mirror'"):
        StyleEncoder(3, padding="mirror")  # ty: ignore
    with pytest.raises(SettingsError, match=r"unknown norm 'adain'.*known: none, instance, batch"):
        Judges(3, norm="adain")  # ty: ignore


# Networks


def test_widths_double_with_every_halving_of_content_but_only_twice_of_style():
    content: Any = ContentEncoder(3, 4, depth=3, blocks=1)
    style: Any = StyleEncoder(3, 5, 4, depth=5)
    widths = [[layer.conv.weight.shape[0] for layer in net.down] for net in (content, style)]
    assert widths == [[8, 16, 32], [8, 16, 16, 16, 16]]
    x = torch.randn(2, 3, 37, 50)
    assert content(x).shape == (2, 32, 4, 6)
    assert style(x).shape == (2, 5)
    assert not any("norm" in name for name, _ in style.named_parameters())


def test_a_style_is_the_mean_over_all_places():
    style = StyleEncoder(3, 5, 4, depth=1, padding="zero")
    x = torch.randn(1, 3, 20, 24)
    hidden = style.down[0](style.first(x)).mean((2, 3))
    wanted = hidden @ style.last.weight[:, :, 0, 0].T + style.last.bias
    torch.testing.assert_close(style(x), wanted)


def test_the_mapping_ends_without_an_activation():
    mapping: Any = Mapping(3, 7, width=5, layers=3, activation="leaky_relu")
    assert [tuple(layer.weight.shape) for layer in mapping.layers] == [(5, 3), (5, 5), (7, 5)]
    style = torch.randn(2, 3)
    first, second, third = mapping.layers
    hidden = functional.leaky_relu(second(functional.leaky_relu(first(style), 0.2)), 0.2)
    torch.testing.assert_close(mapping(style), third(hidden))
    alone = Mapping(3, 7, layers=1)
    torch.testing.assert_close(alone(style), alone.layers[0](style))


def test_the_decoder_takes_styles_block_by_block_and_doubles():
    decoder = Decoder(8, 1, depth=2, blocks=3)
    assert decoder.styles == 3 * 2 * 2 * 8
    code, style = torch.randn(2, 8, 4, 5), torch.randn(2, decoder.styles)
    x = code
    for block, own in zip(decoder.blocks, style.split(32, 1), strict=True):
        x = block(x, own)
    for layer in decoder.up:
        x = layer(x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    wanted = torch.tanh(decoder.last(x))
    assert wanted.shape == (2, 1, 16, 20)
    torch.testing.assert_close(decoder(code, style), wanted)
    assert not torch.allclose(decoder(code), wanted)


def test_a_picture_has_its_content_and_takes_any_style():
    network = shuffled(Autoencoder(3, 5, 4, 1, 2, 3, 6, 2))
    assert network.stride == 2
    x, style = torch.randn(2, 3, 18, 24), torch.randn(2, 5)
    content, own = network.encode(x)
    assert content.shape == (2, 8, 9, 12)
    assert torch.equal(network(x), network.decode(content, own))
    assert torch.equal(network(x, style), network.decode(content, style))
    assert not torch.equal(network(x, style), network(x))


@pytest.mark.parametrize("padding", ["reflect", "zero"])
@pytest.mark.parametrize(("depth", "style_depth"), [(0, 1), (1, 2), (2, 4), (3, 2)])
def test_the_smallest_pictures(depth, style_depth, padding):
    network = Autoencoder(3, 2, 2, depth, 1, style_depth, 4, padding=padding)
    side = network.smallest
    assert network(torch.randn(1, 3, side, side)).shape == (1, 3, side, side)
    if padding == "reflect":
        with pytest.raises(RuntimeError):
            network(torch.randn(1, 3, side - 1, side - 1))


def test_official_defaults():
    network: Any = Autoencoder(3)
    assert network.decoder.channels == 256
    assert len(network.decoder.blocks) == 4
    assert [tuple(layer.weight.shape) for layer in network.mapping.layers] == [
        (256, 8),
        (256, 256),
        (4096, 256),
    ]
    assert len(network.style.down) == 4
    judges: Any = Judges(3)
    assert [judge.last.weight.shape[1] for judge in judges.scales] == [512] * 3


def test_pictures_are_exact_numbers_under_autocast():
    torch.manual_seed(0)
    network = initialise(Autoencoder(3, 5, 4, 2, 1, mapping_width=8), "kaiming")
    x = torch.randn(1, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        made = network(x)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, network(x), atol=0.1, rtol=0)
    assert network.double()(x.double()).dtype == torch.float64


# Discriminators


def test_each_scale_judges_half_the_picture():
    judges = shuffled(Judges(2, 4, layers=3, scales=3))
    x = torch.randn(2, 2, 49, 38)
    logits = judges(x)
    assert [tuple(one.shape) for one in logits] == [(2, 1, 6, 4), (2, 1, 3, 2), (2, 1, 1, 1)]
    for scale, one in enumerate(logits):
        assert torch.equal(one, judges.scales[scale](x))
        x = halve(x)


def test_the_first_layer_has_no_norm_and_widths_never_stop_doubling():
    judge = Judges(3, 2, layers=6, scales=1, norm="layer").scales[0]
    assert isinstance(judge, Judge)
    widths = [layer.get_parameter("conv.weight").shape[0] for layer in judge.layers]
    assert widths == [2, 4, 8, 16, 32, 64]
    kinds = [isinstance(layer.get_submodule("norm"), LayerNorm) for layer in judge.layers]
    assert kinds == [False, True, True, True, True, True]
    assert judge.last.weight.shape == (1, 64, 1, 1)


@pytest.mark.parametrize(("layers", "scales"), [(1, 1), (2, 2), (3, 3), (4, 2)])
def test_the_smallest_pictures_of_discriminators(layers, scales):
    judges = Judges(1, 2, layers, scales)
    assert all(x.numel() for x in judges(torch.randn(1, 1, judges.smallest, judges.smallest)))
    with pytest.raises(RuntimeError):
        judges(torch.randn(1, 1, judges.smallest - 1, judges.smallest - 1))


# UNIT


def test_noise_is_added_to_the_code():
    network = shuffled(Variational(3, 4, 1, 2))
    x = torch.randn(2, 3, 12, 16)
    code = network.encoder(x)
    noise = torch.randn_like(code)
    assert torch.equal(network(x), network.decoder(code))
    assert torch.equal(network(x, noise), network.decoder(code + noise))


@pytest.mark.parametrize("shared", [0, 1, 3])
def test_domains_share_the_innermost_blocks(shared):
    network = shuffled(UNITGenerator((3, 1), 4, 2, 3, shared))
    names = [name for name, _ in network.named_parameters()]
    assert len(names) == len(network.state_dict())  # nothing is there twice
    inner = [name for name in names if name.startswith(("last_encoding", "first_decoding"))]
    assert len(inner) == 2 * shared * 4
    for domain in (network.a, network.b):
        assert len(domain.encoder.blocks) == len(domain.decoder.blocks) == 3 - shared
    assert network.stride == 4
    assert network.smallest == 8
    x = torch.randn(2, 3, 16, 20)
    made = network(x, "a", "b")
    assert made.shape == (2, 1, 16, 20)
    code = network.encode(x, "a")
    assert code.shape == (2, 16, 4, 5)
    assert torch.equal(network.decode(code, "b"), made)
    assert torch.equal(network(x, "a", "a"), network.decode(code, "a"))


def test_sharing_is_what_equal_blocks_of_both_domains_compute():
    apart = shuffled(UNITGenerator((3, 3), 4, 1, 2, shared=0))
    together = UNITGenerator((3, 3), 4, 1, 2, shared=1)
    for ours, theirs in ((together.a, apart.a), (together.b, apart.b)):
        ours.encoder.first.load_state_dict(theirs.encoder.first.state_dict())
        ours.encoder.down.load_state_dict(theirs.encoder.down.state_dict())
        ours.encoder.blocks[0].load_state_dict(theirs.encoder.blocks[0].state_dict())
        ours.decoder.blocks[0].load_state_dict(theirs.decoder.blocks[1].state_dict())
        ours.decoder.up.load_state_dict(theirs.decoder.up.state_dict())
        ours.decoder.last.load_state_dict(theirs.decoder.last.state_dict())
    # the last block of the encoder and the first of the decoder are a's in both domains
    together.last_encoding[0].load_state_dict(apart.a.encoder.blocks[1].state_dict())
    together.first_decoding[0].load_state_dict(apart.a.decoder.blocks[0].state_dict())
    apart.b.encoder.blocks[1] = apart.a.encoder.blocks[1]
    apart.b.decoder.blocks[0] = apart.a.decoder.blocks[0]
    x = torch.randn(1, 3, 16, 16)
    for source, target in (("a", "b"), ("b", "a"), ("b", "b")):
        assert torch.equal(together(x, source, target), apart(x, source, target))


def test_shared_blocks_learn_from_both_domains():
    network = UNITGenerator((3, 3), 2, 1, 1, shared=1)
    x = torch.randn(1, 3, 8, 8)
    (network(x, "a", "b") + network(x, "b", "a")).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_more_blocks_cannot_be_shared_than_there_are():
    with pytest.raises(SettingsError, match="share 5 of 4 residual blocks; share 4 or less"):
        UNITGenerator((3, 3), shared=5)
    with pytest.raises(SettingsError, match="unknown domain 'c'; known: a, b"):
        UNITGenerator((3, 3), 2, 1, 1).encode(torch.zeros(1, 3, 8, 8), "c")  # ty: ignore
