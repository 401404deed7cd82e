"""Official SPADE weights (github.com/NVlabs/SPADE)."""

import math
import re
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from dragoman.convert.renaming import SPECTRAL, State, how_many, lacks, load, weight
from dragoman.errors import FileError
from dragoman.networks.blocks import InstanceNorm, Norm
from dragoman.networks.multiscale import MultiscaleDiscriminator
from dragoman.networks.spade import DEEPEST, ImageEncoder, SPADEBlock, SPADEGenerator
from dragoman.networks.spatial_norm import ModulatedNorm
from dragoman.networks.spectral import SpectralConv2d
from dragoman.system import Facts
from dragoman.systems.spade import SPADE, SPADESettings

BLOCKS = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3", "up_4")
ENCODED = 256  # px to which the official encoder resizes every picture
FIRST = "discriminators.0.layers.0.conv.weight"  # of our discriminator
HALVED = 16  # times the last block's channels are those of the first


def norm(state: State) -> ModulatedNorm:
    """Make a norm of an official `SPADE`; all settings are read from it."""
    channels = _weight(state, "mlp_gamma").shape[0]
    made = ModulatedNorm(channels, **_norm_settings(state, ""))
    return load(made, state, norm_layers())


def norm_layers(ours: str = "", official: str = "") -> dict[str, str]:
    """Official name of each layer of a norm, by ours, which itself has the names given."""
    names = {
        "norm": "param_free_norm",
        "modulation.shared": "mlp_shared.0",
        "modulation.scale": "mlp_gamma",
        "modulation.shift": "mlp_beta",
    }
    return {ours + name: official + theirs for name, theirs in names.items()}


def block(state: State) -> SPADEBlock:
    """Make a residual block of an official `SPADEResnetBlock`; all settings are read from it."""
    inputs, outputs = _weight(state, "conv_0").shape[1], _weight(state, "conv_1").shape[0]
    settings = _norm_settings(state, "norm_0.")
    spectral = "conv_0.weight_orig" in state
    made = SPADEBlock(inputs, outputs, lambda c: ModulatedNorm(c, **settings), spectral)
    return load(made, state, block_layers())


def block_layers(ours: str = "", official: str = "") -> dict[str, str]:
    """Official name of each layer of a residual block, by ours, which has the names given."""
    layers = {}
    for mine, theirs in (("0", "0"), ("1", "1"), ("_shortcut", "s")):
        layers[f"{ours}conv{mine}"] = f"{official}conv_{theirs}"
        layers |= norm_layers(f"{ours}norm{mine}.", f"{official}norm_{theirs}.")
    return layers


