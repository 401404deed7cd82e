"""Train recipes with several seeds and write down the mean and spread of their test scores.

python recipes/repeat.py recipes/earth_pix2pix.yaml ... [--seeds 0 1 2] [--folder runs] [--again]
    [--at-once 1]

Seeds are taken from where they are: a finished run in the folder, else the numbers that RECIPE.json
holds of the same settings; others are trained, seed by seed over all recipes, --at-once several of
them, which share the cores. --again scores runs anew. RECIPE.json is written after each run. What
earlier stages of the runs had learned ("after NAME") has mean and spread of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from dragoman.evaluation import evaluate
from dragoman.run import Run, read_json
from dragoman.settings import read_yaml

Row = dict[str, float]
MANY = 4  # directions: of more not all measures are kept
FEW = ("l1", "lpips", "diversity", "kid_alex")


def folder_of(recipe: Path, seed: int, folder: Path) -> Path:
    """Where the run of one seed is."""
    return folder / f"{recipe.stem}-seed{seed}"


def train(recipe: Path, seed: int, folder: Path, threads: int | None) -> None:
    """Train one seed in a process of its own, or go on with it; threads: all cores by default."""
    place = folder_of(recipe, seed, folder)
    command = [sys.executable, "-m", "dragoman"]
    if (place / "settings.yaml").exists():
        command += ["resume", str(place)]
    else:
        command += ["train", str(recipe), "--seed", str(seed), "--folder", str(place)]
    limits = {"OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "0"} if threads else {}
    subprocess.run(command, env={**os.environ, **limits}, check=True)


def means(row: dict[str, Any]) -> Row:
    """The mean of every measure of a row of scores."""
    return {name: value["mean"] for name, value in row.items() if "mean" in (value or {})}


def rounded(rows: dict[str, Row]) -> dict[str, Row]:
    """Rows to four places."""
    return {name: {n: round(value, 4) for n, value in row.items()} for name, row in rows.items()}


def way(scores: dict[str, Any], count: int) -> Row:
    """The means of one of several directions; of many only the FEW, and the copied input's L1."""
    row = means({name: scores[name] for name in scores["better"] if name in scores})
    if count <= MANY:
        return row
    copied = means(scores["baselines"].get("input", {}))
    row = {name: row[name] for name in FEW if name in row}
    return {**row, **({"input_l1": copied["l1"]} if "l1" in copied else {})}


def record(run: Run, again: bool) -> dict[str, Any]:
    """What is kept of one seed, and what all seeds have in common under "common"."""
    scores = evaluate(run.folder) if again else run.scores
    facts = read_json(run.folder / "run.json")
    rows = {name: means(row) for name, row in scores["baselines"].items()}
    stages = {name: row for name, row in rows.items() if name.startswith("after ")}
    bare = {name: row for name, row in rows.items() if name not in stages}
    ways = scores.get("directions", {})
    few = ways if len(ways) <= MANY else {}
    return {
        "steps": facts["steps"],
        "training_seconds": facts["training_seconds"],
        "machine": facts["machine"],
        "scores": means({name: scores[name] for name in scores["better"] if name in scores}),
        "stages": stages,
        "directions": {name: way(one, len(ways)) for name, one in ways.items()},
        "common": {
            **{name: scores[name] for name in ("data", "split", "count")},
            "baselines": rounded(bare),
            "directions": {
                name: rounded({n: means(row) for n, row in one["baselines"].items()})
                for name, one in few.items()
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


def summaries(rows: list[dict[str, Row]]) -> dict[str, dict[str, Row]]:
    """The same of several named rows."""
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: summary([row[name] for row in rows]) for name in names}


def known(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """RECIPE.json, if it was made with just these settings, else nothing."""
    if not path.exists():
        return {}
    result = read_json(path)
    return result if result.get("settings") == settings else {}


def write(recipe: Path, seeds: list[int], folder: Path, again: bool = False) -> None:
    """Write RECIPE.json of the seeds that are finished or were known, and print the means."""
    settings, path = read_yaml(recipe), recipe.with_suffix(".json")
    earlier = known(path, settings)
    kept, common = dict(earlier.get("seeds", {})), earlier.get("common", {})
    for seed in seeds:
        place = folder_of(recipe, seed, folder)
        if (place / "scores.json").exists():
            kept[str(seed)] = record(Run.open(place), again)
            common = kept[str(seed)].pop("common")
    if not kept:
        return
    rows = dict(sorted(kept.items(), key=lambda item: int(item[0])))
    result = {
        "command": f"python recipes/repeat.py {recipe} --seeds {' '.join(rows)}",
        "settings": settings,
        "common": common,
        "scores": summary([row["scores"] for row in rows.values()]),
        "stages": summaries([row["stages"] for row in rows.values()]),
        "directions": summaries([row.get("directions", {}) for row in rows.values()]),
        "seeds": rows,
    }
    beside = path.with_suffix(f".{os.getpid()}")  # another process may be reading
    beside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)
    print(f"{recipe}: seeds {' '.join(rows)}")
    for name, found in result["scores"].items():
        print(f"{name:16s}{found['mean']:10.4f} +- {found['spread']:.4f}", flush=True)


def missing(recipe: Path, seed: int, folder: Path) -> bool:
    """True if a seed has neither a finished run nor numbers in RECIPE.json."""
    finished = (folder_of(recipe, seed, folder) / "scores.json").exists()
    numbers = known(recipe.with_suffix(".json"), read_yaml(recipe)).get("seeds", {})
    return not finished and str(seed) not in numbers


def main() -> None:
    """Train what is missing; write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--at-once", type=int, default=1)
    arguments = parser.parse_args()
    count, seeds, folder = arguments.at_once, arguments.seeds, arguments.folder
    threads = max(1, (os.cpu_count() or 1) // count) if count > 1 else None
    writing = Lock()

    failed: list[str] = []

    def take(job: tuple[int, Path]) -> None:
        seed, recipe = job
        try:
            train(recipe, seed, folder, threads)
        except subprocess.CalledProcessError:  # it has said why; the others are no worse for it
            failed.append(f"{recipe} --seeds {seed}")
            return
        with writing:
            write(recipe, seeds, folder)

    for recipe in arguments.recipes:
        write(recipe, seeds, folder, arguments.again)
    jobs = [(s, r) for s in seeds for r in arguments.recipes if missing(r, s, folder)]
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(take, jobs))
    if failed:
        raise SystemExit(f"not trained to the end: {', '.join(failed)}; the same command goes on")


if __name__ == "__main__":
    main()
