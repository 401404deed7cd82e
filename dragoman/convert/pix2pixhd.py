"""Official pix2pixHD weights (github.com/NVIDIA/pix2pixHD)."""

import re
from typing import Any

from torch import nn

from dragoman.convert.junyanz import padding_of, without_stale_statistics
from dragoman.convert.renaming import (
    State,
    convolutions,
    how_many,
    kernel,
    load,
    not_those,
    numbers,
    with_norms,
)
from dragoman.errors import FileError
from dragoman.networks.blocks import Norm
from dragoman.networks.multiscale import MultiscaleDiscriminator, PatchLayers
from dragoman.networks.pix2pixhd import CoarseToFine, Encoder, GlobalGenerator, LocalEnhancer
from dragoman.networks.resnet import Padding, Residual
from dragoman.system import Facts
from dragoman.systems.pix2pixhd import Pix2PixHD, Pix2PixHDSettings


def generator(state: State, padding: Padding | None = None) -> CoarseToFine:
    """Make a generator of an official `GlobalGenerator` or `LocalEnhancer`.

    Widths, depth, numbers of blocks and enhancers, and the norm are read from it. padding: of the
    residual blocks; by default "zero" or "reflect" as the layers' numbers tell ("replicate"
    numbers them as "reflect" does, so that it must be given). An official LocalEnhancer has lost
    the last convolution of its global generator, which cannot make pictures alone then.
    """
    state = without_stale_statistics(state)
    enhancers = how_many(state, r"model(\d+)_1\.")
    tail = f"model{enhancers}_2" if enhancers else "model"
    first, blocks = kernel(state, "model.1"), numbers(state, r"model\.(\d+)\.conv_block\.")
    ends = convolutions(state, rf"{tail}\.(\d+)")
    if not blocks or not ends:
        raise not_those("an official generator", state)
    padded = bool(convolutions(state, rf"model\.{blocks[0]}\.conv_block\.(\d+)")[0])
    network = CoarseToFine(
        inputs=first.shape[1],
        outputs=kernel(state, f"{tail}.{ends[-1]}").shape[0],
        width=first.shape[0],
        depth=sum(1 < number < blocks[0] for number in convolutions(state, r"model\.(\d+)")),
        blocks=len(blocks),
        enhancers=enhancers,
        enhancer_blocks=how_many(state, rf"{tail}\.(\d+)\.conv_block\.") if enhancers else 0,
        norm=_norm(state),
        padding=padding_of(padded, padding),
        alone=False,
    )
    return load(network, state, generator_layers(network))


def generator_layers(network: CoarseToFine) -> dict[str, str]:
    """Official name of each layer of a generator, by ours."""
    layers = {f"coarse.{k}": v for k, v in _global_layers(network.coarse).items()}
    for index, enhancer in enumerate(network.enhancers):
        assert isinstance(enhancer, LocalEnhancer)
        before, after = (f"model{index + 1}_{half}" for half in (1, 2))
        own = with_norms({"first": 1, "down": 4}, before)
        own |= _block_layers(enhancer.blocks, after, 0)
        count = len(enhancer.blocks)
        own |= with_norms({"up": count}, after) | {"last.conv": f"{after}.{count + 4}"}
        layers |= {f"enhancers.{index}.{k}": v for k, v in own.items()}
    return layers


def encoder(state: State) -> Encoder:
    """Make a feature encoder of an official `Encoder`; all settings are read from it."""
    state = without_stale_statistics(state)
    first, places = kernel(state, "model.1"), convolutions(state, r"model\.(\d+)")
    network = Encoder(
        inputs=first.shape[1],
        outputs=kernel(state, f"model.{places[-1]}").shape[0],
        width=first.shape[0],
        depth=(len(places) - 2) // 2,
        norm=_norm(state),
    )
    return load(network, state, encoder_layers(network))


def encoder_layers(network: Encoder) -> dict[str, str]:
    """Official name of each layer of a feature encoder, by ours."""
    depth = len(network.down)
    places = {"first": 1} | {f"down.{i}": 4 + 3 * i for i in range(depth)}
    places |= {f"up.{i}": 4 + 3 * (depth + i) for i in range(depth)}
    return with_norms(places, "model") | {"last.conv": f"model.{5 + 6 * depth}"}


def discriminator(state: State) -> MultiscaleDiscriminator:
    """Make a discriminator of an official `MultiscaleDiscriminator`, with or without features.

    All settings are read from it. Ours has the full resolution first, the official one last.
    """
    state = without_stale_statistics(state)
    root = "scale0_layer0.0" if "scale0_layer0.0.weight" in state else "layer0.0"
    first = kernel(state, root)
    scales = len({re.split(r"[_.]", key)[0] for key in state})
    convs = [k for k, v in state.items() if k.endswith(".weight") and v.ndim == 4]
    layers = len(convs) // scales - 2
    widest = max(state[key].shape[0] for key in convs)
    # Once the official code stops doubling, the widest layer shows where.
    network = MultiscaleDiscriminator(
        inputs=first.shape[1],
        width=first.shape[0],
        layers=layers,
        scales=scales,
        norm=_norm(state),
        max_width=widest,
    )
    return load(network, state, discriminator_layers(network, root.startswith("scale")))


