"""Official MUNIT and UNIT weights (github.com/NVlabs/MUNIT, github.com/mingyuliutw/UNIT).

Files of generators and discriminators hold two states each, those of domains a and b.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from dragoman.convert.junyanz import without_stale_statistics
from dragoman.convert.renaming import SPECTRAL, State, how_many, lacks, load, numbers, weight
from dragoman.errors import FileError
from dragoman.losses.domain_invariant import POOLS
from dragoman.networks import vgg
from dragoman.networks.munit import (
    Activation,
    Autoencoder,
    ContentEncoder,
    Decoder,
    Halvings,
    Judge,
    Judges,
    Norm,
    StyleEncoder,
)
from dragoman.networks.resnet import Padding
from dragoman.networks.spectral import SpectralConv2d
from dragoman.networks.unit import UNITGenerator, Variational
from dragoman.networks.vgg import VGG
from dragoman.system import Facts
from dragoman.systems.munit import MUNIT, MUNITSettings
from dragoman.systems.unit import UNIT, UNITSettings

OTHERWISE = {"gamma": "weight", "beta": "bias", "weight_bar": SPECTRAL["weight"]}
DOMAINS = ("a", "b")
CONTENT, UNIT_CONTENT = "enc_content", "enc"  # official names of the content encoder


def plain(state: State) -> dict[str, Tensor]:
    """The state with the usual names of entries, without statistics that nobody uses.

    Official layer norms have a `gamma` and a `beta`, spectral norms a `weight_bar`; AdaINs have
    statistics that are never read, as had the instance norms of PyTorch 0.3. Raises FileError for
    the content of a whole file.
    """
    nested = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if nested:
        raise FileError(
            f"these are not the weights of one network but hold '{nested[0]}'; give the state of "
            f"one domain, as state['{nested[0]}']"
        )
    return without_stale_statistics({renamed(key): value for key, value in state.items()})


def renamed(key: str) -> str:
    """The key with the usual name of its entry."""
    layer, _, entry = key.rpartition(".")
    return f"{layer}.{OTHERWISE.get(entry, entry)}".removeprefix(".")


def autoencoder(
    state: State, activation: Activation = "relu", padding: Padding = "reflect"
) -> Autoencoder:
    """Make the networks of one domain of an official `AdaINGen`.

    Widths, depths and numbers of blocks are read from it; activation and padding (`activ` and
    `pad_type`) leave no trace.
    """
    state = plain(state)
    first, style = weight(state, f"{CONTENT}.model.0.conv"), _count(state, r"enc_style\.model")
    linear = numbers(state, r"mlp\.model\.(\d+)\.fc\.weight")
    if not linear:
        raise lacks("'mlp.model.0.fc.weight'", "AdaINGen")
    network = Autoencoder(
        channels=first.shape[1],
        style=weight(state, f"enc_style.model.{style + 1}").shape[0],
        width=first.shape[0],
        depth=_count(state, rf"{CONTENT}\.model") - 1,
        blocks=_blocks(state, CONTENT),
        style_depth=style - 1,
        mapping_width=state["mlp.model.0.fc.weight"].shape[0],
        mapping_layers=len(linear),
        activation=activation,
        padding=padding,
    )
    return load(network, state, autoencoder_layers(network))


def autoencoder_layers(network: Autoencoder) -> dict[str, str]:
    """Official name of each layer of the networks of one domain, by ours."""
    layers = content_layers(network.content, "content.", CONTENT)
    layers |= style_layers(network.style, "style.", "enc_style")
    layers |= decoder_layers(network.decoder, "decoder.", "dec")
    return layers | mapping_layers(len(network.mapping.layers))


def variational(
    state: State, activation: Activation = "relu", padding: Padding = "reflect"
) -> Variational:
    """Make the networks of one domain of an official `VAEGen`, as `autoencoder`."""
    state = plain(state)
    first = weight(state, f"{UNIT_CONTENT}.model.0.conv")
    network = Variational(
        channels=first.shape[1],
        width=first.shape[0],
        depth=_count(state, rf"{UNIT_CONTENT}\.model") - 1,
        blocks=_blocks(state, UNIT_CONTENT),
        activation=activation,
        padding=padding,
    )
    return load(network, state, variational_layers(network))


def variational_layers(network: Variational) -> dict[str, str]:
    """Official name of each layer of UNIT's networks of one domain, by ours."""
    layers = content_layers(network.encoder, "encoder.", UNIT_CONTENT)
    return layers | decoder_layers(network.decoder, "decoder.", "dec")


