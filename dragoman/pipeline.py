"""The translator: a saved system that is loaded with no further flag and used on pictures."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dragoman import __version__
from dragoman.checkpoint import settle, write_text
from dragoman.data.catalogue import Domain
from dragoman.data.credits import credits_of
from dragoman.data.single import from_tensor, to_tensor
from dragoman.engine import find_device
from dragoman.errors import DataError, FileError, SettingsError
from dragoman.report.card import model_card
from dragoman.run import Run, read_json
from dragoman.settings import build, own_values
from dragoman.system import Batch, Facts, System
from dragoman.systems import find_system

if TYPE_CHECKING:
    from dragoman.data import Data

Picture = Image.Image | np.ndarray | Tensor


class Translator:
    """Makes pictures with a trained system; input and output may have any size."""

    def __init__(self, system: System, config: dict[str, Any], device: str = "auto") -> None:
        self.device = find_device(device)
        self.system = system.to(self.device).eval().requires_grad_(False)
        self.config = config
        self.source = _domain(config["domains"].get(system.source))
        self.target = _domain(config["domains"].get(system.target or system.source))

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
        height, width = pictures.shape[2:]
        padded = pad(pictures, self.system.stride, min(self.system.facts.size))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made = self.generate({self.system.source: padded})
        scale = made.shape[-1] // padded.shape[-1] or 1
        return made[..., : height * scale, : width * scale]

    @torch.inference_mode()
    def generate(self, batch: Batch) -> Tensor:
        """The system's pictures for a batch, float32 on the CPU."""
        batch = {key: value.to(self.device) for key, value in batch.items()}
        return self.system.generate(batch).float().cpu()

    def save(self, folder: str | Path) -> Path:
        """Write the translator as a folder in Hub layout and return its path."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        kept = {n: t.contiguous() for n, t in _generating(self.system).items()}
        temporary = folder / ".model.safetensors"
        save_file(kept, temporary, metadata={"format": "pt"})
        settle(temporary, folder / "model.safetensors")
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
    return {k: v.detach().cpu() for k, v in state.items() if k.split(".")[0] in names}


def load(folder: str | Path, device: str = "auto") -> Translator:
    """Load a translator from a run, a saved translator folder or a Hub repository name.

    Everything it needs is in the folder; nothing in it is ever run.
    Raises FileError if it is missing, damaged or not a translator.
    """
    place = _find(folder)
    config = read_json(place / "config.json")
    try:
        kind = find_system(config["system"])
        facts = Facts(
            channels={str(k): int(v) for k, v in config["facts"]["channels"].items()},
            size=(int(config["facts"]["size"][0]), int(config["facts"]["size"][1])),
            labels=int(config["facts"]["labels"]),
            images=int(config["facts"]["images"]),
        )
        system = kind(build(kind.Settings, config["settings"]), facts)
        _load_state(system, place / "model.safetensors")
        return Translator(system, config, device)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise FileError(f"{place / 'config.json'} does not describe a translator") from error


def _load_state(system: System, path: Path) -> None:
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise FileError(f"there is no {path}; train the run further to make it") from error
    except (OSError, SafetensorError) as error:
        raise FileError(f"{path} is damaged; copy the translator again") from error
    wanted = _generating(system)
    wrong = [n for n in wanted if n not in state or state[n].shape != wanted[n].shape]
    wrong += [name for name in state if name not in wanted]
    if wrong:
        raise FileError(
            f"{path} does not fit its config.json: {len(wrong)} tensors differ, as '{wrong[0]}'"
        )
    system.load_state_dict(state, strict=False)


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
    modes = {1: "L", 3: "RGB"}
    if domain.channels not in modes:
        raise DataError(f"give an array: PIL pictures have no {domain.channels} channels")
    return (
        picture
        if picture.mode == modes[domain.channels]
        else picture.convert(modes[domain.channels])
    )
