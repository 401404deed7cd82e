"""Judges a generator on held-out pictures, beside the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from dragoman.baselines import Data, learn
from dragoman.errors import DataError, choose
from dragoman.metrics import METRICS, interval
from dragoman.system import Batch

OURS = "translator"  # the row of the judged generator in the table
INTERVAL = "95 % bootstrap percentile interval of the mean, pictures drawn 2000 times"


class Scores:
    """Collects the measures of one painter, picture by picture."""

    def __init__(self, names: Iterable[str]) -> None:
        self.values: dict[str, list[Tensor]] = {name: [] for name in names}
        self.left_out: dict[str, str] = {}

    def add(self, fake: Tensor, real: Tensor) -> None:
        """Measure a batch; a measure that cannot judge such pictures is left out for good."""
        for name in list(self.values):
            try:
                self.values[name].append(METRICS[name].measure(fake, real).double().cpu())
            except DataError as error:
                self.left_out[name] = str(error)
                del self.values[name]

    def summary(self) -> dict[str, dict[str, float]]:
        """Return {measure: {"mean", "low", "high"}}."""
        return {name: interval(torch.cat(values)) for name, values in self.values.items()}


@torch.no_grad()
def judge(
    generate: Callable[[Batch], Tensor],
    data: Data,
    split: str = "test",
    source: str = "a",
    target: str = "b",
    metrics: Iterable[str] | None = None,
    with_baselines: bool = True,
) -> dict[str, Any]:
    """Compare what `generate` makes of every batch of a split with the truth.

    generate: takes a batch and returns pictures [B, C, H, W] in [-1, 1], of any float type and
    on any device; setting evaluation mode is its own affair. metrics: names of METRICS (all).
    Returns what JSON can hold: {measure: {"mean", "low", "high"}, ..., "split", "count", "data",
    "protocol": {measure: sentence}, "better": {measure: "low" or "high"}, "interval": sentence,
    "baselines": {name: {measure: {...}}}} and, if a measure cannot judge these pictures,
    "left_out": {measure: reason}. Raises SettingsError for unknown measures and DataError for
    pictures that cannot be judged.
    """
    names = list(METRICS) if metrics is None else [choose("measure", m, METRICS) for m in metrics]
    ours, others = Scores(names), {}
    learned = learn(data, source, target, split) if with_baselines else None
    count = 0
    for batch in data.split(split):
        # always measured on the CPU: a GPU's shortened float32 would change the scores
        fake, real = generate(batch).detach().cpu(), batch[target]
        _check(fake, real, count)
        ours.add(fake, real)
        painted = learned.paint(batch[source], count) if learned else {}
        for name, pictures in painted.items():
            others.setdefault(name, Scores(names)).add(pictures, real)
        count += len(real)
    if not count:
        raise DataError(f"the split '{split}' of '{data.name}' has no pictures to judge")
    if not ours.values:
        raise DataError("; ".join(ours.left_out.values()))
    return _scores(ours, others, data.name, split, count)


def _scores(
    ours: Scores, others: dict[str, Scores], name: str, split: str, count: int
) -> dict[str, Any]:
    scores: dict[str, Any] = dict(ours.summary())
    scores["split"], scores["count"], scores["data"] = split, count, name
    scores["protocol"] = {measure: METRICS[measure].protocol for measure in ours.values}
    scores["better"] = {measure: METRICS[measure].better for measure in ours.values}
    scores["interval"] = INTERVAL
    scores["baselines"] = {baseline: other.summary() for baseline, other in others.items()}
    if ours.left_out:
        scores["left_out"] = ours.left_out
    return scores


def _check(fake: Tensor, real: Tensor, start: int) -> None:
    """Refuse generated pictures of another shape than the truth, or that are not finite."""
    if fake.shape != real.shape:
        raise DataError(
            f"the generator made pictures of shape {list(fake.shape)} where the true ones are "
            f"{list(real.shape)}"
        )
    broken = ~torch.isfinite(fake).flatten(1).all(1)
    if broken.any():
        first = start + int(broken.nonzero()[0])
        raise DataError(
            f"{int(broken.sum())} generated pictures hold NaN or infinity, the first for picture "
            f"{first} of the split; go back to an earlier checkpoint"
        )


def table(scores: Mapping[str, Any]) -> str:
    """Set the scores and those of the baselines in plain text, one line each, best marked *.

    Two lines below our own tell the 95 % interval. 78 characters wide with all measures.
    """
    measures = [name for name in METRICS if name in scores]
    rows: dict[str, Mapping[str, Any]] = {OURS: scores, **scores["baselines"]}
    lines = [
        _line("", measures, measures),
        _line("better", measures, [_goal(name) for name in measures]),
    ]
    for name, row in rows.items():
        lines.append(_line(name, measures, [_mean(m, row, rows) for m in measures]))
        if name == OURS:
            for end in ("low", "high"):
                ends = [_number(row[m][end]) for m in measures]
                lines.append(_line(f"  95 % {end}", measures, ends))
    title = f"{scores['data']}, {scores['split']} split, {scores['count']} pictures (* best)"
    why = [f"without {name}: {reason}" for name, reason in scores.get("left_out", {}).items()]
    return "\n".join([title, *lines, *why])


def _goal(name: str) -> str:
    return f"{METRICS[name].unit} {METRICS[name].better}".strip()


def _mean(measure: str, row: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The mean of one row, with a star if no other row is better."""
    means = [other[measure]["mean"] for other in rows.values()]
    best = max(means) if METRICS[measure].better == "high" else min(means)
    mean = row[measure]["mean"]
    return _number(mean) + ("*" if mean == best else " ")


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _line(name: str, measures: list[str], cells: list[str]) -> str:
    """Right-align the cells so that the stars stick out into the gap."""
    line = f"{name:<13}"
    for measure, cell in zip(measures, cells, strict=True):
        cell = cell if cell.endswith(("*", " ")) else cell + " "
        line += f"{cell:>{max(len(measure), 6) + 2}}"
    return line.rstrip()
