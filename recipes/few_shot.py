"""How often pictures are taken for the class that K examples show, of classes unseen and seen.

python recipes/few_shot.py RUN ... --out JSON [--examples 1 5 20] [--seeds 0 1 2 3 4]

Runs are of one recipe with --unseen. For each class, all test pictures of the other classes are
made as of K of its training pictures, drawn by each seed (those of a smaller K are among those of
a larger). A classifier of all classes says what they show: logistic regression on AlexNet's
features, learnt from the training pictures of all classes, the unseen ones included, each class
with equal weight; its weight decay is the one of the lowest loss on val, and test is never learnt
from. Rates are the share of the pictures that it takes for the class, mean and standard deviation
over runs and seeds. Beside them: "real", that of the class's own test pictures, and "input", that
of those translated.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dragoman.data import Data, open_data
from dragoman.data.settings import DataSettings
from dragoman.errors import SettingsError
from dragoman.metrics.linear_probe import linear_probe
from dragoman.networks.alexnet import RELUS, AlexNet
from dragoman.networks.frozen_features import as_colour, imagenet
from dragoman.pipeline import Translator, load
from dragoman.report.machine import machine
from dragoman.run import Run
from dragoman.settings import build

DECAYS = (1e-2, 1e-1, 1.0, 10.0)  # of the classifier's weights, chosen on val
FURTHEST = 5.0  # standard deviations at which features are cut: made pictures may be odd
AT_ONCE = 64  # pictures
SAME = ("data", "size", "unseen")  # settings that all runs share


@dataclass(frozen=True)
class Split:
    """The pictures of known class of a split, [N, C, H, W] in [-1, 1], and their classes [N]."""

    pictures: Tensor
    labels: Tensor

    def of(self, number: int) -> Tensor:
        """The pictures of one class."""
        return self.pictures[self.labels == number]

    def others(self, number: int) -> Tensor:
        """The pictures of all other classes."""
        return self.pictures[self.labels != number]


def read(data: Data, split: str, label_set: str) -> Split:
    """All pictures of a split whose class is known, unvaried."""
    pictures = torch.cat([part["image"] for part in data.split(split, AT_ONCE)])
    labels = torch.from_numpy(data.classes(split, label_set))
    return Split(pictures[labels >= 0], labels[labels >= 0])


@dataclass(frozen=True)
class Classifier:
    """Logistic regression on standardised frozen features."""

    mean: Tensor
    spread: Tensor
    layer: torch.nn.Linear
    decay: float

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """The classes [N] of pictures [N, C, H, W] in [-1, 1]."""
        return self.layer(self.seen(pictures)).argmax(1)

    def seen(self, pictures: Tensor) -> Tensor:
        """The features [N, D]."""
        return standard(described(pictures), self.mean, self.spread)

    def rate(self, pictures: Tensor, number: int) -> float:
        """The share of the pictures that are taken for a class."""
        return (self(pictures) == number).double().mean().item()


@torch.no_grad()
def described(pictures: Tensor) -> Tensor:
    """Mean and largest value of AlexNet's activations over space: [N, D].

    pictures: [N, C, H, W] in [-1, 1], with sides of at least 31 px.
    """
    network, found = AlexNet(RELUS), []
    for part in pictures.clamp(-1, 1).split(AT_ONCE):
        maps = network(imagenet(as_colour(part))).values()
        parts = [pooled for m in maps for pooled in (m.mean((2, 3)), m.amax((2, 3)))]
        found.append(torch.cat(parts, 1))
    return torch.cat(found)


def standard(features: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Features of mean 0 and deviation 1, cut at `FURTHEST`."""
    return ((features - mean) / spread).clamp(-FURTHEST, FURTHEST)


def learnt(train: Split, val: Split, classes: int) -> Classifier:
    """The classifier with the weight decay that has the lowest loss on val."""
    plain, held = described(train.pictures), described(val.pictures)
    mean, spread = plain.mean(0), plain.std(0) + 1e-5
    x, held = standard(plain, mean, spread), standard(held, mean, spread)
    weights = 1 / train.labels.bincount(minlength=classes).clamp(min=1)
    best: tuple[float, Classifier] | None = None
    for decay in DECAYS:
        layer = linear_probe(x, train.labels, classes, decay, weights)
        with torch.no_grad():
            loss = functional.cross_entropy(layer(held), val.labels, weights).item()
        if best is None or loss < best[0]:
            best = (loss, Classifier(mean, spread, layer, decay))
    assert best is not None
    return best[1]


def drawn(pool: Tensor, count: int, seed: int, number: int) -> Tensor:
    """So many examples of class `number`, or all there are; more examples hold all of fewer."""
    order = np.random.default_rng([seed, number]).permutation(len(pool))
    return pool[torch.from_numpy(order[:count])]


