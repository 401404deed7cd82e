"""Read a saved translator from its folder; nothing in it is trusted, and nothing of it is run."""

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dragoman.data.catalogue import METRES, Alpha, Depth, Domain, Kind, Rule
from dragoman.errors import FileError, SettingsError, did_you_mean
from dragoman.run import read_json
from dragoman.settings import build
from dragoman.system import Facts, System
from dragoman.systems import find_system

MOST_WEIGHTS = 1 << 30  # of a system that a file asks for; 4 GiB
MOST_SIDE = 8192  # of the training pictures, as the setting `size` allows
MOST_SCALE = 64
_WRONG = (LookupError, ArithmeticError, TypeError, ValueError, AttributeError, RuntimeError)


def read_system(folder: str | Path) -> tuple[System, dict[str, Any]]:
    """Return the system of a run, a saved translator or a Hub repository, and its config.json.

    Raises FileError if it is missing, damaged or not a translator.
    """
    place = _find(folder)
    config = read_json(place / "config.json")
    try:
        kind = find_system(str(config["system"]))
        settings, facts = build(kind.Settings, dict(config["settings"])), _facts(config["facts"])
        with torch.device("meta"):  # takes no memory, whatever sizes the file asks for
            _check_state(kind(settings, facts), place / "model.safetensors")
        system = kind(settings, facts)
        system.load_state_dict(_read_state(place / "model.safetensors"), strict=False)
        for key in (system.source, system.target or system.source):
            domain = read_domain(config["domains"].get(key))
            if domain.channels != facts.channels[key]:
                raise ValueError(f"{domain.channels} and {facts.channels[key]} channels")
    except _WRONG as error:
        raise FileError(f"{place / 'config.json'} does not describe a translator") from error
    except SettingsError as error:
        raise FileError(
            f"{place / 'config.json'} does not describe a translator: {error}"
        ) from error
    return system, config


def kind_of(folder: str | Path) -> type[System]:
    """The class of the system of a run, a saved translator or a Hub repository.

    Raises FileError if it is missing, damaged or not a translator.
    """
    place = _find(folder) / "config.json"
    try:
        return find_system(str(read_json(place)["system"]))
    except (*_WRONG, SettingsError) as error:
        raise FileError(f"{place} does not describe a translator") from error


def generating(system: System) -> dict[str, Tensor]:
    """The state of the networks that `generate` needs: the averaged ones, or all."""
    chosen = {id(network) for network in system.generates()}
    names = [n for n, network in system.named_children() if id(network) in chosen]
    state = system.state_dict()
    return {k: v.detach() for k, v in state.items() if k.split(".")[0] in names}


def read_domain(saved: dict[str, Any] | None) -> Domain:
    """A domain from its saved form, also from the first one, which knew heights as "metres".

    Raises SettingsError if there is none, ValueError or TypeError if it makes no sense.
    """
    if saved is None:
        raise SettingsError("the translator's config.json names no domain of its pictures")
    plain: dict[str, Any] = dict(saved)
    if plain.get("kind") == "metres":
        heights: dict[str, Any] = {
            "dtype": "int16",
            "low": (-METRES,),
            "high": (METRES,),
            "unit": "m",
        }
        plain = {**plain, "kind": "values", **heights, "shading": "atlas"}
    for one in fields(Domain):
        if isinstance(plain.get(one.name), list):
            plain[one.name] = tuple(plain[one.name])
    if "palette" in plain:
        plain["palette"] = tuple(tuple(colour) for colour in plain["palette"])
    domain = Domain(**plain)  # of unknown types, which are checked now
    _check_domain(domain)
    return domain


def _check_domain(domain: Domain) -> None:
    """Raise ValueError or TypeError unless a domain from a file makes sense."""
    choices = {"kind": Kind, "dtype": Depth, "alpha": Alpha, "rule": Rule}
    choices["shading"] = Literal["grey", "atlas"]
    if any(getattr(domain, name) not in get_args(known) for name, known in choices.items()):
        raise ValueError("a choice that is unknown")
    if not all(isinstance(text, str) for text in (domain.name, domain.unit, *domain.classes)):
        raise TypeError("names are texts")
    if type(domain.channels) is not int or domain.channels < 1:
        raise ValueError("the number of channels")
    if domain.unlabelled is not None and type(domain.unlabelled) is not int:
        raise TypeError("the number of pixels without class")
    if not all(type(one) is int and 0 <= one < domain.channels for one in domain.shown):
        raise ValueError("the channels that are shown")
    _check_range(domain)
    for colour in domain.palette:
        if len(colour) != 3 or not all(type(value) is int and 0 <= value < 256 for value in colour):
            raise ValueError("a palette of red, green and blue")
    if domain.kind == "labels":
        if domain.palette and len(domain.palette) < domain.channels:
            raise ValueError("a colour for each class")
        if domain.dtype not in ("uint8", "uint16"):
            raise ValueError("whole class numbers")


