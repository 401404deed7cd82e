"""Pictures of four colours in a folder each, and the knobs of a tiny FUNIT that learns them."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {"blue": (30, 60, 220), "green": (40, 190, 50), "grey": (130, 130, 130)}
COLOURS |= {"red": (220, 40, 30)}
COUNTS = {"train": 6, "val": 4, "test": 4}
KNOBS: dict[str, Any] = {
    "layout": "classes",
    "unseen": "red",
    "size": 32,
    "steps": 2,
    "batch": 4,
    "examples": 2,
    "width": 4,
    "depth": 2,
    "class_depth": 3,
    "latent": 8,
    "mapping_width": 16,
    "discriminator_width": 4,
    "discriminator_depth": 4,
    "precision": "fp32",
    "device": "cpu",
    "live": False,
}


def lay_out(folder: Path) -> str:
    """Write noisy pictures of each colour, of which no two show the same thing; return the path."""
    generator = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                noisy = colour + generator.normal(0, 12, (32, 32, 3))
                picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
                picture.save(folder / split / name / f"{split}_{name}_{number}.png")
    return str(folder)
