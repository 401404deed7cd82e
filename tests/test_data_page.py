"""Every command that the pages about data show works on files that lie as they say."""

import csv
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from noisy import noisy
from PIL import Image
from synthetic import FACTS, translator

from dragoman.cli import main
from dragoman.data import DataSettings, open_data
from dragoman.settings import build
from dragoman.system import Facts
from dragoman.training import settle_settings

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [DOCS / "data.md", DOCS / "embedded_data.md"]
PAGE = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("dragoman")]
COUNT = 12


def save(path: Path, number: int, channels: int = 3, seed: int = 0) -> None:
    """A picture of noise over a level that its number gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (32, 32) if channels == 1 else (32, 32, channels)
    noise = np.random.default_rng([seed, number]).integers(0, 60, shape)
    Image.fromarray((noise + 15 * number).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with everything that the page names."""
    folder = tmp_path_factory.mktemp("page")
    for number in range(COUNT):
        write_one(folder, number)
    rows = [("scene", "seen_from_above", "species", "split")]
    label_rows = [("file", "age", "hair")]
    for number in range(COUNT):
        split = {3: "val", 7: "test"}.get(number, "train")
        species = ("oak", "ash", "")[number % 3]
        rows.append((f"maps/{number}.tif", f"photos/{number}.jpg", species, split))
        label_rows.append((f"{number:03}.jpg", ("young", "", "old")[number % 3], "black"))
    for name, content in (("tiles.csv", rows), ("labels.csv", label_rows)):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(content)
    write_parquet(folder / "folder_with_parquet")
    save(folder / "pictures" / "1.png", 1)
    write_runs(folder)
    return folder


def classed(**sets: tuple[str, ...]) -> Facts:
    """Facts of data with these label sets."""
    counts = {name: len(classes) for name, classes in sets.items()}
    return replace(FACTS, labels=next(iter(counts.values())), label_sets=counts, classes=sets)


def write_runs(folder: Path) -> None:
    """Translators of the kinds that the page names."""
    noisy().save(folder / "RUN")
    for name in ("cyclegan", "munit"):
        translator(name).save(folder / f"{name.upper()}_RUN")
    people = classed(tone=("light", "dark"), gender=("man", "woman"))
    earth = classed(domain=("topo", "relief", "satellite"))
    translator("stargan", people, domains="tone+gender").save(folder / "STARGAN_RUN")
    translator("starganv2", earth).save(folder / "STARGANV2_RUN")


def write_one(folder: Path, number: int) -> None:
    """The files of one number in every layout."""
    split = {3: "val", 7: "test"}.get(number, "train")
    name = f"{number}.png"
    for place in ("horses", "zebras", "landcover"):
        save(folder / place / name, number, seed=sum(place.encode()))
    for place in ("red", "nir", "radar"):
        save(folder / place / name, number, 1)
    save(folder / "drawings" / name, number, 1)
    save(folder / "photos" / f"{number}.jpg", number)
    for key in "AB":
        save(folder / "set" / f"{split}{key}" / name, number)
    save(folder / "ab" / split / name, number)
    save(folder / "animals" / ("cat", "dog", "owl")[number % 3] / name, number)
    save(folder / "imagefolder" / "train" / ("cat", "dog")[number % 2] / name, number)
    save(folder / "faces" / f"{number:03}.jpg", number)
    labels = (np.arange(1024).reshape(32, 32) % 35).astype(np.uint8)
    labels[0] = 255
    (folder / "maps").mkdir(exist_ok=True)
    tifffile.imwrite(folder / "maps" / f"{number}.tif", labels)
    (folder / "heights").mkdir(exist_ok=True)
    metres = np.linspace(-300, 4000 + number, 1024).reshape(32, 32).astype(np.int16)
    tifffile.imwrite(folder / "heights" / f"{number}.tif", metres)


def write_parquet(folder: Path) -> None:
    """A data set of Hugging Face with two columns of pictures."""
    import datasets

    rows = {key: [] for key in ("input", "target")}
    for number in range(COUNT):
        for key, column in rows.items():
            path = folder.parent / "for_parquet" / key / f"{number}.png"
            save(path, number)
            column.append({"bytes": path.read_bytes(), "path": None})
    features = datasets.Features({key: datasets.Image() for key in rows})
    folder.mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "train.parquet")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_shown_command_works(files, command, monkeypatch, tmp_path):
    monkeypatch.chdir(files)
    words = shlex.split(command, comments=True)[1:]
    if "shards" in words and words[0] != "pack" and not (files / "shards").exists():
        run(["pack", "set", "shards"])
    if words[0] == "train":
        _, values = settle_settings(words[1], {"size": 16}, words[2:])
        data = open_data(build(DataSettings, values))
        data.check()
        assert data.counts["train"] >= 3
        wanted = {"low", "high"} if "--scale" in words else {"a", "b"}
        assert set(data.rows("train", [0])) >= wanted
        return
    if words[0] == "preview":
        words += ["--out", str(tmp_path / "preview.png"), "--size", "16"]
    if words[0] == "pack":
        words[-1] = str(tmp_path / "out")
    if words[0] in ("translate", "styles"):
        words[3] = str(tmp_path / words[3])
    run(words)


def run(words: list[str]) -> None:
    """A command that must end well."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0


def test_the_page_shows_every_layout():
    from typing import get_args

    from dragoman.data.settings import Layout

    shown = "\n".join(COMMANDS)
    assert len(COMMANDS) >= 14
    for word in ("--layout side_by_side", "hf:", "tiles.csv", "shards", "+", "--labels", "animals"):
        assert word in shown, word
    assert len(get_args(Layout)) == 8, "a new layout wants an example here"
