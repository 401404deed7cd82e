"""Context encoder weights of github.com/pathak22/context-encoder, under the Lua layers' numbers.

The released files are of Lua Torch, which PyTorch no longer reads: give a state dict whose keys
are the places of the layers in their nn.Sequential, counted from 0, as "0.14.weight".
"""

import math
from typing import Any

from dragoman.convert.renaming import State, kernel, load, not_those
from dragoman.errors import FileError
from dragoman.networks.context_encoder import (
    ChannelwiseLinear,
    ConvBottleneck,
    Inpainter,
    WholeDiscriminator,
)
from dragoman.system import Facts
from dragoman.systems.context_encoder import ContextEncoder, ContextEncoderSettings


def generator(state: State) -> Inpainter:
    """Make the network of an official netG; widths, depth, units and size are read from it.

    It predicts the whole picture or, with one up-convolution less, its centre.
    """
    depth = _count(state, "0.") - 1
    ups = _count(state, "") - 1
    if depth < 1 or ups < 1:
        raise not_those("a context encoder's netG", state)
    first, squeeze = kernel(state, "0.0"), kernel(state, f"0.{3 * depth - 1}")
    last = kernel(state, f"{3 * ups + 3}")
    height, width = squeeze.shape[-2:]
    network = Inpainter(
        inputs=first.shape[1],
        outputs=last.shape[1],
        size=(height << depth, width << depth),
        width=first.shape[0],
        depth=depth,
        bottleneck="conv",
        units=squeeze.shape[0],
        ups=ups,
        decoder_width=last.shape[0],
    )
    return load(network, state, generator_layers(network))


def generator_layers(network: Inpainter) -> dict[str, str]:
    """Official name of each layer of a network with the "conv" bottleneck, by ours."""
    depth, ups = len(network.encoder.layers), len(network.up) + 1
    layers = _halving("encoder.layers", depth, "0.")
    layers |= {
        "bottleneck.squeeze": f"0.{3 * depth - 1}",
        "bottleneck.norm": "1",
        "bottleneck.spread": "3",
        "bottleneck.spread_norm": "4",
        "last": f"{3 * ups + 3}",
    }
    for index in range(ups - 1):
        layers[f"up.{index}.conv"] = f"{3 * index + 6}"
        layers[f"up.{index}.norm"] = f"{3 * index + 7}"
    return layers


def discriminator(state: State) -> WholeDiscriminator:
    """Make the network of an official netD, which gives logits; all settings are read from it."""
    depth = _count(state, "") - 1
    if depth < 1:
        raise not_those("a context encoder's netD", state)
    first, last = kernel(state, "0"), kernel(state, f"{3 * depth - 1}")
    height, width = last.shape[-2:]
    network = WholeDiscriminator(
        first.shape[1], (height << depth, width << depth), width=first.shape[0], depth=depth
    )
    return load(network, state, discriminator_layers(network))


def discriminator_layers(network: WholeDiscriminator) -> dict[str, str]:
    """Official name of each layer of a discriminator, by ours."""
    depth = len(network.encoder.layers)
    return _halving("encoder.layers", depth, "") | {"last": f"{3 * depth - 1}"}


def channelwise(state: State) -> ChannelwiseLinear:
    """Make a channel-wise layer of {"weight": [m, n^2, n^2], "bias": [m, n^2]}, n x n maps."""
    weight = state.get("weight")
    side = math.isqrt(weight.shape[-1]) if weight is not None and weight.ndim == 3 else 0
    if weight is None or not side or side**2 != weight.shape[-1]:
        raise not_those("a context encoder's channel-wise layer", state)
    network = ChannelwiseLinear(weight.shape[0], (side, side))
    return load(network, {f".{key}": value for key, value in state.items()}, {"": ""})


def context_encoder(
    generator_state: State,
    discriminator_state: State,
    facts: Facts,
    overlap: int = 4,
    **settings: Any,
) -> ContextEncoder:
    """Make a context encoder of an official netG and netD, ready to train on.

    Of the centre (train.lua), or of random holes in whole pictures (train_random.lua): then D
    judges the network's output and the squares are of the whole picture, as there. overlap: px of
    known picture around the centre's hole that netG predicts too, which no weight tells. Further
    settings are those of `ContextEncoderSettings`. Raises FileError if the networks are for other
    pictures than the data's, or do not belong together.
    """
    made, judge = generator(generator_state), discriminator(discriminator_state)
    first = made.encoder.layers[0].get_parameter("conv.weight")
    last = made.last.get_parameter("weight")
    inmost, doublings = _inmost(made), len(made.up) + 1
    height, width = (side * made.stride for side in inmost)
    judged = judge.encoder.layers[0].get_parameter("conv.weight")
    left = tuple(n << len(judge.encoder.layers) for n in judge.last.weight.shape[-2:])
    channels = facts.channels["image"]
    if (first.shape[1], last.shape[1], judged.shape[1]) != (channels,) * 3:
        raise FileError(
            f"these networks are for {first.shape[1]} to {last.shape[1]} channels, judged by "
            f"{judged.shape[1]}; the data has {channels}"
        )
    if (height, width) != facts.size:
        raise FileError(
            f"these networks are for pictures of {height} x {width} px, the data has "
            f"{facts.size[0]} x {facts.size[1]}; use --size {min(height, width)}"
        )
    made_sides = tuple(side << doublings for side in inmost)
    if left != made_sides:
        raise FileError(
            f"netG makes pictures of {made_sides[0]} x {made_sides[1]} px, but netD judges "
            f"{left[0]} x {left[1]}; give networks that were trained together"
        )
    read: dict[str, Any] = {
        **_task(whole=made_sides == facts.size, overlap=overlap, side=min(height, width)),
        "bottleneck": "conv",
        "units": made.bottleneck.get_parameter("squeeze.weight").shape[0],
        "width": first.shape[0],
        "decoder_width": last.shape[0],
        "depth": len(made.encoder.layers),
        "discriminator_width": judged.shape[0],
    }
    system = ContextEncoder(ContextEncoderSettings(**(read | settings)), facts)
    load(system.generator, generator_state, generator_layers(system.generator))
    load(system.discriminator, discriminator_state, discriminator_layers(system.discriminator))
    return system


def _task(whole: bool, overlap: int, side: int) -> dict[str, Any]:
    """What is filled and judged, by what netG makes: whole pictures or their centre."""
    if whole:
        return {"mask": "region", "discriminator": "output", "lambda_known": 1.0}
    return {"predict": "centre", "hole": 0.5 - 2 * overlap / side, "overlap": overlap}


def _inmost(network: Inpainter) -> tuple[int, ...]:
    """Height and width of the encoder's last maps."""
    assert isinstance(network.bottleneck, ConvBottleneck)
    return tuple(network.bottleneck.squeeze.weight.shape[-2:])


def _halving(ours: str, depth: int, official: str) -> dict[str, str]:
    """Names of layers that halve: the first has no norm, so that the others begin at 2."""
    layers = {f"{ours}.{i}.conv": f"{official}{max(0, 3 * i - 1)}" for i in range(depth)}
    return layers | {f"{ours}.{i}.norm": f"{official}{3 * i}" for i in range(depth)}


def _count(state: State, prefix: str) -> int:
    """Convolutions directly in the nn.Sequential at a prefix."""
    found = (key.removeprefix(prefix) for key in state if key.startswith(prefix))
    return sum(key.count(".") == 1 and state[prefix + key].ndim == 4 for key in found)
