"""The perceptual term: layers, weights, scaling, precision, and where its weights come from."""

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dragoman.errors import FileError, SettingsError
from dragoman.losses.perceptual import (
    Perceptual,
    PerceptualSettings,
    parse_layers,
    perceptible,
    shifted,
)
from dragoman.networks import alexnet, vgg
from dragoman.networks.alexnet import AlexNet
from dragoman.networks.vgg import VGG, layers

ALEX = {"alex": {"relu1": 1.0, "conv3": 0.5}}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def small_vgg_state(depth: int = 19) -> dict[str, Tensor]:
    """Random weights of the first block of a VGG, which is all that relu1_2 needs."""
    block = [layer for _, layer in layers(depth)][:4]
    chain = torch.nn.Sequential(*block).to_empty(device="cpu")
    torch.manual_seed(0)
    return {f"features.{k}": torch.randn_like(v) / 5 for k, v in chain.state_dict().items()}


class Tiny(VGG):
    """VGG19 of 4 channels with random weights."""

    def __init__(self, taps, **how):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            empty = torch.nn.Sequential(*(layer for _, layer in layers(19, 4))).to_empty(
                device="cpu"
            )
            state = {f"features.{k}": torch.randn_like(v) for k, v in empty.state_dict().items()}
        super().__init__(state, 19, taps, width=4, **how)


def test_it_is_the_weighted_sum_of_mean_differences():
    network = Tiny(["relu1_1", "conv2_1"])
    x, y = noise(2, 3, 32, 32), noise(2, 3, 32, 32, seed=1)
    ours, theirs = network(x), network(y)
    expected = 2.0 * (ours["relu1_1"] - theirs["relu1_1"]).abs().mean()
    expected = expected + 0.5 * (ours["conv2_1"] - theirs["conv2_1"]).abs().mean()
    made = Perceptual.of(network, {"relu1_1": 2.0, "conv2_1": 0.5}, scaling="signed")
    torch.testing.assert_close(made(x, y), expected)
    squares = Perceptual.of(network, {"relu1_1": 1.0}, distance="l2", scaling="signed")
    torch.testing.assert_close(squares(x, y), (ours["relu1_1"] - theirs["relu1_1"]).square().mean())


def test_before_and_after_activation_differ():
    network = Tiny(["conv1_2", "relu1_2"])
    found = network(noise(1, 3, 16, 16))
    assert found["conv1_2"].min() < 0
    torch.testing.assert_close(found["relu1_2"], found["conv1_2"].relu())


def test_scalings():
    red = torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1)
    plain = Perceptual(PerceptualSettings("none"), {})
    for scaling, expected in {
        "signed": (1.0, -1.0, 0.0),
        "imagenet": ((1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.5 - 0.406) / 0.225),
        "caffe": (255 - 123.68, -116.779, 127.5 - 103.939),
    }.items():
        plain.scaling = scaling
        torch.testing.assert_close(plain._scaled(red).flatten(), torch.tensor(expected))


def test_gradients_reach_the_pictures_only():
    made = Perceptual(PerceptualSettings(), ALEX)
    fake, real = noise(1, 3, 64, 64).requires_grad_(), noise(1, 3, 64, 64, seed=1)
    real.requires_grad_()
    made(fake, real).backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0
    assert real.grad is None
    (network,) = made._networks.values()
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())


def test_pictures_are_moved_beneath_the_grid_of_alexnet_both_alike():
    made = Perceptual(PerceptualSettings(), ALEX)
    x = noise(2, 3, 64, 64)
    assert made(x, x.clone()) == 0, "the truth is cut where the fake is"
    y = noise(2, 3, 64, 64, seed=1)
    torch.manual_seed(0)
    first = made(x, y)
    assert made(x, y) != first
    torch.manual_seed(0)
    assert made(x, y) == first
    shifts = [[0, 3], [2, 1]]
    moved = shifted(x, shifts)
    assert torch.equal(moved[0], x[0, :, :61, 3:])
    assert torch.equal(moved[1], x[1, :, 2:63, 1:62])


