"""Judges a generator on held-out pictures, beside the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from dragoman.baselines import Baselines, Data, learn
from dragoman.errors import DataError, choose
from dragoman.metrics import METRICS, Metric, SetMetric, answers_metrics, interval
from dragoman.metrics.answers import AnswersMetric
from dragoman.system import Batch

OURS = "translator"  # the row of the judged generator in the table
INTERVAL = "95 % bootstrap percentile interval of the mean, pictures drawn 2000 times"
WIDEST = 100  # characters of a line of the table
TOGETHER = 32  # pictures judged at a time
MOST_TABLES = 3  # of further directions; more of them have a line each
FEW = 3  # measures in such a line

Generate = Callable[[Batch], Tensor]
Measure = Metric | SetMetric | AnswersMetric


class Told(Protocol):
    """What is told of a number, as Metric and Number have it."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def better(self) -> str: ...
    @property
    def protocol(self) -> str: ...


@dataclass(frozen=True)
class Judged:
    """What is judged, and by what.

    generate: makes pictures [B, C, H, W] in [-1, 1] for a batch, of any float type and on any
    device; setting evaluation mode is its own affair. source, target: batch keys. further:
    measures besides the usual ones. given: what is shown as "input" where source and target are
    one key, such as a picture with a hole. answer: makes answer number n, of which number 0 is
    what `generate` has just made of the same batch. answers: how many of them are judged, 1 or
    more. beside: more generators by name, such as earlier stages, for rows of their own. paired:
    the pictures of a batch show the same thing; else only sets of them can be compared.
    """

    generate: Generate
    source: str = "a"
    target: str = "b"
    further: Sequence[Metric | SetMetric] = ()
    given: Generate | None = None
    answer: Callable[[Batch, int], Tensor] | None = None
    answers: int = 1
    beside: Mapping[str, Generate] = field(default_factory=dict)
    paired: bool = True


class Scores:
    """Collects the measures of one painter, batch by batch."""

    def __init__(self, metrics: Sequence[Metric | SetMetric]) -> None:
        self.metrics = [metric for metric in metrics if isinstance(metric, Metric)]
        self.sets = [(m, m.start()) for m in metrics if isinstance(m, SetMetric)]
        self.values: dict[str, list[Tensor]] = {}
        self.told: dict[str, Told] = {}
        self.left_out: dict[str, str] = {}

    def add(self, fake: Tensor, real: Tensor, batch: Batch) -> None:
        """Measure a batch; a measure that cannot judge such pictures is left out for good."""
        for metric in self.metrics:
            found = self._try(metric, metric.of, fake, real, batch)
            if found is not None:
                self._keep([metric], {metric.name: found})
        for metric, collector in self.sets:
            self._try(metric, collector.add, fake, real, batch)

    def add_answers(
        self, metrics: Iterable[AnswersMetric], answers: Sequence[Tensor], real: Tensor
    ) -> None:
        """Measure several answers to a batch."""
        for metric in metrics:
            self._keep(metric.numbers, self._try(metric, metric.measure, answers, real) or {})

    def summary(self) -> dict[str, dict[str, float]]:
        """Return {name: {"mean", "low", "high"}}; some numbers of whole splits have only a mean."""
        summed = {name: interval(torch.cat(values)) for name, values in self.values.items()}
        for metric, collector in self.sets:
            self.told |= {number.name: number for number in metric.numbers}
            summed |= self._try(metric, collector.result) or {}
        return summed

    def _keep(self, told: Iterable[Told], found: Mapping[str, Tensor]) -> None:
        self.told |= {number.name: number for number in told}
        for name, values in found.items():
            self.values.setdefault(name, []).append(values.double().cpu())

    def _try(self, metric: Measure, measure: Callable[..., Any], *given: Any) -> Any:
        """Return what a measure returns, or None if it is left out, from now on or already."""
        if metric.name in self.left_out:
            return None
        try:
            return measure(*given)
        except DataError as error:
            self.left_out[metric.name] = str(error)
            told = [metric] if isinstance(metric, Metric) else metric.numbers
            for number in told:
                self.values.pop(number.name, None)
            return None


def judge(
    generate: Generate,
    data: Data,
    split: str = "test",
    source: str = "a",
    target: str = "b",
    metrics: Iterable[str] | None = None,
    with_baselines: bool = True,
) -> dict[str, Any]:
    """Compare what `generate` makes of every batch of a split with the truth; see `judge_all`."""
    judged = Judged(generate, source, target)
    return judge_all(judged, data, split, metrics, with_baselines)