def judged(
    translators: Sequence[Translator],
    classifier: Classifier,
    splits: dict[str, Split],
    number: int,
    examples: Sequence[int],
    seeds: Sequence[int],
) -> dict[str, Any]:
    """The rates of one class: "real", "input", and for each number of examples."""
    pool, content = splits["train"].of(number), splits["test"].others(number)
    real = splits["test"].of(number)
    made: dict[str, list[float]] = {}
    for count in examples:
        for translator in translators:
            for seed in seeds:
                shown = translator.choosing(reference=drawn(pool, count, seed, number))
                pictures = torch.cat([shown.translate(part) for part in content.split(AT_ONCE)])
                made.setdefault(str(count), []).append(classifier.rate(pictures, number))
    return {
        "real": classifier.rate(real, number) if len(real) else math.nan,
        "input": classifier.rate(content, number),
        "training_pictures": len(pool),
        "examples": {count: over(values) for count, values in made.items()},
    }


def over(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation of one number for each run and seed."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.mean(values), "spread": spread, "values": list(values)}


def mean_of(classes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The mean over classes, for each run and seed apart."""
    told = list(classes.values())
    counts = told[0]["examples"]
    values = {k: [one["examples"][k]["values"] for one in told] for k in counts}
    return {
        **{name: statistics.mean(one[name] for one in told) for name in ("real", "input")},
        "examples": {
            k: over([statistics.mean(each) for each in zip(*v, strict=True)])
            for k, v in values.items()
        },
    }


def opened(folders: Sequence[Path]) -> tuple[list[Translator], Data, list[str]]:
    """The translators of runs, their data with all classes, and the classes that were left out.

    Raises SettingsError for runs that do not go together, or know nothing of unseen classes.
    """
    settings = [Run.open(folder).settings for folder in folders]
    for folder, one in zip(folders, settings, strict=True):
        if any(one.get(name) != settings[0].get(name) for name in SAME):
            raise SettingsError(
                f"{folder} has other data than {folders[0]}; name runs of one recipe"
            )
    translators = [load(folder, "cpu") for folder in folders]
    for folder, translator in zip(folders, translators, strict=True):
        if not translator.system.examples:
            raise SettingsError(f"{folder} is no run of a system that learns from examples")
    unseen = [word.strip() for word in (settings[0].get("unseen") or "").split(",") if word.strip()]
    if not unseen:
        raise SettingsError(f"{folders[0]} has seen all classes; name runs with --unseen")
    known = build(DataSettings, settings[0])
    return translators, open_data(replace(known, unseen=None)), unseen


def table(folders: Sequence[Path], examples: Sequence[int], seeds: Sequence[int]) -> dict[str, Any]:
    """All rates of some runs, and of what they are made."""
    translators, data, unseen = opened(folders)
    ((label_set, classes),) = translators[0].system.domains().items()
    splits = {name: read(data, name, label_set) for name in ("train", "val", "test")}
    classifier = learnt(splits["train"], splits["val"], len(classes))
    test = splits["test"]
    told: dict[str, Any] = {
        "data": data.name,
        "runs": [folder.name for folder in folders],
        "seeds": list(seeds),
        "classifier": {
            "decay": classifier.decay,
            "accuracy": (classifier(test.pictures) == test.labels).double().mean().item(),
            "largest_class": test.labels.bincount().max().item() / len(test.labels),
        },
    }
    rates = {
        name: judged(translators, classifier, splits, number, examples, seeds)
        for number, name in enumerate(classes)
        if len(splits["train"].of(number)) and len(splits["test"].of(number))
    }
    for kind, left_out in (("unseen", True), ("seen", False)):
        own = {name: one for name, one in rates.items() if (name in unseen) is left_out}
        told[kind] = {"classes": own, "mean": mean_of(own)}
    return told


def show(told: dict[str, Any]) -> None:
    """Print the table."""
    classifier = told["classifier"]
    print(
        f"{told['data']}: the classifier is right on {classifier['accuracy']:.3f} of the real test "
        f"pictures (largest class {classifier['largest_class']:.3f})"
    )
    counts = told["unseen"]["mean"]["examples"]
    heads = [f"{count} example{'s' * (count != '1')}" for count in counts]
    print(f"{'':30s}{'real':>8s}{'input':>8s}" + "".join(f"{head:>18s}" for head in heads))
    for kind in ("unseen", "seen"):
        for name, one in {**told[kind]["classes"], "mean": told[kind]["mean"]}.items():
            rates = [f"{rate['mean']:.3f} +- {rate['spread']:.3f}" for rate in _rates(one)]
            cells = "".join(f"{cell:>18s}" for cell in rates)
            print(f"{kind + ' ' + name:30s}{one['real']:8.3f}{one['input']:8.3f}{cells}")


def _rates(one: dict[str, Any]) -> list[dict[str, Any]]:
    return list(one["examples"].values())


def main() -> None:
    """Compute, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--examples", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    arguments = parser.parse_args()
    result = {
        "command": " ".join(["python", *sys.argv]),
        "machine": machine(),
        **table(arguments.runs, arguments.examples, arguments.seeds),
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    show(result)


if __name__ == "__main__":
    main()
