"""The pictures that a run saves while it trains, and how they are read back for its report.

samples/step_000400.png is a sheet for people; inputs.png, truth.png and outputs_000400.png hold the
raw pictures, one column of tiles each, and tiles.json says how large the tiles are.
"""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from dragoman.errors import FileError
from dragoman.report.sheet import as_rgb, sheet

MOST_PIXELS = 64_000_000  # of one column of tiles; more is not read
MOST_BYTES = 1 << 20  # of tiles.json


@dataclass(frozen=True)
class Samples:
    """What a run saved: uint8 [N, H, W, 3] arrays, outputs by step; empty if nothing was saved."""

    inputs: np.ndarray | None = None
    truth: np.ndarray | None = None
    outputs: dict[int, np.ndarray] = field(default_factory=dict)
    split: str = ""


def save_samples(
    folder: Path,
    step: int,
    inputs: np.ndarray | None,
    outputs: np.ndarray,
    truth: np.ndarray | None = None,
    split: str = "",
) -> Path:
    """Save the pictures of one step in the run folder and return the path of the sheet.

    inputs, outputs, truth: uint8 [N, H, W, 3] or [N, H, W, 1], the same examples at every step;
    inputs or truth may be missing. split: where the examples are from, said in the report.
    Raises DataError for other arrays.
    """
    place = Path(folder) / "samples"
    place.mkdir(parents=True, exist_ok=True)
    given = {"input": inputs, "output": outputs, "truth": truth}
    columns = {name: as_rgb(name, array) for name, array in given.items() if array is not None}
    picture = sheet(columns)
    files = {"input": "inputs.png", "output": f"outputs_{step:06d}.png", "truth": "truth.png"}
    tiles: dict[str, object] = {"count": len(outputs), "split": split}
    for name, stack in columns.items():
        count, height, width, _ = stack.shape
        save_png(Image.fromarray(stack.reshape(count * height, width, 3)), place / files[name])
        tiles[name] = [height, width]
    temporary = place / "tiles.tmp"
    temporary.write_text(json.dumps(tiles) + "\n", encoding="utf-8")
    temporary.replace(place / "tiles.json")
    path = place / f"step_{step:06d}.png"
    save_png(picture, path)
    return path


def save_png(picture: Image.Image, path: Path) -> None:
    """Write a PNG atomically: a killed run leaves no half picture."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    picture.save(temporary, format="PNG")
    temporary.replace(path)


def saved_steps(folder: Path) -> list[int]:
    """Return the steps of which outputs were saved, ascending."""
    names = (path.name for path in (Path(folder) / "samples").glob("outputs_*.png"))
    found = (re.fullmatch(r"outputs_(\d{6,12})\.png", name) for name in names)
    return sorted(int(match[1]) for match in found if match)


def read_samples(folder: Path, steps: list[int] | None = None) -> Samples:
    """Read the saved pictures of some steps (all by default); raises FileError if damaged."""
    place = Path(folder) / "samples"
    steps = saved_steps(folder) if steps is None else steps
    if not steps:
        return Samples()
    tiles = read_tiles(place / "tiles.json")
    count = tiles["count"]
    columns = {
        name: read_column(place / file, count, tiles[name]) if name in tiles else None
        for name, file in (("input", "inputs.png"), ("truth", "truth.png"))
    }
    outputs = {
        step: read_column(place / f"outputs_{step:06d}.png", count, tiles["output"])
        for step in steps
    }
    return Samples(columns["input"], columns["truth"], outputs, str(tiles.get("split", ""))[:100])


def read_tiles(path: Path) -> dict:
    """Read and check tiles.json: {"count", "split", "input"?: [H, W], "output", "truth"?}."""
    try:
        with path.open("rb") as file:
            tiles = json.loads(file.read(MOST_BYTES))
        sizes = [tiles[name] for name in ("input", "output", "truth") if name in tiles]
        numbers = [tiles["count"], *(side for size in sizes for side in size)]
        fits = all(type(number) is int and number > 0 for number in numbers)
        if not fits or any(len(size) != 2 for size in sizes) or "output" not in tiles:
            raise ValueError("it does not describe tiles")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileError(f"cannot read {path}: {error}") from error
    return tiles


def read_column(path: Path, count: int, size: list[int]) -> np.ndarray:
    """Read a column of tiles as uint8 [N, H, W, 3]; its size is checked before it is decoded."""
    height, width = size
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.size != (width, count * height):
                raise ValueError(f"{picture.size[0]} x {picture.size[1]} px do not fit tiles.json")
            if width * count * height > MOST_PIXELS:
                raise ValueError(f"it holds more than {MOST_PIXELS:,} px")
            pixels = np.array(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FileError(f"cannot read {path}: {error}") from error
    return pixels.reshape(count, height, width, 3)