def unit_generator(
    a: State, b: State, activation: Activation = "relu", padding: Padding = "reflect"
) -> UNITGenerator:
    """Make UNIT's generator of the official `VAEGen`s of both domains, which share nothing."""
    parts = variational(a, activation, padding), variational(b, activation, padding)
    read = _same("UNIT", *(_sizes(part.encoder) for part in parts))
    channels = _channels(parts[0].encoder), _channels(parts[1].encoder)
    network = UNITGenerator(channels, **read, activation=activation, padding=padding)
    network.a, network.b = parts
    return network


def unit(
    generators: Mapping[str, State],
    discriminators: Mapping[str, State],
    facts: Facts,
    **settings: Any,
) -> UNIT:
    """Make a UNIT system of an official model's `VAEGen`s and `MsImageDis`s, by "a" and "b".

    What the weights tell is read from them; further settings are those of `UNITSettings`, of which
    activations, paddings and `discriminator_norm` leave no trace, or hardly any. Raises FileError
    if the channels are not those of the data, or the networks do not belong together.
    """
    activation, padding = _manner(settings)
    made = unit_generator(generators["a"], generators["b"], activation, padding)
    judges, read = _judges(discriminators, settings)
    _check_channels(facts, [made.a.encoder, made.b.encoder], judges)
    read |= _sizes(made.a.encoder) | {"share_weights": False}
    system = UNIT(UNITSettings(**(read | settings)), facts)
    system.generator = made
    system.discriminator_a, system.discriminator_b = judges
    return system


def munit(
    generators: Mapping[str, State],
    discriminators: Mapping[str, State],
    facts: Facts,
    **settings: Any,
) -> MUNIT:
    """Make a MUNIT system of an official model's `AdaINGen`s and `MsImageDis`s, by "a" and "b".

    As `unit`, with the settings of `MUNITSettings`.
    """
    made = [autoencoder(generators[domain], *_manner(settings)) for domain in DOMAINS]
    sizes = _same("MUNIT", *(_autoencoder_sizes(network) for network in made))
    judges, read = _judges(discriminators, settings)
    _check_channels(facts, [network.content for network in made], judges)
    system = MUNIT(MUNITSettings(**(read | sizes | settings)), facts)
    system.autoencoder_a, system.autoencoder_b = made
    system.discriminator_a, system.discriminator_b = judges
    return system


def discriminator(
    state: State,
    norm: Norm | None = None,
    activation: Activation = "leaky_relu",
    padding: Padding = "reflect",
) -> Judges:
    """Make a discriminator of an official `MsImageDis`; width, layers and scales are read from it.

    norm: by default as the weights tell, which know no difference between "none" and "instance":
    they are taken for "none". Activation and padding leave no trace either.
    """
    state = plain(state)
    first = weight(state, "cnns.0.0.conv")
    layers = how_many(state, r"cnns\.0\.(\d+)\.conv\.")
    network = Judges(
        inputs=first.shape[1],
        width=first.shape[0],
        layers=layers,
        scales=how_many(state, r"cnns\.(\d+)\."),
        norm=_norm(state, norm) if layers > 1 else "none",
        activation=activation,
        padding=padding,
    )
    return load(network, state, discriminator_layers(network))


