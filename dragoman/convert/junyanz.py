"""Official pix2pix and CycleGAN weights (github.com/junyanz/pytorch-CycleGAN-and-pix2pix)."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from dragoman.convert.renaming import State, convolutions, kernel, load, not_those, with_norms
from dragoman.errors import FileError
from dragoman.networks.blocks import InstanceNorm, Norm
from dragoman.networks.patch import PatchDiscriminator, PixelDiscriminator
from dragoman.networks.resnet import Padding, Residual, ResNetGenerator
from dragoman.networks.unet import UNet
from dragoman.system import Facts
from dragoman.systems.cyclegan import CycleGAN, CycleGANSettings
from dragoman.systems.pix2pix import Pix2Pix, Pix2PixSettings

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def unet(state: State, dropout: float = 0.5) -> UNet:
    """Make a U-Net of an official `UnetGenerator`; widths, depth and norm are read from it.

    Whether dropout was on leaves no trace in the weights: set it to 0 if it was off.
    """
    state = without_stale_statistics(state)
    depth = sum(key.endswith("weight") and value.ndim == 4 for key, value in state.items()) // 2
    if depth < 2:
        raise not_those("an official UnetGenerator", state)
    first, last = kernel(state, "model.model.0"), kernel(state, "model.model.3")
    inmost = kernel(state, _level(depth - 1) + ".model.1")
    network = UNet(
        inputs=first.shape[1],
        outputs=last.shape[1],
        width=first.shape[0],
        depth=depth,
        norm=norm_of(state, "model.model.0"),
        dropout=dropout,
        max_width=inmost.shape[0],
    )
    return load(network, state, unet_layers(network))


def unet_layers(network: UNet) -> dict[str, str]:
    """Official name of each layer of a U-Net, by ours."""
    layers, depth = {}, len(network.down)
    for level in range(depth):
        up, name = f"up.{depth - 1 - level}", _level(level) + ".model."
        layers[f"down.{level}.conv"] = name + ("1" if level else "0")
        layers[f"down.{level}.norm"] = name + "2"
        inner = level < depth - 1  # a level with another inside
        layers[f"{up}.conv"] = name + ("3" if inner == (level == 0) else "5")
        layers[f"{up}.norm"] = name + ("6" if inner else "4")
        layers[f"{up}.dropout"] = name + "7"
    return layers


def resnet(state: State, padding: Padding | None = None) -> ResNetGenerator:
    """Make a residual generator of an official `ResnetGenerator`; all else is read from it.

    padding: of the residual blocks; by default "zero" or "reflect" as the layers' numbers tell
    ("replicate" numbers them as "reflect" does, so that it must be given).
    """
    state = without_stale_statistics(state)
    first = kernel(state, "model.1")
    blocks = len({key.split(".")[1] for key in state if ".conv_block." in key})
    last = kernel(state, f"model.{blocks + 17}")
    convs = convolutions(state, r"model\.10\.conv_block\.(\d+)")
    if len(convs) != 2:
        raise not_those("an official ResnetGenerator", state)
    padded = convs[0] == 1
    network = ResNetGenerator(
        inputs=first.shape[1],
        outputs=last.shape[0],
        width=first.shape[0],
        blocks=blocks,
        norm=norm_of(state, "model.1"),
        dropout=0.5 if convs[1] - convs[0] == 4 + padded else 0.0,
        padding=padding_of(padded, padding),
    )
    return load(network, state, resnet_layers(network))


def resnet_layers(network: ResNetGenerator) -> dict[str, str]:
    """Official name of each layer of a residual generator, by ours."""
    count = len(network.blocks)
    numbers = {
        "first": 1,
        "down.0": 4,
        "down.1": 7,
        "up.0": 10 + count,
        "up.1": 13 + count,
    }
    layers = with_norms(numbers, "model") | {"last": f"model.{count + 17}"}
    for index, block in enumerate(network.blocks):
        assert isinstance(block, Residual)
        padded = int(block.conv1.padding_mode != "zeros")
        second = 3 + 2 * padded + isinstance(block.dropout, nn.Dropout)
        official = f"model.{10 + index}.conv_block."
        layers[f"blocks.{index}.dropout"] = f"{official}{padded + 3}"
        for ours, number in (("1", padded), ("2", second)):
            layers[f"blocks.{index}.conv{ours}"] = f"{official}{number}"
            layers[f"blocks.{index}.norm{ours}"] = f"{official}{number + 1}"
    return layers


def discriminator(state: State) -> PatchDiscriminator | PixelDiscriminator:
    """Make a discriminator of an official one; all settings are read from it."""
    state = without_stale_statistics(state)
    convs = [key for key, value in state.items() if key.endswith("weight") and value.ndim == 4]
    if "net.0.weight" in state:
        first = kernel(state, "net.0")
        norm = norm_of(state, "net.2")
        pixel = PixelDiscriminator(first.shape[1], first.shape[0], norm)
        return load(pixel, state, discriminator_layers(pixel))
    if len(convs) < 3 or "model.0.weight" not in state:
        raise not_those("an official discriminator", state)
    first = kernel(state, "model.0")
    norm = norm_of(state, "model.2")
    patch = PatchDiscriminator(first.shape[1], first.shape[0], len(convs) - 2, norm)
    return load(patch, state, discriminator_layers(patch))


def discriminator_layers(network: PatchDiscriminator | PixelDiscriminator) -> dict[str, str]:
    """Official name of each layer of a discriminator, by ours."""
    root = "net" if isinstance(network, PixelDiscriminator) else "model"
    count = len(network.layers)
    layers = {f"layers.{i}.conv": f"{root}.{max(0, 3 * i - 1)}" for i in range(count)}
    layers |= {f"layers.{i}.norm": f"{root}.{3 * i}" for i in range(count)}
    return layers | {"last": f"{root}.{3 * count - 1}"}


def generator(state: State, dropout: float = 0.5) -> UNet | ResNetGenerator:
    """Make a generator of an official one of either kind; `dropout` is a U-Net's."""
    return unet(state, dropout) if "model.model.0.weight" in state else resnet(state)


