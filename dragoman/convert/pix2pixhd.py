"""Official pix2pixHD weights (github.com/NVIDIA/pix2pixHD)."""

import re
from typing import Any

from torch import Tensor, nn

from dragoman.convert.junyanz import without_stale_statistics
from dragoman.convert.renaming import State, load
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
    enhancers = len({key.split(".")[0] for key in state if re.match(r"model\d+_1\.", key)})
    tail = f"model{enhancers}_2" if enhancers else "model"
    first, blocks = _weight(state, "model.1"), _blocks(state, "model")
    ends = _convolutions(state, tail)
    if not blocks or not ends:
        raise _not_a("generator", state)
    network = CoarseToFine(
        inputs=first.shape[1],
        outputs=_weight(state, f"{tail}.{ends[-1]}").shape[0],
        width=first.shape[0],
        depth=sum(1 < number < blocks[0] for number in _convolutions(state, "model")),
        blocks=len(blocks),
        enhancers=enhancers,
        enhancer_blocks=len(_blocks(state, tail)) if enhancers else 0,
        norm=_norm(state),
        padding=_padding(state, blocks[0], padding),
        alone=False,
    )
    return load(network, state, generator_layers(network))


def generator_layers(network: CoarseToFine) -> dict[str, str]:
    """Official name of each layer of a generator, by ours."""
    layers = {f"coarse.{k}": v for k, v in _global_layers(network.coarse).items()}
    for index, enhancer in enumerate(network.enhancers):
        assert isinstance(enhancer, LocalEnhancer)
        before, after = (f"model{index + 1}_{half}" for half in (1, 2))
        own = _numbered({"first": 1, "down": 4}, before)
        own |= _block_layers(enhancer.blocks, after, 0)
        count = len(enhancer.blocks)
        own |= _numbered({"up": count}, after) | {"last.conv": f"{after}.{count + 4}"}
        layers |= {f"enhancers.{index}.{k}": v for k, v in own.items()}
    return layers


def encoder(state: State) -> Encoder:
    """Make a feature encoder of an official `Encoder`; all settings are read from it."""
    state = without_stale_statistics(state)
    first, numbers = _weight(state, "model.1"), _convolutions(state, "model")
    network = Encoder(
        inputs=first.shape[1],
        outputs=_weight(state, f"model.{numbers[-1]}").shape[0],
        width=first.shape[0],
        depth=(len(numbers) - 2) // 2,
        norm=_norm(state),
    )
    return load(network, state, encoder_layers(network))


def encoder_layers(network: Encoder) -> dict[str, str]:
    """Official name of each layer of a feature encoder, by ours."""
    depth = len(network.down)
    numbers = {"first": 1} | {f"down.{i}": 4 + 3 * i for i in range(depth)}
    numbers |= {f"up.{i}": 4 + 3 * (depth + i) for i in range(depth)}
    return _numbered(numbers, "model") | {"last.conv": f"model.{5 + 6 * depth}"}


def discriminator(state: State) -> MultiscaleDiscriminator:
    """Make a discriminator of an official `MultiscaleDiscriminator`, with or without features.

    All settings are read from it. Ours has the full resolution first, the official one last.
    """
    state = without_stale_statistics(state)
    root = "scale0_layer0.0" if "scale0_layer0.0.weight" in state else "layer0.0"
    first = _weight(state, root)
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
    numbers = {"first": 1} | {f"down.{i}": 4 + 3 * i for i in range(depth)}
    numbers |= {f"up.{i}": 4 + 3 * (depth + i) + count for i in range(depth)}
    layers = _numbered(numbers, "model") | _block_layers(network.blocks, "model", 4 + 3 * depth)
    return layers | {"last.conv": f"model.{5 + 6 * depth + count}"}


def _numbered(numbers: dict[str, int], root: str) -> dict[str, str]:
    """Official names of convolutions of these numbers, and of the norms after them."""
    layers = {f"{ours}.conv": f"{root}.{number}" for ours, number in numbers.items()}
    return layers | {f"{ours}.norm": f"{root}.{number + 1}" for ours, number in numbers.items()}


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


def _convolutions(state: State, root: str) -> list[int]:
    """Numbers of the convolutions that stand in no block."""
    found = ((re.fullmatch(rf"{root}\.(\d+)\.weight", k), v) for k, v in state.items())
    return sorted(int(match[1]) for match, value in found if match and value.ndim == 4)


def _blocks(state: State, root: str) -> list[int]:
    """Numbers of the residual blocks."""
    found = (re.match(rf"{root}\.(\d+)\.conv_block\.", key) for key in state)
    return sorted({int(match[1]) for match in found if match})


def _padding(state: State, block: int, wanted: Padding | None) -> Padding:
    padded = bool(_convolutions(state, rf"model\.{block}\.conv_block")[0])
    if wanted is None:
        return "reflect" if padded else "zero"
    if padded != (wanted != "zero"):
        raise FileError(
            f"these weights were trained {'with' if padded else 'without'} padding layers, which "
            f"is at odds with padding={wanted}; leave padding out"
        )
    return wanted


def _norm(state: State) -> Norm:
    """Read the norm: batch norms have vectors as weights, instance norms leave no trace."""
    vectors = any(key.endswith(".weight") and value.ndim == 1 for key, value in state.items())
    return "batch" if vectors else "instance"


def _weight(state: State, layer: str) -> Tensor:
    weight = state.get(f"{layer}.weight")
    if weight is None or weight.ndim != 4:
        raise FileError(
            f"these weights have no convolution '{layer}.weight', which every official network of "
            "this kind has; check that the file holds this kind of network"
        )
    return weight


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


def _not_a(kind: str, state: State) -> FileError:
    found = re.sub(r"(.{200}).*", r"\1 ...", ", ".join(state))
    return FileError(f"these weights are not those of an official {kind}; they are: {found}")
