"""How files lie does not matter: the same pictures give the same training, bit for bit."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import dragoman
from dragoman.cli import COMMANDS

TINY = Path(__file__).parent / "data" / "tiny" / "earth32"


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """The tiny set as pairs with given splits, side by side, by manifest, and in shards."""
    folder = tmp_path_factory.mktemp("layouts")
    rows = []
    for number, path in enumerate(sorted((TINY / "trainA").iterdir())):
        split = {14: "val", 15: "test"}.get(number, "train")
        a, b = (np.asarray(Image.open(TINY / f"train{key}" / path.name)) for key in "AB")
        for place, pixels in (
            (folder / "pairs" / f"{split}A" / path.name, a),
            (folder / "pairs" / f"{split}B" / path.name, b),
            (folder / "ab" / split / path.name, np.concatenate([a, b], 1)),
            (folder / "list" / "one" / f"{number:02}.bmp", a),
            (folder / "list" / "two" / f"{number:02}x.webp", b),
        ):
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place, lossless=True)
        rows.append((f"one/{number:02}.bmp", f"two/{number:02}x.webp", split))
    with (folder / "list" / "all.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("relief", "seen", "split"), *rows])
    COMMANDS["pack"](str(folder / "pairs"), str(folder / "shards"))
    return {
        "pairs": {"data": str(folder / "pairs")},
        "side by side": {"data": str(folder / "ab"), "layout": "side_by_side"},
        "manifest": {"data": str(folder / "list" / "all.csv"), "columns": "a=relief,b=seen"},
        "shards": {"data": str(folder / "shards")},
    }


def trained(tiny, folder: Path, **data):
    """Losses of every step and the weights at the end."""
    knobs: dict[str, Any] = {**tiny, **data, "log_every": 1, "tensorboard": False}
    run = dragoman.train("pix2pix", folder=str(folder), steps=3, **knobs)
    lines = [json.loads(line) for line in (run.folder / "losses.jsonl").read_text().splitlines()]
    return [line["terms"] for line in lines if "terms" in line], load_file(
        run.translator / "model.safetensors"
    )


def test_four_layouts_give_bit_identical_losses(layouts, tiny, tmp_path):
    found = {name: trained(tiny, tmp_path / name, **data) for name, data in layouts.items()}
    losses, weights = found.pop("pairs")
    assert len(losses) == 3
    for name, (others, others_weights) in found.items():
        assert others == losses, name
        assert all(torch.equal(others_weights[key], value) for key, value in weights.items()), name