def pix2pix(
    generator_state: State, discriminator_state: State, facts: Facts, **settings: Any
) -> Pix2Pix:
    """Make a pix2pix system of an official model's netG and netD, ready to train on.

    What the weights tell (widths, depth, norm, patch, whether the discriminator sees the input)
    is read from them; further settings are those of `Pix2PixSettings`. Raises FileError if the
    channels are not those of the data, or the two networks do not belong together.
    """
    made = generator(generator_state, settings.get("dropout", 0.5))
    judge = discriminator(discriminator_state)
    a, b = _channels(made)
    sees = judge.layers[0].get_parameter("conv.weight").shape[1]
    if (a, b) != (facts.channels["a"], facts.channels["b"]) or sees not in (a + b, b):
        raise FileError(
            f"these networks are for {a} to {b} channels, judged by {sees}; the data has "
            f"{facts.channels['a']} and {facts.channels['b']}"
        )
    read: dict[str, Any] = _settings(made) | {
        "objective": "L1+cGAN" if sees == a + b else "L1+GAN",
        "discriminator_width": judge.layers[0].get_parameter("conv.weight").shape[0],
        "patch": judge.field if judge.field in (1, 16, 70) else "image",
    }
    system = Pix2Pix(Pix2PixSettings(**(read | settings)), facts)
    system.generator, system.discriminator = made, judge
    return system


