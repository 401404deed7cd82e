"""Official CUT weights (github.com/taesungp/contrastive-unpaired-translation)."""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from dragoman.convert import junyanz
from dragoman.convert.renaming import State, convolutions, how_many, load, weight
from dragoman.errors import FileError, SettingsError
from dragoman.losses.contrastive import PatchHeads
from dragoman.networks.resnet import BORDER, Layer, Padding, ResNetGenerator

BLURS = {3: (1.0, 2.0, 1.0), 4: (1.0, 3.0, 3.0, 1.0)}  # 4 times a line of the fixed kernels
Number = Mapping[int, int]  # a layer's number here, by that in the generator without antialiasing


def generator(state: State, padding: Padding | None = None) -> ResNetGenerator:
    """Make a residual generator of an official `ResnetGenerator`, antialiased or not.

    All settings are read from it.

    padding: of the residual blocks; by default "zero" or "reflect" as the layers' numbers tell
    ("replicate" numbers them as "reflect" does, so that it must be given).
    """
    blurs = {key: value for key, value in state.items() if key.endswith(".filt")}
    if not blurs:
        return junyanz.resnet(state, padding)
    for key, kernel in blurs.items():
        _check_blur(key, kernel)
    state = {k: v for k, v in junyanz.without_stale_statistics(state).items() if k not in blurs}
    shrinks, grows = (any(k.shape[-1] == side for k in blurs.values()) for side in BLURS)
    count = len({key.split(".")[1] for key in state if ".conv_block." in key})
    start = 10 + 2 * shrinks
    inner = convolutions(state, rf"model\.{start}\.conv_block\.(\d+)")
    if len(inner) != 2:
        raise FileError(
            f"these weights have no residual block 'model.{start}.conv_block' of 2 convolutions, "
            "which an official ResnetGenerator has; check that the file holds a generator (netG)"
        )
    first, last = weight(state, "model.1"), weight(state, f"model.{start + count + 7 + 2 * grows}")
    network = ResNetGenerator(
        inputs=first.shape[1],
        outputs=last.shape[0],
        width=first.shape[0],
        blocks=count,
        norm=junyanz.norm_of(state, "model.1"),
        dropout=0.5 if inner[1] - inner[0] == 4 + inner[0] else 0.0,
        padding=junyanz.padding_of(inner[0] == 1, padding),
        upsample="bilinear" if grows else "transposed",
        antialias=shrinks,
    )
    return load(network, state, generator_layers(network))


def generator_layers(network: ResNetGenerator) -> dict[str, str]:
    """Official name of each layer of a residual generator, by ours."""
    number = _numbers(network)
    layers = {}
    for ours, theirs in junyanz.resnet_layers(network).items():
        root, at, *rest = theirs.split(".")
        if _resized(network) and re.fullmatch(r"up\.\d\.conv", ours):
            ours += ".1"  # after the resizing
        layers[ours] = ".".join([root, str(number[int(at)]), *rest])
    return layers


def taps(network: ResNetGenerator, layers: Sequence[int]) -> list[str]:
    """Our names, in the network's order, of the layers that officially have these numbers.

    For `ResNetGenerator.features`; officially `nce_layers`, by default 0, 4, 8, 12 and 16. A norm's
    number, and without norms a convolution's, stands for what is left after the ReLU, which works
    in place there. Raises SettingsError for numbers of no such layer.
    """
    number = _numbers(network)
    known = {0: BORDER, number[17 + len(network.blocks)]: "last"}
    for index in range(len(network.blocks)):
        known[number[10 + index]] = f"blocks.{index}"
    for ours, theirs in generator_layers(network).items():
        name = ours.split(".conv")[0]
        if ".conv" not in ours or name.startswith("blocks"):
            continue
        layer, at = network.get_submodule(name), int(theirs.split(".")[1])
        assert isinstance(layer, Layer)
        after = f"{name}.full" if layer.halves else name
        plain = isinstance(layer.norm, nn.Identity)
        known |= {at: after if plain else ours, at + 1: after, at + 2: after}
        if layer.halves:
            known[at + 3] = name
        if ours.endswith(".1"):
            known[at - 1] = f"{name}.conv.0"
    unknown = sorted(set(layers) - known.keys())
    if unknown:
        raise SettingsError(
            f"layer {unknown[0]} of this generator cannot be tapped; choose among "
            + ", ".join(map(str, sorted(known)))
        )
    return [known[layer] for layer in sorted(set(layers))]


def heads(state: State) -> PatchHeads:
    """Make the projection heads of an official `PatchSampleF` with use_mlp; all is read from it."""
    count = how_many(state, r"mlp_(\d+)\.")
    firsts = [state.get(f"mlp_{index}.0.weight") for index in range(count)]
    known = [first for first in firsts if first is not None and first.ndim == 2]
    if not known or len(known) < count:
        raise FileError(
            "these weights have no layer 'mlp_0.0.weight', with which an official PatchSampleF "
            "begins; check that the file holds the heads (netF), and nothing else"
        )
    network = PatchHeads([first.shape[1] for first in known], known[0].shape[0])
    return load(network, state, heads_layers(network))


def heads_layers(network: PatchHeads) -> dict[str, str]:
    """Official name of each layer of projection heads, by ours."""
    count = len(network.heads)
    return {f"heads.{index}.{n}": f"mlp_{index}.{n}" for index in range(count) for n in (0, 2)}


def _numbers(network: ResNetGenerator) -> Number:
    """Where layers stand, by their number without antialiasing, whose blurs are layers too."""
    count, shrinks, grows = len(network.blocks), network.down[0].halves, _resized(network)
    blurs = [7, 10] if shrinks else []  # before these
    blurs += [10 + count, 13 + count] if grows else []
    return {n: n + sum(blur <= n for blur in blurs) for n in range(18 + count)}


def _resized(network: ResNetGenerator) -> bool:
    """True if it enlarges by blurring, which is how bilinear resizing doubles."""
    return isinstance(network.up[0].get_submodule("conv"), nn.Sequential)


def _check_blur(key: str, kernel: Tensor) -> None:
    """Raise FileError for a kernel that is not the official one: ours are fixed."""
    line = torch.tensor(BLURS.get(kernel.shape[-1], ()), dtype=kernel.dtype) / 4
    if not len(line) or not torch.allclose(kernel, torch.outer(line, line).expand_as(kernel)):
        raise FileError(
            f"the blur '{key}' is not the official one of 3 x 3 or 4 x 4; only generators "
            "with the blurs of the official code can be converted"
        )
