"""The translator: a saved system that is loaded with no further flag and used on pictures."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dragoman import __version__
from dragoman.checkpoint import write, write_text
from dragoman.data.catalogue import Domain
from dragoman.data.credits import credits_of
from dragoman.data.single import from_tensor, to_tensor
from dragoman.engine import find_device
from dragoman.errors import DataError, FileError, SettingsError, did_you_mean
from dragoman.report.card import model_card
from dragoman.run import Run, read_json
from dragoman.settings import build, own_values
from dragoman.system import Batch, Facts, System
from dragoman.systems import find_system

if TYPE_CHECKING:
    from dragoman.data import Data

Picture = Image.Image | np.ndarray | Tensor

MOST_WEIGHTS = 1 << 30  # of a system that a file asks for; 4 GiB
MOST_PIXELS = 8192  # of a side of the training pictures, as the setting `size` allows


class Translator:
    """Makes pictures with a trained system; input and output may have any size."""

    def __init__(self, system: System, config: dict[str, Any], device: str = "auto") -> None:
        self.system, self.config = system.eval().requires_grad_(False), config
        self.to(device)
        self.source = _domain(config["domains"].get(system.source))
        self.target = _domain(config["domains"].get(system.target or system.source))

    def to(self, device: str) -> "Translator":
        """Move to a device: auto, cpu, cuda or cuda:N; returns itself."""
        self.device = find_device(device)
        self.system.to(self.device)
        return self

    @overload
    def __call__(self, picture: Image.Image, seed: int = 0) -> Image.Image: ...
    @overload
    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray: ...
    @overload
    def __call__(self, picture: Tensor, seed: int = 0) -> Tensor: ...
    def __call__(self, picture: Picture, seed: int = 0) -> Picture:
        """Translate one picture and return one of the same kind and size.

        picture: a PIL picture; a uint8 array [H, W] or [H, W, C]; a label map of class numbers
        [H, W]; or a tensor [C, H, W] or [B, C, H, W] in [-1, 1]. seed: of the system's noise.
        Raises DataError if its channels are not those the system was trained on.
        """
        if isinstance(picture, Tensor):
            batch = picture if picture.dim() == 4 else picture[None]
            made = self.translate(batch, seed)
            return made if picture.dim() == 4 else made[0]
        if isinstance(picture, Image.Image):
            array = np.asarray(_mode(self.source, picture))
            made = self.translate(to_tensor(self.source, array), seed)
            return Image.fromarray(from_tensor(self.target, made)[0])
        made = self.translate(to_tensor(self.source, np.asarray(picture)), seed)
        return from_tensor(self.target, made)[0]

    def translate(self, pictures: Tensor, seed: int = 0) -> Tensor:
        """Translate [B, C, H, W] in [-1, 1] of any height and width; returns float32 on the CPU."""
        wanted = self.system.facts.channels[self.system.source]
        if pictures.dim() != 4 or pictures.shape[1] != wanted:
            raise DataError(
                f"this translator reads pictures of {wanted} channels, "
                f"this one has shape {list(pictures.shape)}"
            )
        if 0 in pictures.shape:
            raise DataError(f"the picture is empty: its shape is {list(pictures.shape)}")
        if not pictures.is_floating_point() or not pictures.abs().max() <= 1 + 1e-4:
            raise DataError(
                "a tensor must hold floats in [-1, 1], as in pixels / 127.5 - 1; "
                f"this one is {pictures.dtype} from {pictures.min():g} to {pictures.max():g}"
            )
        height, width = pictures.shape[2:]
        padded = pad(pictures.float(), self.system.stride, min(self.system.facts.size))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made = self.generate({self.system.source: padded})
        scale = made.shape[-1] // padded.shape[-1] or 1
        return made[..., : height * scale, : width * scale]

    @torch.no_grad()
    def generate(self, batch: Batch) -> Tensor:
        """The system's pictures for a batch, float32 on the CPU."""
        batch = {key: value.to(self.device) for key, value in batch.items()}
        return self.system.generate(batch).float().cpu()

    def save(self, folder: str | Path) -> Path:
        """Write the translator as a folder in Hub layout and return its path."""
        folder = Path(folder)
        kept = {n: t.cpu().contiguous() for n, t in _generating(self.system).items()}
        metadata = {"format": "pt"}
        write(folder / "model.safetensors", lambda file: save_file(kept, file, metadata=metadata))
        write_text(folder / "config.json", json.dumps(self.config, indent=1) + "\n")
        self.write_card(folder, None)
        return folder

    def write_card(self, folder: Path, scores: dict[str, Any] | None) -> None:
        """Write the model card, with scores if there are any."""
        write_text(folder / "README.md", model_card(self.config, scores, self.config["credits"]))


