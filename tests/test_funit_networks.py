"""FUNIT's networks by definition, few examples, and official weights of any settings."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.convert import funit
from dragoman.convert.renaming import our_keys
from dragoman.errors import FileError
from dragoman.losses import penalties
from dragoman.networks.blocks import InstanceNorm
from dragoman.networks.funit import ClassPatchDiscriminator, FewShotGenerator, Residual


def small(**over: Any) -> FewShotGenerator:
    settings: dict[str, Any] = {"latent": 5, "width": 3, "depth": 2, "mapping_width": 6}
    settings |= {"class_depth": 3}
    return FewShotGenerator(3, **(settings | over)).eval()


def official(network: nn.Module, layers: dict[str, str]) -> dict[str, Tensor]:
    """The network's state under official names."""
    state = network.state_dict()
    return {theirs: state[ours] for theirs, ours in our_keys(network, layers).items()}


# The generator


def test_the_class_code_is_the_mean_over_examples():
    torch.manual_seed(0)
    network = small()
    examples = torch.randn(2, 4, 3, 24, 16)
    each = torch.stack([network.class_code(examples[:, k]) for k in range(4)])
    torch.testing.assert_close(network.class_code(examples), each.mean(0))
    assert network.class_code(examples).shape == (2, 5)
    same = examples[:, :1].expand(-1, 3, -1, -1, -1)
    torch.testing.assert_close(network.class_code(same), each[0])


@pytest.mark.parametrize("sides", [(16, 16), (12, 20), (8, 32)])
def test_pictures_keep_their_sides_whatever_those_of_the_examples(sides):
    network, x = small(), torch.randn(2, 3, *sides)
    assert network.stride == 4
    made = network(x, torch.randn(2, 3, 3, 17, 24))
    assert made.shape == x.shape
    assert made.abs().max() < 1
    torch.testing.assert_close(network(x), network(x, x))