def test_no_grid_is_left_in_the_gradient_of_alexnet():
    """Summed over many draws every pixel is seen alike; at fixed places a grid of 4 px is not."""
    made = Perceptual(PerceptualSettings(), {"alex": {"relu1": 1.0}})
    flat = torch.zeros(16, 3, 64, 64)

    def unevenness(draws: int, still: bool) -> float:
        x = (flat + 0.1 * noise(16, 3, 64, 64)).requires_grad_()
        torch.manual_seed(0)
        if still:
            made.draw = lambda count: None
        for _ in range(draws):
            made(x, flat).backward()
        assert x.grad is not None
        inner = x.grad[..., 12:52, 12:52].square().mean((0, 1)).unflatten(0, (10, 4))
        places = inner.unflatten(2, (10, 4)).mean((0, 2))  # by place in the grid
        return float(places.std() / places.mean())

    moved = unevenness(16, still=False)
    assert moved < unevenness(1, still=True) / 2


def test_in_bf16_distances_are_float32_and_near_those_of_fp32():
    made = Perceptual(PerceptualSettings(), ALEX)
    x, y = noise(2, 3, 64, 64), noise(2, 3, 64, 64, seed=1)
    torch.manual_seed(0)
    exact = made(x, y)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        short = made(x.bfloat16(), y)
    assert short.dtype == torch.float32
    torch.testing.assert_close(short, exact, rtol=0.03, atol=0.0)


def test_float64_pictures_are_measured_in_float64():
    made = Perceptual(PerceptualSettings(), ALEX)
    x = noise(1, 3, 64, 64).double()
    assert made(x, -x).dtype == torch.float64


@pytest.mark.usefixtures("unmoved")
def test_one_channel_is_repeated_and_six_are_grey_pictures_each():
    made = Perceptual(PerceptualSettings(), ALEX)
    x, y = noise(1, 6, 64, 64), noise(1, 6, 64, 64, seed=1)
    each = [made(x[:, n : n + 1], y[:, n : n + 1]) for n in range(6)]
    torch.testing.assert_close(made(x, y), torch.stack(each).mean())


def test_it_is_never_part_of_a_system_s_state():
    system = torch.nn.Module()
    system.perceptual = Perceptual(PerceptualSettings(), ALEX)  # ty: ignore
    system.perceptual.check()  # ty: ignore
    assert not system.state_dict()
    assert not list(system.modules())[1:]


def test_layers_of_the_user_replace_the_paper_s():
    made = Perceptual(PerceptualSettings(perceptual_layers="relu2=0.25, conv5"), ALEX)
    assert made.weights == {"relu2": 0.25, "conv5": 1.0}


@pytest.mark.parametrize(
    "text", ["relu9=1", "relu1=0", "relu1=-1", "relu1=x", "relu1=nan", "relu1,relu1", ""]
)
def test_layers_that_cannot_be(text):
    with pytest.raises(SettingsError, match=r"--perceptual_layers '.*' must be LAYER=WEIGHT"):
        parse_layers(text, ["relu1"])


def test_no_term_is_false():
    assert not Perceptual(PerceptualSettings("none"), ALEX)
    Perceptual(PerceptualSettings("none"), ALEX).check()


def test_missing_weights_say_where_to_get_them_and_what_to_type(tmp_path):
    layers = {"vgg19": {"relu1_1": 1.0}}
    with pytest.raises(
        FileError, match=r"VGG19 needs its ImageNet weights.*hf download timm/vgg19"
    ):
        Perceptual(PerceptualSettings("vgg19"), layers).check()
    gone = PerceptualSettings("vgg19", str(tmp_path / "gone.pth"))
    with pytest.raises(FileError, match=r"there is no file '.*gone.pth'"):
        Perceptual(gone, layers).check()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", "old.pth"])
def test_weights_of_a_user(tmp_path, suffix):
    file, state = tmp_path / f"vgg{suffix}", small_vgg_state()
    if suffix == ".safetensors":
        save_file(state, file)
    else:  # torchvision's VGGs are still in the format before PyTorch 1.6
        new = suffix == ".pth"
        rest = {"classifier.0.weight": torch.zeros(2, 2)}
        torch.save({**state, **rest}, file, _use_new_zipfile_serialization=new)
    settings = PerceptualSettings("vgg19", str(file), "relu1_2=1")
    made = Perceptual(settings, {"vgg19": {}})
    made.check()
    (network,) = made._networks.values()
    torch.testing.assert_close(network.state_dict(), state)


