"""DiscoGAN's networks by definition, their official weights, and feature matching by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.convert import discogan
from dragoman.convert.renaming import our_keys
from dragoman.errors import FileError
from dragoman.losses import feature_matching
from dragoman.networks.discogan import DiscoDiscriminator, DiscoGenerator

Network = DiscoGenerator | DiscoDiscriminator


def shuffled(network: Any) -> Any:
    """The network with every scale, shift and statistic random."""
    for value in (*network.parameters(), *network.buffers()):
        if value.is_floating_point() and value.ndim == 1:
            nn.init.uniform_(value, 0.5, 1.5)
    return network.eval()


def official(network: Network) -> dict[str, Tensor]:
    """The network's state under official names."""
    state, keys = network.state_dict(), our_keys(network, discogan.network_layers(network))
    return {theirs: state[ours] for theirs, ours in keys.items()}


def normed(x: Tensor, state: dict[str, Tensor], layer: str) -> Tensor:
    """Batch norm by running statistics."""
    mean, variance = state[f"{layer}.running_mean"], state[f"{layer}.running_var"]
    return functional.batch_norm(
        x, mean, variance, state[f"{layer}.weight"], state[f"{layer}.bias"]
    )


def test_the_generator_is_its_layers_one_after_another():
    torch.manual_seed(0)
    network = shuffled(DiscoGenerator(3, 2, width=4, depth=2, bottleneck=5))
    state, x = official(network), torch.rand(2, 3, 16, 24)
    h = functional.leaky_relu(functional.conv2d(x, state["main.0.weight"], None, 2, 1), 0.2)
    h = normed(functional.conv2d(h, state["main.2.weight"], None, 2, 1), state, "main.3")
    h = functional.conv2d(functional.leaky_relu(h, 0.2), state["main.5.weight"])
    h = functional.leaky_relu(normed(h, state, "main.6"), 0.2)
    assert h.shape == (2, 5, 1, 3)
    h = normed(functional.conv_transpose2d(h, state["main.8.weight"]), state, "main.9").relu()
    h = functional.conv_transpose2d(h, state["main.11.weight"], None, 2, 1)
    h = functional.conv_transpose2d(
        normed(h, state, "main.12").relu(), state["main.14.weight"], None, 2, 1
    )
    torch.testing.assert_close(network(x), h.sigmoid())


def test_the_discriminator_tells_what_it_hears():
    torch.manual_seed(0)
    network = shuffled(DiscoDiscriminator(1, width=3, depth=2))
    state, x = official(network), torch.rand(2, 1, 16, 24)
    one = functional.leaky_relu(functional.conv2d(x, state["conv1.weight"], None, 2, 1), 0.2)
    two = normed(functional.conv2d(one, state["conv2.weight"], None, 2, 1), state, "bn2")
    two = functional.leaky_relu(two, 0.2)
    logits = functional.conv2d(two, state["conv3.weight"])
    assert logits.shape == (2, 1, 1, 3)
    for ours, hand in zip(network(x), (one, two, logits), strict=True):
        torch.testing.assert_close(ours, hand)


def test_at_64_px_a_picture_is_100_numbers_and_one_logit():
    network = DiscoGenerator(3, 3, width=2, bottleneck=100)
    x = torch.rand(2, 3, 64, 64)
    codes = []
    network.get_submodule("squeeze").register_forward_hook(lambda *call: codes.append(call[2]))
    assert network(x).shape == x.shape
    assert codes[0].shape == (2, 100, 1, 1)
    heard = DiscoDiscriminator(3, width=2)(x)
    assert [layer.shape[1] for layer in heard] == [2, 4, 8, 16, 1]
    assert heard[-1].shape == (2, 1, 1, 1)


@pytest.mark.parametrize("upsample", ["transposed", "nearest", "bilinear", "pixelshuffle"])
@pytest.mark.parametrize("bottleneck", [0, 6])
def test_generators_run_with_every_upsampling_and_in_bf16(upsample, bottleneck):
    network = DiscoGenerator(3, 1, 4, 3, bottleneck, upsample=upsample)
    x = torch.rand(2, 3, 48, 40)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(x)
    assert network.stride == 8
    assert (out.shape, out.dtype) == ((2, 1, 48, 40), torch.float32)
    assert out.min() > 0
    assert out.max() < 1
    out.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


