"""CUT's parts: the contrast of patches by hand, its heads, and the antialiased generator's taps."""

import math
from typing import Any

import pytest
import torch
from stacks import Wrapped, tried
from torch import Tensor, nn
from torch.nn import functional

from dragoman.convert import cut, junyanz
from dragoman.convert.renaming import our_keys
from dragoman.errors import FileError, SettingsError
from dragoman.losses import contrastive
from dragoman.losses.contrastive import PatchHeads
from dragoman.networks.blocks import halve_smoothly
from dragoman.networks.resnet import ResNetGenerator
from dragoman.tiling import receptive_field

CUT: dict[str, Any] = {"upsample": "bilinear", "antialias": True}


def small(blocks: int = 2, **over: Any) -> ResNetGenerator:
    """A generator whose every number is random."""
    network = ResNetGenerator(3, 2, 4, blocks, **(CUT | over))
    for value in (*network.parameters(), *network.buffers()):
        if value.is_floating_point() and value.ndim < 2:
            nn.init.uniform_(value, 0.5, 1.5)
    return network.eval()


def official(network: nn.Module, layers: dict[str, str]) -> dict[str, Tensor]:
    """The network's state under official names, without the fixed kernels."""
    state = network.state_dict()
    return {theirs: state[ours] for theirs, ours in our_keys(network, layers).items()}


def official_generator(network: ResNetGenerator) -> dict[str, Tensor]:
    """The state of a generator as CUT's code saves it."""
    state = official(network, cut.generator_layers(network))
    number, count = cut._numbers(network), len(network.blocks)
    lines = {
        7: (1.0, 2, 1),
        10: (1.0, 2, 1),
        10 + count: (1.0, 3, 3, 1),
        13 + count: (1.0, 3, 3, 1),
    }
    for plain, line in lines.items():
        if number[plain] > number[plain - 1] + 1:  # something stands between
            kernel = torch.outer(torch.tensor(line), torch.tensor(line)) / 16
            state[f"model.{number[plain] - 1}.filt"] = kernel.expand(5, 1, -1, -1)
    return state


# The contrast


def test_the_contrast_by_hand():
    queries = torch.tensor([[[1.0, 0], [0, 1]]])
    keys = torch.tensor([[[1.0, 0], [1, 0]]])
    hand = [math.log(2 + math.exp(-11)), math.log(2 + math.exp(-10))]  # of 1, -10, 1 and 0, 0, -10
    each = contrastive.contrast(queries, keys, temperature=1.0)
    torch.testing.assert_close(each, torch.tensor([hand]))
    colder = [-2.0 + math.log(2 * math.exp(2) + math.exp(-20)), math.log(2 + math.exp(-20))]
    each = contrastive.contrast(queries, keys, temperature=0.5)
    torch.testing.assert_close(each, torch.tensor([colder]))


def test_other_pictures_are_negatives_only_if_asked():
    queries, keys = (torch.eye(2)[:, None] for _ in range(2))  # a patch of each of two pictures
    alone = contrastive.contrast(queries, keys, temperature=1.0)
    torch.testing.assert_close(alone, torch.full((2, 1), math.log1p(math.exp(-11))))
    across = contrastive.contrast(queries, keys, temperature=1.0, across=True)
    hand = math.log(1 + math.exp(-1) + math.exp(-11))
    torch.testing.assert_close(across, torch.full((2, 1), hand))


def test_layers_count_alike_and_keys_do_not_learn():
    torch.manual_seed(0)
    queries = [torch.randn(2, patches, 4).requires_grad_() for patches in (3, 5)]
    keys = [torch.randn(2, patches, 4).requires_grad_() for patches in (3, 5)]
    loss = contrastive.patch_nce(queries, keys, across=True)
    each = [
        contrastive.contrast(q, k, across=True).mean() for q, k in zip(queries, keys, strict=True)
    ]
    torch.testing.assert_close(loss, (each[0] + each[1]) / 2)
    loss.backward()
    assert all(q.grad is not None and q.grad.abs().sum() > 0 for q in queries)
    assert all(k.grad is None for k in keys)


