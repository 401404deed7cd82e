"""Loads a state dict whose layers bear other names than those of our network."""

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


def weight(state: State, layer: str, axes: int = 4) -> Tensor:
    """The weight of a layer by its original name; raises FileError if it has not so many axes."""
    found = state.get(f"{layer}.weight")
    if found is None or found.ndim != axes:
        raise FileError(
            f"these weights have no layer '{layer}.weight' of {axes} axes, which every official "
            "network of this kind has; check that the file holds this kind of network"
        )
    return found
