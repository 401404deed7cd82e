"""Folders of pictures for the doctor: sound ones, and ways to spoil them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dragoman.data import DataSettings
from dragoman.data.doctor import Finding, Findings, check, examine
from dragoman.data.domains import describe
from dragoman.data.tables import open_table

COUNTS = {"train": 16, "val": 12, "test": 12}  # pairs in the sound folder
SIZE = 64


def save(path: Path, pixels: np.ndarray, **options) -> None:
    """Write a picture, and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def noise(seed: int, height: int = 32, width: int = 32, channels: int = 3) -> np.ndarray:
    """A picture unlike all others: smooth noise of full contrast."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, channels), np.uint8)
    planes = [
        np.asarray(Image.fromarray(small[..., c]).resize((width, height), Image.Resampling.BICUBIC))
        for c in range(channels)
    ]
    return planes[0] if channels == 1 else np.stack(planes, -1)


def settings_of(data: object, options: dict[str, Any]) -> DataSettings:
    """Settings of the sound folder, but for `options`."""
    values: dict[str, Any] = {"data": str(data), "size": SIZE, **options}
    return DataSettings(**values)


def checked(data: object, **options: Any) -> Findings:
    """What the whole examination finds."""
    limit = options.pop("limit", 0)
    return check(settings_of(data, options), limit)


def before_training(data: object, say=None, **options: Any) -> Findings:
    """What is found before a training."""
    settings = settings_of(data, options)
    table = open_table(settings)
    return examine(table, describe(table, settings), settings, fatal_only=True, say=say)


def codes_of(findings: Findings) -> list[str]:
    """The codes of all findings in their order."""
    return [one.code for one in findings.found]


def one_of(findings: Findings, code: str) -> Finding:
    """The only finding of a code."""
    found = [one for one in findings.found if one.code == code]
    assert len(found) == 1, codes_of(findings)
    return found[0]


def truncate(path: Path) -> None:
    """Cut a file off."""
    path.write_bytes(path.read_bytes()[:-200])


def spoil_partner(folder: Path) -> None:
    """Leave two pictures alone."""
    (folder / "trainB" / "03.png").unlink()
    save(folder / "valA" / "alone.png", noise(1, 64, 64))


def spoil_name(folder: Path) -> None:
    """Give two pictures one name."""
    shutil.copy(folder / "trainA" / "03.png", folder / "trainA" / "03.bmp")


def spoil_files(folder: Path) -> None:
    """Cut one file off, and empty another."""
    truncate(folder / "trainA" / "03.png")
    (folder / "testB" / "04.png").write_bytes(b"")


def spoil_size(folder: Path) -> None:
    """Make a partner wider."""
    save(folder / "trainB" / "03.png", noise(1, 64, 80))


def spoil_depth(folder: Path) -> None:
    """Give a picture 16 bits."""
    save(folder / "trainB" / "03.png", np.full((64, 64), 40_000, np.uint16))


def spoil_pixels(folder: Path) -> None:
    """Make a pair larger than is allowed."""
    for key in "AB":
        save(folder / f"train{key}" / "03.png", noise(ord(key), 128, 128))


def spoil_strip(folder: Path) -> None:
    """Make a pair too long and narrow."""
    for key in "AB":
        save(folder / f"train{key}" / "03.png", noise(ord(key), 2, 3000))


def spoil_folder(folder: Path) -> None:
    """Put a folder in the place of a picture."""
    (folder / "trainA" / "03.png").unlink()
    (folder / "trainA" / "03.png").mkdir()