def discriminator_layers(network: Judges) -> dict[str, str]:
    """Official name of each layer of a discriminator, by ours."""
    layers = {}
    for scale, judge in enumerate(network.scales):
        assert isinstance(judge, Judge)
        ours, theirs = f"scales.{scale}.", f"cnns.{scale}."
        for index, layer in enumerate(judge.layers):
            layers |= _layer(layer, f"{ours}layers.{index}", f"{theirs}{index}")
        layers[f"{ours}last"] = f"{theirs}{len(judge.layers)}"
    return layers


def content_layers(network: ContentEncoder, ours: str, theirs: str) -> dict[str, str]:
    """Official name of each layer of a content encoder, by ours, which has the names given."""
    layers = _halving_layers(network, ours, theirs)
    root = f"{theirs}.model.{len(network.down) + 1}"
    return layers | _block_layers(len(network.blocks), f"{ours}blocks", root)


def style_layers(network: StyleEncoder, ours: str, theirs: str) -> dict[str, str]:
    """Official name of each layer of a style encoder, by ours, which has the names given."""
    last = f"{theirs}.model.{len(network.down) + 2}"  # behind the mean
    return _halving_layers(network, ours, theirs) | {f"{ours}last": last}


def decoder_layers(network: Decoder, ours: str, theirs: str) -> dict[str, str]:
    """Official name of each layer of a decoder, by ours, which has the names given."""
    layers = _block_layers(len(network.blocks), f"{ours}blocks", f"{theirs}.model.0")
    for index, layer in enumerate(network.up):  # each behind a resizing
        layers |= _layer(layer, f"{ours}up.{index}", f"{theirs}.model.{2 * index + 2}")
    return layers | {f"{ours}last": f"{theirs}.model.{2 * len(network.up) + 1}.conv"}


def mapping_layers(count: int) -> dict[str, str]:
    """Official name of each of so many layers from style to AdaINs, by ours."""
    return {f"mapping.layers.{index}": f"mlp.model.{index}.fc" for index in range(count)}


def vgg16(state: State, taps: Sequence[str] = ("relu5_3",)) -> VGG:
    """Make the classifier of the official perceptual loss of its `Vgg16`, for RGB.

    The official one sees blue first. Of pictures in [-1, 1] it wants the scaling "caffe".
    """
    names = [name for name, _ in vgg.layers(16)]
    first = state.get("conv1_1.weight")
    if first is None:
        raise lacks("'conv1_1.weight'", "Vgg16")
    found = {}
    for key, value in state.items():
        layer, _, entry = key.rpartition(".")
        if layer in names:
            found[f"features.{names.index(layer)}.{entry}"] = value
    found["features.0.weight"] = first.flip(1)
    last = max(names.index(tap) for tap in taps)
    convolutions = [name for name in names[: last + 1] if name.startswith("conv")]
    for key in (f"{name}.{entry}" for name in convolutions for entry in ("weight", "bias")):
        if key not in state:
            raise lacks(f"'{key}'", "Vgg16")
    return VGG(found, 16, list(taps), width=first.shape[0], pools=POOLS)


def _manner(settings: Mapping[str, Any]) -> tuple[Activation, Padding]:
    """Activation and padding of the generators."""
    return settings.get("activation", "relu"), settings.get("padding", "reflect")


def _channels(encoder: ContentEncoder) -> int:
    return encoder.first.conv.in_channels


def _sizes(encoder: ContentEncoder) -> dict[str, int]:
    """The settings by which a system would build this encoder."""
    width = encoder.first.conv.out_channels
    return {"width": width, "depth": len(encoder.down), "blocks": len(encoder.blocks)}


def _autoencoder_sizes(network: Autoencoder) -> dict[str, int]:
    """The settings by which a system would build these networks."""
    linear = [layer.get_parameter("weight") for layer in network.mapping.layers]
    return _sizes(network.content) | {
        "style": linear[0].shape[1],
        "style_depth": network.style_depth,
        "mapping_width": linear[-1].shape[1] if len(linear) > 1 else 1,
        "mapping_layers": len(linear),
    }