def cyclegan(
    generator_states: dict[str, State],
    discriminator_states: dict[str, State],
    facts: Facts,
    **settings: Any,
) -> CycleGAN:
    """Make a CycleGAN system of an official model's netG_A, netG_B, netD_A and netD_B.

    The states by "A" and "B". Officially G_A makes pictures of b and D_A judges them. What the
    weights tell is read from them; further settings are those of `CycleGANSettings`. Raises
    FileError if the channels are not those of the data, or the networks do not belong together.
    """
    drop = settings.get("dropout", 0.0)
    made = {name: generator(generator_states[name], drop) for name in "AB"}
    judges = {name: discriminator(discriminator_states[name]) for name in "AB"}
    a, b = facts.channels["a"], facts.channels["b"]
    sees = [judges[name].layers[0].get_parameter("conv.weight").shape[1] for name in "AB"]
    found = (*_channels(made["A"]), *_channels(made["B"]), *sees)
    if found != (a, b, b, a, b, a):
        raise FileError(
            f"these networks are for {found[0]} to {found[1]} and {found[2]} to {found[3]} "
            f"channels, judged by {sees[0]} and {sees[1]}; the data has {a} and {b}"
        )
    if _settings(made["A"]) != _settings(made["B"]):
        raise FileError(
            "netG_A and netG_B are of different kinds, but CycleGAN has two of one kind; take both "
            "from one run"
        )
    read: dict[str, Any] = _settings(made["A"]) | {
        "discriminator_width": judges["A"].layers[0].get_parameter("conv.weight").shape[0],
        "patch": judges["A"].field if judges["A"].field in (1, 16, 70) else "image",
    }
    system = CycleGAN(CycleGANSettings(**(read | settings)), facts)
    system.to_b, system.to_a = made["A"], made["B"]
    system.discriminator_b, system.discriminator_a = judges["A"], judges["B"]
    return system


def network_layers(network: nn.Module) -> dict[str, str]:
    """Official name of each layer of a network that this file can make, by ours."""
    known: dict[type[nn.Module], Callable[..., dict[str, str]]] = {
        UNet: unet_layers,
        ResNetGenerator: resnet_layers,
        PatchDiscriminator: discriminator_layers,
        PixelDiscriminator: discriminator_layers,
    }
    return known[type(network)](network)


def without_stale_statistics(state: State) -> dict[str, Tensor]:
    """The state without running statistics of instance norms, which old files hold unused.

    A batch norm has them beside a weight, so these stay.
    """
    kept = {}
    for key, value in state.items():
        layer, _, entry = key.rpartition(".")
        if entry not in STATISTICS or f"{layer}.weight" in state:
            kept[key] = value
    return kept


def norm_of(state: State, conv: str) -> Norm:
    """Read the norm: batch norms have vectors as weights; only beside instance norms is a bias."""
    if any(key.endswith(".weight") and value.ndim == 1 for key, value in state.items()):
        return "batch"
    return "instance" if f"{conv}.bias" in state else "none"


def padding_of(padded: bool, wanted: Padding | None) -> Padding:
    """The padding of residual blocks, which have layers for it or not.

    Raises FileError if the wanted one, if any, is at odds with that.
    """
    if wanted is None:
        return "reflect" if padded else "zero"
    if padded != (wanted != "zero"):
        raise FileError(
            f"these weights were trained {'with' if padded else 'without'} padding layers, which "
            f"is at odds with padding={wanted}; leave padding out"
        )
    return wanted


def _level(level: int) -> str:
    """Official name of the block at a level of the U-Net, 0 the outermost."""
    return "model" + (".model.1" + ".model.3" * (level - 1) if level else "")


def _channels(network: UNet | ResNetGenerator) -> tuple[int, int]:
    """Channels that go in and come out."""
    weights = [p for p in network.parameters() if p.ndim == 4]
    return weights[0].shape[1], weights[-1].shape[int(isinstance(network, UNet))]


def _settings(network: UNet | ResNetGenerator) -> dict[str, Any]:
    """The settings by which a system would build this network."""
    kinds: dict[type[nn.Module], Norm] = {nn.BatchNorm2d: "batch", InstanceNorm: "instance"}
    norms = [kinds[type(m)] for m in network.modules() if type(m) in kinds]
    norm = norms[0] if norms else "none"
    if isinstance(network, ResNetGenerator):
        width = network.first.get_submodule("conv").get_parameter("weight").shape[0]
        blocks = len(network.blocks)
        return {"generator": "resnet", "width": width, "blocks": blocks, "norm": norm}
    width = network.down[0].get_submodule("conv").get_parameter("weight").shape[0]
    return {"generator": "unet", "width": width, "depth": len(network.down), "norm": norm}
