"""LPIPS and the frozen networks below it against the official numbers."""

import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dragoman.errors import DataError, FileError, SettingsError
from dragoman.metrics import LPIPS
from dragoman.networks.alexnet import AlexNet
from dragoman.networks.frozen_features import imagenet
from dragoman.networks.vgg import DEPTHS, VGG

ROOT = Path(__file__).parent.parent
GOLDEN = [ROOT.parent / "shared" / "golden", ROOT / "tests" / "golden"]
VGG16 = ROOT.parent / "shared" / "weights" / "vgg16_features.safetensors"
needs_vgg16 = pytest.mark.skipif(not VGG16.exists(), reason="no VGG16 weights")


def golden(name: str) -> dict[str, torch.Tensor]:
    for folder in GOLDEN:
        if (folder / f"{name}.safetensors").exists():
            return load_file(folder / f"{name}.safetensors")
    pytest.skip(f"no golden file {name}")


def pairs(fixture: dict[str, torch.Tensor], backbone: str):
    """Give (name, first, second) of each distance stored, pictures in [-1, 1]."""
    for key in fixture:
        kind, net, *name = key.split("/")
        if kind == "output" and net == backbone and len(name) == 1:
            if "input/ref" in fixture:
                found = fixture["input/ref"], fixture[f"input/{name[0]}"]
            else:
                found = fixture[f"input/{name[0]}/0"], fixture[f"input/{name[0]}/1"]
            yield name[0], *(picture.float() / 127.5 - 1 for picture in found)


