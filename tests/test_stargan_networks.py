"""StarGAN's networks, label vectors and classification, by hand and by definition."""

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.convert import renaming
from dragoman.convert import stargan as convert
from dragoman.errors import DataError, FileError, SettingsError
from dragoman.losses.classification import classification
from dragoman.networks.blocks import Upsample, set_border
from dragoman.networks.label_vector import label_vector, label_widths
from dragoman.networks.scaled_norm import ScaledInstanceNorm
from dragoman.networks.stargan import StarGANDiscriminator, StarGANGenerator


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def shuffled(network: Any) -> Any:
    """The network with random numbers in all its entries."""
    with torch.no_grad():
        for entry in network.state_dict().values():
            if entry.is_floating_point():
                entry.copy_(torch.rand_like(entry) + 0.1)
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) / math.sqrt(parameter[0].numel()))
    return network.eval()


def official(network: nn.Module, layers: dict[str, str]) -> dict[str, Tensor]:
    """The state of a network under official names, scales and shifts of AdaIN as one layer."""
    state = network.state_dict()
    named = {theirs: state[ours] for theirs, ours in renaming.our_keys(network, layers).items()}
    for key in [key for key in named if ".scale." in f".{key}"]:
        scale, shift = named.pop(key), named.pop(key.replace("scale.", "shift."))
        named[key.replace("scale.", "fc.")] = torch.cat([scale, shift])
    return named


def same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


# Label vectors and classification


def test_a_set_of_two_classes_takes_one_number_or_two():
    counts = {"smiles": 2, "feeling": 3}
    assert label_widths(counts) == (1, 3)
    assert label_widths(counts, binary=False) == (2, 3)
    with pytest.raises(SettingsError, match="the label set 'tone' has 1 class, between which"):
        label_widths({"tone": 1})


def test_unknown_labels_are_zeros_and_the_mask_tells_them_apart():
    labels = torch.tensor([[1, -1], [0, 2], [-1, 0]])
    expected = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]])
    assert torch.equal(label_vector(labels, (1, 3)), expected)
    mask = torch.tensor([[1.0, 0], [1, 1], [0, 1]])
    assert torch.equal(label_vector(labels, (1, 3), mask=True), torch.cat([expected, mask], 1))
    with pytest.raises(ValueError, match=r"labels of shape \(3, 2\) are not those of 1 label sets"):
        label_vector(labels, (4,))


def test_classification_by_hand():
    logits = torch.tensor([[0.0, 1.0, 1.0, 1.0], [math.log(3), 0.0, math.log(2), 0.0]])
    labels = torch.tensor([[1, 2], [0, 1]])
    # The first picture: 1/2 and 1/3. The second: an attribute it lacks, 1/4, and 2/4.
    expected = (math.log(2) + math.log(3) + math.log(4) + math.log(2)) / 2
    same(classification(logits, labels, (1, 3)), torch.tensor(expected))


def test_classification_of_attributes_and_of_one_set_is_the_official_one():
    logits, attributes = torch.randn(4, 5), torch.randint(2, (4, 5))
    summed = functional.binary_cross_entropy_with_logits(
        logits, attributes.float(), reduction="sum"
    )
    same(classification(logits, attributes, [1] * 5), summed / 4)
    label = torch.randint(5, (4,))
    same(classification(logits, label[:, None], [5]), functional.cross_entropy(logits, label))


def test_only_the_known_part_counts_and_learns():
    logits = torch.randn(3, 6, requires_grad=True)
    labels = torch.tensor([[1, -1, 2], [-1, -1, 0], [0, -1, -1]])
    widths = (1, 2, 3)
    loss = classification(logits, labels, widths)
    parts = [
        functional.binary_cross_entropy_with_logits(logits[[0, 2], 0], torch.tensor([1.0, 0])) * 2,
        functional.cross_entropy(logits[:2, 3:], torch.tensor([2, 0])) * 2,
    ]
    same(loss, (parts[0] + parts[1]) / 3)
    loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad[:, 1:3], torch.zeros(3, 2))
    assert torch.equal(logits.grad[1, :1], torch.zeros(1))
    assert torch.equal(logits.grad[2, 3:], torch.zeros(3))
    nothing = classification(logits, torch.full((3, 3), -1), widths)
    assert nothing == 0
    nothing.backward()


