"""Train a recipe with several seeds and write down the mean and spread of its test scores.

python recipes/repeat.py recipes/earth_pix2pix.yaml [--seeds 0 1 2] [--folder runs/repeat]
"""

import argparse
import json
import statistics
from pathlib import Path

import dragoman
from dragoman.report.machine import machine
from dragoman.run import Run, read_json


def run_of(recipe: Path, seed: int, folder: Path) -> Run:
    """The finished run of one seed: trained now, gone on with, or already there."""
    if (folder / "scores.json").exists():
        return Run.open(folder)
    if (folder / "settings.yaml").exists():
        return dragoman.resume(folder)
    return dragoman.train(str(recipe), seed=seed, folder=str(folder))


def summary(runs: list[Run]) -> dict[str, dict[str, float]]:
    """Mean and spread (standard deviation) of every measure over the runs."""
    names = runs[0].scores["better"]
    found = {}
    for name in names:
        values = [run.scores[name]["mean"] for run in runs]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        found[name] = {"mean": statistics.mean(values), "spread": spread}
    return found


def main() -> None:
    """Train, print, and write RECIPE.json beside the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    folders = [arguments.folder / f"{arguments.recipe.stem}-seed{s}" for s in arguments.seeds]
    runs = [run_of(arguments.recipe, s, f) for s, f in zip(arguments.seeds, folders, strict=True)]
    facts = [read_json(run.folder / "run.json") for run in runs]
    result = {
        "command": f"python recipes/repeat.py {arguments.recipe} --seeds "
        + " ".join(map(str, arguments.seeds)),
        "machine": machine(),
        "data": runs[0].scores["data"],
        "split": runs[0].scores["split"],
        "count": runs[0].scores["count"],
        "steps": [fact["steps"] for fact in facts],
        "training_seconds": [fact["training_seconds"] for fact in facts],
        "scores": summary(runs),
        "seeds": {
            s: {m: r.scores[m]["mean"] for m in r.scores["better"]}
            for s, r in zip(arguments.seeds, runs, strict=True)
        },
        "baselines": {
            name: {m: round(v["mean"], 4) for m, v in row.items()}
            for name, row in runs[0].scores["baselines"].items()
        },
    }
    arguments.recipe.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    for name, found in result["scores"].items():
        print(f"{name:16s}{found['mean']:10.4f} +- {found['spread']:.4f}")


if __name__ == "__main__":
    main()