def within(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Allow 1e-5 of the largest value, the fixtures' tolerance for gradients and activations."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def stripes(side: int, period: float) -> torch.Tensor:
    """A picture [1, 3, side, side] given by a formula, the same on every machine."""
    row = torch.arange(side, dtype=torch.float64)
    waves = [torch.sin((row[:, None] + k * row) * period) for k in (0, 1, 2)]
    return torch.stack(waves)[None].float()


@pytest.fixture(scope="module")
def alex() -> LPIPS:
    return LPIPS("alex")


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("lpips_pairs", "alex"),
        ("lpips_official_examples", "alex"),
        # all pairs with VGG16 take long: tests/test_golden.py has them
        pytest.param("lpips_official_examples", "vgg", marks=needs_vgg16),
    ],
)
def test_distances_equal_the_official_ones(name, backbone):
    fixture = golden(name)
    network = LPIPS(backbone, VGG16)
    compared = 0
    for pair, one, other in pairs(fixture, backbone):
        key = f"output/{backbone}/{pair}"
        layers = network.layers(one, other)[0]
        torch.testing.assert_close(layers, fixture[f"{key}/layers"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network(one, other)[0], fixture[key], rtol=1e-4, atol=1e-5)
        compared += 1
    assert compared >= 2


def test_gradient_equals_the_official_one(alex):
    fixture = golden("lpips_pairs")
    compared = 0
    for pair, one, other in pairs(fixture, "alex"):
        expected = fixture.get(f"grad/alex/{pair}/0")
        if expected is not None:
            one.requires_grad_()
            (found,) = torch.autograd.grad(alex(one, other).sum(), one)
            within(found, expected)
            compared += 1
    assert compared == 1


def test_map_equals_the_official_one(alex):
    fixture = golden("lpips_pairs")
    compared = 0
    for pair, one, other in pairs(fixture, "alex"):
        expected = fixture.get(f"output/alex_spatial/{pair}")
        if expected is not None:
            torch.testing.assert_close(alex.map(one, other), expected, rtol=1e-4, atol=1e-5)
            compared += 1
    assert compared == 1


def test_distances_of_formula_pictures(alex):
    # made by this class after it had agreed with the official numbers above
    one, other = stripes(64, 0.3), stripes(64, 0.5)
    assert alex(one, other).item() == pytest.approx(0.247881, rel=1e-4)
    assert alex(one, one).item() == 0
    assert alex(one, other).item() == pytest.approx(alex(other, one).item(), rel=1e-5)


def test_each_picture_of_a_batch_is_judged_for_itself(alex):
    one = torch.cat([stripes(40, 0.3), stripes(40, 0.4), stripes(40, 0.5)])
    other = one.flip(0)
    found = alex(one, other)
    assert found.shape == (3,)
    assert found[1] == 0
    torch.testing.assert_close(found[:1], alex(one[:1], other[:1]))


def test_one_channel_counts_as_three(alex):
    one, other = stripes(40, 0.3)[:, :1], stripes(40, 0.6)[:, 1:2]
    torch.testing.assert_close(
        alex(one, other), alex(one.repeat(1, 3, 1, 1), other.repeat(1, 3, 1, 1))
    )


def test_other_channels_count_as_grey_pictures_each(alex):
    one, other = (torch.cat([stripes(40, n), stripes(40, n + 0.2)], 1) for n in (0.3, 0.6))
    assert one.shape[1] == 6
    each = [alex(one[:, c : c + 1], other[:, c : c + 1]) for c in range(6)]
    torch.testing.assert_close(alex(one, other), torch.stack(each).mean(0))
    both = alex(torch.cat([one, other]), torch.cat([other, other]))
    torch.testing.assert_close(both, torch.stack([alex(one, other)[0], torch.zeros(())]))
    torch.testing.assert_close(alex.map(one, other).mean((1, 2, 3)).shape, torch.Size([1]))
    assert alex.layers(one, other).shape == (1, 5)


def test_gradient_is_finite_where_activations_are_zero(alex):
    picture = stripes(40, 0.3)
    picture[..., :30] = 0.0
    for start in (picture, torch.zeros(1, 3, 40, 40)):
        one = start.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(alex(one, stripes(40, 0.5)).sum(), one)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0
        (gradient,) = torch.autograd.grad(alex(one, start).sum(), one)
        assert torch.isfinite(gradient).all()


def test_gradient_is_zero_where_the_norm_is_zero():
    network = LPIPS("alex")  # without activations sqrt(sum of squares) would give NaN
    for weight in network.network.parameters():
        weight.data.zero_()
    one = stripes(40, 0.3).requires_grad_()
    (gradient,) = torch.autograd.grad(network(one, stripes(40, 0.5)).sum(), one)
    assert gradient.abs().max() == 0


def test_autocast_does_not_blur_the_distance(alex):
    one, other = stripes(40, 0.3), stripes(40, 0.31)
    exact = alex(one, other)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(alex(one, other), exact)


def test_nothing_learns_and_torchvision_stays_out(alex):
    assert not any(p.requires_grad for p in alex.parameters())
    assert "torchvision" not in sys.modules


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 3, 64, 30), "at least 31 px, not 64 x 30"),
        ((3, 64, 64), "pictures of one shape"),
    ],
)
def test_pictures_it_cannot_judge(alex, shape, words):
    with pytest.raises(DataError, match=words):
        alex(torch.zeros(shape), torch.zeros(shape))


def test_missing_vgg_weights_say_what_to_type(tmp_path):
    words = r"no file was given; get them with `hf download timm/vgg16.tv_in1k model.safetensors"
    with pytest.raises(FileError, match=words):
        LPIPS("vgg")
    with pytest.raises(FileError, match=r"there is no file '.*none.safetensors'"):
        LPIPS("vgg", tmp_path / "none.safetensors")
    with pytest.raises(SettingsError, match=r"unknown backbone 'vg' .did you mean 'vgg'"):
        LPIPS("vg")  # ty: ignore[invalid-argument-type]


def stand_in(width: int) -> dict[str, torch.Tensor]:
    """Random VGG16 weights with few channels."""
    generator = torch.Generator().manual_seed(0)
    weights, channels, index = {}, 3, 0
    for block, convolutions in enumerate(DEPTHS[16]):
        wide = width * min(2**block, 8)
        for _ in range(convolutions):
            kernel = torch.randn(wide, channels, 3, 3, generator=generator)
            weights[f"features.{index}.weight"] = kernel / (9 * channels) ** 0.5
            weights[f"features.{index}.bias"] = torch.zeros(wide)
            channels, index = wide, index + 2
        index += 1
    return weights