def _check_range(domain: Domain) -> None:
    if len(domain.low) != len(domain.high) or len(domain.low) not in (0, domain.channels):
        raise ValueError("a range for each channel")
    ends = zip(domain.low, domain.high, strict=True)
    if not all(math.isfinite(low) and math.isfinite(high) and low < high for low, high in ends):
        raise ValueError("a range from low to high")
    if not domain.low and domain.dtype == "float32" and domain.kind != "labels":
        raise ValueError("float32 has no range of its own")


def _facts(saved: dict[str, Any]) -> Facts:
    """Facts as they were saved; raises ValueError if they cannot be."""
    height, width = (int(side) for side in saved["size"])
    if not (1 <= height <= MOST_SIDE and 1 <= width <= MOST_SIDE):
        raise ValueError(f"pictures of {height} x {width} px")
    channels = {str(key): int(count) for key, count in saved["channels"].items()}
    sets = {str(name): int(count) for name, count in saved.get("label_sets", {}).items()}
    scale = int(saved.get("scale", 1))
    if not 1 <= scale <= MOST_SCALE:
        raise ValueError(f"pictures made {scale} times as large")
    labels, images = int(saved["labels"]), int(saved["images"])
    maps = tuple(str(key) for key in saved.get("maps", ()))
    named = {str(name): tuple(classes) for name, classes in saved.get("classes", {}).items()}
    for name, classes in named.items():
        texts = all(isinstance(one, str) for one in classes)
        if not texts or isinstance(saved["classes"][name], str) or len(classes) != sets.get(name):
            raise ValueError(f"the classes of {name}")
    return Facts(channels, (height, width), labels, images, sets, scale, maps, named)


def _check_state(system: System, path: Path) -> None:
    """Raise FileError unless the file holds just the tensors that the system generates with."""
    weights = sum(t.numel() for t in system.state_dict().values())
    if weights > MOST_WEIGHTS:
        raise FileError(f"{path.parent} asks for {weights:,} weights, more than can be right")
    wanted = {name: list(tensor.shape) for name, tensor in generating(system).items()}
    with _opened(path) as file:
        found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    wrong = [name for name in {**wanted, **found} if wanted.get(name) != found.get(name)]
    if wrong:
        raise FileError(
            f"{path} does not fit its config.json: {len(wrong)} tensors differ, as '{wrong[0]}'; "
            "copy the translator again"
        )


def _read_state(path: Path) -> dict[str, Tensor]:
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@contextmanager
def _opened(path: Path) -> Generator[Any]:
    """A safetensors file, with one sentence for whatever is wrong with it."""
    try:
        with safe_open(path, "pt") as file:
            yield file
    except FileNotFoundError as error:
        raise FileError(f"there is no {path}; train the run further to make it") from error
    except (OSError, SafetensorError) as error:
        raise FileError(f"{path} is damaged; copy the translator again") from error


def _find(folder: str | Path) -> Path:
    """The folder with config.json, of a run, a translator or a Hub repository in the cache."""
    path = Path(folder)
    if (path / "translator" / "config.json").is_file():
        return path / "translator"
    if (path / "config.json").is_file():
        return path
    if path.exists() and not (path / "settings.yaml").is_file():
        raise FileError(f"{path} is neither a run nor a translator; name a folder that is")
    if path.exists():
        raise FileError(
            f"{path} holds no translator yet; it is written with the first checkpoint: "
            f"'dragoman resume {path}'"
        )
    if path.parent.is_dir() and path.parent != Path():
        near = did_you_mean(path.name, [p.name for p in path.parent.iterdir()])
        raise FileError(f"there is no translator {folder}{near}")
    if str(folder).count("/") == 1 and not str(folder).startswith((".", "/")):
        return _from_hub(str(folder))
    raise FileError(f"there is no translator {folder}")


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        wanted = ["config.json", "model.safetensors", "README.md"]
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise FileError(
            f"there is no folder {name}, and no such repository could be had from the Hub"
        ) from error
