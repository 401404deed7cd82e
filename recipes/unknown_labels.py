"""L1 to the truth of pictures of which a second label set is known, and of those where it is not.

python recipes/unknown_labels.py RUN ... [--of tone] [--second gender] [--split test] [--out JSON]

For runs of systems with many domains, such as StarGAN with `domains: tone+gender`, beside runs of
the first set alone. Every picture of a known counterpart is translated into each class of the set
--of, as `dragoman evaluate` does, and the pictures are told apart by whether the set --second is
known of them: where a set that is not known disturbs, they are worse than those of a run that never
heard of it. Means over the ways of the means over their pictures; "ways" counts those whose L1 is
below that of the picture left as it is.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import dragoman
from dragoman.data import Data, open_data
from dragoman.data.settings import DataSettings
from dragoman.domain_judging import Way, ways
from dragoman.errors import SettingsError, choose
from dragoman.metrics.l1 import l1
from dragoman.pipeline import Translator
from dragoman.run import Run
from dragoman.settings import build

AT_ONCE = 64  # pictures


def differences(translator: Translator, data: Data, split: str, way: Way) -> tuple[Tensor, Tensor]:
    """L1 of the translations and of the pictures left as they are, to the truth: [N] and [N]."""
    into = translator.choosing(domain=f"{way.label_set}={way.target}")
    made, left = [], []
    for at in range(0, len(way.rows), AT_ONCE):
        own = data.rows(split, way.rows[at : at + AT_ONCE].tolist())["image"]
        truth = data.rows(split, way.truths[at : at + AT_ONCE].tolist())["image"]
        made.append(l1(into.translate(own).clamp(-1, 1), truth))
        left.append(l1(own, truth))
    return torch.cat(made), torch.cat(left)


def summed(rows: list[tuple[float, float]]) -> dict[str, float]:
    """Of the (made, left) of each way: the means, and how many are below."""
    made, left = np.asarray(rows).T
    return {
        "l1": float(made.mean()),
        "input_l1": float(left.mean()),
        "below": int((made < left).sum()),
        "ways": len(rows),
    }


def judge(folder: Path, of: str, second: str, split: str) -> dict[str, Any]:
    """The rows "known" and "unknown" of one run.

    Raises SettingsError if the run has no domains, or its data no such label sets.
    """
    run = Run.open(folder)
    data = open_data(build(DataSettings, run.settings))
    translator = dragoman.load(folder)
    if not translator.system.domains():
        raise SettingsError(f"{folder} is no run among many domains; name one of stargan")
    for name, sets in ((of, translator.system.domains()), (second, data.label_sets)):
        choose("label set", name, list(sets))
    known = data.classes(split, second) >= 0
    found: dict[str, list[tuple[float, float]]] = {"known": [], "unknown": []}
    for way in ways(translator.system, data, split):
        if way.label_set != of or not way.paired:
            continue
        made, left = differences(translator, data, split, way)
        for name, wanted in (("known", True), ("unknown", False)):
            its = torch.from_numpy(known[way.rows] == wanted)
            if its.any():
                found[name].append((float(made[its].mean()), float(left[its].mean())))
    return {name: summed(rows) for name, rows in found.items() if rows}


def main() -> None:
    """Compute, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--of", default="tone")
    parser.add_argument("--second", default="gender")
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    told = {run.name: judge(run, options.of, options.second, options.split) for run in options.runs}
    for name, rows in told.items():
        for kind, row in rows.items():
            print(
                f"{name:36s}{options.second} {kind:8s} L1 {row['l1']:.4f}  left as it is "
                f"{row['input_l1']:.4f}  below it in {row['below']} of {row['ways']} ways"
            )
    if options.out:
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
