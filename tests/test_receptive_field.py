"""How far a system sees is computed, not guessed: it is what one finds by trying."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from stacks import There, Wrapped, conv, systems, tried
from synthetic import make
from torch import Tensor, nn
from torch.nn import functional

from dragoman.networks import blocks
from dragoman.system import Facts
from dragoman.tiling import Untileable, receptive_field

FACTS = Facts({"a": 3, "b": 3}, (32, 32), images=1)
KINDS: list[dict[str, Any]] = [
    {"depth": 1},
    {"depth": 3, "upsample": "transposed"},
    {"depth": 3, "upsample": "nearest", "border": "replicate"},
    {"depth": 3, "upsample": "nearest"},
    {"depth": 3, "upsample": "bilinear"},
    {"depth": 3, "upsample": "pixelshuffle"},
    {"depth": 3, "generator": "encoder_decoder"},
    {"generator": "resnet", "blocks": 2},
    {"generator": "resnet", "blocks": 1, "upsample": "nearest"},
    {"generator": "resnet", "blocks": 1, "upsample": "bilinear"},
    {"generator": "resnet", "blocks": 1, "upsample": "pixelshuffle"},
]


@pytest.mark.parametrize("name", ["pix2pix", "regression"])
@pytest.mark.parametrize("knobs", KINDS, ids=str)
def test_it_is_what_trying_finds(name, knobs):
    system = make(name, facts=FACTS, norm="none", dropout=0.0, width=2, **knobs).eval()
    reach = receptive_field(system)
    assert reach.margins == tried(system, reach.furthest + 8)
    assert (reach.scale, reach.layers) == (1, ())


@settings(max_examples=100)
@given(systems(holes=False))
def test_random_stacks_see_what_trying_finds(system: Wrapped):
    reach = receptive_field(system)
    assert reach.margins == tried(system, reach.furthest + 8)


@settings(max_examples=30)
@given(systems(holes=True))
def test_layers_that_leave_out_lines_are_bounded_tightly(system: Wrapped):
    reach = receptive_field(system)
    real = tried(system, reach.furthest + 8)
    for bound, found in zip(reach.margins, real, strict=True):
        assert found <= bound <= found + 2 * system.stride


@pytest.mark.parametrize("norm", ["instance", "group", "batch"])
@pytest.mark.parametrize("knobs", [KINDS[2], KINDS[7]], ids=str)
def test_statistics_count_as_pointwise(norm, knobs):
    plain = make("pix2pix", facts=FACTS, norm="none", at_test="train", **knobs).eval()
    system = make("pix2pix", facts=FACTS, norm=norm, at_test="train", **knobs).eval()
    reach = receptive_field(system)
    assert reach.margins == receptive_field(plain).margins
    names = [layer.call[0] for layer in reach.layers]
    assert names, "layers that take statistics are told"
    assert names == sorted(set(names), key=names.index)
    far = [layer.margins for layer in reach.layers]
    assert far[0].left < far[-1].left <= reach.margins.left, "an early layer sees less"


def test_a_batch_norm_with_running_statistics_takes_none():
    system = make("pix2pix", facts=FACTS, norm="batch", depth=3, at_test="eval").eval()
    assert receptive_field(system).layers == ()


@pytest.mark.parametrize("depth", range(1, 9))
def test_unets_of_every_depth(depth):
    """Each halving and doubling with kernels of 4 adds half as much again on both sides."""
    facts = Facts({"a": 3, "b": 3}, (256, 256), images=1)
    system = make("regression", facts=facts, depth=depth, norm="instance").eval()
    assert set(receptive_field(system).margins) == {3 * 2**depth - 3}


def test_the_system_is_left_as_it_is():
    system = make("pix2pix", facts=FACTS, depth=3, norm="instance").eval()
    before = {name: value.clone() for name, value in system.state_dict().items()}
    receptive_field(system)
    assert all(torch.equal(value, before[name]) for name, value in system.state_dict().items())
    assert all(p.device.type == "cpu" for p in system.parameters())
    assert not any("forward" in vars(module) for module in system.modules())
    assert "generate" not in vars(system)


class Does(nn.Module):
    """A network of one function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _linear(x: Tensor) -> Tensor:
    values = x.flatten(1)
    return (values @ torch.zeros(values.shape[1], values.shape[1], device=x.device)).view(x.shape)