def pad(pictures: Tensor, stride: int, least: int) -> Tensor:
    """Mirror [B, C, H, W] below and to the right up to multiples of `stride`, at least `least`."""

    def mirror(size: int) -> Tensor:
        wanted = -(-max(size, least) // stride) * stride
        place = torch.arange(wanted, device=pictures.device) % (2 * size)
        return torch.where(place < size, place, 2 * size - 1 - place)

    height, width = pictures.shape[2:]
    return pictures[:, :, mirror(height)][..., mirror(width)]


def save_translator(
    run: Run, system: System, data: "Data", name: str, values: dict[str, Any]
) -> None:
    """Save what a run has learned so far as its translator; `system` is the one that generates."""
    own = own_values(type(system).Settings, values)
    config = {
        "library": "dragoman",
        "version": __version__,
        "system": name,
        "settings": own,
        "facts": asdict(system.facts),
        "domains": {key: asdict(domain) for key, domain in data.domains.items()},
        "data": data.name,
        "training": {k: v for k, v in values.items() if k not in own},
        "credits": credits_of(values["data"]),
    }
    translator = Translator.__new__(Translator)  # not moved, not frozen: training goes on
    translator.system, translator.config = system, json.loads(json.dumps(config))
    translator.save(run.translator)


def _generating(system: System) -> dict[str, Tensor]:
    """The state of the networks that `generate` needs: the averaged ones, or all."""
    chosen = {id(network) for network in system.generates()}
    names = [n for n, network in system.named_children() if id(network) in chosen]
    state = system.state_dict()
    return {k: v.detach() for k, v in state.items() if k.split(".")[0] in names}


def load(folder: str | Path, device: str = "auto") -> Translator:
    """Load a translator from a run, a saved translator folder or a Hub repository name.

    Everything it needs is in the folder; nothing in it is ever run.
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
        translator = Translator(system, config, "cpu")
    except (
        LookupError,
        ArithmeticError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
    ) as error:
        raise FileError(f"{place / 'config.json'} does not describe a translator") from error
    except SettingsError as error:
        raise FileError(
            f"{place / 'config.json'} does not describe a translator: {error}"
        ) from error
    return translator.to(device)


def _facts(saved: dict[str, Any]) -> Facts:
    """Facts as they were saved; raises ValueError if they cannot be."""
    height, width = (int(side) for side in saved["size"])
    if not (1 <= height <= MOST_PIXELS and 1 <= width <= MOST_PIXELS):
        raise ValueError(f"pictures of {height} x {width} px")
    channels = {str(key): int(count) for key, count in saved["channels"].items()}
    return Facts(channels, (height, width), int(saved["labels"]), int(saved["images"]))


def _check_state(system: System, path: Path) -> None:
    """Raise FileError unless the file holds just the tensors that the system generates with."""
    weights = sum(t.numel() for t in system.state_dict().values())
    if weights > MOST_WEIGHTS:
        raise FileError(f"{path.parent} asks for {weights:,} weights, more than can be right")
    wanted = {name: list(tensor.shape) for name, tensor in _generating(system).items()}
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


def _domain(found: dict[str, Any] | None) -> Domain:
    """A domain from its saved form."""
    if found is None:
        raise SettingsError("the translator's config.json names no domain of its pictures")
    plain = dict(found)
    plain["classes"] = tuple(plain.get("classes", ()))
    plain["palette"] = tuple(tuple(colour) for colour in plain.get("palette", ()))
    return Domain(**plain)


def _mode(domain: Domain, picture: Image.Image) -> Image.Image:
    """Bring a PIL picture to the domain's channels; label maps stay numbers."""
    if domain.kind == "labels":
        if picture.mode not in ("L", "P", "I", "I;16"):
            raise DataError(
                f"a label map must hold one class number a pixel, this picture is {picture.mode}"
            )
        return picture
    if picture.mode.startswith("I") or picture.mode == "F":
        raise DataError(
            f"a PIL picture must have 8 bits a channel, this one is {picture.mode}; convert it to 8"
        )
    modes = {1: "L", 3: "RGB"}
    if domain.channels not in modes:
        raise DataError(f"give an array: PIL pictures have no {domain.channels} channels")
    return (
        picture
        if picture.mode == modes[domain.channels]
        else picture.convert(modes[domain.channels])
    )
