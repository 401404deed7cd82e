"""Paint a sheet of a run's test pictures: inputs, what its translators make of them, the truth.

python recipes/gallery.py RUN OUT.png [--rows 6] [--blocks 2] [--answers 3] [--stages]
    [--to a] [--beside NAME=RUN ...]

Systems with several answers show as many as asked for; --stages shows what earlier stages of the
run had learned; --beside what other runs make of the same pictures; --to the other direction.
Systems of many domains show every domain.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import dragoman
from dragoman.data import Data, open_data
from dragoman.data.settings import DataSettings
from dragoman.domain_judging import spread
from dragoman.pipeline import Translator
from dragoman.report.sheet import sheet
from dragoman.run import Run
from dragoman.sampling import MOST_DOMAINS, sampled
from dragoman.settings import build
from dragoman.system import Batch


def made_of(translator: Translator, batch: Batch, number: int) -> Tensor:
    """Answer `number` of a translator for a batch, by a seed of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(number)
        return translator.generate(batch, replace(translator.system.controls, answer=number))


def opened(folder: Path, to: str | None) -> Translator:
    """The translator of a run, in the direction that is asked for if it goes both ways."""
    translator = dragoman.load(folder)
    both = hasattr(translator.system.controls, "to")
    return translator.choosing(to=to) if to and both else translator


def domains(translator: Translator, batch: Batch, data: Data) -> dict[str, np.ndarray]:
    """The pictures, and what is made of them in every domain, uint8 [N, H, W, 3]."""
    system = translator.system
    inputs, strips, _ = sampled(system, data, batch, False, "test")
    assert inputs is not None
    names = [
        n for classes in system.domains().values() for n in spread(list(classes), MOST_DOMAINS)
    ]
    made = np.split(strips, len(names), 2)
    return {"input": inputs, **dict(zip(names, made, strict=True))}


def columns(
    folder: Path,
    batch: Batch,
    data: Data,
    answers: int,
    stages: bool,
    beside: dict[str, Path],
    to: str | None = None,
) -> dict[str, np.ndarray]:
    """The columns of the sheet, uint8 [N, H, W, 3]."""
    translator = opened(folder, to)
    system = translator.system
    if system.domains():
        return domains(translator, batch, data)
    target = system.target or system.source
    shown = {"input": data.show(system.source, system.given(batch).cpu())}
    kept = [
        stage.name for stage in system.stages(1000) if (folder / "stages" / stage.name).exists()
    ]
    for name in kept if stages else ():
        made = made_of(dragoman.load(folder / "stages" / name), batch, 0)
        shown[f"after {name}"] = data.show(target, made.clamp(-1, 1))
    for name, run in beside.items():
        other = opened(run, to)
        given = {**batch, other.system.source: batch[system.source]}
        shown[name] = data.show(target, made_of(other, given, 0).clamp(-1, 1))
    for number in range(answers):
        name = translator.config["system"] + (f" {number + 1}" if answers > 1 else "")
        shown[name] = data.show(target, made_of(translator, batch, number).clamp(-1, 1))
    if target in batch:
        shown["truth"] = data.show(target, batch[target])
    return shown


def gallery(
    folder: Path,
    rows: int,
    blocks: int,
    answers: int = 1,
    stages: bool = False,
    beside: dict[str, Path] | None = None,
    to: str | None = None,
) -> Image.Image:
    """A sheet of rows * blocks pictures spread evenly over the test split, not chosen by eye."""
    data = open_data(build(DataSettings, Run.open(folder).settings))
    count = data.counts["test"]
    batch = data.rows("test", [i * count // (rows * blocks) for i in range(rows * blocks)])
    shown = columns(folder, batch, data, answers, stages, beside or {}, to)
    sheets = [
        np.asarray(sheet({name: stack[at : at + rows] for name, stack in shown.items()}))
        for at in range(0, rows * blocks, rows)
    ]
    gap = np.full((sheets[0].shape[0], 16, 3), 255, np.uint8)
    parts = [part for one in sheets for part in (one, gap)][:-1]
    return Image.fromarray(np.concatenate(parts, 1))


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--answers", type=int, default=1)
    parser.add_argument("--stages", action="store_true")
    parser.add_argument("--to")
    parser.add_argument("--beside", nargs="*", default=[], metavar="NAME=RUN")
    arguments = parser.parse_args()
    beside = {name: Path(run) for name, run in (text.split("=", 1) for text in arguments.beside)}
    made = gallery(
        arguments.run,
        arguments.rows,
        arguments.blocks,
        arguments.answers,
        arguments.stages,
        beside,
        arguments.to,
    )
    made.save(arguments.out)


if __name__ == "__main__":
    main()