class Bomb:
    """What would write a file if it were unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    file, trace = tmp_path / "vgg.pth", tmp_path / "trace"
    torch.save({"features.0.weight": Bomb(trace)}, file)
    settings = PerceptualSettings("vgg19", str(file), "relu1_1=1")
    with pytest.raises(FileError, match="cannot be read as a state dict of PyTorch"):
        Perceptual(settings, {}).check()
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"no pickle", b"PK\x03\x04 broken"])
def test_broken_pickles(tmp_path, content):
    file = tmp_path / "vgg.pth"
    file.write_bytes(content)
    with pytest.raises(FileError, match="cannot be read as a state dict of PyTorch"):
        Perceptual(PerceptualSettings("vgg19", str(file), "relu1_1=1"), {}).check()


def test_another_state_dict_is_refused_by_name(tmp_path):
    file = tmp_path / "vgg.pth"
    torch.save({"features.0.weight": torch.zeros(3, 3)}, file)
    with pytest.raises(FileError, match=r"hold 'features.0.weight' as torch.float32 \[3, 3\]"):
        Perceptual(PerceptualSettings("vgg19", str(file), "relu1_1=1"), {}).check()
    torch.save([1, 2], file)
    with pytest.raises(FileError, match=r"lack 'features.0.weight'"):
        Perceptual(PerceptualSettings("vgg19", str(file), "relu1_1=1"), {}).check()


def test_the_smallest_pictures_are_those_of_which_the_last_layer_has_a_pixel():
    for network in (AlexNet(), AlexNet(["pool5"]), AlexNet(["relu1"]), Tiny(["relu5_1", "pool2"])):
        least = network.smallest
        found = network(noise(1, 3, least, least))
        assert found[network.names[-1]].shape[-2:] == (1, 1)
        if least > 16:  # convolutions of 3 x 3 do with less
            with pytest.raises(RuntimeError):
                network(noise(1, 3, least - 1, least))
    assert [AlexNet().smallest, AlexNet(["relu1"]).smallest] == [alexnet.SMALLEST, 7]
    assert Tiny(["relu5_1"]).smallest == vgg.SMALLEST


@pytest.mark.usefixtures("unmoved")
def test_pictures_too_small_for_the_layers_are_enlarged():
    assert perceptible(torch.zeros(1, 3, 16, 16), 31).shape[-2:] == (32, 32)
    assert perceptible(torch.zeros(1, 3, 4, 40), 31).shape[-2:] == (32, 320)
    large = torch.zeros(1, 3, 31, 50)
    assert perceptible(large, 31) is large
    made = Perceptual(PerceptualSettings(), {"alex": {"relu5": 1.0}})
    x, y = noise(2, 3, 8, 24), noise(2, 3, 8, 24, seed=1)
    larger = [torch.nn.functional.interpolate(p, scale_factor=4, mode="bilinear") for p in (x, y)]
    torch.testing.assert_close(made(x, y), made(*larger))


def test_a_given_classifier_serves_every_precision():
    network = Tiny(["relu1_1"])
    made = Perceptual.of(network, {"relu1_1": 1.0})
    x, y = noise(1, 3, 16, 16), noise(1, 3, 16, 16, seed=1)
    first, double, again = made(x, y), made(x.double(), y.double()), made(x, y)
    assert double.dtype == torch.float64
    assert torch.equal(first, again)


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"perceptual": "alex", "perceptual_file": "x.pth"}, "_file says nothing with --perceptua"),
        ({"perceptual": "none", "perceptual_layers": "relu1=1"}, "_layers says nothing with --per"),
    ],
)
def test_settings_without_effect_are_refused(knobs, told):
    with pytest.raises(SettingsError, match=told):
        Perceptual(PerceptualSettings(**knobs), ALEX)
