"""Train a recipe with several seeds and write down the mean and spread of its test scores.

python recipes/repeat.py recipes/earth_pix2pix.yaml [--seeds 0 1 2] [--folder runs] [--again]

Runs that are finished already are taken as they are; --again scores them anew. What earlier stages
of the runs had learned ("after NAME") has mean and spread of its own.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import dragoman
from dragoman.evaluation import evaluate
from dragoman.report.machine import machine
from dragoman.run import Run, read_json


def run_of(recipe: Path, seed: int, folder: Path) -> Run:
    """The finished run of one seed: trained now, gone on with, or already there."""
    if (folder / "scores.json").exists():
        return Run.open(folder)
    if (folder / "settings.yaml").exists():
        return dragoman.resume(folder)
    return dragoman.train(str(recipe), seed=seed, folder=str(folder))


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and spread (standard deviation) of every measure that one row of each run has."""
    found = {}
    for name in [name for name, value in rows[0].items() if "mean" in (value or {})]:
        values = [row[name]["mean"] for row in rows]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        found[name] = {"mean": statistics.mean(values), "spread": spread}
    return found


def measured(scores: dict[str, Any]) -> dict[str, Any]:
    """The measures among the scores of a run."""
    return {name: scores[name] for name in scores["better"] if name in scores}


def main() -> None:
    """Train, print, and write RECIPE.json beside the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    parser.add_argument("--again", action="store_true")
    arguments = parser.parse_args()
    folders = [arguments.folder / f"{arguments.recipe.stem}-seed{s}" for s in arguments.seeds]
    runs = [run_of(arguments.recipe, s, f) for s, f in zip(arguments.seeds, folders, strict=True)]
    scores = [evaluate(run.folder) if arguments.again else run.scores for run in runs]
    stages = [name for name in scores[0]["baselines"] if name.startswith("after ")]
    facts = [read_json(run.folder / "run.json") for run in runs]
    result = {
        "command": f"python recipes/repeat.py {arguments.recipe} --seeds "
        + " ".join(map(str, arguments.seeds)),
        "machine": machine(),
        "data": scores[0]["data"],
        "split": scores[0]["split"],
        "count": scores[0]["count"],
        "steps": [fact["steps"] for fact in facts],
        "training_seconds": [fact["training_seconds"] for fact in facts],
        "scores": summary([measured(one) for one in scores]),
        "stages": {name: summary([one["baselines"][name] for one in scores]) for name in stages},
        "seeds": {
            seed: {name: value["mean"] for name, value in measured(one).items()}
            for seed, one in zip(arguments.seeds, scores, strict=True)
        },
        "baselines": {
            name: {measure: round(value["mean"], 4) for measure, value in row.items()}
            for name, row in scores[0]["baselines"].items()
            if name not in stages
        },
    }
    arguments.recipe.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    for name, found in result["scores"].items():
        print(f"{name:16s}{found['mean']:10.4f} +- {found['spread']:.4f}")


if __name__ == "__main__":
    main()
