"""Official StarGAN v2 weights (github.com/clovaai/stargan-v2): of one network each, or of all."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from dragoman.convert.renaming import State, how_many, load, weight
from dragoman.errors import FileError
from dragoman.networks.blocks import Resize
from dragoman.networks.scaled_norm import ScaledNorm
from dragoman.networks.spatial_norm import ModulatedNorm
from dragoman.networks.starganv2 import (
    BOTTLENECK,
    DomainDiscriminator,
    MappingNetwork,
    Residual,
    StyledResidual,
    StyleEncoder,
    StyleGenerator,
)
from dragoman.system import Facts
from dragoman.systems.starganv2 import StarGANv2, StarGANv2Settings

FILTER = "hpf.filter"
CENTRE = 8.0  # of the high pass's kernel before it is divided by its strength
NETWORKS = ("generator", "mapping_network", "style_encoder", "discriminator")
WRAPPER = "module."  # before every name of a network that was trained on several devices

_weight = partial(weight, kind="layer")  # which may be linear: some have 2 axes


def generator(state: State, high_pass: float | None = None) -> StyleGenerator:
    """Make a generator of an official `Generator`; all that leaves a trace is read from it.

    high_pass: the official w_hpf, where the weights hold no 'hpf.filter' that tells it: 1 for
    generators of faces saved without one, by default 0. Raises FileError if it is at odds with
    such a filter.
    """
    state = parted(state)
    strength = _strength(state, high_pass)
    first, last = _weight(state, "from_rgb"), _weight(state, "to_rgb.2")
    blocks = how_many(state, r"encode\.(\d+)\.")
    style = _weight(state, "decode.0.norm1.scale", 2)
    network = StyleGenerator(
        channels=last.shape[0],
        style=style.shape[1],
        width=first.shape[0],
        halved=blocks - BOTTLENECK,
        high_pass=strength,
        max_width=_weight(state, f"encode.{blocks - 1}.conv2").shape[0],
    )
    if strength:  # its decoding blocks have shortcuts that they never use
        unused = r"decode\.\d+\.conv1x1\.weight|" + re.escape(FILTER)
        state = {key: value for key, value in state.items() if not re.fullmatch(unused, key)}
    return load(network, state, generator_layers(network))


def generator_layers(network: StyleGenerator) -> dict[str, str]:
    """Name of each layer of a generator by ours: the official one, but for `parted` norms."""
    layers = {"first": "from_rgb", "norm": "to_rgb.0", "last": "to_rgb.2"}
    for index in range(len(network.encode)):
        layers |= block_layers(f"encode.{index}.", f"encode.{index}.")
        layers |= styled_block_layers(f"decode.{index}.", f"decode.{index}.")
    return layers


def mapping(state: State) -> MappingNetwork:
    """Make a mapping network of an official `MappingNetwork`; all settings are read from it."""
    state = unwrapped(state)
    domains = how_many(state, r"unshared\.(\d+)\.")
    shared, own = how_many(state, r"shared\.(\d+)\."), how_many(state, r"unshared\.0\.(\d+)\.")
    first = _weight(state, "shared.0", 2)
    last = _weight(state, f"unshared.0.{2 * own - 2}", 2)
    network = MappingNetwork(domains, first.shape[1], last.shape[0], first.shape[0], shared, own)
    return load(network, state, mapping_layers(network))


def mapping_layers(network: MappingNetwork) -> dict[str, str]:
    """Official name of each layer of a mapping network, by ours."""
    layers = {f"shared.{i}": f"shared.{2 * i}" for i in range(len(network.shared))}
    for domain, head in enumerate(network.heads):
        for index, _ in enumerate(head.children()):
            layers[f"heads.{domain}.{index}"] = f"unshared.{domain}.{2 * index}"
    return layers


def style_encoder(state: State) -> StyleEncoder:
    """Make a style encoder of an official `StyleEncoder`; all settings are read from it."""
    state = unwrapped(state)
    first, halved = _weight(state, "shared.0"), how_many(state, r"shared\.(\d+)\.conv1\.")
    network = StyleEncoder(
        inputs=first.shape[1],
        domains=how_many(state, r"unshared\.(\d+)\."),
        style=_weight(state, "unshared.0", 2).shape[0],
        width=first.shape[0],
        halved=halved,
        max_width=_weight(state, f"shared.{halved + 2}").shape[0],
    )
    return load(network, state, style_encoder_layers(network))


def style_encoder_layers(network: StyleEncoder) -> dict[str, str]:
    """Official name of each layer of a style encoder, by ours."""
    layers = _trunk_layers(network.trunk.blocks, "shared")
    return layers | {f"heads.{i}": f"unshared.{i}" for i in range(len(network.heads))}


def discriminator(state: State) -> DomainDiscriminator:
    """Make a discriminator of an official `Discriminator`; all settings are read from it."""
    state = dict(unwrapped(state))
    first, halved = _weight(state, "main.0"), how_many(state, r"main\.(\d+)\.conv1\.")
    widest, last = _weight(state, f"main.{halved + 2}"), _weight(state, f"main.{halved + 4}")
    network = DomainDiscriminator(
        inputs=first.shape[1],
        domains=last.shape[0],
        width=first.shape[0],
        halved=halved,
        max_width=widest.shape[0],
    )
    # Their last convolution sees a single place: it is linear.
    state[f"main.{halved + 4}.weight"] = last.flatten(1)
    return load(network, state, discriminator_layers(network))


def discriminator_layers(network: DomainDiscriminator) -> dict[str, str]:
    """Official name of each layer of a discriminator, by ours."""
    count = len(network.trunk.blocks)
    return _trunk_layers(network.trunk.blocks, "main") | {"last": f"main.{count + 4}"}


def starganv2(
    states: Mapping[str, State], facts: Facts, high_pass: float | None = None, **settings: Any
) -> StarGANv2:
    """Make a StarGAN v2 system of the official networks by their official names.

    states: of generator, mapping_network, style_encoder and discriminator. high_pass: as of
    `generator`. What the weights tell is read from them; further settings are those of
    `StarGANv2Settings`. Raises FileError if the networks do not belong to such data.
    """
    made = (
        generator(states["generator"], high_pass),
        mapping(states["mapping_network"]),
        style_encoder(states["style_encoder"]),
        discriminator(states["discriminator"]),
    )
    network, styles, encoder, _ = made
    first = styles.get_parameter("shared.0.weight")
    widest = network.get_parameter(f"encode.{len(network.encode) - 1}.conv2.weight")
    read: dict[str, Any] = {
        "width": network.first.out_channels,
        "max_width": max(widest.shape[0], encoder.trunk.outputs),
        "latent": first.shape[1],
        "hidden": first.shape[0],
        "style": encoder.get_parameter("heads.0.weight").shape[0],
        "high_pass": 0.0 if network.high_pass is None else network.high_pass.strength,
    }
    system = StarGANv2(StarGANv2Settings(**(read | settings)), facts)
    for name, one in zip(NETWORKS, made, strict=True):
        ours = {k: v.shape for k, v in system.get_submodule(name).state_dict().items()}
        odd = [k for k, v in one.state_dict().items() if ours.pop(k, None) != v.shape] + [*ours]
        if odd:
            raise FileError(
                f"the {name} is not one for {len(system.sets[system.label_set])} domains of "
                f"{facts.channels['image']} channels and {facts.size[0]} x {facts.size[1]} px, as "
                f"its {odd[0]} shows; check that the four networks and the data belong together"
            )
        setattr(system, name, one)
    return system


def block(state: State, halve: bool) -> Residual:
    """Make a residual block of an official `ResBlk`; halve: whether it samples down."""
    conv = _weight(state, "conv2")
    kind: ScaledNorm = "instance" if "norm1.weight" in state else "none"
    network = Residual(conv.shape[1], conv.shape[0], kind, halve)
    return load(network, state, block_layers())


def block_layers(ours: str = "", official: str = "") -> dict[str, str]:
    """Official name of each layer of a residual block, by ours, which has the names given."""
    names = {"shortcut": "conv1x1"} | {
        f"{k}{n}": f"{k}{n}" for k in ("conv", "norm") for n in (1, 2)
    }
    return {ours + name: official + theirs for name, theirs in names.items()}


def styled_block(state: State, double: bool, alone: bool = False) -> StyledResidual:
    """Make a block of an official `AdainResBlk`; double: whether it samples up.

    alone: whether it has w_hpf above 0, so that it goes without its shortcut.
    """
    state, conv = parted(state), _weight(state, "conv1")
    style = _weight(state, "norm1.scale", 2).shape[1]
    doubled: Resize | None = "nearest" if double else None
    network = StyledResidual(conv.shape[1], conv.shape[0], style, doubled, alone)
    if alone:
        state = {key: value for key, value in state.items() if not key.startswith("conv1x1.")}
    return load(network, state, styled_block_layers())


def styled_block_layers(ours: str = "", official: str = "") -> dict[str, str]:
    """Name of each layer of a block with AdaIN, by ours: the official one, but for its norms."""
    layers = {f"{ours}shortcut": f"{official}conv1x1"}
    for number in (1, 2):
        layers[f"{ours}conv{number}"] = f"{official}conv{number}"
        layers |= norm_layers(f"{ours}norm{number}.", f"{official}norm{number}.")
    return layers


def norm(state: State) -> ModulatedNorm:
    """Make a norm of an official `AdaIN`; all settings are read from it."""
    state = parted(state)
    scale = _weight(state, "scale", 2)
    network = ModulatedNorm(scale.shape[0], scale.shape[1], "vector", "instance")
    return load(network, state, norm_layers())


def norm_layers(ours: str = "", official: str = "") -> dict[str, str]:
    """Name in a `parted` state of each layer of a norm, by ours."""
    return {f"{ours}modulation.{name}": official + name for name in ("scale", "shift")}


def parted(state: State) -> State:
    """The state with the layer `fc` of each AdaIN as two: `scale`, its first half, and `shift`."""
    made: dict[str, Tensor] = {}
    for key, value in unwrapped(state).items():
        found = re.fullmatch(r"(.*norm\d\.|)fc\.(weight|bias)", key)
        if found is None:
            made[key] = value
            continue
        for name, half in zip(("scale", "shift"), value.chunk(2), strict=True):
            made[f"{found[1]}{name}.{found[2]}"] = half
    return made


def unwrapped(state: State) -> State:
    """The state without the word before every name of a network trained on several devices."""
    if not all(key.startswith(WRAPPER) for key in state):
        return state
    return {key.removeprefix(WRAPPER): value for key, value in state.items()}


def _strength(state: State, wanted: float | None) -> float:
    kernel = state.get(FILTER)
    if kernel is None:
        return wanted or 0.0
    found = CENTRE / float(kernel[1, 1])
    if wanted is not None and abs(wanted - found) > 1e-4 * found:
        raise FileError(
            f"these weights have a high pass of strength {found:g}, which is at odds with "
            f"high_pass={wanted:g}; leave high_pass out"
        )
    return found


def _trunk_layers(blocks: nn.ModuleList, root: str) -> dict[str, str]:
    """Official name of each layer of a trunk, by ours."""
    count = len(blocks)
    layers = {"trunk.first": f"{root}.0", "trunk.last": f"{root}.{count + 2}"}
    for index in range(count):
        layers |= block_layers(f"trunk.blocks.{index}.", f"{root}.{index + 1}.")
    return layers
