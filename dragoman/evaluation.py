"""Judging a run: on val while it trains, on test when it is done."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dragoman.data import open_data
from dragoman.data.settings import DataSettings
from dragoman.errors import DataError
from dragoman.judge import judge
from dragoman.metrics import METRICS
from dragoman.run import Run
from dragoman.settings import build
from dragoman.system import Batch, System

if TYPE_CHECKING:
    from dragoman.data import Data

VALIDATED = ("l1", "psnr", "lpips")
JUDGED_AT_MOST = 64  # pictures of val while training; the final scores take all of test


def has_truth(system: System, data: "Data", split: str) -> bool:
    """True if a split holds the true pictures that the system should make."""
    known = system.target is not None and system.target in data.domains
    return known and bool(data.counts.get(split)) and data.partners(split)


def validate(system: System, data: "Data", device: torch.device) -> dict[str, float]:
    """Mean scores of a system in generating mode on some of val, spread evenly; {} if none."""
    if system.target is None or not has_truth(system, data, "val"):
        return {}
    sums: dict[str, float] = {}
    total = data.counts["val"]
    judged = min(total, JUDGED_AT_MOST)
    for start in range(0, judged, 16):
        chosen = [i * total // judged for i in range(start, min(start + 16, judged))]
        batch = data.rows("val", chosen)
        made = system.generate({k: v.to(device) for k, v in batch.items()}).float().cpu()
        for name in VALIDATED:
            try:
                values = METRICS[name].measure(made, batch[system.target])
            except DataError:  # such as LPIPS of six-channel pictures
                continue
            sums[name] = sums.get(name, 0.0) + float(values.sum())
    return {name: value / judged for name, value in sums.items()}


def evaluate(
    folder: str | Path, split: str = "test", data: "Data | None" = None, device: str = "auto"
) -> dict[str, Any]:
    """Score a run's translator on a split beside the baselines; also writes scores.json.

    Raises DataError where outputs have no true partners to be compared with.
    """
    from dragoman.pipeline import load

    run = Run.open(folder)
    translator = load(run.folder, device)
    data = data or open_data(build(DataSettings, run.settings))
    system = translator.system
    if not data.counts.get(split):
        known = ", ".join(name for name, count in data.counts.items() if count)
        raise DataError(f"{data.name} has no pictures in the split '{split}'; it has {known}")
    if system.target is None or not has_truth(system, data, split):
        raise DataError(
            f"{data.name} holds no true partners of what {translator.config['system']} makes; "
            "choose paired --data to score against"
        )
    scores = judge(_seeded(translator.generate), data, split, system.source, system.target)
    scores["system"] = translator.config["system"]
    run.write_json("scores.json" if split == "test" else f"scores_{split}.json", scores)
    if split == "test":
        translator.write_card(run.translator, scores)
    return scores


def _seeded(generate: Callable[[Batch], Tensor]) -> Callable[[Batch], Tensor]:
    """The same noise at every evaluation, batch after batch."""
    number = 0

    def seeded(batch: Batch) -> Tensor:
        nonlocal number
        number += 1
        with torch.random.fork_rng():
            torch.manual_seed(number)
            return generate(batch)

    return seeded
