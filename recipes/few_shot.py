"""How often pictures are taken for the class that K examples show, of classes unseen and seen.

python recipes/few_shot.py RUN ... --out JSON [--examples 1 5 20] [--seeds 0 1 2 3 4]

Runs are of one recipe with --unseen. For each class, all test pictures of the classes of training
but itself are made as of K of its training pictures, drawn by each seed (those of a smaller K are
among those of a larger). Two classifiers say what they show, as in the paper (Liu et al. 2019,
section 4): "all" knows all classes, "among" only those of the kind, unseen or seen. Each is a
logistic regression on AlexNet's features, learnt from the training pictures of its classes, each
class with equal weight; its weight decay is the one of the lowest loss on val, and test is never
learnt from. Rates are the share of the pictures that are taken for the class, mean and standard
deviation over runs and seeds. Beside them: "real", that of the class's own test pictures, and
"input", that of those translated. Runs of other names that JSON holds already stay in it, if
they are of the same data, classes and draws.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
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
from dragoman.run import Run, read_json
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

    def among(self, numbers: Sequence[int]) -> "Split":
        """The pictures of these classes only."""
        kept = torch.isin(self.labels, torch.tensor(numbers))
        return Split(self.pictures[kept], self.labels[kept])


def read(data: Data, split: str, label_set: str) -> Split:
    """All pictures of a split whose class is known, unvaried."""
    pictures = torch.cat([part["image"] for part in data.split(split, AT_ONCE)])
    labels = torch.from_numpy(data.classes(split, label_set))
    return Split(pictures[labels >= 0], labels[labels >= 0])


@dataclass(frozen=True)
class Classifier:
    """Logistic regression on standardised frozen features; numbers: the classes that it knows."""

    numbers: Tensor
    mean: Tensor
    spread: Tensor
    layer: torch.nn.Linear
    decay: float

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """The classes [N] of pictures [N, C, H, W] in [-1, 1]."""
        return self.told(described(pictures))

    @torch.no_grad()
    def told(self, features: Tensor) -> Tensor:
        """The classes [N] of pictures with these features [N, D]."""
        return self.numbers[self.layer(standard(features, self.mean, self.spread)).argmax(1)]


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


def learnt(train: Split, val: Split) -> Classifier:
    """The classifier of the classes in `train` with the decay that has the lowest loss on val."""
    numbers = train.labels.unique()
    held = val.among(numbers.tolist())
    labels, wanted = (torch.searchsorted(numbers, one.labels) for one in (train, held))
    plain = described(train.pictures)
    mean, spread = plain.mean(0), plain.std(0) + 1e-5
    x = standard(plain, mean, spread)
    seen = standard(described(held.pictures), mean, spread)
    weights = 1 / labels.bincount()
    best: tuple[float, Classifier] | None = None
    for decay in DECAYS:
        layer = linear_probe(x, labels, len(numbers), decay, weights)
        with torch.no_grad():
            loss = functional.cross_entropy(layer(seen), wanted, weights).item()
        if best is None or loss < best[0]:
            best = (loss, Classifier(numbers, mean, spread, layer, decay))
    assert best is not None
    return best[1]


def drawn(pool: Tensor, count: int, seed: int, number: int) -> Tensor:
    """So many examples of class `number`, or all there are; more examples hold all of fewer."""
    order = np.random.default_rng([seed, number]).permutation(len(pool))
    return pool[torch.from_numpy(order[:count])]


def judged(
    translators: Sequence[Translator],
    classifiers: Mapping[str, Classifier],
    splits: dict[str, Split],
    number: int,
    content: Tensor,
    examples: Sequence[int],
    seeds: Sequence[int],
) -> dict[str, Any]:
    """The rates of one class by each classifier: "real", "input", and for each number of examples.

    content: the pictures that are made as of the class, [N, C, H, W].
    """
    pool, real = splits["train"].of(number), splits["test"].of(number)
    told: dict[str, Any] = {"training_pictures": len(pool)}
    for name, classifier in classifiers.items():
        rates = {"real": rate(classifier, real, number), "input": rate(classifier, content, number)}
        told[name] = {**rates, "examples": {str(count): [] for count in examples}}
    for count in examples:
        for translator in translators:
            for seed in seeds:
                shown = translator.choosing(reference=drawn(pool, count, seed, number))
                made = [described(shown.translate(part)) for part in content.split(AT_ONCE)]
                for name, classifier in classifiers.items():
                    hit = (classifier.told(torch.cat(made)) == number).double().mean().item()
                    told[name]["examples"][str(count)].append(hit)
    for name in classifiers:
        values = told[name]["examples"]
        told[name]["examples"] = {count: over(values[count]) for count in values}
    return told


def rate(classifier: Classifier, pictures: Tensor, number: int) -> float:
    """The share of the pictures that are taken for a class."""
    return (classifier(pictures) == number).double().mean().item()


def over(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation of one number for each run and seed."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.mean(values), "spread": spread, "values": list(values)}


def mean_of(told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean over classes of the rates by one classifier, for each run and seed apart."""
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


