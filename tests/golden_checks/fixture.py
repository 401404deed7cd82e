"""A golden fixture: numbers that an official implementation gave, and how near ours must come."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from dragoman.convert import renaming

RESULTS = ("output/", "output64/", "grad/", "grad_param_stats/", "state_after/")
PROCESSOR = 5e-5  # by which sums of gradients over all places differ between kinds of processor
NEGLIGIBLE = 1e-5  # of the largest: a gradient that is 0 in theory holds rounding noise only


class Unsupported(Exception):
    """This fixture is of something that the package does not have yet."""


@dataclass
class Fixture:
    """Everything in one file, and what has been compared with it so far."""

    path: Path
    meta: dict[str, str]
    tensors: dict[str, Tensor]
    faults: list[str] = field(default_factory=list)
    compared: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> "Fixture":
        """Read a safetensors file with its header."""
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in sorted(file.keys())}
            return cls(path, file.metadata(), tensors)

    @property
    def family(self) -> str:
        """The first part of the name, which tells the official repository."""
        return self.path.stem.split("_")[0]

    @property
    def constructor(self) -> dict[str, Any]:
        """The settings of the official network, loss or model."""
        return json.loads(self.meta["constructor"])

    def under(self, prefix: str) -> dict[str, Tensor]:
        """All tensors whose key begins with the prefix, by the rest of their key."""
        found = self.tensors.items()
        return {key.removeprefix(prefix): v for key, v in found if key.startswith(prefix)}

    def tolerance(self, kind: str) -> float:
        """The allowed error of "output" or "grad" tensors, relative to the largest value."""
        if kind == "output64":
            return float(re.findall(r"output64/\* (\S+)", self.meta["tolerance"])[0])
        summed = kind == "grad_param_stats"
        kind = "grad" if kind.startswith("grad") else "output"
        pattern = rf"(\S+) \* max\|b\| for {kind}/\*"
        found = float(re.findall(pattern, self.meta["tolerance"])[0])
        return max(found, PROCESSOR) if summed else found

    def compare(self, key: str, ours: Tensor, tolerance: float | None = None) -> None:
        """Note a fault unless our tensor is near the stored one."""
        theirs = self.tensors[key].double()
        ours = ours.detach().double()
        self.compared.add(key)
        if ours.shape != theirs.shape:
            self.faults.append(f"{key}: shape {tuple(ours.shape)}, not {tuple(theirs.shape)}")
        elif theirs.numel():
            tolerance = self.tolerance(key.split("/")[0]) if tolerance is None else tolerance
            largest = theirs.abs().max().item() or 1.0
            error = (ours - theirs).abs().max().item() / largest
            if not error <= tolerance:
                self.faults.append(f"{key}: off by {error:.1e}, allowed {tolerance:.0e}")

    def compare_gradients(
        self, network: nn.Module, layers: dict[str, str], prefix: str = ""
    ) -> None:
        """Compare [sum, L2 norm, largest] of every parameter's gradient; prefix as "netG/"."""
        start = f"grad_param_stats/{prefix}"
        largest = max(float(stats[2]) for stats in self.under(start).values())
        parameters, named = dict(network.named_parameters()), renaming.our_keys(network, layers)
        for key, stats in self.under(start).items():
            gradient = parameters[named[key]].grad
            if float(stats[2]) < NEGLIGIBLE * largest:
                self.compared.add(start + key)
                continue
            assert gradient is not None, f"no gradient reached {key}"
            ours = [gradient.sum(), gradient.norm(), gradient.abs().max()]
            self.compare(start + key, torch.stack(ours))

    def compare_weights(
        self,
        prefix: str,
        network: nn.Module,
        layers: dict[str, str],
        others: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        """Compare [sum, L2 norm] of every tensor stored so; others: those the network lacks."""
        named, state = renaming.our_keys(network, layers), network.state_dict()
        for key in self.under(prefix):
            ours = (state[named[key]] if key in named else others[key]).double()
            self.compare(prefix + key, torch.stack([ours.sum(), ours.norm()]))

    def compare_state(self, network: nn.Module, layers: dict[str, str]) -> None:
        """Compare every stored tensor of the network's state after a passage in training."""
        named, state = renaming.our_keys(network, layers), network.state_dict()
        for key in self.under("state_after/"):
            self.compare(f"state_after/{key}", state[named[key]])

    def finish(self) -> None:
        """Fail with all faults; a stored result that nothing was compared with is one."""
        stored = {key for key in self.tensors if key.startswith(RESULTS)}
        forgotten = sorted(stored - self.compared)
        faults = self.faults + [f"{key}: compared with nothing" for key in forgotten]
        assert not faults, f"{len(faults)} of {len(stored)} results disagree:\n" + "\n".join(faults)
