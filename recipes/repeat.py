"""Train a recipe with several seeds and write down the mean and spread of its test scores.

python recipes/repeat.py recipes/earth_pix2pix.yaml [--seeds 0 1 2] [--folder runs] [--again]

Seeds are taken from where they are: a finished run in the folder, else the numbers that RECIPE.json
holds of the same settings; others are trained. --again scores runs anew. What earlier stages of
the runs had learned ("after NAME") has mean and spread of its own.
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
from dragoman.settings import read_yaml

Row = dict[str, float]


def run_of(recipe: Path, seed: int, folder: Path) -> Run:
    """The finished run of one seed: trained now, gone on with, or already there."""
    if (folder / "scores.json").exists():
        return Run.open(folder)
    if (folder / "settings.yaml").exists():
        return dragoman.resume(folder)
    return dragoman.train(str(recipe), seed=seed, folder=str(folder))


def means(row: dict[str, Any]) -> Row:
    """The mean of every measure of a row of scores."""
    return {name: value["mean"] for name, value in row.items() if "mean" in (value or {})}


def record(run: Run, again: bool) -> dict[str, Any]:
    """What is kept of one seed, and what all seeds have in common under "common"."""
    scores = evaluate(run.folder) if again else run.scores
    facts = read_json(run.folder / "run.json")
    rows = {name: means(row) for name, row in scores["baselines"].items()}
    stages = {name: row for name, row in rows.items() if name.startswith("after ")}
    return {
        "steps": facts["steps"],
        "training_seconds": facts["training_seconds"],
        "machine": machine(),
        "scores": means({name: scores[name] for name in scores["better"] if name in scores}),
        "stages": stages,
        "common": {
            **{name: scores[name] for name in ("data", "split", "count")},
            "baselines": {
                name: {measure: round(value, 4) for measure, value in row.items()}
                for name, row in rows.items()
                if name not in stages
            },
        },
    }


def summary(rows: list[Row]) -> dict[str, Row]:
    """Mean and spread (standard deviation) of every measure, over the seeds."""
    found = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        found[name] = {"mean": statistics.mean(values), "spread": spread}
    return found


def known(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """RECIPE.json, if it was made with just these settings, else nothing."""
    if not path.exists():
        return {}
    result = read_json(path)
    return result if result.get("settings") == settings else {}


def main() -> None:
    """Train, print, and write RECIPE.json beside the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    parser.add_argument("--again", action="store_true")
    arguments = parser.parse_args()
    settings, path = read_yaml(arguments.recipe), arguments.recipe.with_suffix(".json")
    earlier = known(path, settings)
    kept, common = dict(earlier.get("seeds", {})), earlier.get("common", {})
    for seed in arguments.seeds:
        folder = arguments.folder / f"{arguments.recipe.stem}-seed{seed}"
        if folder.exists() or str(seed) not in kept:
            one = record(run_of(arguments.recipe, seed, folder), arguments.again)
            common = one.pop("common")
            kept[str(seed)] = one
    seeds = dict(sorted(kept.items(), key=lambda item: int(item[0])))
    stages = next(iter(seeds.values()))["stages"]
    result = {
        "command": f"python recipes/repeat.py {arguments.recipe} --seeds {' '.join(seeds)}",
        "settings": settings,
        "common": common,
        "scores": summary([one["scores"] for one in seeds.values()]),
        "stages": {
            name: summary([one["stages"][name] for one in seeds.values()]) for name in stages
        },
        "seeds": seeds,
    }
    path.write_text(json.dumps(result, indent=1) + "\n")
    for name, found in result["scores"].items():
        print(f"{name:16s}{found['mean']:10.4f} +- {found['spread']:.4f}")


if __name__ == "__main__":
    main()