@torch.no_grad()
def judge_all(
    judged: Judged,
    data: Data,
    split: str = "test",
    metrics: Iterable[str] | None = None,
    with_baselines: bool = True,
) -> dict[str, Any]:
    """Compare what is made of every batch of a split with the truth.

    metrics: names of METRICS (all), besides the further ones of `judged`.
    Returns what JSON can hold: {measure: {"mean", "low", "high"}, ..., "split", "count", "data",
    "protocol": {measure: sentence}, "better": {measure: "low" or "high"}, "unit": {measure: unit},
    "interval": sentence, "baselines": {name: {measure: {...}}}} and, if a measure cannot judge
    these pictures, or the generator of a row fails, "left_out": {name: reason}. Numbers of a whole
    split may have a mean only.
    Raises SettingsError for unknown measures and DataError for pictures that cannot be judged.
    """
    names = list(METRICS) if metrics is None else [choose("measure", m, METRICS) for m in metrics]
    measures = [*(METRICS[name] for name in names), *judged.further]
    of_answers = answers_metrics(judged.answers) if judged.answer and judged.answers > 1 else ()
    if not judged.paired:
        measures, of_answers = [one for one in measures if _without_truth(one)], ()
    theirs = [one for one in measures if not (isinstance(one, Metric) and one.ours)]
    ours, others = Scores(measures), {}
    learned, count = None, 0
    if not with_baselines:
        judged = replace(judged, given=None)
    elif judged.source != judged.target:
        learned = learn(data, judged.source, judged.target, split)
    for batch in _batches(judged, data, split):
        # always measured on the CPU: a GPU's shortened float32 would change the scores
        fake, real = judged.generate(batch).detach().cpu(), batch[judged.target]
        _check(fake, real, count)
        ours.add(fake, real, batch)
        if of_answers:
            ours.add_answers(of_answers, _answers(judged, batch, fake, count), real)
        for name, pictures in _painted(judged, learned, batch, count).items():
            # the fault of an earlier stage must not hide our scores
            if why := ours.left_out.get(name) or _fault(pictures, real, count):
                ours.left_out[name] = why
                others.pop(name, None)
            else:
                others.setdefault(name, Scores(theirs)).add(pictures, real, batch)
        count += len(real)
    if not count:
        raise DataError(f"the split '{split}' of '{data.name}' has no pictures to judge")
    return _scores(ours, others, data.name, split, count)


def _without_truth(measure: Metric | SetMetric) -> bool:
    """True for a measure that needs no picture of the same thing."""
    return measure.ours if isinstance(measure, Metric) else not measure.paired


def _batches(judged: Judged, data: Data, split: str) -> Iterable[Batch]:
    """All of a split; where its pictures are no partners, none of either domain twice."""
    if judged.paired:
        return data.split(split)
    most = min(data.count(split, judged.source), data.count(split, judged.target))
    return (
        data.rows(split, range(at, min(at + TOGETHER, most))) for at in range(0, most, TOGETHER)
    )


def _answers(judged: Judged, batch: Batch, first: Tensor, start: int) -> list[Tensor]:
    """All answers to a batch, of which the first is there already."""
    assert judged.answer is not None
    answers = [first]
    for number in range(1, judged.answers):
        answers.append(judged.answer(batch, number).detach().cpu())
        _check(answers[-1], batch[judged.target], start)
    return answers


def _painted(
    judged: Judged, learned: Baselines | None, batch: Batch, start: int
) -> dict[str, Tensor]:
    """What stands beside ours: baselines, then the further generators."""
    real = batch[judged.target]
    painted = learned.paint(batch[judged.source], start) if learned else {}
    if judged.source == judged.target and judged.given is not None:
        given = judged.given(batch).detach().float().cpu()
        painted |= {"input": given} if given.shape == real.shape else {}
    for name, generate in judged.beside.items():
        painted[name] = generate(batch).detach().cpu()
    return painted


def _scores(
    ours: Scores, others: dict[str, Scores], name: str, split: str, count: int
) -> dict[str, Any]:
    measured = ours.summary()
    if not measured:
        raise DataError("; ".join(ours.left_out.values()))
    scores: dict[str, Any] = dict(measured)
    scores["split"], scores["count"], scores["data"] = split, count, name
    scores["protocol"] = {measure: ours.told[measure].protocol for measure in measured}
    scores["better"] = {measure: ours.told[measure].better for measure in measured}
    scores["unit"] = {measure: ours.told[measure].unit for measure in measured}
    scores["interval"] = INTERVAL
    scores["baselines"] = {baseline: other.summary() for baseline, other in others.items()}
    if ours.left_out:
        scores["left_out"] = ours.left_out
    return scores


def _check(fake: Tensor, real: Tensor, start: int) -> None:
    """Refuse generated pictures of another shape than the truth, or that are not finite."""
    if why := _fault(fake, real, start):
        raise DataError(why)


