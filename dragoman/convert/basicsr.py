"""Official SRGAN, ESRGAN and Real-ESRGAN weights (github.com/XPixelGroup/BasicSR).

And the generators of github.com/xinntao/ESRGAN, whose layers have other names.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from dragoman.convert.renaming import State, how_many, load, not_those, weight
from dragoman.errors import FileError
from dragoman.networks.rrdb import RRDBNet
from dragoman.networks.srresnet import MSRResNet
from dragoman.networks.unet_discriminator import UNetDiscriminator
from dragoman.networks.vgg_discriminator import VGGDiscriminator
from dragoman.super_resolution import SuperResolution
from dragoman.system import Facts
from dragoman.systems.esrgan import ESRGAN, ESRGANSettings
from dragoman.systems.srgan import SRGAN, SRGANSettings

Weights = Mapping[str, Any]  # a state dict, or a file that holds it under one of WRAPPERS

FACTORS = {4: 2, 9: 3}  # of a sub-pixel convolution, by how many times more channels it makes
SQUEEZED = {1: 4, 4: 2, 16: 1}  # scale, by how many times more channels go in than come out
WRAPPERS = ("params_ema", "params")  # under which a file of BasicSR has its state
EARLIER = {  # names of xinntao/ESRGAN, by BasicSR's
    r"RRDB_trunk\.(\d+)\.RDB(\d)\.": r"body.\1.rdb\2.",
    r"trunk_conv\.": "conv_body.",
    r"upconv(\d)\.": r"conv_up\1.",
    r"HRconv\.": "conv_hr.",
}


def msrresnet(state: Weights) -> MSRResNet:
    """Make the generator of an official `MSRResNet`; all settings are read from it."""
    state = unwrapped(state)
    first, last = weight(state, "conv_first"), weight(state, "conv_last")
    ups, width = how_many(state, r"upconv(\d+)\."), first.shape[0]
    factor = FACTORS.get(weight(state, "upconv1").shape[0] // width, 0)
    if not factor or (factor == 3 and ups > 1):
        raise not_those("an official MSRResNet", state)
    network = MSRResNet(
        inputs=first.shape[1],
        outputs=last.shape[0],
        width=width,
        blocks=how_many(state, r"body\.(\d+)\."),
        scale=factor**ups,
    )
    return load(network, state, msrresnet_layers(network))


def msrresnet_layers(network: MSRResNet) -> dict[str, str]:
    """Official name of each layer of an MSRResNet, by ours."""
    layers = {"first": "conv_first", "full": "conv_hr", "last": "conv_last"}
    layers |= {f"up.{i}": f"upconv{i + 1}" for i in range(len(network.up))}
    for index in range(len(network.body)):
        layers |= {f"body.{index}.conv{n}": f"body.{index}.conv{n}" for n in (1, 2)}
    return layers


def rrdb(state: Weights, scale: int | None = None) -> RRDBNet:
    """Make the generator of an official `RRDBNet`, of BasicSR's or the earlier names.

    All settings are read from it.

    scale: to be given where pictures have other channels before than after, so that the first
    convolution does not tell it.
    """
    state = modern(unwrapped(state))
    first, last = weight(state, "conv_first"), weight(state, "conv_last")
    growth = weight(state, "body.0.rdb1.conv1").shape[0]
    found = SQUEEZED.get(first.shape[1] // last.shape[0]) if scale is None else scale
    if scale is None and (found is None or first.shape[1] % last.shape[0]):
        raise FileError(
            f"these weights read {first.shape[1]} channels and make {last.shape[0]}, which does "
            "not tell how many times an RRDBNet enlarges; give scale"
        )
    assert found is not None
    network = RRDBNet(
        inputs=first.shape[1] // max(4 // found, 1) ** 2,  # squares of pixels become channels
        outputs=last.shape[0],
        width=first.shape[0],
        blocks=how_many(state, r"body\.(\d+)\."),
        growth=growth,
        scale=found,
    )
    return load(network, state, rrdb_layers(network))


def rrdb_layers(network: RRDBNet) -> dict[str, str]:
    """Official name of each layer of an RRDBNet, by ours."""
    layers = {
        "first": "conv_first",
        "after": "conv_body",
        "full": "conv_hr",
        "last": "conv_last",
    }
    layers |= {f"up.{i}": f"conv_up{i + 1}" for i in range(len(network.up))}
    for index in range(len(network.body)):
        for dense in range(3):
            ours, theirs = f"body.{index}.dense.{dense}", f"body.{index}.rdb{dense + 1}"
            layers |= {f"{ours}.convs.{n}": f"{theirs}.conv{n + 1}" for n in range(5)}
    return layers


def generator(state: Weights, scale: int | None = None) -> MSRResNet | RRDBNet:
    """Make a generator of an official one of either kind; `scale` as in `rrdb`."""
    state = unwrapped(state)
    dense = "conv_body.weight" in modern(state)
    return rrdb(state, scale) if dense else msrresnet(state)


def vgg_discriminator(state: Weights) -> VGGDiscriminator:
    """Make the discriminator of an official `VGGStyleDiscriminator`; all is read from it."""
    state = unwrapped(state)
    first, hidden = weight(state, "conv0_0"), weight(state, "linear1", 2)
    levels = how_many(state, r"conv(\d+)_1\.")
    widest = weight(state, f"conv{levels - 1}_1").shape[0]
    side = math.isqrt(hidden.shape[1] // widest)
    network = VGGDiscriminator(
        inputs=first.shape[1],
        size=(side << levels, side << levels),
        width=first.shape[0],
        halvings=levels,
        norm="batch" if "bn0_1.weight" in state else "none",
        kernel=weight(state, "conv0_1").shape[-1],
        hidden=hidden.shape[0],
    )
    return load(network, state, vgg_discriminator_layers(network))


def vgg_discriminator_layers(network: VGGDiscriminator) -> dict[str, str]:
    """Official name of each layer of a discriminator that ends in dense layers, by ours."""
    layers = {"hidden": "linear1", "last": "linear2"}
    for index in range(len(network.layers)):
        name = f"{index // 2}_{index % 2}"
        layers |= {
            f"layers.{index}.conv": f"conv{name}",
            f"layers.{index}.norm": f"bn{name}",
        }
    return layers


def unet_discriminator(state: Weights, skips: bool = True) -> UNetDiscriminator:
    """Make the discriminator of an official `UNetDiscriminatorSN`; all is read from it.

    But for skips, the official `skip_connection`, which no weight tells.
    """
    state = unwrapped(state)
    first = weight(state, "conv0")
    network = UNetDiscriminator(first.shape[1], first.shape[0], skips)
    return load(network, state, unet_discriminator_layers(network))


def unet_discriminator_layers(network: UNetDiscriminator) -> dict[str, str]:
    """Official name of each layer of a U-Net discriminator, by ours."""
    ours = ["first"]
    for name, group in (("down", network.down), ("up", network.up), ("full", network.full)):
        ours += [f"{name}.{index}" for index in range(len(group))]
    return {name: f"conv{number}" for number, name in enumerate([*ours, "last"])}


def discriminator(state: Weights) -> VGGDiscriminator | UNetDiscriminator:
    """Make a discriminator of an official one of either kind."""
    state = unwrapped(state)
    return vgg_discriminator(state) if "linear1.weight" in state else unet_discriminator(state)


def srgan(
    generator_state: Weights, discriminator_state: Weights, facts: Facts, **settings: Any
) -> SRGAN:
    """Make an SRGAN system of an official model's net_g and net_d, ready to train on.

    What the weights tell is read from them; further settings are those of `SRGANSettings`.
    Raises FileError if channels, scale or size are not those of the data.
    """
    made = msrresnet(generator_state)
    read: dict[str, Any] = {
        "generator": "msrresnet",
        "width": made.first.out_channels,
        "blocks": len(made.body),
        "distance": "l1",
    }
    judge, seen = _judge(discriminator_state)
    system = SRGAN(SRGANSettings(**(read | seen | settings)), facts)
    return _filled(system, made, judge, made.scale)


def esrgan(
    generator_state: Weights,
    discriminator_state: Weights,
    facts: Facts,
    **settings: Any,
) -> ESRGAN:
    """Make an ESRGAN system of an official model's net_g and net_d; see `srgan`."""
    made = rrdb(generator_state, facts.scale)
    block: Any = made.body[0]
    read: dict[str, Any] = {
        "width": made.first.out_channels,
        "blocks": len(made.body),
        "growth": block.dense[0].convs[0].out_channels,
    }
    judge, seen = _judge(discriminator_state)
    system = ESRGAN(ESRGANSettings(**(read | seen | settings)), facts)
    return _filled(system, made, judge, facts.scale)


