"""Show that how files lie does not matter: one training through four layouts of the same tiles.

python recipes/four_layouts.py [--steps 100] [--folder runs/four_layouts]

Writes the tiles of earth64:relief,satellite as pairs of folders, as side-by-side files, as a
manifest over differently named files and as tar shards, trains pix2pix on each with the same
settings, and compares every loss of every step and every weight at the end, bit for bit.
"""

import argparse
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

import dragoman
from dragoman.cli import COMMANDS
from dragoman.data import DataSettings, open_data
from dragoman.run import Run

EARTH = "earth64:relief,satellite"
KNOBS: dict[str, Any] = {
    "size": 64,
    "crop": "fixed",
    "generator": "unet",
    "width": 32,
    "max_width": 128,
    "depth": 4,
    "norm": "group",
    "patch": 16,
    "discriminator_width": 32,
    "start": "kaiming",
    "log_every": 1,
    "live": False,
    "tensorboard": False,
}


def tiles(split: str) -> tuple[np.ndarray, np.ndarray]:
    """All tiles of a split: relief and satellite, uint8 [N, 64, 64, 3]."""
    data = open_data(DataSettings(EARTH, crop="fixed"))
    found: dict[str, list[np.ndarray]] = {"a": [], "b": []}
    for batch in data.split(split, 256):
        for key, parts in found.items():
            levels = ((batch[key] + 1) * 127.5).round().to(torch.uint8)
            parts.append(levels.permute(0, 2, 3, 1).numpy())
    return np.concatenate(found["a"]), np.concatenate(found["b"])


def write(folder: Path) -> dict[str, dict[str, str]]:
    """Write the tiles in all four layouts; returns the data settings of each."""
    rows = []
    for split in ("train", "val", "test"):
        for number, (a, b) in enumerate(zip(*tiles(split), strict=True)):
            name = f"{number:05}"
            for place, pixels in (
                (folder / "pairs" / f"{split}A" / f"{name}.png", a),
                (folder / "pairs" / f"{split}B" / f"{name}.png", b),
                (folder / "side_by_side" / split / f"{name}.png", np.concatenate([a, b], 1)),
                (folder / "manifest" / "maps" / f"{split}-{name}-relief.png", a),
                (folder / "manifest" / "photos" / f"{split}-{name}-seen.png", b),
            ):
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(place)
            relief, seen = f"maps/{split}-{name}-relief.png", f"photos/{split}-{name}-seen.png"
            rows.append({"map": relief, "photo": seen, "split": split})
    with (folder / "manifest" / "tiles.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["map", "photo", "split"])
        writer.writeheader()
        writer.writerows(rows)
    COMMANDS["pack"](str(folder / "pairs"), str(folder / "shards"))
    return {
        "pairs": {"data": str(folder / "pairs")},
        "side_by_side": {"data": str(folder / "side_by_side"), "layout": "side_by_side"},
        "manifest": {
            "data": str(folder / "manifest" / "tiles.csv"),
            "columns": "a=map,b=photo,split=split",
        },
        "shards": {"data": str(folder / "shards")},
    }


def losses(run: Run) -> list[tuple[int, dict[str, float]]]:
    """Every loss of every step."""
    lines = (run.folder / "losses.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [(one["step"], one["terms"]) for one in found if "terms" in one]


def main() -> None:
    """Write, train and compare; exits with 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=Path("runs/four_layouts"))
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    layouts = write(arguments.folder)
    runs = {
        name: dragoman.train(
            "pix2pix",
            steps=arguments.steps,
            folder=str(arguments.folder / f"run-{name}"),
            **KNOBS,
            **settings,
        )
        for name, settings in layouts.items()
    }
    first, *others = runs
    expected = losses(runs[first])
    weights = load_file(runs[first].translator / "model.safetensors")
    print(f"{len(expected)} lines of losses, the last: {expected[-1]}")
    same = True
    for name in others:
        equal = losses(runs[name]) == expected
        found = load_file(runs[name].translator / "model.safetensors")
        bits = all(torch.equal(found[key], value) for key, value in weights.items())
        print(
            f"{first} and {name}: losses {'equal' if equal else 'DIFFER'}, "
            f"weights {'equal bit for bit' if bits else 'DIFFER'}"
        )
        same = same and equal and bits
    raise SystemExit(0 if same else 1)


if __name__ == "__main__":
    main()
