"""StarGAN v2's networks by hand and by definition, and read from official weights."""

import math
import re
from typing import Any

import pytest
import torch
from test_stargan_networks import official, same, shuffled
from torch import Tensor
from torch.nn import functional

from dragoman.convert import starganv2 as convert
from dragoman.errors import DataError, FileError, SettingsError
from dragoman.networks.stargan import StarGANGenerator
from dragoman.networks.starganv2 import (
    BOTTOM,
    DEEPER,
    SMALLEST,
    DomainDiscriminator,
    HighPass,
    MappingNetwork,
    Residual,
    StyledResidual,
    StyleEncoder,
    StyleGenerator,
    halvings,
    widths_of,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_halvings_of_powers_of_two_are_the_official_ones():
    for size in (64, 128, 256, 512):
        official_count = int(math.log2(size))
        assert halvings(size, BOTTOM) == official_count - 4
        assert halvings(size, DEEPER) == official_count - 3
        assert halvings(size, SMALLEST) == official_count - 2
    assert halvings((96, 200), SMALLEST) == 4
    assert halvings(63, BOTTOM) == 1
    assert halvings(16, BOTTOM) == 0
    with pytest.raises(SettingsError, match=r"at least 16 x 16 px, these have 15 x 40; choose a"):
        halvings((15, 40), BOTTOM)
    assert widths_of(8, 3, 24) == [8, 16, 24, 24]


@pytest.mark.parametrize("norm", ["none", "instance"])
@pytest.mark.parametrize("halve", [False, True])
@pytest.mark.parametrize("outputs", [3, 5])
def test_a_residual_block_by_definition(norm, halve, outputs):
    block = shuffled(Residual(3, outputs, norm, halve))
    x = torch.randn(2, 3, 7, 9)
    short = x if outputs == 3 else functional.conv2d(x, block.shortcut.weight)
    hidden = block.conv1(functional.leaky_relu(block.norm1(x), 0.2))
    if halve:
        short, hidden = functional.avg_pool2d(short, 2), functional.avg_pool2d(hidden, 2)
    hidden = block.conv2(functional.leaky_relu(block.norm2(hidden), 0.2))
    same(block(x), (short + hidden) / math.sqrt(2))
    made = convert.block(official(block, convert.block_layers()), halve)
    assert torch.equal(made(x), block(x))


def adain(x: Tensor, style: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """(1 + gamma) * the normalised + beta, where one layer gives gamma, then beta."""
    both = functional.linear(style, state[f"{name}fc.weight"], state[f"{name}fc.bias"])
    gamma, beta = both[:, :, None, None].chunk(2, 1)
    return (1 + gamma) * functional.instance_norm(x) + beta


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("double", [None, "nearest"])
@pytest.mark.parametrize("outputs", [3, 5])
def test_a_styled_block_by_definition(alone, double, outputs):
    block = shuffled(StyledResidual(3, outputs, 4, double, alone))
    state = official(block, convert.styled_block_layers())
    x, style = torch.randn(2, 3, 5, 7), torch.randn(2, 4)

    def larger(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3) if double else x

    hidden = larger(functional.leaky_relu(adain(x, style, state, "norm1."), 0.2))
    hidden = functional.conv2d(hidden, state["conv1.weight"], state["conv1.bias"], padding=1)
    hidden = functional.leaky_relu(adain(hidden, style, state, "norm2."), 0.2)
    hidden = functional.conv2d(hidden, state["conv2.weight"], state["conv2.bias"], padding=1)
    if not alone:
        short = larger(x)
        if outputs != 3:
            short = functional.conv2d(short, state["conv1x1.weight"])
        hidden = (short + hidden) / math.sqrt(2)
    same(block(x, style), hidden)
    made = convert.styled_block(state, double is not None, alone)
    assert torch.equal(made(x, style), block(x, style))


def test_a_norm_alone_is_read():
    state = {"fc.weight": torch.randn(6, 4), "fc.bias": torch.randn(6)}
    x, style = torch.randn(2, 3, 5, 7), torch.randn(2, 4)
    same(convert.norm(state)(x, style), adain(x, style, state, ""))


def test_the_high_pass_by_hand():
    x = torch.tensor([[[[1.0, 2.0], [3.0, 5.0]]], [[[1.0, 1.0], [1.0, 1.0]]]])
    expected = torch.tensor([[[[-2.0, 7.0], [16.0, 34.0]]], [[[5.0, 5.0], [5.0, 5.0]]]])
    same(HighPass(1.0)(x), expected)
    same(HighPass(4.0)(x), expected / 4)
    flat = HighPass(1.0)(torch.ones(1, 2, 4, 5))
    same(flat[..., 1:-1, 1:-1], torch.zeros(1, 2, 2, 3))
    assert not list(HighPass(1.0).state_dict())


def small(**settings: Any) -> StyleGenerator:
    given: dict[str, Any] = {"width": 4, "halved": 2, "max_width": 12} | settings
    return shuffled(StyleGenerator(2, 3, **given))


def test_masks_let_details_pass_at_their_heights():
    network = small(halved=3, high_pass=2.0)
    x, style = torch.randn(1, 2, 128, 96), torch.randn(1, 3)
    heard = []
    assert network.high_pass is not None
    network.high_pass.register_forward_hook(lambda layer, given, made: heard.append(given[0]))
    nothing = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 5, 6)
    assert torch.equal(network(x, style), network(x, style, nothing))
    assert [tuple(g.shape[-2:]) for g in heard] == [(32, 24), (64, 48), (128, 96)]
    heard.clear()
    network(x, style, (torch.full((1, 1, 8, 8), 0.5), torch.ones(1, 1, 5, 6)))
    first = network.first(x)
    second = network.encode[0](first)
    third = network.encode[1](second)
    for given, kept in zip(heard, (third / 2, second, first), strict=True):
        same(given, kept)


def test_masks_need_a_high_pass():
    network, masks = small(), (torch.ones(1, 1, 8, 8),) * 2
    with pytest.raises(SettingsError, match="masks need a generator with a high pass: set --hig"):
        network(torch.randn(1, 2, 16, 16), torch.randn(1, 3), (masks[0], masks[1]))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    "settings",
    [{}, {"halved": 0}, {"max_width": 3}, {"halved": 4}, {"high_pass": 1.0}, {"high_pass": 0.3}],
)
def test_official_generators_of_v2_are_read(settings, wrapped):
    network = small(**settings)
    state = official(network, convert.generator_layers(network))
    if network.high_pass is not None:
        state["hpf.filter"] = network.high_pass.kernel
        state["decode.3.conv1x1.weight"] = torch.randn(4, 8, 1, 1)  # which is never used
    if wrapped:
        state = {f"module.{key}": value for key, value in state.items()}
    made = convert.generator(state)
    assert made.stride == 2 ** settings.get("halved", 2)
    x, style = torch.randn(2, 2, 32, 48), torch.randn(2, 3)
    assert torch.equal(made(x, style), network(x, style))
    if network.high_pass is not None:
        masks = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
        same(made(x, style, masks), network(x, style, masks))