def network_layers(network: nn.Module) -> dict[str, str]:
    """Official name of each layer of a network that this file can make, by ours."""
    known: dict[type[nn.Module], Callable[..., dict[str, str]]] = {
        MSRResNet: msrresnet_layers,
        RRDBNet: rrdb_layers,
        VGGDiscriminator: vgg_discriminator_layers,
        UNetDiscriminator: unet_discriminator_layers,
    }
    return known[type(network)](network)


def unwrapped(state: Weights) -> State:
    """The state itself, where a file has it under "params_ema" (the average) or "params"."""
    for name in WRAPPERS:
        if isinstance(state.get(name), Mapping):
            return state[name]
    return state


def modern(state: State) -> State:
    """The state of an RRDBNet under BasicSR's names, whichever it has."""
    if "trunk_conv.weight" not in state:
        return state
    renamed = {}
    for key, value in state.items():
        for theirs, ours in EARLIER.items():
            key = re.sub(f"^{theirs}", ours, key)
        renamed[key] = value
    return renamed


def _judge(state: Weights) -> tuple[VGGDiscriminator | UNetDiscriminator, dict[str, Any]]:
    """The discriminator, and the settings by which a system would build it."""
    made = discriminator(state)
    if isinstance(made, UNetDiscriminator):
        return made, {"discriminator": "unet", "discriminator_width": made.first.out_channels}
    halvings = len(made.layers) // 2
    width = made.layers[0].get_parameter("conv.weight").shape[0]
    norm = "batch" if isinstance(made.layers[1].get_submodule("norm"), nn.BatchNorm2d) else "none"
    return made, {
        "discriminator": "vgg",
        "discriminator_width": width,
        "discriminator_norm": norm,
        "halvings": halvings,
    }


def _filled(
    system: Any, made: MSRResNet | RRDBNet, judge: VGGDiscriminator | UNetDiscriminator, scale: int
) -> Any:
    """The system with these networks; raises FileError if they are not made for its data."""
    assert isinstance(system, SuperResolution)
    theirs = [tuple(p.shape) for network in (made, judge) for p in network.parameters()]
    networks = (system.generator, system.discriminator)
    ours = [tuple(p.shape) for network in networks for p in network.parameters()]
    if scale != system.facts.scale or theirs != ours:
        height, width = system.high
        raise FileError(
            f"these networks are not for pictures of {system.facts.channels['low']} channels that "
            f"become {system.facts.scale} times larger, {height} x {width} px; choose another "
            "--scale or --size"
        )
    system.generator, system.discriminator = made, judge
    return system