def test_pictures_of_the_smallest_size_run():
    for depth, class_depth in ((1, 2), (3, 2), (1, 4)):
        network = small(depth=depth, class_depth=class_depth)
        side = network.smallest
        assert network(torch.randn(1, 3, side, side)).shape == (1, 3, side, side)
        with pytest.raises(RuntimeError):
            network(torch.randn(1, 3, side // 2, side // 2))


def test_the_decoder_has_instance_norms_of_its_widths():
    norms = [layer.get_submodule("norm") for layer in small(depth=3, width=4).decoder.up]
    assert [type(norm) for norm in norms] == [InstanceNorm] * 3
    assert [repr(norm) for norm in norms] == [f"InstanceNorm({n})" for n in (16, 8, 4)]


def test_the_mean_of_a_class_reaches_its_channel():
    """Huang & Belongie 2017, equation 8: means first, deviations after them."""
    network = small(depth=0, blocks=1)
    block: Any = network.decoder.blocks[0]
    styles = torch.randn(1, 12)
    x = torch.randn(1, 3, 6, 6)
    hidden = block.norm1(block.conv1(x), styles[:, :6])
    torch.testing.assert_close(hidden.mean((2, 3)), styles[:, :3])
    torch.testing.assert_close(
        hidden.std((2, 3), False), styles[:, 3:6].abs(), atol=1e-4, rtol=1e-4
    )


def test_the_generator_runs_in_bf16_and_learns_from_the_examples():
    network, x = small().train(), torch.randn(2, 3, 16, 16)
    examples = torch.randn(2, 2, 3, 16, 16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        made = network(x, examples)
    assert made.dtype == torch.float32
    made.square().sum().backward()
    assert examples.grad is not None
    assert examples.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


# The discriminator


def convolved(x: Tensor, conv: nn.Module, padding: int = 1) -> Tensor:
    framed = functional.pad(x, (padding,) * 4, mode="reflect")
    return functional.conv2d(framed, conv.get_parameter("weight"), conv.get_parameter("bias"))


@pytest.mark.parametrize("outputs", [3, 5])
def test_a_block_adds_its_activated_input_or_a_convolution_of_the_plain_one(outputs):
    torch.manual_seed(0)
    block, x = Residual(3, outputs), torch.randn(2, 3, 5, 6)
    activated = functional.leaky_relu(x, 0.2)
    hidden = functional.leaky_relu(convolved(activated, block.conv1), 0.2)
    assert hidden.shape[1] == 3
    kept = activated if block.shortcut is None else functional.conv2d(x, block.shortcut.weight)
    assert (block.shortcut is None) == (outputs == 3)
    torch.testing.assert_close(block(x), kept + convolved(hidden, block.conv2))


def test_logits_are_those_of_the_own_class():
    torch.manual_seed(0)
    network = ClassPatchDiscriminator(3, classes=4, width=2, levels=2)
    x, classes = torch.randn(3, 3, 9, 14), torch.tensor([2, 0, 2])
    logits, features = network(x, classes)
    hidden = network.blocks[1](network.blocks[0](convolved(x, network.first, 3)))
    framed = functional.pad(hidden, (1, 1, 1, 1), mode="reflect")
    hidden = network.blocks[3](network.blocks[2](functional.avg_pool2d(framed, 3, 2)))
    torch.testing.assert_close(features, functional.leaky_relu(hidden, 0.2))
    assert features.shape == (3, 8, 5, 7)
    every = network.last(features)
    for number, label in enumerate(classes.tolist()):
        assert torch.equal(logits[number], every[number, label])


def test_widths_double_up_to_the_most_and_sides_are_halved_between_pairs():
    network = ClassPatchDiscriminator(3, classes=2, width=4, levels=4, max_width=16)
    blocks: Any = list(network.blocks)
    assert [block.conv2.out_channels for block in blocks] == [4, 8, 8, 16, 16, 16, 16, 16]
    assert network.smallest == 9
    logits, features = network(torch.randn(1, 3, 9, 32), torch.tensor([1]))
    assert features.shape == (1, 16, 2, 4)
    assert logits.shape == (1, 2, 4)
    with pytest.raises(RuntimeError):
        network(torch.randn(1, 3, 8, 32), torch.tensor([1]))


def test_the_penalty_is_the_slope_of_the_mean_logit():
    """By differences: the official one is the squared slope, summed and divided by the batch."""
    torch.manual_seed(0)
    network = ClassPatchDiscriminator(1, classes=3, width=2, levels=2).double()
    x, classes = torch.randn(2, 1, 6, 5, dtype=torch.double), torch.tensor([0, 2])
    penalty = 2 * penalties.r1(lambda y: network(y, classes)[0].mean(), x)
    slope = torch.zeros_like(x)
    with torch.no_grad():
        for place in range(x.numel()):
            step = torch.zeros_like(x)
            step.view(-1)[place] = 1e-6
            ends = [network(x + sign * step, classes)[0].mean() for sign in (1, -1)]
            slope.view(-1)[place] = (ends[0] - ends[1]) / 2e-6
    torch.testing.assert_close(penalty, slope.square().sum() / 2, rtol=1e-5, atol=0)


def test_the_discriminator_runs_in_bf16():
    network = ClassPatchDiscriminator(3, classes=4, width=2, levels=2)
    with torch.autocast("cpu", torch.bfloat16):
        logits, features = network(torch.randn(2, 3, 8, 8), torch.tensor([3, 1]))
    (logits.float().mean() + features.float().mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


# Official weights


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"depth": 1, "blocks": 1, "class_depth": 2, "mapping_layers": 2},
        {"depth": 3, "blocks": 3, "class_depth": 4, "mapping_layers": 5, "latent": 2},
    ],
    ids=str,
)
def test_official_generators_are_read_whatever_their_settings(settings):
    network = small(**settings)
    state = official(network, funit.generator_layers(network))
    unused = torch.zeros(3)  # as official AdaINs have
    state |= {"dec.model.0.model.0.model.1.norm.running_mean": unused}
    made = funit.generator(state)
    assert repr(made) == repr(network)
    x, examples = torch.randn(2, 3, 16, 24), torch.randn(2, 3, 3, 16, 16)
    assert torch.equal(made(x, examples), network(x, examples))


def test_what_leaves_no_trace_is_told():
    network = small(activation="leaky_relu", padding="zero")
    state = official(network, funit.generator_layers(network))
    made = funit.generator(state, activation="leaky_relu", padding="zero")
    assert repr(made) == repr(network)


@pytest.mark.parametrize(
    ("classes", "width", "levels", "most"), [(5, 4, 2, 1024), (119, 3, 5, 20), (2, 6, 1, 1024)]
)
def test_official_discriminators_are_read_whatever_their_settings(classes, width, levels, most):
    network = ClassPatchDiscriminator(1, classes, width, levels, most)
    made = funit.discriminator(official(network, funit.discriminator_layers(network)))
    assert repr(made) == repr(network)
    x, labels = torch.randn(2, 1, 33, 40), torch.tensor([0, classes - 1])
    for ours, theirs in zip(made(x, labels), network(x, labels), strict=True):
        assert torch.equal(ours, theirs)


def test_official_names_count_every_layer():
    layers = funit.generator_layers(small(depth=3, class_depth=4))
    assert layers["class_encoder.last"] == "enc_class_model.model.6"
    assert layers["content.blocks.1.conv2"] == "enc_content.model.4.model.1.model.1.conv"
    assert layers["decoder.up.2.conv"] == "dec.model.6.conv"
    assert layers["decoder.last"] == "dec.model.7.conv"
    judge = funit.discriminator_layers(ClassPatchDiscriminator(3, 2, 2, levels=3))
    assert judge["blocks.5.shortcut"] == "cnn_f.10.conv_s.conv"


def test_weights_that_do_not_fit_are_refused():
    network = small()
    state = official(network, funit.generator_layers(network))
    judge = ClassPatchDiscriminator(3, 2, 2, levels=2)
    other = official(judge, funit.discriminator_layers(judge))
    with pytest.raises(FileError, match=r"no layer 'enc_content.model.0.conv.weight' of 4 axes"):
        funit.generator(other)
    with pytest.raises(FileError, match=r"no layer 'cnn_f.0.conv.weight' of 4 axes"):
        funit.discriminator(state)
    with pytest.raises(FileError, match=r"do not make a FewShotGenerator .*missing: dec.model.5"):
        funit.generator({k: v for k, v in state.items() if not k.startswith("dec.model.5")})
    odd = {key: value for key, value in other.items() if not key.startswith("cnn_f.6")}
    with pytest.raises(FileError, match="have 3 residual blocks 'cnn_f', where an official"):
        funit.discriminator(odd)
