"""SPADE's norm by hand, its boundaries, generators of every size and the encoder."""

from typing import Any

import pytest
import torch
from synthetic import batches, make
from torch import Tensor, nn
from torch.nn import functional

from dragoman.engine import Engine, EngineSettings
from dragoman.errors import SettingsError
from dragoman.networks.boundaries import boundaries
from dragoman.networks.spade import ImageEncoder, SPADEGenerator, plan
from dragoman.networks.spatial_norm import ModulatedNorm
from dragoman.settings import build
from dragoman.systems.spade import default_depth

SMALL: dict[str, Any] = {"hidden": 4, "perceptual": "none"}


def small(**knobs: Any) -> Any:
    return make("spade", **(SMALL | knobs))


# The norm


def centre_only(conv: Any, weight: Tensor, bias: Tensor) -> None:
    """Let a convolution be the same matrix at every place."""
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[:, :, conv.weight.shape[2] // 2, conv.weight.shape[3] // 2] = weight
        conv.bias.copy_(bias)


def norm_of(*settings: Any, **more: Any) -> Any:
    return ModulatedNorm(*settings, **more)


def map_norm(base: str, kernel: int = 3, channels: int = 3, classes: int = 2) -> Any:
    """A SPADE norm with random scale and shift of each class, alone of its own place."""
    norm = norm_of(channels, classes, "map", base, kernel, hidden=classes)
    made = norm.modulation
    centre_only(made.shared, torch.eye(classes), torch.zeros(classes))
    for conv in (made.scale, made.shift):
        centre_only(conv, torch.randn(channels, classes), torch.randn(channels))
    return norm


@pytest.mark.parametrize("kernel", [3, 5])
def test_the_norm_by_hand(kernel):
    norm = norm_of(1, 1, "map", "batch", kernel, hidden=1)
    centre_only(norm.modulation.shared, torch.tensor([[2.0]]), torch.tensor([-1.0]))
    centre_only(norm.modulation.scale, torch.tensor([[0.5]]), torch.tensor([0.25]))
    centre_only(norm.modulation.shift, torch.tensor([[-3.0]]), torch.tensor([4.0]))
    x = torch.tensor([[[[1.0, 3.0]]], [[[5.0, 7.0]]]])  # of both pictures: mean 4, variance 5
    segments = torch.tensor([[[[0.0, 1.0]]], [[[2.0, 0.0]]]])
    hidden = torch.tensor([[[[0.0, 1.0]]], [[[3.0, 0.0]]]])  # relu(2 m - 1)
    plain = (x - 4) / (5 + 1e-5) ** 0.5
    torch.testing.assert_close(
        norm(x, segments), plain * (1.25 + 0.5 * hidden) + 4 - 3 * hidden, rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(norm.norm.running_mean, torch.tensor([0.4]))  # momentum 0.1
    torch.testing.assert_close(norm.norm.running_var, torch.tensor([0.9 + 0.1 * 20 / 3]))


def test_a_map_of_other_sides_gives_its_nearest_pixels():
    torch.manual_seed(0)
    norm = map_norm("none")
    segments, x = torch.rand(2, 2, 8, 12), torch.randn(2, 3, 4, 6)
    assert torch.equal(norm(x, segments), norm(x, segments[:, :, ::2, ::2]))
    larger = torch.randn(2, 3, 16, 24)
    spread = segments.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(norm(larger, segments), norm(larger, spread))


@pytest.mark.parametrize("base", ["batch", "instance"])
def test_a_single_value_has_no_statistics_and_passes(base):
    norm = map_norm(base)
    x, segments = torch.randn(1, 3, 1, 1), torch.rand(1, 2, 1, 1)
    plain = map_norm("none")
    plain.modulation.load_state_dict(norm.modulation.state_dict())
    assert torch.equal(norm(x, segments), plain(x, segments))
    two = torch.randn(2, 3, 1, 1)  # these have
    assert not torch.allclose(norm_of(3, 2)(two, segments.expand(2, -1, -1, -1)), two)


def test_one_picture_at_a_time_may_begin_with_one_pixel():
    how = build(EngineSettings, {"device": "cpu", "precision": "fp32"})
    engine = Engine(small(depth=5), how, 1)
    assert list(engine.run(lambda start: batches(start, batch=1))) == [1]


@pytest.mark.parametrize("base", ["batch", "instance", "none"])
def test_vectors_and_classes_are_maps_that_are_the_same_everywhere(base):
    torch.manual_seed(0)
    spatial = map_norm(base)
    vector = norm_of(3, 2, "vector", base)
    label = norm_of(3, 2, "label", base)
    with torch.no_grad():
        for name in ("scale", "shift"):
            conv = spatial.modulation.get_submodule(name)
            line, table = (n.modulation.get_submodule(name) for n in (vector, label))
            line.weight.copy_(conv.weight[:, :, 1, 1])
            line.bias.copy_(conv.bias)
            table.weight.copy_(line.weight.T + line.bias)
    x, classes = torch.randn(4, 3, 5, 6), torch.tensor([0, 1, 1, 0])
    one_hot = functional.one_hot(classes, 2).float()
    whole = one_hot[:, :, None, None].expand(-1, -1, 5, 6)
    torch.testing.assert_close(vector(x, one_hot), spatial(x, whole))
    torch.testing.assert_close(label(x, classes), spatial(x, whole))
    style = torch.rand(4, 2)  # not only classes
    torch.testing.assert_close(vector(x, style), spatial(x, style[:, :, None, None]))


def test_adain_gives_the_style_s_mean_and_deviation():
    """Huang & Belongie 2017, equation 8."""
    norm = norm_of(3, 6, "vector", "instance")
    with torch.no_grad():
        norm.modulation.scale.weight.copy_(torch.eye(6)[:3])
        norm.modulation.scale.bias.fill_(-1.0)
        norm.modulation.shift.weight.copy_(torch.eye(6)[3:])
        norm.modulation.shift.bias.zero_()
    other = torch.randn(2, 3, 7, 7) * 3 + 1
    deviation, mean = other.std((2, 3), correction=0), other.mean((2, 3))
    made = norm(torch.randn(2, 3, 5, 8), torch.cat([deviation, mean], 1))
    torch.testing.assert_close(made.mean((2, 3)), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.std((2, 3), correction=0), deviation, rtol=1e-4, atol=1e-5)


def test_a_class_begins_with_the_plain_norm():
    x = torch.randn(4, 3, 5, 5)
    made = norm_of(3, 7, "label")(x, torch.tensor([0, 6, 3, 3]))
    torch.testing.assert_close(made, nn.BatchNorm2d(3)(x))


def test_unknown_kinds_are_refused():
    with pytest.raises(SettingsError, match="condition"):
        norm_of(3, 2, "maps")
    with pytest.raises(SettingsError, match="norm"):
        norm_of(3, 2, "map", "group")


# Boundaries


def test_boundaries_mark_both_pixels_of_a_differing_pair():
    numbers = torch.tensor([[[1, 1, 1, 1], [1, 1, 7, 1], [1, 1, 1, 1]]])
    marked = torch.tensor([[[[0.0, 0, 1, 0], [0, 1, 1, 1], [0, 0, 1, 0]]]])
    assert torch.equal(boundaries(numbers), marked)
    assert torch.equal(boundaries(numbers[:, None]), marked)
    one_hot = functional.one_hot(numbers).permute(0, 3, 1, 2) * 2.0 - 1
    assert torch.equal(boundaries(one_hot), marked)
    assert boundaries(torch.zeros(1, 1, 1)).shape == (1, 1, 1, 1)
    assert boundaries(numbers, torch.float64).dtype == torch.float64


# Generator and encoder


def test_blocks_of_the_reference_code_s_depths():
    inner = [(64, 64, False), (64, 64, True), (64, 64, False)]
    outer = [(64, 32, True), (32, 16, True), (16, 8, True), (8, 4, True)]
    assert plan(4, 5) == inner + outer
    more = [*inner[:2], (64, 64, True), *outer]
    assert plan(4, 6) == more
    assert plan(4, 7) == [*more, (4, 2, True)]
    for depth in range(1, 8):
        assert sum(double for _, _, double in plan(4, depth)) == depth


@pytest.mark.parametrize("depth", range(1, 8))
@pytest.mark.parametrize("latent", [0, 5])
def test_every_depth_makes_pictures_of_the_map_s_sides(depth, latent):
    rows, columns = 1 << depth, 3 << depth
    generator = SPADEGenerator(2, 3, 2, depth, hidden=3, latent=latent, bottom=(1, 3)).eval()
    z = torch.randn(1, latent) if latent else None
    made = generator(torch.rand(1, 2, rows, columns), z)
    assert made.shape == (1, 3, rows, columns)
    assert made.abs().max() < 1
    assert generator.stride == 2**depth


def test_a_bottom_of_z_is_resized_bilinearly_for_other_sides():
    torch.manual_seed(0)
    generator = SPADEGenerator(2, 3, 2, 2, hidden=3, latent=5, bottom=(2, 4)).double().eval()
    z, seen = torch.randn(3, 5).double(), []
    generator.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for rows, columns in ((8, 16), (20, 12), (4, 4)):
        assert generator(torch.rand(3, 2, rows, columns).double(), z).shape[2:] == (rows, columns)
    wanted = [functional.interpolate(seen[0], size=s, mode="bilinear") for s in ((5, 3), (1, 1))]
    torch.testing.assert_close(seen[1:], wanted)


def test_a_generator_with_z_asks_for_it():
    generator = SPADEGenerator(2, 3, 2, 1, hidden=3, latent=5)
    with pytest.raises(ValueError, match="vector z"):
        generator(torch.rand(1, 2, 4, 4))


def test_the_encoder_leaves_four_pixels_whatever_the_size():
    official = ImageEncoder(3, 8, 2)
    assert len(official.layers) == 6
    assert official.mean.in_features == 16 * 16
    for size, layers, sides in (((64, 64), 4, 16), ((48, 96), 4, 3 * 6), ((4, 9), 1, 2 * 5)):
        encoder = ImageEncoder(3, 8, 2, size)
        assert len(encoder.layers) == layers
        assert encoder.mean.in_features == sides * 2 * min(2 ** (layers - 1), 8)
        assert encoder(torch.randn(2, 3, *size))[0].shape == (2, 8)


def test_the_encoder_resizes_other_pictures():
    encoder = ImageEncoder(3, 8, 2, (32, 32)).eval()
    pictures = torch.randn(2, 3, 20, 44)
    resized = functional.interpolate(pictures, size=(32, 32), mode="bilinear")
    assert torch.equal(encoder(pictures)[0], encoder(resized)[0])


@pytest.mark.parametrize(
    ("sides", "depth"),
    [((256, 256), 5), ((64, 64), 5), ((32, 32), 4), ((48, 64), 4), ((33, 64), 1), ((96, 32), 4)],
)
def test_the_default_depth_leaves_a_whole_bottom(sides, depth):
    assert default_depth(*sides) == depth
