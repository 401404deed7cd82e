"""Write cost and result of recipes, out of their RECIPE.json, into the comment at their head.

python recipes/heads.py recipes/cover_spade.yaml ... [--note "two at once, one core each"]

The lines after "# command" up to the next empty comment are replaced; --note says what the times of
training were taken under. Recipes that are compared name each other in BESIDE.
"""

import argparse
import textwrap
from pathlib import Path
from typing import Any

from repeat import MANY

from dragoman.run import read_json
from dragoman.settings import read_yaml

BESIDE = {
    "cover_crn": ["cover_regression"],
    "cover_pix2pixhd": ["cover_pix2pixhd_no_matching", "cover_pix2pix"],
    "cover_pix2pixhd_matching": ["cover_pix2pixhd_gan"],
    "cover128_pix2pixhd": ["cover128_pix2pix"],
    "cover128_spade": ["cover128_pix2pix"],
    "cover_spade": ["cover_pix2pix"],
    "earth_cyclegan": ["earth_matching"],
    "earth_unit": ["earth_unit_unshared"],
    "elev_munit": ["elev_cyclegan_noise"],
    "elev_spade": ["elev_pix2pix"],
    "openmoji_best_of_6": ["openmoji_best_of_1"],
    "openmoji_cyclegan": ["openmoji_matching"],
    "openmoji_munit": ["openmoji_cyclegan_noise"],
    "openmoji_stargan_gender": ["openmoji_stargan"],
    "relief_esrgan": ["relief_srgan"],
}
BASELINES = ("mean", "bicubic", "linear", "nearest", "input")
UNPAIRED = ("l1", "psnr", "lpips", "cycle_l1", "kid_alex", "pixel_accuracy", "class_accuracy")
COVER = ("psnr", "lpips", "kid_alex", "pixel_accuracy", "class_accuracy", "miou")
MEASURES = {  # by what a recipe's scores hold, the first that fits
    "hole_psnr": ("hole_l1_percent", "hole_l2_percent", "hole_psnr", "lpips"),
    "psnr_y": ("psnr", "psnr_y", "ssim_y", "lpips", "kid_alex"),
    "cycle_l1": (*UNPAIRED, "diversity", "nearest_lpips"),
    "diversity": ("l1", "nearest_l1", "nearest_lpips", "diversity", *COVER[1:]),
    "pixel_accuracy": COVER,
    "l1": ("psnr", "l1", "lpips"),
    "kid_alex": ("kid_alex",),
}
NAMES = {
    "psnr": "PSNR",
    "psnr_y": "PSNR (Y)",
    "ssim_y": "SSIM (Y)",
    "l1": "L1",
    "lpips": "LPIPS",
    "kid_alex": "KID (AlexNet)",
    "pixel_accuracy": "pixel acc.",
    "class_accuracy": "class acc.",
    "miou": "mIoU",
    "hole_l1_percent": "hole L1 %",
    "hole_l2_percent": "hole L2 %",
    "hole_psnr": "hole PSNR",
    "nearest_l1": "nearest L1",
    "nearest_lpips": "nearest LPIPS",
    "diversity": "diversity",
    "cycle_l1": "cycle L1",
}
DIGITS = {
    "psnr": 2,
    "psnr_y": 2,
    "hole_psnr": 2,
    "kid_alex": 1,
    "hole_l1_percent": 2,
    "l1": 4,
    "nearest_l1": 4,
}
WIDTH = 100


def chosen(scores: dict[str, Any]) -> tuple[str, ...]:
    """The measures that a recipe's head tells."""
    return next(names for mark, names in MEASURES.items() if mark in scores)


def row(found: dict[str, Any], names: tuple[str, ...], seeds: int = 1) -> str:
    """Measures in words; a mean with its spread if it is one of several seeds."""
    parts = []
    for name in (name for name in names if name in found):
        value, spread, digits = found[name], "", DIGITS.get(name, 3)
        if isinstance(value, dict):
            spread = f" +- {value['spread']:.{digits}f}" if seeds > 1 else ""
            value = value["mean"]
        parts.append(f"{NAMES[name]} {value:.{digits}f}{spread}")
    return ", ".join(parts)