def generator(state: State, depth: int = 5, size: tuple[int, int] | None = None) -> SPADEGenerator:
    """Make a generator of an official `SPADEGenerator`; all that leaves a trace is read from it.

    depth: 5 for num_upsampling_layers "normal", 6 for "more", which have the same weights ("most"
    is read). size: height and width of the official pictures, which only a generator with z must
    know; without it they were square.
    """
    inner, last = _weight(state, "head_0.conv_0").shape[0], _weight(state, "conv_img")
    doublings = DEEPEST if "up_4.conv_0.bias" in state else depth
    first = state.get("fc.weight")
    if first is None:
        raise lacks("'fc.weight'")
    latent = first.shape[1] if first.ndim == 2 else 0
    settings = _norm_settings(state, "head_0.norm_0.")
    made = SPADEGenerator(
        inputs=settings.pop("condition"),
        outputs=last.shape[0],
        width=inner // HALVED,
        depth=doublings,
        spectral="head_0.conv_0.weight_orig" in state,
        latent=latent,
        bottom=_bottom(first.shape[0] // inner, doublings, size) if latent else (1, 1),
        **settings,
    )
    return load(made, state, generator_layers(made))


def generator_layers(network: SPADEGenerator) -> dict[str, str]:
    """Official name of each layer of a generator, by ours."""
    layers = {"first": "fc", "last": "conv_img"}
    for index, name in zip(range(len(network.blocks)), BLOCKS, strict=False):
        layers |= block_layers(f"blocks.{index}.", f"{name}.")
    return layers


def discriminator(state: State) -> MultiscaleDiscriminator:
    """Make a discriminator of an official `MultiscaleDiscriminator`; all is read from it."""
    numbers = [re.match(r"discriminator_(\d+)\.model(\d+)\.", key) for key in state]
    places = [(int(found[1]), int(found[2])) for found in numbers if found]
    first = _weight(state, "discriminator_0.model0.0")
    scales, last = (max(place[axis] for place in places) for axis in (0, 1))
    kind, spectral = _plain_norm(state, "discriminator_0.model1.0") if last > 1 else ("none", True)
    made = MultiscaleDiscriminator(
        inputs=first.shape[1],
        width=first.shape[0],
        layers=last - 1,
        scales=scales + 1,
        norm=kind,
        spectral=spectral,
    )
    return load(made, state, discriminator_layers(made))


def discriminator_layers(network: MultiscaleDiscriminator) -> dict[str, str]:
    """Official name of each layer of a discriminator, by ours."""
    layers = {}
    for scale, judge in enumerate(network.discriminators):
        ours, official = f"discriminators.{scale}.", f"discriminator_{scale}.model"
        chain = judge.get_submodule("layers")
        for index, layer in enumerate(chain.children()):
            conv = f"{official}{index}.0"
            if index and not isinstance(layer.get_submodule("norm"), nn.Identity):
                layers[f"{ours}layers.{index}.norm"] = f"{conv}.1"
                conv += ".0"
            layers[f"{ours}layers.{index}.conv"] = conv
        layers[f"{ours}last"] = f"{official}{len(list(chain.children()))}.0"
    return layers


def encoder(state: State) -> ImageEncoder:
    """Make an encoder of an official `ConvEncoder`, which encodes at 256 x 256 px."""
    count = how_many(state, r"layer(\d+)\.")
    mean = state.get("fc_mu.weight")
    if mean is None or not count:
        raise lacks("'fc_mu.weight'")
    kind, spectral = _plain_norm(state, "layer1")
    first = _weight(state, "layer1" if kind == "none" else "layer1.0")
    made = ImageEncoder(
        inputs=first.shape[1],
        latent=mean.shape[0],
        width=first.shape[0],
        size=(ENCODED, ENCODED),
        layers=count,
        norm=kind,
        spectral=spectral,
    )
    return load(made, state, encoder_layers(made))


def encoder_layers(network: ImageEncoder) -> dict[str, str]:
    """Official name of each layer of an encoder, by ours."""
    layers = {"mean": "fc_mu", "log_variance": "fc_var"}
    for index, layer in enumerate(network.layers):
        plain = isinstance(layer.get_submodule("norm"), nn.Identity)
        layers[f"layers.{index}.conv"] = f"layer{index + 1}" + ("" if plain else ".0")
        layers[f"layers.{index}.norm"] = f"layer{index + 1}.1"
    return layers


def spade(
    generator_state: State,
    discriminator_state: State,
    facts: Facts,
    encoder_state: State | None = None,
    **settings: Any,
) -> SPADE:
    """Make a SPADE system of an official model's netG, netD and, with use_vae, netE.

    What the weights tell is read from them; further settings are those of `SPADESettings`, of
    which `depth` must be 6 for num_upsampling_layers "more". A map with one channel more than the
    data's source has boundaries joined to it: `instances` is then "map" unless it is given.
    Raises FileError if the channels are not those of the data, or the networks do not belong
    together.
    """
    made = generator(generator_state, settings.get("depth", 5), facts.size)
    judge = discriminator(discriminator_state)
    a, b = facts.channels["a"], facts.channels["b"]
    seen, painted = made.inputs, made.last.out_channels
    judged = judge.get_parameter(FIRST).shape[1]
    if seen not in (a, a + 1) or painted != b or judged != seen + b:
        raise FileError(
            f"these networks are for maps of {seen} channels and pictures of {painted}, judged by "
            f"{judged}; the data has {a} and {b}"
        )
    if bool(made.latent) != (encoder_state is not None):
        raise FileError(
            "an official generator with z comes with an encoder (netE), one without has none; "
            "these are at odds"
        )
    read: dict[str, Any] = _settings(made, judge)
    read |= {"instances": "none" if seen == a else "map"} | settings
    if (read["instances"] == "none") != (seen == a):
        raise FileError(
            f"these networks see {seen} channels of a map of {a}, which is at odds with "
            f"instances={read['instances']}; leave instances out"
        )
    system = SPADE(SPADESettings(**read), facts)
    system.generator, system.discriminator = made, judge
    if encoder_state is not None:
        system.encoder = encoder(encoder_state)
    return system


def network_layers(network: nn.Module) -> dict[str, str]:
    """Official name of each layer of a network that this file can make, by ours."""
    known: dict[type[nn.Module], Callable[..., dict[str, str]]] = {
        ModulatedNorm: lambda _: norm_layers(),
        SPADEBlock: lambda _: block_layers(),
        SPADEGenerator: generator_layers,
        MultiscaleDiscriminator: discriminator_layers,
        ImageEncoder: encoder_layers,
    }
    return known[type(network)](network)


def _settings(made: SPADEGenerator, judge: MultiscaleDiscriminator) -> dict[str, Any]:
    """The settings by which a system would build these networks."""
    block = made.blocks[0]
    hidden, _, kernel, _ = block.get_parameter("norm0.modulation.shared.weight").shape
    batch = isinstance(block.get_submodule("norm0.norm"), nn.BatchNorm2d)
    layers = list(judge.get_submodule("discriminators.0.layers").children())
    kinds: dict[type[nn.Module], Norm] = {nn.BatchNorm2d: "batch", InstanceNorm: "instance"}
    return {
        "width": made.width,
        "depth": made.depth,
        "norm": "batch" if batch else "instance",
        "kernel": kernel,
        "hidden": hidden,
        "spectral": isinstance(block.get_submodule("conv0"), SpectralConv2d),
        "multimodal": bool(made.latent),
        "latent": made.latent or 256,
        "discriminator_width": judge.get_parameter(FIRST).shape[0],
        "discriminator_layers": len(layers) - 1,
        "discriminator_norm": kinds.get(type(layers[-1].get_submodule("norm")), "none"),
        "scales": len(judge.discriminators),
    }


def _norm_settings(state: State, name: str) -> dict[str, Any]:
    """Settings of a norm, read from its weights: condition, base, kernel and hidden."""
    hidden, condition, kernel, _ = _weight(state, f"{name}mlp_shared.0").shape
    base = "batch" if f"{name}param_free_norm.running_mean" in state else "instance"
    return {"condition": condition, "base": base, "kernel": kernel, "hidden": hidden}


def _plain_norm(state: State, layer: str) -> tuple[Norm, bool]:
    """Norm after a convolution, and whether that is spectrally normalised.

    With a norm the official code makes a chain of both, in which the convolution has no bias.
    """
    chain = any(f"{layer}.0.{entry}" in state for entry in ("weight", "weight_orig"))
    spectral = f"{layer}{'.0' * chain}.weight_orig" in state
    if not chain:
        return "none", spectral
    return ("batch" if f"{layer}.1.running_mean" in state else "instance"), spectral


def _bottom(places: int, depth: int, size: tuple[int, int] | None) -> tuple[int, int]:
    """Sides of a generator's bottom of so many places."""
    if size is None:
        side = math.isqrt(places)
        sides = (side, side)
    else:
        sides = (size[0] >> depth, size[1] >> depth)
    if sides[0] * sides[1] != places:
        told = "square pictures" if size is None else f"pictures of {size[0]} x {size[1]} px"
        raise FileError(
            f"this generator makes its bottom of {places} places, which do not belong to {told} "
            f"with depth {depth}; give the size and depth with which it was trained"
        )
    return sides


def _weight(state: State, layer: str) -> Tensor:
    """The weight of a convolution, spectrally normalised or not."""
    original = state.get(f"{layer}.{SPECTRAL['weight']}")
    return weight(state if original is None else {f"{layer}.weight": original}, layer)