CONVERTED: list[Network] = [
    DiscoGenerator(3, 3, width=4),
    DiscoGenerator(1, 2, width=3, depth=2),
    DiscoGenerator(3, 3, width=3, depth=4, bottleneck=100),
    DiscoGenerator(2, 3, width=5, depth=3, bottleneck=7),
    DiscoDiscriminator(3, width=4),
    DiscoDiscriminator(1, width=3, depth=1),
    DiscoDiscriminator(2, width=5, depth=5),
]


@pytest.mark.parametrize("network", CONVERTED, ids=lambda n: type(n).__name__)
def test_official_weights_are_read_whatever_their_settings(network):
    network = shuffled(network)
    make = discogan.generator if isinstance(network, DiscoGenerator) else discogan.discriminator
    made = make(official(network))
    assert repr(made) == repr(network)
    x = torch.rand(2, next(network.parameters()).shape[1], 128, 128)
    ours, theirs = ([y] if isinstance(y, Tensor) else y for y in (made.eval()(x), network(x)))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_extra_layers_that_double_the_channels_must_be_told():
    network = shuffled(DiscoGenerator(3, 3, width=4, depth=2, bottleneck=16))
    made = discogan.generator(official(network), bottleneck=True)
    assert repr(made) == repr(network)
    assert discogan.generator(official(network)).squeeze is None  # the same shapes, three halvings


def test_official_names_count_convolutions_and_norms():
    plain = discogan.generator_layers(DiscoGenerator(3, 3, width=2))
    extra = discogan.generator_layers(DiscoGenerator(3, 3, width=2, bottleneck=100))
    assert (plain["last"], extra["last"]) == ("main.20", "main.26")
    assert (extra["squeeze.conv"], extra["spread.norm"]) == ("main.11", "main.15")
    judge = discogan.discriminator_layers(DiscoDiscriminator(3, width=2))
    assert (judge["layers.3.norm"], judge["last"]) == ("bn4", "conv5")


def test_weights_that_do_not_fit_are_refused():
    judge = official(DiscoDiscriminator(3, width=2))
    with pytest.raises(FileError, match="have 0 convolutions named 'main', where an official"):
        discogan.generator(judge)
    with pytest.raises(FileError, match=r"no layer 'conv1.weight' of 4 axes, which every"):
        discogan.discriminator(official(DiscoGenerator(3, 3, width=2)))
    with pytest.raises(FileError, match=r"do not make a DiscoDiscriminator .*unknown: more"):
        discogan.discriminator(judge | {"more": torch.zeros(1)})


# Feature matching


def test_features_averaged_over_the_batch_by_hand():
    real = [torch.tensor([[1.0, 4.0], [3.0, 0.0]]), torch.tensor([[2.0]])]
    fake = [torch.tensor([[1.0, 1.0], [1.0, 2.0], [4.0, 0.0]]), torch.tensor([[-1.0]])]
    loss = feature_matching.batch_means(real, fake)  # means 2, 2; 2, 1 and 2; -1
    torch.testing.assert_close(loss, torch.tensor((0.0 + 1) / 2 + 9))
    assert loss.dtype == torch.float32
    halved = feature_matching.batch_means(
        [x.bfloat16() for x in real], [x.bfloat16() for x in fake]
    )
    torch.testing.assert_close(halved, loss)


def test_features_averaged_over_places_by_hand():
    real = torch.tensor([[[[1.0, 3.0]], [[0.0, 0.0]]]])  # means 2 and 0
    fake = torch.tensor([[[[1.0], [0.0], [2.0]], [[4.0], [4.0], [4.0]]]])  # means 1 and 4
    torch.testing.assert_close(feature_matching.place_means(real, fake), torch.tensor(2.5))