def numbers(seeds: dict[str, Any]) -> str:
    """Which seeds, in words."""
    if len(seeds) == 1:
        return f"seed {next(iter(seeds))} only"
    return f"{len(seeds)} seeds, mean +- standard deviation"


def directions(found: dict[str, Any], names: tuple[str, ...], seeds: int) -> list[str]:
    """Each further direction; of many only how often it is nearer to the truth than a copy is."""
    if len(found) <= MANY:
        return [f"{name}: {row(one, names, seeds)}" for name, one in found.items()]
    apart = {
        name: one["l1"]["mean"] - one["input_l1"]["mean"]
        for name, one in found.items()
        if "input_l1" in one
    }
    if not apart:
        return []
    better, worst = sum(value < 0 for value in apart.values()), max(apart, key=apart.__getitem__)
    ours, copied = (found[worst][key]["mean"] for key in ("l1", "input_l1"))
    return [
        f"L1 below the copied input's in {better} of {len(apart)} directions; the hardest, "
        f"{worst}: {ours:.4f}, copied {copied:.4f}"
    ]


def result(recipe: Path) -> list[str]:
    """Sentences on what a recipe reached, beside what it is compared with."""
    found = read_json(recipe.with_suffix(".json"))
    if found["settings"] != read_yaml(recipe):
        raise SystemExit(f"{recipe} has other settings than its JSON was made with; train it again")
    names, common, seeds = chosen(found["scores"]), found["common"], found["seeds"]
    lines = [
        f"{common['split']} split, {common['count']} pictures, {numbers(seeds)} "
        f"({recipe.with_suffix('.json').name}):",
        row(found["scores"], names, len(seeds)),
    ]
    lines += [f"{name}: {row(one, names, len(seeds))}" for name, one in found["stages"].items()]
    lines += directions(found.get("directions", {}), names, len(seeds))
    for other in BESIDE.get(recipe.stem, []):
        path = recipe.with_name(f"{other}.json")
        if path.exists():
            beside = read_json(path)
            told = row(beside["scores"], names, len(beside["seeds"]))
            lines.append(f"{other}.yaml ({numbers(beside['seeds']).split(',')[0]}): {told}")
    shown = [(name, common["baselines"][name]) for name in BASELINES if name in common["baselines"]]
    return lines + [f"{name}: {row(one, names)}" for name, one in shown if row(one, names)]


def cost(recipe: Path, note: str) -> str:
    """Time of training of the quickest and of the slowest seed, for each kind of machine."""
    seeds = read_json(recipe.with_suffix(".json"))["seeds"].values()
    told = []
    for machine in dict.fromkeys(one["machine"] for one in seeds):
        own = sorted(round(one["training_seconds"]) for one in seeds if one["machine"] == machine)
        span = f"{own[0]} to {own[-1]}" if own[0] < own[-1] else f"{own[0]}"
        under = f", {note}" if note and "no GPU" in machine else ""
        told.append(f"{span} s of training{under} ({machine})")
    return "; ".join(told)


def comment(mark: str, lines: list[str]) -> list[str]:
    """Lines of a comment, the first behind a word."""
    found = []
    for line in lines:
        first = f"# {mark:9s}" if not found else "#" + " " * 10
        found += textwrap.wrap(
            line, WIDTH, initial_indent=first, subsequent_indent="#" + " " * 10 + "  " * bool(found)
        )
    return found


def main() -> None:
    """Rewrite the heads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", type=Path, nargs="+")
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    for recipe in options.recipes:
        lines = recipe.read_text().splitlines()
        start = 1 + next(i for i, line in enumerate(lines) if line.startswith("# command"))
        end = next(i for i in range(start, len(lines)) if lines[i] == "#")
        head = comment("cost", [cost(recipe, options.note)]) + comment("result", result(recipe))
        recipe.write_text("\n".join(lines[:start] + head + lines[end:]) + "\n")


if __name__ == "__main__":
    main()
