"""Count how many of the right answers a translator gives: the six tones of each drawn person.

python recipes/modes.py RUN ... [--answers 12] [--examples 4] [--split test] [--out JSON]

For runs on openmoji64:line,tones or the like, whose drawings have one right answer in each tone.
Every answer to a drawing is taken for the tone whose picture is nearest to it where the tones
differ. "coverage" is the share of the tones that the answers to a drawing hit, mean over drawings.
"is" and "cis" are the inception score and its conditional form (Huang et al. 2018, section 5.2)
with these tones for the classes of Inception: exp of the entropy of the tones of all answers, and
exp of the mean entropy of those to one drawing. One tone for all gives 1, six alike often give 6.
"followed", of systems that take a style from a picture: the share of answers in the tone of the
training picture that was shown, --examples of each tone; chance is one in as many as tones.
"""

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import torch
from repeat import summary
from torch import Tensor

import dragoman
from dragoman.data import Data, open_data
from dragoman.data.settings import DataSettings
from dragoman.domain_judging import spread
from dragoman.errors import DataError
from dragoman.pipeline import Translator
from dragoman.report.machine import machine
from dragoman.run import Run
from dragoman.settings import build

SET = "tone"
DIFFERENT = 0.05  # of [-1, 1]: pixels at which the tones differ at least so much count


def truths_of(data: Data, split: str, target: str) -> tuple[dict[str, Tensor], Tensor]:
    """Each drawing of a split once, as a batch, and its pictures in all tones [N, T, C, H, W].

    Raises DataError for data without tones.
    """
    if SET not in data.label_sets:
        raise DataError(f"{data.name} has no label set '{SET}'; use runs on openmoji64:line,tones")
    rows = (data.classes(split, SET) == 0).nonzero()[0].tolist()
    tones = data.label_sets[SET]
    numbers = [data.counterparts(split, rows, SET, tone).tolist() for tone in tones]
    pictures = [data.rows(split, own)[target] for own in numbers]
    return data.rows(split, rows), torch.stack(pictures, 1)


def tone_of(answers: Tensor, truths: Tensor) -> Tensor:
    """The number of the nearest truth [N, T, C, H, W] of each answer [N, K, C, H, W]: [N, K]."""
    differing = truths.amax(1) - truths.amin(1)  # [N, C, H, W]
    counted = (differing > DIFFERENT).float()[:, None, None]
    apart = (answers[:, :, None] - truths[:, None]).abs() * counted
    return apart.flatten(3).sum(3).argmin(2)


def entropy(shares: Tensor) -> Tensor:
    """The entropy of shares [..., T] that sum to 1."""
    return -(shares * shares.clamp(min=1e-12).log()).sum(-1)


def scores_of(tones: Tensor, count: int) -> dict[str, float]:
    """Coverage and both scores of the tones [N, K] of all answers."""
    hits = torch.nn.functional.one_hot(tones, count).double()
    shares = hits.mean(1)
    return {
        "coverage": float((hits.sum(1) > 0).double().mean()),
        "is": float(entropy(shares.mean(0)).exp()),
        "cis": float(entropy(shares).mean().exp()),
    }


def answers_of(translator: Translator, batch: dict[str, Tensor], count: int) -> Tensor:
    """So many answers to each picture of a batch, [N, K, C, H, W], or all that there are."""
    source, most = translator.system.source, translator.system.answers
    several = range(count if most is None else min(count, most))
    made = [translator.answering(n).translate(batch[source], seed=n) for n in several]
    return torch.stack(made, 1)


def followed(
    translator: Translator, data: Data, batch: dict[str, Tensor], truths: Tensor, count: int
) -> float:
    """How often an answer has the tone of the picture shown, `count` training pictures of each.

    data: with partners, as labels are of drawings.
    """
    source, target = translator.system.source, translator.system.target or "b"
    tones, hits = data.classes("train", SET), []
    for tone in range(truths.shape[1]):
        for row in spread((tones == tone).nonzero()[0].tolist(), count):
            shown = data.rows("train", [row])[target]
            made = translator.choosing(reference=shown).translate(batch[source])
            hits.append(tone_of(made[:, None], truths) == tone)
    return float(torch.stack(hits).double().mean())


def judge(folder: Path, split: str, count: int, examples: int) -> dict[str, float]:
    """The scores of one run."""
    run = Run.open(folder)
    data = open_data(build(DataSettings, run.settings))
    translator = dragoman.load(folder)
    batch, truths = truths_of(data, split, translator.system.target or "b")
    tones = tone_of(answers_of(translator, batch, count), truths)
    scores = scores_of(tones, truths.shape[1])
    if hasattr(translator.system.controls, "reference"):
        pairs = open_data(replace(build(DataSettings, run.settings), pairing="paired"))
        scores["followed"] = followed(translator, pairs, batch, truths, examples)
    return scores


def over_seeds(told: dict[str, dict[str, float]]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and standard deviation of the scores of runs whose names differ in -seedN only."""
    alike: dict[str, list[dict[str, float]]] = defaultdict(list)
    for name, scores in told.items():
        alike[name.partition("-seed")[0]].append(scores)
    return {name: summary(rows) for name, rows in alike.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--answers", type=int, default=12)
    parser.add_argument("--examples", type=int, default=4)
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    counts = arguments.answers, arguments.examples
    told = {run.name: judge(run, arguments.split, *counts) for run in arguments.runs}
    for name, scores in told.items():
        print(f"{name:40s}" + "  ".join(f"{key} {value:.3f}" for key, value in scores.items()))
    result = {
        "command": " ".join(["python", *sys.argv]),
        "machine": machine(),
        "split": arguments.split,
        "recipes": over_seeds(told),
        "runs": told,
    }
    for name, scores in result["recipes"].items():
        means = (f"{key} {one['mean']:.3f} +- {one['spread']:.3f}" for key, one in scores.items())
        print(f"{name:40s}" + "  ".join(means))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
