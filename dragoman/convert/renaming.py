"""Loads a state dict whose layers bear other names than those of our network."""

import re
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

from dragoman.errors import FileError
from dragoman.networks.spectral import SpectralConv2d

State = Mapping[str, Tensor]  # by original key
Network = TypeVar("Network", bound=nn.Module)

# Names of torch.nn.utils.spectral_norm, by those of our layer.
SPECTRAL = {"weight": "weight_orig", "u": "weight_u", "v": "weight_v"}


def our_keys(network: nn.Module, layers: Mapping[str, str]) -> dict[str, str]:
    """Our key of each entry of the network's state dict, by its original key.

    layers: original name of every layer that has entries, by our name.
    """
    keys = {}
    for ours in network.state_dict():
        layer, _, entry = ours.rpartition(".")
        if isinstance(network.get_submodule(layer), SpectralConv2d):
            entry = SPECTRAL.get(entry, entry)
        keys[f"{layers[layer]}.{entry}"] = ours
    return keys


def load(network: Network, state: State, layers: Mapping[str, str]) -> Network:
    """Copy the state into the network and return it.

    Raises FileError that names every key missing, left over or of another shape.
    """
    keys, own = our_keys(network, layers), network.state_dict()
    missing = sorted(keys.keys() - state.keys())
    unknown = sorted(state.keys() - keys.keys())
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[ours].shape)}"
        for key, ours in sorted(keys.items())
        if key in state and state[key].shape != own[ours].shape
    ]
    faults = {"missing": missing, "unknown": unknown, "of another shape": shapes}
    if any(faults.values()):
        told = "; ".join(f"{fault}: {', '.join(found)}" for fault, found in faults.items() if found)
        raise FileError(
            f"these weights do not make a {type(network).__name__} with the settings read from "
            f"them ({told}); check that the file holds this kind of network, and nothing else"
        )
    network.load_state_dict({ours: state[key] for key, ours in keys.items()})
    return network


def weight(state: State, layer: str, axes: int = 4, kind: str | None = None) -> Tensor:
    """The weight of a layer by its original name; raises FileError if it has not so many axes.

    kind: what the error calls such a layer, instead of "layer" and how many axes it should have.
    """
    key = f"{layer}.weight"
    found = state.get(key)
    if found is None or found.ndim != axes:
        raise lacks(f"{kind} '{key}'" if kind else f"layer '{key}' of {axes} axes")
    return found


def kernel(state: State, layer: str) -> Tensor:
    """The weight of a convolution by its original name, of 4 axes; raises FileError."""
    return weight(state, layer, kind="convolution")


def numbers(state: State, pattern: str) -> list[int]:
    """The different numbers, in order, at the group of a pattern with which keys begin."""
    found = (re.match(pattern, key) for key in state)
    return sorted({int(match[1]) for match in found if match})


def how_many(state: State, pattern: str) -> int:
    """How many different numbers there are at the group of a pattern with which keys begin."""
    return len(numbers(state, pattern))


def convolutions(state: State, layer: str) -> list[int]:
    """The numbers, in order, at the group of a pattern that convolutions have as their names."""
    found = ((re.fullmatch(rf"{layer}\.weight", key), value) for key, value in state.items())
    return sorted(int(match[1]) for match, value in found if match and value.ndim == 4)


def with_norms(places: Mapping[str, int], root: str) -> dict[str, str]:
    """Original names of convolutions at these places and of the norms right after them, by ours.

    places: numbers in the nn.Sequential called `root`, by our name of convolution and norm.
    """
    layers = {f"{ours}.conv": f"{root}.{place}" for ours, place in places.items()}
    return layers | {f"{ours}.norm": f"{root}.{place + 1}" for ours, place in places.items()}


def lacks(what: str, kind: str = "network of this kind") -> FileError:
    """The error for weights without something that all official ones of a kind have."""
    return FileError(
        f"these weights have no {what}, which every official {kind} has; check that the file holds "
        "this kind of network"
    )


def not_those(owner: str, state: State) -> FileError:
    """The error for weights of another network than the owner's, as "an official generator"."""
    found = re.sub(r"(.{200}).*", r"\1 ...", ", ".join(state))
    return FileError(f"these weights are not those of {owner}; they are: {found}")