def _fault(fake: Tensor, real: Tensor, start: int) -> str:
    """What is wrong with generated pictures; "" if nothing is."""
    if fake.shape != real.shape:
        return (
            f"the generator made pictures of shape {list(fake.shape)} where the true ones are "
            f"{list(real.shape)}"
        )
    broken = ~torch.isfinite(fake).flatten(1).all(1)
    if not broken.any():
        return ""
    first = start + int(broken.nonzero()[0])
    return (
        f"{int(broken.sum())} generated pictures hold NaN or infinity, the first for picture "
        f"{first} of the split; go back to an earlier checkpoint"
    )


def table(scores: Mapping[str, Any]) -> str:
    """Set the scores and those of the baselines in plain text, one line each, best marked *.

    Two lines below our own tell the 95 % interval. Of more measures than fit in 100 characters
    the others follow in another block, as do other directions of translation.
    """
    further = scores.get("directions", {})
    tables = [_table(scores, scores["direction"] if further else "")]
    if len(further) > MOST_TABLES:
        return "\n\n".join([*tables, _directions(further)])
    tables += [_table(told, name) for name, told in further.items()]
    return "\n\n".join(tables)


def _directions(told: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each direction: the first measures of ours, and of the first baseline."""
    first = next(iter(told.values()))
    measures = [name for name in first["better"] if name in first][:FEW]
    row = next(iter(first["baselines"]), None)
    heads = [*measures, *([f"{row}: {measure}" for measure in measures] if row else [])]
    wide = max(len(name) for name in told) + 1
    lines = [f"{'':<{wide}}" + "".join(f"{head:>{len(head) + 2}}" for head in heads)]
    for name, one in told.items():
        cells = [one.get(m) for m in measures]
        cells += [one["baselines"].get(row, {}).get(m) for m in measures] if row else []
        texts = ["-" if cell is None else _number(cell["mean"]) for cell in cells]
        told_line = "".join(f"{t:>{len(h) + 2}}" for t, h in zip(texts, heads, strict=True))
        lines.append(f"{name:<{wide}}{told_line}")
    return "\n".join(lines)


def _table(scores: Mapping[str, Any], direction: str) -> str:
    measures = [name for name in scores.get("better", METRICS) if name in scores]
    rows: dict[str, Mapping[str, Any]] = {OURS: scores, **scores["baselines"]}
    names = ["", "better", OURS, "  95 % low", "  95 % high", *scores["baselines"]]
    first = max(13, *(len(name) + 1 for name in names))
    blocks: list[list[list[str]]] = []
    room = 0
    for measure in measures:
        column = _column(measure, scores, rows)
        room -= len(column[0])
        if room < 0:
            blocks.append([])
            room = WIDEST - first - len(column[0])
        blocks[-1].append(column)
    what = ", ".join([scores["data"], *([direction] if direction else [])])
    lines = [f"{what}, {scores['split']} split, {scores['count']} pictures (* best)"]
    for number, block in enumerate(blocks):
        lines += [""] * (number > 0)
        for name, *cells in zip(names, *block, strict=True):
            if any(cell.strip() for cell in cells):  # without any interval there is no line of it
                lines.append(f"{name:<{first}}{''.join(cells)}".rstrip())
    lines += [f"without {name}: {why}" for name, why in scores.get("left_out", {}).items()]
    return "\n".join(lines)


def _column(
    measure: str, scores: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """The cells of one measure down the table, alike in width; stars stick out into the gap."""
    better = scores.get("better", {}).get(measure) or METRICS[measure].better
    known = METRICS[measure].unit if measure in METRICS else ""
    unit = scores.get("unit", {}).get(measure, known)
    means = [_mean(measure, row, rows, better) for row in rows.values()]
    ends = [
        _number(scores[measure][end]) if end in scores[measure] else "" for end in ("low", "high")
    ]
    cells = [measure, f"{unit} {better}".strip(), means[0], *ends, *means[1:]]
    cells = [cell if cell.endswith(("*", " ")) else cell + " " for cell in cells]
    width = max(6, *(len(cell) - 1 for cell in cells)) + 2
    return [f"{cell:>{width}}" for cell in cells]


def _mean(
    measure: str, row: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], better: str
) -> str:
    """The mean of one row, with a star if no other row is better; "-" if it was not measured."""
    if measure not in row:
        return "-"
    means = [other[measure]["mean"] for other in rows.values() if measure in other]
    mean = row[measure]["mean"]
    star = len(means) > 1 and mean == (max(means) if better == "high" else min(means))
    return _number(mean) + ("*" if star else " ")


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"