def test_classification_is_in_float32_and_refuses_other_shapes():
    loss = classification(torch.randn(2, 3).bfloat16(), torch.tensor([[0], [1]]), (3,))
    assert loss.dtype == torch.float32
    with pytest.raises(ValueError, match=r"logits of shape \(2, 3\) are not those of sets of"):
        classification(torch.randn(2, 3), torch.tensor([[0], [1]]), (4,))
    with pytest.raises(ValueError, match=r"labels of shape \(2,\) are not those of sets of"):
        classification(torch.randn(2, 3), torch.tensor([0, 1]), (3,))


# StarGAN


def test_the_scaled_norm_is_an_instance_norm_with_a_line():
    norm, theirs = shuffled(ScaledInstanceNorm(3)), nn.InstanceNorm2d(3, affine=True)
    theirs.load_state_dict(norm.state_dict())
    x = torch.randn(2, 3, 5, 7)
    same(norm(x), theirs(x))
    assert torch.equal(norm(x[:, :, :1, :1]), x[:, :, :1, :1])
    fresh = ScaledInstanceNorm(3)
    same(fresh(x), functional.instance_norm(x))


def test_the_generator_sees_labels_as_planes():
    network = shuffled(StarGANGenerator(2, 3, width=4, blocks=1))
    x, label = torch.randn(2, 2, 12, 20), torch.tensor([[1.0, 0, 0], [0, 0, 1]])
    made = network(x, label)
    assert made.shape == x.shape
    assert made.abs().max() < 1
    planes = torch.zeros(2, 3, 12, 20)
    planes[0, 0] = planes[1, 2] = 1
    first = functional.conv2d(torch.cat([x, planes], 1), network.first.conv.weight, padding=3)
    hidden = functional.relu(network.first.norm(first))
    for block in (*network.down, *network.blocks, *network.up):
        hidden = block(hidden)
    assert torch.equal(made, torch.tanh(network.last(hidden)))
    with pytest.raises(ValueError, match=r"shape \(2, 2\), not \(2, 3\)"):
        network(x, label[:, :2])


def test_running_statistics_are_used_in_evaluation_only_if_kept():
    kept = shuffled(StarGANGenerator(3, 2, width=4, blocks=1, norm="running"))
    state = official(kept, convert.generator_layers(kept))
    assert "main.1.running_mean" in state
    plain, running = convert.generator(state).eval(), convert.generator(state, running=True)
    x, label = torch.randn(2, 3, 8, 8), torch.eye(2)
    same(running.eval()(x, label), kept(x, label))
    assert not torch.allclose(plain(x, label), kept(x, label), atol=1e-2)
    same(plain(x, label), kept.train()(x, label))
    old = {key: value for key, value in state.items() if "running" not in key}
    with pytest.raises(FileError, match="missing"):
        convert.generator(old, running=True)


@pytest.mark.parametrize(("blocks", "depth", "labels"), [(0, 2, 1), (3, 1, 5), (2, 3, 12)])
def test_official_generators_are_read_whatever_their_settings(blocks, depth, labels):
    network = shuffled(StarGANGenerator(1, labels, 3, blocks, depth))
    made = convert.generator(official(network, convert.generator_layers(network))).eval()
    assert made.stride == 2**depth
    x, label = torch.randn(2, 1, 16, 24), torch.rand(2, labels)
    assert torch.equal(made(x, label), network(x, label))


@pytest.mark.parametrize(
    ("size", "layers", "shape"), [(40, 3, (5, 5)), ((24, 50), 3, (3, 6)), (4, 2, (1, 1))]
)
def test_official_discriminators_are_read_whatever_their_settings(size, layers, shape):
    network = shuffled(StarGANDiscriminator(2, 7, size, width=3, layers=layers))
    made = convert.discriminator(official(network, convert.discriminator_layers(network)))
    sides = (size, size) if isinstance(size, int) else size
    x = torch.randn(2, 2, *sides)
    patches, classes = network(x)
    assert patches.shape == (2, 1, *shape)
    assert classes.shape == (2, 7)
    for ours, theirs in zip(made(x), (patches, classes), strict=True):
        assert torch.equal(ours, theirs)


def test_the_discriminator_says_which_pictures_it_takes():
    told = "--discriminator_layers 6 does not go with pictures of 32 x 48 px, whose sides each"
    with pytest.raises(SettingsError, match=told + ".* choose from 1 to 5, or a larger --size"):
        StarGANDiscriminator(3, 2, (32, 48), layers=6)
    network = StarGANDiscriminator(3, 2, 32, width=2, layers=3)
    with pytest.raises(DataError, match="classes of pictures of 32 x 32 px only; bring them"):
        network(torch.randn(1, 3, 64, 32))