def accuracy(classifier: Classifier, test: Split) -> dict[str, float]:
    """How often a classifier is right on real pictures of its classes, and what guessing is."""
    test = test.among(classifier.numbers.tolist())
    return {
        "decay": classifier.decay,
        "accuracy": (classifier(test.pictures) == test.labels).double().mean().item(),
        "largest_class": test.labels.bincount().max().item() / len(test.labels),
    }


def table(folders: Sequence[Path], examples: Sequence[int], seeds: Sequence[int]) -> dict[str, Any]:
    """All rates of some runs, and of what they are made."""
    translators, data, left_out = opened(folders)
    ((label_set, classes),) = translators[0].system.domains().items()
    splits = {name: read(data, name, label_set) for name in ("train", "val", "test")}
    there = [
        number
        for number in range(len(classes))
        if len(splits["train"].of(number)) and len(splits["test"].of(number))
    ]
    unseen = [number for number in there if classes[number] in left_out]
    seen = [number for number in there if number not in unseen]
    told: dict[str, Any] = {
        "data": data.name,
        "runs": [folder.name for folder in folders],
        "seeds": list(seeds),
    }
    everything = learnt(splits["train"], splits["val"])
    for kind, numbers in (("unseen", unseen), ("seen", seen)):
        known = {"all": everything, "among": learnt(splits["train"].among(numbers), splits["val"])}
        rows = {}
        for number in numbers:
            content = splits["test"].among([n for n in seen if n != number]).pictures
            how = (splits, number, content, examples, seeds)
            rows[classes[number]] = judged(translators, known, *how)
        told[kind] = {
            "classifiers": {name: accuracy(one, splits["test"]) for name, one in known.items()},
            "classes": rows,
            "mean": {name: mean_of([row[name] for row in rows.values()]) for name in known},
        }
    return told


def joined(earlier: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Two tables as one of all their runs, if they are of the same data, classes and draws.

    Else that of now. A run that is in both is as now. That all are of one recipe is not checked.
    """
    kept = [place for place, run in enumerate(earlier["runs"]) if run not in now["runs"]]
    if _of(earlier) != _of(now) or not kept:
        return now
    told, draws = {**now, "runs": [*(earlier["runs"][n] for n in kept), *now["runs"]]}, now["seeds"]
    for kind in ("unseen", "seen"):
        rows = {word: dict(row) for word, row in now[kind]["classes"].items()}
        for word, row in rows.items():
            for name in now[kind]["mean"]:
                before = earlier[kind]["classes"][word][name]["examples"]
                counts = {}
                for count, found in row[name]["examples"].items():
                    by_run = [before[count]["values"][n * len(draws) :][: len(draws)] for n in kept]
                    counts[count] = over([*chain(*by_run), *found["values"]])
                row[name] = {**row[name], "examples": counts}
        means = {name: mean_of([row[name] for row in rows.values()]) for name in now[kind]["mean"]}
        told[kind] = {**now[kind], "classes": rows, "mean": means}
    return told


def _of(told: dict[str, Any]) -> list[Any]:
    """What two tables must have in common to be joined."""
    rows = {kind: told[kind]["classes"] for kind in ("unseen", "seen")}
    counts = [list(one["examples"]) for one in told["unseen"]["mean"].values()]
    return [told["data"], told["seeds"], {kind: list(row) for kind, row in rows.items()}, counts]


def show(told: dict[str, Any]) -> None:
    """Print the tables."""
    for kind in ("unseen", "seen"):
        for name, one in told[kind]["classifiers"].items():
            print(
                f"{told['data']}, {kind} classes, by a classifier that knows "
                f"{'all classes' if name == 'all' else 'these only'}: it is right on "
                f"{one['accuracy']:.3f} of real test pictures (largest class "
                f"{one['largest_class']:.3f})"
            )
            rows = {word: row[name] for word, row in told[kind]["classes"].items()}
            _show({**rows, "mean": told[kind]["mean"][name]})


def _show(rows: dict[str, dict[str, Any]]) -> None:
    counts = next(iter(rows.values()))["examples"]
    heads = [f"{count} example{'s' * (count != '1')}" for count in counts]
    print(f"{'':24s}{'real':>8s}{'input':>8s}" + "".join(f"{head:>18s}" for head in heads))
    for name, one in rows.items():
        rates = [f"{found['mean']:.3f} +- {found['spread']:.3f}" for found in _rates(one)]
        cells = "".join(f"{cell:>18s}" for cell in rates)
        print(f"{name:24s}{one['real']:8.3f}{one['input']:8.3f}{cells}")


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
    earlier = read_json(arguments.out) if arguments.out.exists() else None
    told = table(arguments.runs, arguments.examples, arguments.seeds)
    if earlier is not None:
        told = joined(earlier, told)
    runs = [str(arguments.runs[0].parent / name) for name in told["runs"]]
    rest = sys.argv[1 + len(arguments.runs) :]
    result = {
        "command": " ".join(["python", sys.argv[0], *runs, *rest]),
        "machine": machine(),
        **told,
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    show(result)


if __name__ == "__main__":
    main()
