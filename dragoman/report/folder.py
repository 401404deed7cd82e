"""What the files of a run folder tell, read with care: any of them may be missing or damaged."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dragoman.errors import FileError
from dragoman.journal import NAME as JOURNAL
from dragoman.journal import read_journal
from dragoman.report.scoreboard import finite

MOST_BYTES = 16 << 20  # of a JSON or YAML file; larger ones were not written by a run
MOST_TERMS = 64
MOST_ITEMS = 40  # of a list or mapping that is shown


@dataclass
class Curves:
    """The lines of a journal as points (step, value), by turn and term, and by metric."""

    turns: dict[str, dict[str, list[tuple[float, float]]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    val: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)  # the first written step of each
    seconds: float = 0.0
    step: int = 0
    speeds: list[float] = field(default_factory=list)  # pictures per second
    lost: int = 0  # averages that were not finite


class PlainLoader(yaml.SafeLoader):
    """The safe loader without merge keys, through which a small file could fill the memory."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave "<<" as it stands; it is then refused as a key."""


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a JSON or YAML mapping; raises FileError, saying what is wrong in a few words."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise FileError("is missing") from error
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror})") from error
    if len(content) > MOST_BYTES:
        raise FileError("is too large to be a run's")
    try:
        yaml_file = path.suffix == ".yaml"
        # PlainLoader is a SafeLoader: it builds no Python objects.
        found = yaml.load(content, PlainLoader) if yaml_file else json.loads(content)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise FileError("is damaged") from error
    if not isinstance(found, dict):
        raise FileError("is damaged")
    return found


def read_curves(folder: Path) -> Curves:
    """Read the journal of a run; raises FileError if there is none."""
    path = folder / JOURNAL
    if not path.is_file():
        raise FileError("is missing")
    curves = Curves()
    for line in read_journal(path):
        step = line["step"]
        curves.step = max(curves.step, step)
        if isinstance(line.get("val"), dict):
            add(curves, curves.val, line["val"], step)
        if isinstance(line.get("terms"), dict):
            stage = str(line.get("stage") or "")
            if stage and len(curves.stages) < MOST_TERMS:
                curves.stages.setdefault(stage, step)
            curves.seconds = finite(line.get("seconds")) or curves.seconds
            if (speed := finite(line.get("pictures_per_second"))) is not None:
                curves.speeds.append(speed)
            for name, value in line["terms"].items():
                turn, _, term = name.rpartition(".")
                if turn in curves.turns or len(curves.turns) < MOST_TERMS:
                    add(curves, curves.turns[turn], {term: value}, step)
    return curves


def add(curves: Curves, lines: dict, values: dict[str, Any], step: int) -> None:
    """Append values of one step to their lines."""
    for name, value in values.items():
        known = finite(value)
        if known is None:
            curves.lost += 1
        elif name in lines or len(lines) < MOST_TERMS:
            lines.setdefault(name, []).append((float(step), known))


def brief(value: Any, depth: int = 2) -> str:
    """Write a setting's value as one line; what is nested or long beyond reason is cut."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, dict | list):
        if depth == 0:
            return "…"
        items = list(value.items() if isinstance(value, dict) else enumerate(value))
        shown = [
            (f"{brief(key, 0)}: " if isinstance(value, dict) else "") + brief(item, depth - 1)
            for key, item in items[:MOST_ITEMS]
        ]
        return ", ".join(shown + ["…"] * (len(items) > MOST_ITEMS))
    try:
        text = str(value)
    except ValueError:  # an integer of thousands of digits
        return "…"
    return text if len(text) <= 2000 else text[:2000] + "…"
