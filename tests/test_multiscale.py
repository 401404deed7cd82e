"""The discriminator of several scales and its spectral norm."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from dragoman.networks.blocks import initialise
from dragoman.networks.multiscale import MultiscaleDiscriminator
from dragoman.networks.spectral import SpectralConv2d, settle


def test_each_scale_judges_a_picture_of_half_the_size():
    network = MultiscaleDiscriminator(5, 4, layers=2, scales=3)
    x = torch.randn(2, 5, 33, 48)
    heard = network(x)
    shapes = [[tuple(layer.shape[1:]) for layer in scale] for scale in heard]
    assert shapes[0] == [(4, 17, 25), (8, 9, 13), (16, 10, 14), (1, 11, 15)]
    half = functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    alone = network.discriminators[1](half)
    assert all(torch.equal(a, b) for a, b in zip(heard[1], alone, strict=True))
    # the border takes nothing from outside
    torch.testing.assert_close(half[0, 0, 0, 0], x[0, 0, :2, :2].mean())


def test_widths_double_up_to_the_widest():
    network = MultiscaleDiscriminator(1, 200, layers=4, scales=1)
    widths = [layer.shape[1] for layer in network(torch.randn(1, 1, 32, 32))[0]]
    assert widths == [200, 400, 512, 512, 512, 1]


@pytest.mark.parametrize(
    ("spectral", "norm", "biases"),
    [(False, "instance", 5), (True, "instance", 2), (True, "none", 5)],
)
def test_layers_with_both_norms_have_no_bias(spectral, norm, biases):
    network = MultiscaleDiscriminator(3, 4, 3, 1, norm, spectral)
    assert sum(name.endswith("bias") for name, _ in network.named_parameters()) == biases
    divided = [isinstance(m, SpectralConv2d) for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert divided == [False, *[spectral] * 3, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spectral_norm_is_that_of_pytorch_step_by_step(dtype):
    torch.manual_seed(0)
    ours = SpectralConv2d(3, 6, 3, stride=2, padding=1).to(dtype)
    theirs = nn.utils.spectral_norm(nn.Conv2d(3, 6, 3, stride=2, padding=1).to(dtype))
    theirs.load_state_dict(
        {"weight_orig": ours.weight, "bias": ours.bias, "weight_u": ours.u, "weight_v": ours.v}
    )
    for training in (True, True, False):
        ours.train(training), theirs.train(training)
        x = torch.randn(2, 3, 9, 8, dtype=dtype)
        made, wanted = ours(x), theirs(x)
        torch.testing.assert_close(made, wanted)
        torch.testing.assert_close(ours.u, theirs.get_buffer("weight_u"))
        (gradient,) = torch.autograd.grad(made.square().sum(), ours.weight)
        (official,) = torch.autograd.grad(
            wanted.square().sum(), theirs.get_parameter("weight_orig")
        )
        torch.testing.assert_close(gradient, official)


def test_a_forward_may_come_between_a_forward_and_its_backward():
    layer = SpectralConv2d(2, 2, 1)
    first = layer(torch.ones(1, 2, 4, 4)).sum()
    layer(torch.zeros(1, 2, 4, 4))
    first.backward()
    assert layer.weight.grad is not None


def test_settled_weights_have_the_largest_singular_value_1():
    torch.manual_seed(0)
    layers = [SpectralConv2d(3, 8, 3), SpectralConv2d(8, 4, 1)]
    settle(initialise(nn.Sequential(*layers)))
    for layer in layers:
        value = torch.linalg.matrix_norm((layer.weight / layer.largest()).flatten(1), 2)
        assert 0.99 < value < 1.1


def test_power_iteration_stays_exact_under_autocast():
    layer = SpectralConv2d(3, 8, 3)
    other = SpectralConv2d(3, 8, 3)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(1, 3, 8, 8)
    layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert other(x).dtype == torch.bfloat16
    assert torch.equal(layer.u, other.u)
    assert torch.equal(layer.largest(), other.largest())
