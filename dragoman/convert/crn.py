"""Official weights of CRN (github.com/CQFIO/PhotographicImageSynthesis), TensorFlow variables."""

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dragoman.convert.renaming import State, load
from dragoman.errors import FileError
from dragoman.losses.perceptual import Perceptual
from dragoman.networks.crn import CascadedRefinement
from dragoman.networks.vgg import VGG
from dragoman.system import Facts
from dragoman.systems.crn import CRN, OFFICIAL, CRNSettings

COLOURS = 3  # the official network makes RGB
ENTRIES = {"weights": "weight", "biases": "bias", "gamma": "weight", "beta": "bias"}


def crn(state: State) -> CascadedRefinement:
    """Make a cascade of an official generator's variables; sizes, widths and classes are read.

    Keys as "g_16_conv1/weights", kernels [H, W, in, out]; what optimizers left (".../Adam") and
    variables of other networks are passed over. It reads layouts in [0, 1] and makes pictures in
    [-1, 1], unbounded, with colours outermost: red of all answers first. Raises FileError.
    """
    converted = renamed(state)
    sizes = module_sizes(converted)
    first, last = (
        converted.get(f"{name}.weight") for name in (f"g_{sizes[0]}_conv1", _last(sizes))
    )
    if first is None or last is None:
        raise FileError(
            f"these weights lack '{_last(sizes)}/weights', the official generator's last layer; "
            "check that the file holds all of the network"
        )
    widths = [_width(converted, size) for size in sizes]
    network = CascadedRefinement(first.shape[1], last.shape[0], widths, align_corners=True)
    return load(network, converted, crn_layers(sizes))


def crn_layers(sizes: Sequence[int]) -> dict[str, str]:
    """Official name of each layer of a cascade with modules of those heights, by ours."""
    layers = {"last": _last(sizes)}
    for number, size in enumerate(sizes):
        for conv in (1, 2):
            layers[f"cascade.{number}.conv{conv}"] = f"g_{size}_conv{conv}"
            layers[f"cascade.{number}.norm{conv}"] = f"g_{size}_conv{conv}/LayerNorm"
    return layers


def system(generator_state: State, facts: Facts, vgg_state: State | None = None, **how: Any) -> CRN:
    """Make a CRN system of official weights, ready to train on.

    vgg_state: the official VGG19, as of `vgg`; then the loss is the official one too, with the
    weights of the data's size, unless how has `perceptual_layers`. how: further settings of
    `CRNSettings`. Raises FileError if the channels are not the data's.
    """
    made = crn(generator_state)
    labels, outputs = made.cascade[0].get_parameter("conv1.weight").shape[1], made.last.out_channels
    channels = facts.channels["a"], facts.channels["b"]
    if channels != (labels, COLOURS) or outputs % COLOURS:
        raise FileError(
            f"these weights turn {labels} classes into {outputs} channels, {COLOURS} for each "
            f"answer; the data has {channels[0]} and {channels[1]} channels"
        )
    widths = [module.get_parameter("conv1.weight").shape[0] for module in made.cascade]
    read: dict[str, Any] = {
        "widths": ",".join(map(str, widths)),
        "align_corners": True,
        "answers": outputs // COLOURS,
    }
    if vgg_state is not None:
        read |= {"perceptual": "vgg19", "balance": "fixed"}
    new = CRN(CRNSettings(**(read | how)), facts)
    new.generator = made
    if vgg_state is not None:
        weights = new.perceptual.weights
        new.perceptual = Perceptual.of(vgg(vgg_state, tuple(weights)), weights, "l1", "caffe")
    return new


def vgg(state: State, taps: Sequence[str] = tuple(OFFICIAL)) -> VGG:
    """Make the official VGG19 with average pooling: "0/weight" [H, W, in, out], "0/bias" and so on.

    The numbers are those of MatConvNet's list of layers. It wants RGB of 0 ... 255 less ImageNet's
    mean ("caffe"). Raises FileError.
    """
    weights = {}
    for key, value in state.items():
        number, _, entry = key.partition("/")
        if not isinstance(value, Tensor):
            raise FileError(f"'{key}' of these weights is no tensor; give the state dict alone")
        weights[f"features.{number}.{entry}"] = _kernel(value).contiguous()
    first = weights.get("features.0.weight")
    if first is None:
        raise FileError("these weights lack '0/weight', the first layer of the official VGG19")
    try:
        return VGG(weights, 19, taps, width=first.shape[0], pooling="average")
    except (KeyError, RuntimeError) as error:
        told = " ".join(str(error).split())
        raise FileError(f"these weights are not those of the official VGG19 ({told})") from error


def renamed(state: State) -> dict[str, Tensor]:
    """The generator's variables with entries and layout as PyTorch's: "g_16_conv1.weight"."""
    found = {}
    for key, value in state.items():
        layer, _, entry = key.removesuffix(":0").rpartition("/")
        if layer.startswith("g_") and entry in ENTRIES:
            found[f"{layer}.{ENTRIES[entry]}"] = _kernel(value)
    return found


def module_sizes(converted: State) -> list[int]:
    """Heights of the modules, read from the layers' names; raises FileError."""
    names = (re.fullmatch(r"g_(\d+)_conv1\.weight", key) for key in converted)
    sizes = sorted(int(name[1]) for name in names if name)
    doubled = [sizes[0] << number for number in range(len(sizes))] if sizes else []
    if not sizes or sizes != doubled:
        raise FileError(
            "these weights are not those of an official CRN, whose layers are called "
            f"g_4_conv1, g_8_conv1 and so on with heights that double; heights found: {sizes}"
        )
    return sizes


def _last(sizes: Sequence[int]) -> str:
    return f"g_{sizes[-1]}_conv100"


def _width(converted: State, size: int) -> int:
    return converted[f"g_{size}_conv1.weight"].shape[0]


def _kernel(value: Tensor) -> Tensor:
    """From TensorFlow's layout [H, W, in, out] to [out, in, H, W]; vectors stay."""
    return value.permute(3, 2, 0, 1) if value.ndim == 4 else value
