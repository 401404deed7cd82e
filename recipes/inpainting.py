"""The table of Pathak et al. (2016) for runs of the context encoder, and what their encoders know.

python recipes/inpainting.py --joint RUN [RUN ...] --l2 RUN [RUN ...] --out recipes/NAME.json
    [--probe --blocks RUN [RUN ...] --autoencoder RUN [RUN ...]]

Runs of one kind are seeds of one recipe; all must have the same data and holes. In the hole of
each test picture: mean L1 %, mean L2 % and PSNR, mean and spread over seeds, of

  mean fill            the mean colour of the visible part
  nearest, HOG         the training picture nearest in histograms of oriented gradients
  nearest, own         the same by the joint runs' encoder, of pictures with the hole (cosine)
  reconstruction (L2)  runs without adversarial term
  joint                runs with it

--probe (data with labels): test accuracy of logistic regression on frozen encoder features, beside
an encoder with random weights and that of plain autoencoders (--mask none). --blocks: runs whose
holes are random blocks, by which the paper learns features; they are only probed. "In folds": the
same over five folds of train and val, by which the means over quarters were chosen.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dragoman.data import DataSettings, open_data
from dragoman.errors import DataError, SettingsError
from dragoman.metrics.hole import hole_l1_percent, hole_l2_percent, hole_psnr
from dragoman.metrics.linear_probe import linear_probe
from dragoman.pipeline import load
from dragoman.report.machine import machine
from dragoman.run import Run, read_json
from dragoman.settings import build
from dragoman.systems.context_encoder import ContextEncoder

MEASURES = {
    "l1_percent": hole_l1_percent,
    "l2_percent": hole_l2_percent,
    "psnr": hole_psnr,
}
CELL, BINS, CLIP = 8, 9, 0.2  # px, orientations, and the bound of Dalal and Triggs (2005)
FOLDS = 5
DECAYS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of the probe's weights, chosen on val
PARTS = 2  # of each side: a probe sees means over quarters, of all places it learns too much
AT_ONCE = 64  # pictures

Split = dict[str, Tensor]


def read(data: Any, split: str) -> Split:
    """All pictures of a split, unaugmented, with numbers and, if there are any, labels."""
    parts = list(data.split(split, AT_ONCE))
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def system_of(folder: Path) -> ContextEncoder:
    """The trained context encoder of a run; raises SettingsError for another system's."""
    system = load(folder, "cpu").system
    if not isinstance(system, ContextEncoder):
        raise SettingsError(f"{folder} is no run of the context encoder; name one that is")
    return system


def hog(pictures: Tensor, hole: Tensor) -> Tensor:
    """Histograms of oriented gradients of the visible part (Dalal & Triggs 2005), [B, D].

    Central differences of the grey picture, 9 orientations without sign shared between the two
    nearest, cells of 8 x 8 px, overlapping blocks of 2 x 2 cells normalised, cut at 0.2 and
    normalised again. A pixel votes if neither it nor a neighbour is in the hole [1, 1, H, W].
    """
    grey = functional.pad(pictures.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]
    down = grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]
    size = torch.hypot(across, down) * (1 - functional.max_pool2d(hole, 3, 1, 1))
    angle = torch.atan2(down, across) % math.pi / math.pi * BINS
    first = angle.floor()
    votes = torch.zeros(len(pictures), BINS, *pictures.shape[-2:])
    votes.scatter_add_(1, first.long() % BINS, size * (1 - angle + first))
    votes.scatter_add_(1, (first.long() + 1) % BINS, size * (angle - first))
    blocks = functional.unfold(functional.avg_pool2d(votes, CELL), 2)
    blocks = functional.normalize(blocks, dim=1, eps=1e-6).clamp(max=CLIP)
    return functional.normalize(blocks, dim=1, eps=1e-6).flatten(1)


def features(system: ContextEncoder, pictures: Tensor) -> Tensor:
    """The frozen encoder's last maps [B, C, h, w]."""
    with torch.no_grad():
        return torch.cat([system.encoder(one) for one in pictures.split(AT_ONCE)])


def own(system: ContextEncoder) -> Callable[[Tensor, Tensor], Tensor]:
    """Describes pictures with a hole by the system's encoder, with length 1."""

    def describe(pictures: Tensor, hole: Tensor) -> Tensor:
        seen = features(system, system.filled(pictures, hole))
        return functional.normalize(seen.flatten(1), dim=1)

    return describe