def _judges(
    states: Mapping[str, State], settings: Mapping[str, Any]
) -> tuple[list[Judges], dict[str, Any]]:
    """Discriminators of a and b, and the settings by which a system would build them."""
    norm = settings.get("discriminator_norm")
    activation = settings.get("discriminator_activation", "leaky_relu")
    padding = settings.get("discriminator_padding") or _manner(settings)[1]
    made = [discriminator(states[domain], norm, activation, padding) for domain in DOMAINS]
    first = [judges.get_submodule("scales.0.layers.0.conv") for judges in made]
    sizes = [
        {
            "discriminator_width": conv.get_parameter("weight").shape[0],
            "discriminator_layers": judges.layers,
            "scales": len(judges.scales),
        }
        for judges, conv in zip(made, first, strict=True)
    ]
    told = {} if norm else {"discriminator_norm": _norm(plain(states["a"]), None)}
    return made, _same("model", *sizes) | told


def _same(kind: str, a: dict[str, int], b: dict[str, int]) -> dict[str, Any]:
    """The sizes of the networks of both domains; raises FileError if they differ."""
    if a == b:
        return a
    told = [
        ", ".join(f"{name} {sizes[name]}" for name in sizes if a[name] != b[name])
        for sizes in (a, b)
    ]
    raise FileError(
        f"these weights are not of one {kind}: domain a has {told[0]}, domain b {told[1]}; give "
        "both states of the same file"
    )


def _check_channels(facts: Facts, encoders: Sequence[ContentEncoder], judges: list[Judges]) -> None:
    """Raise FileError unless the networks are for pictures of these data."""
    wanted = [facts.channels[domain] for domain in DOMAINS]
    sees = [one.get_parameter("scales.0.layers.0.conv.weight").shape[1] for one in judges]
    read = [_channels(encoder) for encoder in encoders]
    if read != wanted or sees != wanted:
        raise FileError(
            f"these networks are for pictures of {read[0]} and {read[1]} channels, judged by "
            f"{sees[0]} and {sees[1]}; the data has {wanted[0]} and {wanted[1]}"
        )


def _layer(layer: nn.Module, ours: str, theirs: str) -> dict[str, str]:
    """Official names of a convolution and of its norm."""
    conv = layer.get_submodule("conv")
    inside = ".module" if isinstance(conv, SpectralConv2d) else ""
    return {f"{ours}.conv": f"{theirs}.conv{inside}", f"{ours}.norm": f"{theirs}.norm"}


def _halving_layers(network: Halvings, ours: str, theirs: str) -> dict[str, str]:
    layers = _layer(network.first, f"{ours}first", f"{theirs}.model.0")
    for index, layer in enumerate(network.down):
        layers |= _layer(layer, f"{ours}down.{index}", f"{theirs}.model.{index + 1}")
    return layers


def _block_layers(count: int, ours: str, theirs: str) -> dict[str, str]:
    return {
        f"{ours}.{index}.conv{half + 1}": f"{theirs}.model.{index}.model.{half}.conv"
        for index in range(count)
        for half in (0, 1)
    }


def _norm(state: State, wanted: Norm | None) -> Norm:
    """The norm of the layers behind the first, if it leaves a trace, else the wanted one."""
    found: Norm | None = None
    if any(key.endswith(".conv.module.weight_orig") for key in state):
        found = "spectral"
    elif any(key.endswith(".norm.running_mean") for key in state):
        found = "batch"
    elif any(key.endswith(".norm.weight") for key in state):
        found = "layer"
    if found is None and wanted in (None, "none", "instance"):
        return wanted or "none"
    if wanted not in (None, found):
        raise FileError(
            f"these weights were trained with {'no' if found is None else found} norm that leaves "
            f"weights, which is at odds with norm={wanted}; leave norm out"
        )
    assert found is not None
    return found


def _count(state: State, root: str) -> int:
    """How many convolutions stand in a chain, outside its residual blocks."""
    return how_many(state, rf"{root}\.(\d+)\.conv\.weight")


def _blocks(state: State, root: str) -> int:
    """How many residual blocks stand in a chain."""
    return how_many(state, rf"{root}\.model\.\d+\.model\.(\d+)\.")