def test_the_high_pass_may_be_told():
    network = small(high_pass=1.0)
    state = official(network, convert.generator_layers(network))
    x, style = torch.randn(2, 2, 32, 48), torch.randn(2, 3)
    assert torch.equal(convert.generator(state, high_pass=1.0)(x, style), network(x, style))
    assert network.high_pass is not None
    state["hpf.filter"] = network.high_pass.kernel
    told = "high pass of strength 1, which is at odds with high_pass=2; leave high_pass out"
    with pytest.raises(FileError, match=told):
        convert.generator(state, high_pass=2.0)


def test_generators_run_in_bf16_and_answer_in_the_pictures_precision():
    x, style = torch.randn(1, 2, 32, 32), torch.randn(1, 3)
    masks = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    starred = shuffled(StarGANGenerator(2, 3, width=4, blocks=1))
    network = small(high_pass=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert starred(x, style).dtype == torch.float32
        made = network(x, style, masks)
        assert made.dtype == torch.float32
    exact = network(x, style, masks)
    assert (made - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize(("shared", "own", "domains"), [(4, 4, 2), (1, 2, 5), (3, 1, 1)])
def test_mapping_networks_give_the_style_of_each_domain(shared, own, domains):
    network = shuffled(MappingNetwork(domains, 3, 5, 8, shared, own))
    state = official(network, convert.mapping_layers(network))
    noise, domain = torch.randn(7, 3), torch.randint(domains, (7,))
    rows = []
    for row, number in zip(noise, domain.tolist(), strict=True):
        names = [f"shared.{2 * n}" for n in range(shared)]
        names += [f"unshared.{number}.{2 * n}" for n in range(own)]
        for name in names:
            row = functional.linear(row, state[f"{name}.weight"], state[f"{name}.bias"])
            row = row if name == names[-1] else row.relu()
        rows.append(row)
    same(network(noise, domain), torch.stack(rows))
    assert torch.equal(convert.mapping(state)(noise, domain), network(noise, domain))


def test_heads_of_other_domains_have_a_gradient_of_0():
    networks = MappingNetwork(3, 2, 4, 8), StyleEncoder(1, 3, 4, 4, 0)
    for network, given in zip(networks, (torch.randn(2, 2), torch.randn(2, 1, 4, 4)), strict=True):
        network(given, torch.tensor([1, 1])).sum().backward()
        other, wanted = list(network.heads[0].parameters()), list(network.heads[1].parameters())
        assert all(p.grad is not None and not p.grad.any() for p in other)
        assert any(p.grad is not None and p.grad.any() for p in wanted)


@pytest.mark.parametrize(("halved", "max_width"), [(0, 4), (2, 6), (3, 64)])
def test_official_judges_and_encoders_are_read(halved, max_width):
    side, domain = 4 << halved, torch.tensor([2, 0, 2])
    x = torch.randn(3, 2, side, side)
    judge = shuffled(DomainDiscriminator(2, 3, 4, halved, max_width))
    state = official(judge, convert.discriminator_layers(judge))
    last = f"main.{halved + 4}"
    state[f"{last}.weight"] = state[f"{last}.weight"][..., None, None]
    made = convert.discriminator(state)
    assert torch.equal(made(x, domain), judge(x, domain))
    if not halved:  # by definition
        seen = functional.leaky_relu(judge.trunk.first(x), 0.2)
        seen = functional.leaky_relu(judge.trunk.last(seen), 0.2)
        logits = functional.conv2d(seen, state[f"{last}.weight"], state[f"{last}.bias"])
        same(judge(x, domain), logits.flatten(1)[range(3), domain])
    encoder = shuffled(StyleEncoder(2, 3, 5, 4, halved, max_width))
    state = official(encoder, convert.style_encoder_layers(encoder))
    made = convert.style_encoder(state)
    assert torch.equal(made(x, domain), encoder(x, domain))
    assert made(x, domain).shape == (3, 5)


def test_judges_average_over_larger_and_refuse_smaller_pictures():
    judge = shuffled(DomainDiscriminator(1, 2, 4, halved=2))
    x, domain = torch.randn(1, 1, 25, 20), torch.tensor([1])
    hidden = judge.trunk.first(x)
    for block in judge.trunk.blocks:
        hidden = block(hidden)
    hidden = functional.leaky_relu(judge.trunk.last(functional.leaky_relu(hidden, 0.2)), 0.2)
    assert hidden.shape[-2:] == (3, 2)
    each = functional.conv2d(hidden, judge.last.weight[..., None, None], judge.last.bias)
    same(judge(x, domain), each[:, 1].mean((1, 2)))
    with pytest.raises(DataError, match="judges pictures of at least 16 x 16 px, not 15 x 40; ch"):
        judge(torch.randn(1, 1, 15, 40), domain)


def test_other_weights_than_those_of_v2_are_refused():
    readers = {
        "from_rgb": convert.generator,
        "shared.0": convert.style_encoder,
        "main.0": convert.discriminator,
    }
    for layer, read in readers.items():
        told = f"these weights have no layer '{re.escape(layer)}.weight', which every official"
        with pytest.raises(FileError, match=told):
            read({"a": torch.zeros(1)})
    encoder = StyleEncoder(1, 2, 3, 4, 1)
    state = official(encoder, convert.style_encoder_layers(encoder))
    with pytest.raises(FileError, match=r"no layer 'shared\.0\.weight'"):
        convert.mapping(state)
    with pytest.raises(FileError, match=r"unknown: extra"):
        convert.style_encoder(state | {"extra": torch.zeros(1)})


def test_without_plain_norms_the_colour_of_a_plain_picture_comes_through():
    """The last instance norm takes it away, save for what the border lends."""
    style, plain = torch.randn(1, 4), torch.ones(1, 3, 64, 64)
    apart = {}
    for norm in ("instance", "layer", "none"):
        torch.manual_seed(0)
        network = StyleGenerator(3, 4, 4, 1, norm=norm).eval()
        made = [network(shade * plain, style).detach().mean((2, 3)) for shade in (0.9, 1.0)]
        apart[norm] = (made[1] - made[0]).abs().max().item()
    assert apart["none"] > 3 * apart["instance"]
    assert apart["layer"] > 3 * apart["instance"]


def test_doubled_bilinearly_there_are_no_steps():
    block = StyledResidual(1, 1, 2, "bilinear")
    with torch.no_grad():
        for weights in (*block.conv1.parameters(), *block.conv2.parameters()):
            weights.zero_()
    made = block(torch.tensor([[[[0.0, 4.0]]]]), torch.randn(1, 2))
    same(made * math.sqrt(2), torch.tensor([[[[0.0, 1.0, 3.0, 4.0]] * 2]]))
    alone = StyledResidual(1, 1, 2, "bilinear", alone=True)
    x, style = torch.randn(1, 1, 4, 6), torch.randn(1, 2)
    hidden = functional.leaky_relu(alone.norm1(x, style), 0.2)
    hidden = functional.interpolate(hidden, scale_factor=2, mode="bilinear")
    weight, bias = alone.conv1.parameters()
    hidden = functional.conv2d(hidden, weight, bias, padding=1)
    same(alone(x, style), alone.conv2(functional.leaky_relu(alone.norm2(hidden, style), 0.2)))


def test_layer_norms_leave_faint_patterns_faint():
    """Instance norms make any pattern as strong as any other; AdaIN is one of them."""
    style, flat = torch.randn(1, 4), torch.rand(1, 3, 1, 1).expand(1, 3, 64, 64)
    pattern = torch.randn(1, 3, 64, 64)
    strength = {}
    for norm in ("instance", "layer"):
        torch.manual_seed(0)
        network = StyleGenerator(3, 4, 4, 1, norm=norm).eval()
        made = [network(flat + much * pattern, style) for much in (0.01, 0.1)]
        faint, strong = (one[..., 8:-8, 8:-8].std(dim=(2, 3)).mean().item() for one in made)
        strength[norm] = strong / faint
    assert strength["instance"] < 2
    assert strength["layer"] > 3
