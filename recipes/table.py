"""Print a Markdown table of what recipes reached, out of their RECIPE.json.

python recipes/table.py recipes/earth_matching.yaml recipes/earth_cyclegan.yaml ...
    [--measures psnr lpips ...] [--way "satellite to relief"]

Rows are recipes, then what needs no training; --way shows another direction than the first.
"""

import argparse
from pathlib import Path
from typing import Any

from heads import BASELINES, DIGITS, NAMES, UNPAIRED

from dragoman.run import read_json


def cell(found: dict[str, Any], name: str, seeds: int) -> str:
    """A mean, with its spread if there is one."""
    if name not in found:
        return ""
    value, digits = found[name], DIGITS.get(name, 3)
    if not isinstance(value, dict):
        return f"{value:.{digits}f}"
    spread = f" ± {value['spread']:.{digits}f}" if seeds > 1 else ""
    return f"{value['mean']:.{digits}f}{spread}"


def told(found: dict[str, Any], way: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The scores of a way and of what needs no training; the first way is that of the data."""
    common = found["common"]
    if way is None or found["settings"]["data"].endswith(":" + way.replace(" to ", ",")):
        return found["scores"], common["baselines"]
    return found["directions"][way], common.get("directions", {}).get(way, {})


def rows(recipes: list[Path], measures: list[str], way: str | None) -> list[list[str]]:
    """The cells of all rows, the head first."""
    table = [["recipe", "seeds", *(NAMES[name] for name in measures)]]
    bare: dict[str, Any] = {}
    for recipe in recipes:
        found = read_json(recipe.with_suffix(".json"))
        count = len(found["seeds"])
        scores, beside = told(found, way)
        table.append([recipe.stem, str(count), *(cell(scores, name, count) for name in measures)])
        bare |= beside
    for name in (name for name in ("constant", *BASELINES) if name in bare):
        table.append([name, "", *(cell(bare[name], measure, 1) for measure in measures)])
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", type=Path, nargs="+")
    parser.add_argument("--measures", nargs="+", default=list(UNPAIRED), choices=list(NAMES))
    parser.add_argument("--way")
    options = parser.parse_args()
    head, *others = rows(options.recipes, options.measures, options.way)
    for cells in (head, ["---"] * len(head), *others):
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