def nearest(
    test: Tensor, train: Tensor, holes: Tensor, describe: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """For each test picture the training picture nearest to it, both with the same hole."""
    made = torch.empty_like(test)
    kinds, which = holes.flatten(1).unique(dim=0, return_inverse=True)
    for number, kind in enumerate(kinds):
        rows = which == number
        hole = kind.view(1, *holes.shape[1:])
        distance = torch.cdist(describe(test[rows], hole), describe(train, hole))
        made[rows] = train[distance.argmin(1)]
    return made


def mean_fill(test: Tensor, holes: Tensor) -> Tensor:
    """Each picture's mean colour outside its hole, as a picture."""
    seen = 1 - holes
    mean = (test * seen).sum((2, 3), keepdim=True) / seen.sum((2, 3), keepdim=True)
    return mean.expand_as(test)


def completed(system: ContextEncoder, test: Split) -> Tensor:
    """What a system makes of a split."""
    numbers = torch.arange(len(test["image"])).split(AT_ONCE)
    with torch.no_grad():
        made = [system.generate({k: v[some] for k, v in test.items()}) for some in numbers]
    return torch.cat(made)


def scores(made: list[Tensor], real: Tensor, holes: Tensor) -> dict[str, dict[str, Any]]:
    """Each measure's mean over pictures, then mean and spread over seeds."""
    found = {}
    for name, measure in MEASURES.items():
        found[name] = over_seeds([measure(one, real, holes).mean().item() for one in made])
    return found


def over_seeds(values: list[float]) -> dict[str, Any]:
    """Mean and standard deviation of one number for each seed."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.mean(values), "spread": spread, "seeds": values}


def table(l2: list[ContextEncoder], joint: list[ContextEncoder], data: Any) -> dict[str, Any]:
    """The rows of the table; raises SettingsError if the runs fill other holes."""
    test, train = read(data, "test"), read(data, "train")["image"]
    holes = joint[0].hole(test)
    for system in (*l2, *joint):
        if not torch.equal(system.hole(test), holes):
            raise SettingsError("these runs fill different holes; name runs of one --mask")
    real = test["image"]
    made = {
        "mean fill": [mean_fill(real, holes)],
        "nearest, HOG": [nearest(real, train, holes, hog)],
        "nearest, own": [nearest(real, train, holes, own(system)) for system in joint],
        "reconstruction (L2)": [completed(system, test) for system in l2],
        "joint": [completed(system, test) for system in joint],
    }
    return {name: scores(pictures, real, holes) for name, pictures in made.items()}


def untrained(system: ContextEncoder, seed: int) -> ContextEncoder:
    """Another one of the same shape with random weights."""
    torch.manual_seed(seed)
    return ContextEncoder(system.settings, system.facts).eval()


def settle_norms(system: ContextEncoder, pictures: Tensor) -> None:
    """Give the encoder's batch norms the statistics of whole pictures.

    Only an autoencoder has seen such in training: thus all are probed alike.
    """
    system.generator.encoder.train()
    features(system, pictures)
    system.generator.encoder.eval()


def probe(system: ContextEncoder, splits: dict[str, Split], classes: int) -> dict[str, float]:
    """Logistic regression on standardised features of whole pictures, means over their quarters.

    The weight decay is the one of the lowest loss on val. Returns it with the test accuracy.
    """
    settle_norms(system, splits["train"]["image"])
    maps = {name: features(system, split["image"]) for name, split in splits.items()}
    seen = {n: functional.adaptive_avg_pool2d(m, PARTS).flatten(1) for n, m in maps.items()}
    mean, spread = seen["train"].mean(0), seen["train"].std(0) + 1e-5
    seen = {name: (values - mean) / spread for name, values in seen.items()}
    labels = {name: split["label"] for name, split in splits.items()}
    best = {"loss": math.inf}
    for decay in DECAYS:
        layer = linear_probe(seen["train"], labels["train"], classes, decay)
        with torch.no_grad():
            loss = functional.cross_entropy(layer(seen["val"]), labels["val"]).item()
            right = layer(seen["test"]).argmax(1) == labels["test"]
        if loss < best["loss"]:
            best = {"loss": loss, "decay": decay, "accuracy": right.float().mean().item()}
    return best


def in_folds(system: ContextEncoder, splits: dict[str, Split], classes: int) -> float:
    """Accuracy of the same over FOLDS folds of train and val together: more pictures than test has.

    The weight decay is the one of the lowest loss over all folds.
    """
    both = [splits["train"], splits["val"]]
    pictures, labels = (torch.cat([split[key] for split in both]) for key in ("image", "label"))
    seen = functional.adaptive_avg_pool2d(features(system, pictures), PARTS).flatten(1)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)) % FOLDS
    results = []
    for decay in DECAYS:
        loss = right = 0.0
        for fold in range(FOLDS):
            held = order == fold
            mean, spread = seen[~held].mean(0), seen[~held].std(0) + 1e-5
            layer = linear_probe((seen[~held] - mean) / spread, labels[~held], classes, decay)
            with torch.no_grad():
                told = layer((seen[held] - mean) / spread)
            loss += functional.cross_entropy(told, labels[held], reduction="sum").item()
            right += (told.argmax(1) == labels[held]).sum().item()
        results.append((loss, right / len(labels)))
    return min(results)[1]


def probes(kinds: dict[str, list[ContextEncoder]], data: Any) -> dict[str, Any]:
    """Test accuracy of a probe of each encoder, beside random weights and the largest class."""
    if not data.labels:
        raise DataError(f"{data.name} has no labels to probe for; use openmoji64:colour")
    splits = {name: read(data, name) for name in ("train", "val", "test")}
    for name, split in splits.items():  # pictures of unknown class say nothing
        known = split["label"] >= 0
        splits[name] = {key: value[known] for key, value in split.items()}
    counts = splits["test"]["label"].bincount()
    first = next(iter(kinds.values()))
    kinds = {**kinds, "random": [untrained(one, seed) for seed, one in enumerate(first)]}
    found: dict[str, Any] = {"largest class": {"mean": (counts.max() / counts.sum()).item()}}
    for name, systems in kinds.items():
        results = [probe(system, splits, len(data.labels)) for system in systems]
        found[name] = over_seeds([result["accuracy"] for result in results])
        found[name]["decays"] = [result["decay"] for result in results]
        folds = [in_folds(system, splits, len(data.labels)) for system in systems]
        found[name]["folds"] = over_seeds(folds)
    return found


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    print(f"{'':22s}" + "".join(f"{name:>19s}" for name in MEASURES))
    for name, row in result["table"].items():
        cells = [f"{row[m]['mean']:10.3f} +- {row[m]['spread']:5.3f}" for m in MEASURES]
        print(f"{name:22s}" + "".join(f"{cell:>19s}" for cell in cells))
    for name, one in result.get("probe", {}).items():
        folds = one.get("folds", {"mean": math.nan, "spread": math.nan})
        print(
            f"probe {name:16s}{one['mean']:10.3f} +- {one.get('spread', 0):.3f}"
            f"   in folds {folds['mean']:.3f} +- {folds['spread']:.3f}"
        )


def main() -> None:
    """Compute, print and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--joint", type=Path, nargs="+", required=True)
    parser.add_argument("--l2", type=Path, nargs="+", required=True)
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("--blocks", type=Path, nargs="+", default=[])
    parser.add_argument("--autoencoder", type=Path, nargs="+", default=[])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    runs = {
        "joint": arguments.joint,
        "reconstruction (L2)": arguments.l2,
        "random blocks": arguments.blocks,
        "autoencoder": arguments.autoencoder,
    }
    systems = {name: [system_of(f) for f in folders] for name, folders in runs.items() if folders}
    data = open_data(build(DataSettings, Run.open(arguments.joint[0]).settings))
    result: dict[str, Any] = {
        "command": " ".join(["python", *sys.argv]),
        "machine": machine(),
        "data": data.name,
        "split": "test",
        "count": data.counts["test"],
        "mask": systems["joint"][0].settings.mask,
        "steps": {
            n: [read_json(f / "run.json").get("steps") for f in fs] for n, fs in runs.items()
        },
        "table": table(systems["reconstruction (L2)"], systems["joint"], data),
    }
    if arguments.probe:
        result["probe"] = probes(systems, data)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    show(result)


if __name__ == "__main__":
    main()
