"""Score translations in drawn styles and in those of example pictures, on the same test pictures.

python recipes/by_reference.py RUN ... [--styles 4] [--split test] [--out JSON] [--sheet OUT.png]
    [--way "light to dark"]

For runs whose styles are drawn or taken from a picture (starganv2, munit). Every picture whose true
counterpart is known is translated in so many drawn styles of its own, and in those of as many
training pictures of the wanted domain, others for every eight pictures. "l1" and "lpips" are to the
truth, means over all answers; "diversity" is the mean LPIPS between the answers to one picture.
Means over the ways of the means over their pictures. --sheet: what the first run makes of test
pictures (down) as the examples (across) show, the first --way or that of the name.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import dragoman
from dragoman.data import Data, open_data
from dragoman.data.settings import DataSettings
from dragoman.domain_judging import spread, ways
from dragoman.errors import SettingsError, choose
from dragoman.metrics import METRICS, answers_metrics
from dragoman.pipeline import Translator, drawing
from dragoman.report.sheet import sheet
from dragoman.run import Run
from dragoman.settings import build
from dragoman.two_way import OTHER

AT_ONCE = 8  # pictures that are shown the same examples
ROWS = 5  # of the sheet


@dataclass(frozen=True)
class Given:
    """One way: where to, whose pictures, and the training pictures that may be shown."""

    name: str
    asked: dict[str, Any]
    keys: tuple[str, str]  # of the picture and of the truth
    rows: list[int]
    truths: list[int]
    pool: list[int]


def among(translator: Translator, data: Data, split: str) -> list[Given]:
    """The ways among many domains whose truth is known, or between the two."""
    system, found = translator.system, []
    if not system.domains():
        if not data.partners(split):
            return []
        rows = list(range(data.counts[split]))
        for to in ("b", "a"):
            pool = list(range(data.count("train", to)))
            found.append(Given(f"to {to}", {"to": to}, (OTHER[to], to), rows, rows, pool))
        return found
    for way in ways(system, data, split):
        if way.paired:
            number = list(system.domains()[way.label_set]).index(way.target)
            pool = np.flatnonzero(data.classes("train", way.label_set) == number).tolist()
            asked, keys = {"domain": f"{way.label_set}={way.target}"}, ("image", "image")
            rows, truths = way.rows.tolist(), way.truths.tolist()
            found.append(Given(way.name, asked, keys, rows, truths, pool))
    return found


def ways_of(translator: Translator, data: Data, split: str) -> list[Given]:
    """The same; raises SettingsError if there is none."""
    found = among(translator, data, split)
    if not found:
        raise SettingsError(
            f"{data.name} knows no counterparts in the split '{split}'; name another"
        )
    return found


def examples(data: Data, given: Given, count: int, part: int) -> Tensor:
    """The pictures [K, C, H, W] that part number `part` of the pictures is shown."""
    if len(given.pool) < count:
        raise SettingsError(
            f"--styles {count} is more than the {len(given.pool)} training pictures '{given.name}'"
        )
    order = np.random.default_rng(0).permutation(given.pool)
    places = (np.arange(count) + part * count) % len(order)
    return data.rows("train", order[places].tolist())[given.keys[1]]


def in_shown(translator: Translator, given: Given, pictures: Tensor, shown: Tensor) -> list[Tensor]:
    """What is made of pictures in the style of each example, [B, C, H, W] each."""
    several = [translator.choosing(**given.asked, reference=one[None]) for one in shown]
    return [one.generate({given.keys[0]: pictures}).clamp(-1, 1) for one in several]


def in_drawn(
    translator: Translator, given: Given, pictures: Tensor, count: int, part: int
) -> list[Tensor]:
    """So many answers to pictures, each in a drawn style of its own, [B, C, H, W] each."""
    into, made = translator.choosing(**given.asked), []
    for number in range(count):
        with drawing(part * count + number, into.device):
            made.append(into.generate({given.keys[0]: pictures}).clamp(-1, 1))
    return made


def scored(
    translator: Translator, data: Data, split: str, given: Given, count: int
) -> dict[str, dict[str, float]]:
    """The measures "drawn" and "shown" of one way, means over its pictures."""
    found: dict[str, dict[str, list[Tensor]]] = {"drawn": {}, "shown": {}}
    for part, at in enumerate(range(0, len(given.rows), AT_ONCE)):
        pictures = data.rows(split, given.rows[at : at + AT_ONCE])[given.keys[0]]
        truth = data.rows(split, given.truths[at : at + AT_ONCE])[given.keys[1]]
        made = {
            "drawn": in_drawn(translator, given, pictures, count, part),
            "shown": in_shown(translator, given, pictures, examples(data, given, count, part)),
        }
        for by, answers in made.items():
            values = {
                name: torch.stack([METRICS[name].measure(one, truth) for one in answers]).mean(0)
                for name in ("l1", "lpips")
            }
            for metric in answers_metrics(count):
                values |= metric.measure(answers, truth)
            for name, each in values.items():
                found[by].setdefault(name, []).append(each)
    return {
        by: {name: float(torch.cat(each).mean()) for name, each in row.items()}
        for by, row in found.items()
    }


def judge(folder: Path, split: str, count: int) -> dict[str, Any]:
    """The rows "drawn" and "shown" of one run, of each way if they are two.

    Raises SettingsError for a run whose styles cannot be shown, or without any truth.
    """
    translator, data = opened(folder)
    rows = {one.name: one for one in ways_of(translator, data, split)}
    told = {name: scored(translator, data, split, one, count) for name, one in rows.items()}
    if not translator.system.domains():
        return told
    first = next(iter(told.values()))
    return {
        by: {name: sum(one[by][name] for one in told.values()) / len(told) for name in first[by]}
        for by in first
    }


def opened(folder: Path) -> tuple[Translator, Data]:
    """A run's translator and its data."""
    translator = dragoman.load(folder)
    drawn = translator.system.answers is None
    if not drawn or not hasattr(translator.system.controls, "reference"):
        raise SettingsError(
            f"{folder} has no styles that are drawn or shown; name one of starganv2 or munit"
        )
    return translator, open_data(build(DataSettings, Run.open(folder).settings))


def shown_on(folder: Path, split: str, count: int, way: str | None) -> Image.Image:
    """A sheet: examples across, test pictures down, and what is made of them."""
    translator, data = opened(folder)
    several = ways_of(translator, data, split)
    names = [one.name for one in several]
    given = several[names.index(choose("way", way, names)) if way else 0]
    rows = spread(given.rows, ROWS)
    source, target = given.keys
    pictures = data.rows(split, rows)[source]
    shown = examples(data, given, count, 0)
    blank = np.full_like(data.show(source, pictures[:1]), 255)
    columns = {"": np.concatenate([blank, data.show(source, pictures)])}
    for number, answer in enumerate(in_shown(translator, given, pictures, shown)):
        head = data.show(target, shown[number : number + 1])
        columns[f"example {number + 1}"] = np.concatenate([head, data.show(target, answer)])
    return sheet(columns)


def main() -> None:
    """Compute, print and write the table, paint the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--styles", type=int, default=4)
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--way")
    options = parser.parse_args()
    if options.styles < 2:
        parser.error("--styles must be 2 or more, so that answers can differ")
    if options.sheet:
        shown_on(options.runs[0], options.split, options.styles, options.way).save(options.sheet)
        return
    told = {run.name: judge(run, options.split, options.styles) for run in options.runs}
    for name, row in told.items():
        print(name, json.dumps(row, indent=1))
    if options.out:
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