def test_other_weights_are_refused():
    with pytest.raises(FileError, match=r"no convolution 'main\.0\.weight', which every"):
        convert.generator({"model.0.weight": torch.zeros(1)})
    with pytest.raises(FileError, match=r"no convolution 'main\.0\.weight', which every"):
        convert.discriminator({"a.weight": torch.zeros(1)})
    network = StarGANGenerator(3, 2, width=4, blocks=1)
    state = official(network, convert.generator_layers(network))
    with pytest.raises(FileError, match="read 3 channels and make 3, so that no labels"):
        convert.generator(state | {"main.0.weight": state["main.0.weight"][:, :3]})
    with pytest.raises(FileError, match="not those of an official Generator; they are: main"):
        convert.generator({key: v for key, v in state.items() if key.startswith("main.0.")})
    judge = StarGANDiscriminator(3, 2, 16, width=4, layers=2)
    with pytest.raises(FileError, match="unknown: main"):
        convert.discriminator(
            official(judge, convert.discriminator_layers(judge)) | {"main.9.bias": torch.zeros(1)}
        )


def test_attention_changes_only_the_share_that_it_names() -> None:
    """M C + (1 - M) x: with weights of 0 the mask is the same everywhere."""
    network = shuffled(StarGANGenerator(3, 2, width=4, blocks=1, attention=True))
    x, label = torch.rand(2, 3, 8, 8) * 2 - 1, torch.eye(2)
    assert network.attention is not None
    network.opened.zero_()
    torch.nn.init.zeros_(network.attention.weight)
    torch.nn.init.constant_(network.attention.bias, 50.0)
    colours = network(x, label)
    torch.nn.init.constant_(network.attention.bias, -50.0)
    torch.testing.assert_close(network(x, label), x)
    torch.nn.init.constant_(network.attention.bias, 2.0 + math.log(3))  # sigmoid(log 3) = 3 / 4
    torch.testing.assert_close(network(x, label), 0.75 * colours + 0.25 * x)
    network.opened.fill_(1.0)
    torch.testing.assert_close(network(x, label), colours)
    network.opened.fill_(0.2)  # 0.2 + 0.8 * 3 / 4
    torch.testing.assert_close(network(x, label), 0.8 * colours + 0.2 * x)


def test_a_skip_brings_the_first_maps_to_the_last_layers() -> None:
    network = shuffled(StarGANGenerator(3, 2, width=4, blocks=1, skip=True))
    x, label = torch.rand(2, 3, 8, 8) * 2 - 1, torch.eye(2)
    with torch.no_grad():
        network.last.weight[:, :4] = 0  # of what has passed the bottleneck
    planes = label[:, :, None, None].expand(-1, -1, 8, 8)
    first = network.first(torch.cat([x, planes], 1))
    expected = functional.conv2d(first, network.last.weight[:, 4:], padding=3).tanh()
    torch.testing.assert_close(network(x, label), expected)


def test_enlarging_by_resizing_knows_no_grid() -> None:
    """A plain picture stays plain: transposed convolutions would draw their stride into it."""
    spread = {}
    for kind in get_args(Upsample):
        torch.manual_seed(0)
        network = StarGANGenerator(3, 1, width=4, blocks=1, depth=1, upsample=kind).eval()
        made = network(torch.full((1, 3, 64, 64), 0.5), torch.ones(1, 1))
        spread[kind] = float(made.detach()[..., 28:36, 28:36].std((-2, -1)).max())
    assert max(spread["nearest"], spread["bilinear"]) < 1e-5 < spread["transposed"] / 100


def test_instance_norms_take_planes_of_labels_away_and_layer_norms_do_not():
    """But for zeros beyond the border, the planes alone tell the label."""
    x, labels = torch.rand(1, 3, 32, 32), torch.eye(2)
    apart = {}
    for norm in ("instance", "layer"):
        torch.manual_seed(0)
        network = StarGANGenerator(3, 2, width=8, blocks=1, depth=1, norm=norm, upsample="nearest")
        set_border(network, "replicate")
        made = [network(x, label[None]) for label in labels]
        apart[norm] = (made[0] - made[1]).abs().max().item()
    assert apart["instance"] < 1e-4
    assert apart["layer"] > 0.01
