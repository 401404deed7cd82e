"""Folders that the doctor looks at; each test has a cache of its own."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from patients import COUNTS, noise, save

from dragoman.data import DataSettings, open_data


@pytest.fixture(scope="session")
def tiles():
    """Tiles of relief (a) and satellite (b): by split and key, uint8 [N, 64, 64, 3]."""
    source = open_data(DataSettings(data="earth64:relief,satellite"))._source
    found = {}
    for split, count in COUNTS.items():
        rows = np.linspace(0, source.count(split, "a") - 1, count).astype(np.int64)
        for key in "ab":
            stored = source.pictures(split, key, rows, None, source.size)
            found[split, key] = np.ascontiguousarray(stored.transpose(0, 2, 3, 1))
    return found


@pytest.fixture(scope="session")
def sound(tiles, tmp_path_factory):
    """A folder of pairs of which nothing is to be said; must not be changed."""
    folder = tmp_path_factory.mktemp("sound")
    for (split, key), pictures in tiles.items():
        for number, picture in enumerate(pictures):
            save(folder / f"{split}{key.upper()}" / f"{number:02}.png", picture)
    return folder


@pytest.fixture
def pairs(sound, tmp_path):
    """A copy of the sound folder, to be spoilt."""
    return Path(shutil.copytree(sound, tmp_path / "pairs"))


@pytest.fixture(autouse=True)
def cache(tiles, tmp_path_factory, monkeypatch):
    """A cache of its own for each test, once the embedded set is built."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DRAGOMAN_CACHE", str(folder))
    return folder


@pytest.fixture
def maps(tmp_path):
    """Label maps of the classes 0 to 2, with 255 where nothing is known, and photos."""
    for number in range(30):
        classes = np.repeat(np.arange(3, dtype=np.uint8), 11)[:32, None].repeat(32, 1)
        classes = np.roll(classes, number, 0)
        classes[:4, :8] = 255
        for key, pixels in (("A", classes), ("B", noise(number))):
            save(tmp_path / f"train{key}" / f"{number:02}.png", pixels)
    return tmp_path