def _attention(x: Tensor) -> Tensor:
    values = x.flatten(2).transpose(1, 2)
    return functional.scaled_dot_product_attention(values, values, values).mT.reshape(x.shape)


def _part(x: Tensor) -> Tensor:
    whole = torch.zeros_like(x)
    whole[:, :, 1:] = x[:, :, :-1]
    return whole


WHOLE = "depend on the whole picture"
REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "fully connected": (_linear, WHOLE),
    "mean": (lambda x: x - x.mean((2, 3), keepdim=True), WHOLE),
    "pooling": (lambda x: x * functional.adaptive_avg_pool2d(x, 1), WHOLE),
    "one axis": (lambda x: x + x.amax(3, keepdim=True), WHOLE),
    "attention": (_attention, WHOLE),
    "functional norm": (functional.instance_norm, WHOLE),
    "flip": (lambda x: x.flip(3), WHOLE),
    "transposed": (lambda x: x.mT, WHOLE),
    "position": (lambda x: x + torch.arange(x.shape[3], device=x.device), WHOLE),
    "wrapped": (lambda x: functional.pad(x, (1, 0, 0, 0), mode="circular")[..., 1:], "in"),
    "value": (lambda x: x if x.sum().item() > 0 else -x, "cannot be followed"),
    "corners": (
        lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
        "enlarges by corners",
    ),
    "fixed size": (lambda x: functional.interpolate(x, size=(256, 256)), "no whole multiple"),
    "fourier": (lambda x: torch.fft.fft2(x).real, "operation .* whose reach is not known"),
    "in place": (_part, "writes into parts of a tensor"),
    "smaller": (lambda x: x[:, :, ::2, ::2], "no whole multiple"),
    "cut": (lambda x: x[:, :, 1:, 1:], "no whole multiple"),
    "constant": (lambda x: torch.zeros_like(x), "does not depend on the picture"),
}


@pytest.mark.parametrize(("function", "words"), REFUSED.values(), ids=REFUSED)
def test_what_depends_on_everything_is_refused(function, words):
    with pytest.raises(Untileable, match=words):
        receptive_field(Wrapped(Does(function)))


def test_layers_over_channels_see_one_pixel():
    def over_channels(x: Tensor) -> Tensor:
        last = x.permute(0, 2, 3, 1)
        last = functional.layer_norm(last, (x.shape[1],))
        last = functional.linear(last, torch.eye(2, dtype=x.dtype, device=x.device))
        x = last.permute(0, 3, 1, 2)
        x = functional.normalize(x) * functional.softmax(x, 1) / x.std(1, keepdim=True)
        return torch.stack([x, x], 1).flatten(1, 2)[:, ::2] + torch.cat(x.chunk(2, 1)[::-1], 1)

    system = Wrapped(Does(over_channels))
    assert receptive_field(system).margins == (0, 0, 0, 0) == tried(system, 8)


def test_channels_are_told_apart_until_they_mix():
    """Half of the channels see far, but only the other half is used."""

    def apart(x: Tensor) -> Tensor:
        far = functional.avg_pool2d(x, 9, 1, 4)
        both = torch.cat([x, far], 1)
        return both[:, :2]

    assert receptive_field(Wrapped(Does(apart))).margins == (0, 0, 0, 0)


def test_bicubic_enlargement_is_bounded_tightly():
    system = Wrapped(nn.Upsample(scale_factor=2, mode="bicubic"))
    reach = receptive_field(system)
    real = tried(system, 16)
    assert all(r <= m <= r + 1 for m, r in zip(reach.margins, real, strict=True))
    assert reach.scale == 2


def test_what_must_be_made_on_the_way_counts():
    reach = receptive_field(Wrapped(There()))
    assert tried(Wrapped(There()), 8) == (0, 0, 0, 0)
    assert reach.margins == (0, 3, 0, 3)


def test_layers_called_twice_are_told_apart():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = conv(3, padding=1), blocks.norm("instance", 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.conv(self.norm(self.conv(x))))

    first, second = receptive_field(Wrapped(Twice())).layers
    assert (first.call[2], second.call[2]) == (0, 1)
    assert (first.margins.up, second.margins.up) == (1, 2)


def test_deterministic_algorithms_do_not_hide_what_is_seen():
    """PyTorch then takes bilinear upsampling apart, save on CPUs."""
    system = make("regression", depth=3, upsample="bilinear")
    plain = receptive_field(system)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert receptive_field(system) == plain
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