def test_weights_of_another_kind_are_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    good = stand_in(2)
    save_file(good | {"classifier.0.weight": torch.zeros(3)}, file)
    assert VGG(file, width=2)(torch.zeros(1, 3, 16, 16))["relu5_3"].shape == (1, 16, 1, 1)
    with pytest.raises(FileError, match=r"'features.0.weight' as F32 \[2, 3, 3, 3\], but floats"):
        VGG(file, width=4)
    save_file({k: v for k, v in good.items() if k != "features.7.bias"}, file)
    with pytest.raises(FileError, match=r"lack 'features.7.bias': they are of another network"):
        VGG(file, width=2)
    save_file({k: v.to(torch.int32) for k, v in good.items()}, file)
    with pytest.raises(FileError, match="as I32"):
        VGG(file, width=2)
    save_file(good | {"features.5.bias": torch.full((4,), torch.nan)}, file)
    with pytest.raises(FileError, match=r"'features.5.bias' that are not finite"):
        VGG(file, width=2)


def test_pickles_and_torn_files_are_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(pickle.dumps({"features.0.weight": 1}))
    with pytest.raises(FileError, match="cannot be read as safetensors"):
        VGG(file)
    save_file(stand_in(2), file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(FileError, match="cannot be read as safetensors"):
        VGG(file, width=2)


def test_activations_before_and_after_the_relu():
    network = AlexNet(["relu2", "conv2", "conv1"])
    found = network(imagenet(stripes(64, 0.4)))
    assert list(found) == ["relu2", "conv2", "conv1"]
    assert found["conv1"].shape == (1, 64, 15, 15)
    assert found["conv2"].min() < 0
    torch.testing.assert_close(found["relu2"], found["conv2"].relu())
    assert len(network.features) == 5  # what lies behind is not kept
    with pytest.raises(SettingsError, match="unknown layer 'relu6'"):
        AlexNet(["relu6"])


def test_imagenet_scaling_by_hand():
    found = imagenet(torch.ones(1, 3, 1, 1))
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert found.flatten().tolist() == pytest.approx(expected)


def test_vgg19_equals_the_official_slices():
    fixture = golden("pix2pixhd_vggloss")
    weights = {k.removeprefix("weights/"): v for k, v in fixture.items() if "features." in k}
    taps = [f"relu{block}_1" for block in range(1, 6)]
    found = VGG(weights, depth=19, taps=taps, width=4)(fixture["input/x"])
    for number, tap in enumerate(taps, start=1):
        expected = fixture[f"output/slice{number}_x"]
        within(found[tap], expected)


@needs_vgg16
def test_vgg16_equals_the_official_activations():
    fixture = golden("lord_vggdistance")
    taps = {2: "relu1_2", 7: "relu2_2", 12: "relu3_2", 21: "relu4_3", 30: "pool5"}
    found = VGG(VGG16, taps=list(taps.values()))(fixture["input/a"])
    other = VGG(VGG16, taps=list(taps.values()))(fixture["input/b"])
    for index, tap in taps.items():
        expected = fixture[f"output/feature_abs_mean/{index}"]
        torch.testing.assert_close(other[tap].abs().mean(), expected, rtol=1e-5, atol=0)
    loss = sum((found[tap] - other[tap]).abs().mean() for tap in taps.values())
    loss += (fixture["input/a"] - fixture["input/b"]).abs().mean()
    torch.testing.assert_close(loss, fixture["output/loss"], rtol=1e-5, atol=0)


def test_average_pooling_and_pools_left_out():
    weights = stand_in(2)
    picture = stripes(32, 0.4)
    taps = ["relu1_2", "pool1", "relu5_3"]
    found = VGG(weights, taps=taps, width=2, pooling="average", pools=(1, 2, 3))(picture)
    expected = found["relu1_2"].unflatten(2, (16, 2)).unflatten(4, (16, 2)).mean((3, 5))
    torch.testing.assert_close(found["pool1"], expected)
    assert found["relu5_3"].shape[-1] == 4