def test_places_are_drawn_once_each_and_are_the_same_in_every_picture():
    torch.manual_seed(0)
    features = [torch.randn(2, 3, 5, 7), torch.randn(2, 4, 2, 3)]
    places = contrastive.draw_places(features, count=10)
    assert [len(chosen) for chosen in places] == [10, 6]
    assert all(len(set(chosen.tolist())) == len(chosen) for chosen in places)
    taken = contrastive.pick(features[0], places[0])
    for number, place in enumerate(places[0].tolist()):
        assert torch.equal(taken[:, number], features[0][:, :, place // 7, place % 7])


def test_heads_give_unit_vectors_of_all_or_some_places():
    torch.manual_seed(0)
    heads = PatchHeads([3, 4], width=6)
    features = [torch.randn(2, 3, 5, 7), torch.randn(2, 4, 1, 3)]
    every = heads(features)
    assert [tuple(x.shape) for x in every] == [(2, 35, 6), (2, 3, 6)]
    some = heads(features, [torch.tensor([34, 8]), torch.tensor([1, 2])])
    torch.testing.assert_close(some[0], every[0][:, [34, 8]])
    torch.testing.assert_close(every[1].norm(dim=2), torch.ones(2, 3))
    with pytest.raises(ValueError, match="zip"):
        heads(features, [torch.tensor([0])])


def test_a_vector_of_zeros_stays_one_and_its_gradient_is_finite():
    x = torch.zeros(1, 4, requires_grad=True)
    made = contrastive.unit_length(x)
    made.sum().backward()
    assert made.abs().sum() == 0
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_the_contrast_is_float32_under_bf16():
    features = [torch.randn(2, 3, 4, 4)]
    heads = PatchHeads([3], width=8)
    with torch.autocast("cpu", torch.bfloat16):
        vectors = heads(features)
        loss = contrastive.patch_nce(vectors, vectors)
    assert vectors[0].dtype == loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in heads.parameters())


# The antialiased generator


@pytest.mark.parametrize("sides", [(2, 2), (5, 8), (7, 3), (6, 11)])
def test_smooth_halving_is_a_reflected_blur_of_every_other_pixel(sides):
    x = torch.randn(2, 3, *sides, dtype=torch.double)
    line = torch.tensor([1.0, 2, 1], dtype=torch.double) / 4
    kernel = torch.outer(line, line).expand(3, 1, 3, 3)
    framed = functional.pad(x, (1, 1, 1, 1), mode="reflect")
    blurred = functional.conv2d(framed, kernel, stride=2, groups=3)
    torch.testing.assert_close(halve_smoothly(x), blurred)


def test_bilinear_doubling_is_cuts_upsampling():
    """Zeros between pixels, then 1, 3, 3, 1 over 4 each way, with the border's pixels repeated."""
    x = torch.randn(2, 1, 5, 6, dtype=torch.double)
    line = torch.tensor([1.0, 3, 3, 1], dtype=torch.double) / 4
    framed = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    kernel = torch.outer(line, line)[None, None]
    made = functional.conv_transpose2d(framed, kernel, stride=2, padding=1)[..., 2:-2, 2:-2]
    torch.testing.assert_close(functional.interpolate(x, scale_factor=2, mode="bilinear"), made)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("upsample", ["bilinear", "transposed", "nearest", "pixelshuffle"])
def test_taps_are_what_passes_through(antialias, upsample):
    network = small(2, antialias=antialias, upsample=upsample)
    x = torch.randn(2, 3, 12, 20)
    out = network(x)
    assert out.shape == (2, 2, 12, 20)
    taps = ["last", "border", "blocks.1", "down.0.conv", "down.0", "down.1", "up.0", "first"]
    last, border, block, conv, *_, first = network.features(x, taps)
    assert torch.equal(last.tanh(), out)
    assert torch.equal(border, functional.pad(x, (3, 3, 3, 3), mode="reflect"))
    assert block.shape == (2, 16, 3, 5)
    assert conv.shape == ((2, 8, 12, 20) if antialias else (2, 8, 6, 10))
    assert torch.equal(first, network.first(x))
    assert ("down.0.full" in network._steps()) == antialias


def test_layers_beyond_the_last_tap_are_not_computed():
    network, ran = small(3), []
    for name, module in network.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    network.features(torch.randn(1, 3, 8, 8), ["blocks.0", "border"])
    assert "blocks.0" in ran
    assert "blocks.1" not in ran
    ran.clear()
    network.features(torch.randn(1, 3, 8, 8), ["border"])
    assert not ran


def test_the_antialiased_generator_runs_in_bf16_and_learns():
    network, x = small().train(), torch.randn(2, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(x)
        feature = network.features(x, ["down.1"])[0]
    assert out.dtype == torch.float32
    (out.sum() + feature.float().sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_the_antialiased_generator_sees_what_trying_finds():
    network = ResNetGenerator(
        2, 2, width=2, blocks=0, norm="none", upsample="bilinear", antialias=True
    )
    system = Wrapped(network, stride=4)
    reach = receptive_field(system)
    assert reach.margins == tried(system, reach.furthest + 8)


def test_layers_that_are_not_there_are_named():
    with pytest.raises(SettingsError, match=r"unknown layer 'blocks.5' \(did you mean 'blocks"):
        small().features(torch.randn(1, 3, 8, 8), ["blocks.5"])
    with pytest.raises(SettingsError, match=r"layer 27 .* cannot be tapped; choose among 0, 1, 2,"):
        cut.taps(small(), [0, 27])


# Official weights


@pytest.mark.parametrize("upsample", ["bilinear", "transposed"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize(("padding", "dropout"), [("reflect", 0.5), ("zero", 0.0)])
def test_official_generators_are_read_whatever_their_settings(
    upsample, antialias, norm, padding, dropout
):
    how = {"upsample": upsample, "antialias": antialias, "norm": norm}
    network = small(3, padding=padding, dropout=dropout, **how)
    made = cut.generator(official_generator(network))
    assert repr(made) == repr(network)
    x = torch.randn(2, 3, 12, 16)
    assert torch.equal(made.eval()(x), network(x))


def test_a_replicating_generator_must_be_told():
    network = small(1, padding="replicate")
    made = cut.generator(official_generator(network), padding="replicate")
    assert repr(made) == repr(network)
    with pytest.raises(FileError, match="with padding layers, which is at odds with padding=zero"):
        cut.generator(official_generator(network), padding="zero")


def test_official_numbers_name_the_layers_that_they_tap():
    assert cut.taps(small(9), [16, 0, 4, 8, 12]) == [
        "border",
        "down.0.conv",
        "down.1.conv",
        "blocks.0",
        "blocks.4",
    ]
    plain = small(2, antialias=False, upsample="transposed")
    assert cut.taps(plain, [1, 2, 3]) == ["first.conv", "first", "first"]  # ReLU works in place
    assert cut.taps(plain, [7, 10, 11, 12, 19]) == [
        "down.1.conv",
        "blocks.0",
        "blocks.1",
        "up.0.conv",
        "last",
    ]
    assert cut.taps(small(2), [6, 7, 14, 15]) == [
        "down.0.full",
        "down.0",
        "up.0.conv.0",
        "up.0.conv.1",
    ]
    assert cut.taps(small(2, norm="none"), [4, 5]) == ["down.0.full", "down.0.full"]


def test_official_generators_end_with_these_numbers():
    """As the reference code counts: 9 blocks, antialiased, end in layer 30 before the tanh."""
    layers = cut.generator_layers(small(9))
    assert layers["last"] == "model.30"
    assert layers["up.1.conv.1"] == "model.26"
    assert layers["blocks.8.conv2"] == "model.20.conv_block.5"
    same = small(9, antialias=False, upsample="transposed")
    assert cut.generator_layers(same) == junyanz.resnet_layers(same)


def test_official_heads_are_read_whatever_their_settings():
    network = PatchHeads([3, 9, 5], width=7)
    made = cut.heads(official(network, cut.heads_layers(network)))
    features = [torch.randn(2, channels, 3, 4) for channels in (3, 9, 5)]
    for ours, theirs in zip(made(features), network(features), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_that_do_not_fit_are_refused():
    state = official_generator(small())
    with pytest.raises(FileError, match=r"the blur 'model.7.filt' is not the official one"):
        cut.generator(state | {"model.7.filt": torch.ones(5, 1, 3, 3)})
    with pytest.raises(FileError, match=r"the blur 'model.7.filt' is not the official one"):
        cut.generator(state | {"model.7.filt": torch.ones(5, 1, 5, 5)})
    few = {key: value for key, value in state.items() if "conv_block" not in key}
    with pytest.raises(FileError, match=r"no residual block 'model.12.conv_block' of 2 conv"):
        cut.generator(few)
    with pytest.raises(FileError, match=r"no layer 'mlp_0.0.weight', with which"):
        cut.heads(state)
    del state["model.1.weight"]
    with pytest.raises(FileError, match=r"no layer 'model.1.weight' of 4 axes"):
        cut.generator(state)
