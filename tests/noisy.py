"""A translator whose noise can be seen, and pictures to translate."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from synthetic import FACTS, make

from dragoman.pipeline import Translator
from dragoman.system import Facts
from dragoman.translating.record import NAME as RECORD

COLOUR = {"name": "photo", "kind": "photo", "channels": 3}
GREY = {"name": "relief", "kind": "drawing", "channels": 1}
MAP = {"name": "cover", "kind": "labels", "channels": 4}
SIX = {"name": "bands", "kind": "values", "channels": 6, "dtype": "uint8"}
HEIGHT = {
    "name": "height",
    "kind": "values",
    "channels": 1,
    "dtype": "int16",
    "low": [-6500.0],
    "high": [6500.0],
}


def noisy(a: dict = COLOUR, b: dict = COLOUR, **over: Any) -> Translator:
    """A translator with dropout and weights so large that its noise shows in 8 bits."""
    facts = Facts({"a": a["channels"], "b": b["channels"]}, FACTS.size, images=1)
    knobs: dict[str, Any] = {"generator": "resnet", "blocks": 1, "dropout": 0.5, **over}
    system = make("pix2pix", facts=facts, **knobs)
    with torch.no_grad():
        for parameter in system.get_submodule("generator").parameters():
            parameter.mul_(20)
    config = {
        "library": "dragoman",
        "version": "0",
        "system": "pix2pix",
        "settings": vars(system.settings),
        "facts": {"channels": facts.channels, "size": list(facts.size), "labels": 0, "images": 1},
        "domains": {"a": a, "b": b},
        "data": "synthetic",
        "training": {},
        "credits": "",
    }
    return Translator(system, config, "cpu")


def photograph(width: int, height: int, channels: int = 3) -> np.ndarray:
    """A smooth picture with different sides and channels."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 100 * np.sin(0.2 * x + n) * np.cos(0.1 * y) for n in range(channels)]
    picture = np.stack(planes, -1).astype(np.uint8)
    return picture[..., 0] if channels == 1 else picture


def some_pictures(folder: Path) -> Path:
    """A folder with pictures of several formats, in folders and beside other files."""
    (folder / "deep").mkdir(parents=True)
    Image.fromarray(photograph(20, 30)).save(folder / "one.png")
    Image.fromarray(photograph(33, 9)).save(folder / "deep" / "two.jpg")
    Image.fromarray(photograph(8, 8, 1)).save(folder / "grey.BMP")
    Image.new("RGBA", (5, 6), (255, 0, 0, 0)).save(folder / "clear.webp")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes((folder / "one.png").read_bytes())
    return folder


def names(folder: Path) -> list[str]:
    """What lies below a folder, hidden files included, but for the record of what made it."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != RECORD]
    return sorted(path.relative_to(folder).as_posix() for path in found)