def discriminator_layers(network: MultiscaleDiscriminator, features: bool = True) -> dict[str, str]:
    """Official name of each layer of a discriminator, by ours.

    features: whether the official one gives its layers' activations, which names them otherwise.
    """
    layers, scales = {}, len(network.discriminators)
    for index, judge in enumerate(network.discriminators):
        assert isinstance(judge, PatchLayers)
        theirs, count = scales - 1 - index, len(judge.layers)
        for number in range(count):
            ours = f"discriminators.{index}.layers.{number}"
            if features:
                names = [f"scale{theirs}_layer{number}.{part}" for part in (0, 1)]
            else:
                at = max(0, 3 * number - 1)
                names = [f"layer{theirs}.{at}", f"layer{theirs}.{at + 1}"]
            layers[f"{ours}.conv"], layers[f"{ours}.norm"] = names
        last = f"scale{theirs}_layer{count}.0" if features else f"layer{theirs}.{3 * count - 1}"
        layers[f"discriminators.{index}.last"] = last
    return layers


def pix2pixhd(
    generator_state: State,
    discriminator_state: State,
    facts: Facts,
    encoder_state: State | None = None,
    **settings: Any,
) -> Pix2PixHD:
    """Make a pix2pixHD system of an official model's netG, netD and, if it has one, netE.

    What the weights tell (widths, depths, blocks, enhancers, scales, norm, whether boundaries of
    instances are seen) is read from them; further settings are those of `Pix2PixHDSettings`, such
    as `features_of` "classes" of a model of --label_feat. Label maps of -1 and 1, as the data here
    have, are shown to the networks as 0 and 1 if the facts name them in `maps`. A generator with
    enhancers has no global stage ahead of it. Raises FileError if the channels are not those of
    the data.
    """
    made, judge = generator(generator_state), discriminator(discriminator_state)
    look = None if encoder_state is None else encoder(encoder_state)
    a, b = facts.channels["a"], facts.channels["b"]
    features = 0 if look is None else _wide(look.last)
    seen, judged = _reads(made.coarse.first) - features, _reads(_scale(judge).layers[0])
    if seen not in (a, a + 1) or judged != seen + b or _outputs(made) != b:
        raise FileError(
            f"these networks are for {seen} (with boundaries of instances, if any) to "
            f"{_outputs(made)} channels, judged by {judged}; the data has {a} and {b}"
        )
    read: dict[str, Any] = _settings(made, judge) | {"features": features}
    read |= {"boundaries": seen != a, "instances": "map" if features or seen != a else "none"}
    if look is not None:
        read |= {"encoder_width": _wide(look.first), "encoder_depth": len(look.down)}
    read |= settings
    if made.coarse.last is None and read["share_global"]:
        raise FileError(
            "an official generator with enhancers has no last convolution of its global network, "
            f"which share_global={read['share_global']:g} would train alone; leave share_global out"
        )
    system = Pix2PixHD(Pix2PixHDSettings(**read), facts)
    system.generator, system.discriminator = made, judge
    system.level.set(True)
    if look is not None:
        system.encoder = look
    return system


def _settings(made: CoarseToFine, judge: MultiscaleDiscriminator) -> dict[str, Any]:
    """The settings by which a system would build these networks."""
    kinds: dict[str, Norm] = {"BatchNorm2d": "batch", "InstanceNorm": "instance"}
    norms = [kinds[n] for m in made.modules() if (n := type(m).__name__) in kinds]
    enhancer_blocks = [len(e.get_submodule("blocks")._modules) for e in made.enhancers]
    return {
        "width": _wide(made.coarse.first),
        "depth": len(made.coarse.down),
        "blocks": len(made.coarse.blocks),
        "enhancers": len(made.enhancers),
        "enhancer_blocks": enhancer_blocks[0] if enhancer_blocks else 3,
        "share_global": 0.0,
        "norm": norms[0] if norms else "none",
        "scales": len(judge.discriminators),
        "discriminator_layers": len(_scale(judge).layers) - 1,
        "discriminator_width": _wide(_scale(judge).layers[0]),
    }


def _global_layers(network: GlobalGenerator) -> dict[str, str]:
    depth, count = len(network.down), len(network.blocks)
    places = {"first": 1} | {f"down.{i}": 4 + 3 * i for i in range(depth)}
    places |= {f"up.{i}": 4 + 3 * (depth + i) + count for i in range(depth)}
    layers = with_norms(places, "model") | _block_layers(network.blocks, "model", 4 + 3 * depth)
    return layers | {"last.conv": f"model.{5 + 6 * depth + count}"}


def _block_layers(blocks: nn.ModuleList, root: str, start: int) -> dict[str, str]:
    """Official names of the layers of residual blocks, the first of which has number `start`."""
    layers = {}
    for index, block in enumerate(blocks):
        assert isinstance(block, Residual)
        padded = int(block.conv1.padding_mode != "zeros")
        for ours, number in (("1", padded), ("2", 3 + 2 * padded)):
            official = f"{root}.{start + index}.conv_block."
            layers[f"blocks.{index}.conv{ours}"] = f"{official}{number}"
            layers[f"blocks.{index}.norm{ours}"] = f"{official}{number + 1}"
    return layers


def _norm(state: State) -> Norm:
    """Read the norm: batch norms have vectors as weights, instance norms leave no trace."""
    vectors = any(key.endswith(".weight") and value.ndim == 1 for key, value in state.items())
    return "batch" if vectors else "instance"


def _wide(layer: nn.Module) -> int:
    """Channels that a layer makes."""
    return layer.get_parameter("conv.weight").shape[0]


def _reads(layer: nn.Module) -> int:
    """Channels that a layer reads."""
    return layer.get_parameter("conv.weight").shape[1]


def _scale(judge: MultiscaleDiscriminator) -> PatchLayers:
    """The discriminator of the full resolution."""
    first = judge.discriminators[0]
    assert isinstance(first, PatchLayers)
    return first


def _outputs(made: CoarseToFine) -> int:
    last = made.enhancers[-1] if len(made.enhancers) else made.coarse
    return _wide(last.get_submodule("last"))
