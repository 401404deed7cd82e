"""Judging a run: on val while it trains, on test when it is done."""

from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dragoman.data import open_data
from dragoman.data.settings import DataSettings
from dragoman.domain_judging import Way, Ways, judge_ways, spread, ways
from dragoman.errors import DataError, FileError, did_you_mean
from dragoman.examples import asked_for
from dragoman.judge import Judged, judge_all
from dragoman.matching import check_same, check_same_classes
from dragoman.metrics import KID_ALEX, METRICS, SetMetric, answers, cover_agreement
from dragoman.metrics.cover import WATER
from dragoman.run import Run
from dragoman.settings import build
from dragoman.system import Batch, System

if TYPE_CHECKING:
    from dragoman.data import Data
    from dragoman.pipeline import Translator

VALIDATED = ("l1", "psnr", "lpips")
JUDGED_AT_MOST = 64  # pictures of val while training; the final scores take all of test


def has_truth(system: System, data: "Data", split: str) -> bool:
    """True if a split holds the true pictures that the system should make."""
    known = system.target is not None and system.target in data.domains and not system.domains()
    return known and bool(data.counts.get(split)) and data.partners(split)


def can_evaluate(system: System, data: "Data", split: str) -> bool:
    """True if a split holds the truth, or at least pictures like those that should be made."""
    if has_truth(system, data, split):
        return True
    if system.domains():
        return bool(data.counts.get(split)) and bool(ways(system, data, split))
    known = system.target is not None and system.target in data.domains
    return known and system.target != system.source and bool(data.counts.get(split))


def validate(system: System, data: "Data", device: torch.device) -> dict[str, float]:
    """Mean scores of a system in generating mode on some of val, spread evenly; {} if none."""
    if system.domains():
        return _validate_ways(system, data, device)
    if system.target is None or not has_truth(system, data, "val"):
        return {}
    sums: dict[str, float] = {}
    total = data.counts["val"]
    judged = min(total, JUDGED_AT_MOST)
    for start in range(0, judged, 16):
        chosen = [i * total // judged for i in range(start, min(start + 16, judged))]
        batch = data.rows("val", chosen)
        moved = {key: value.to(device) for key, value in batch.items()}
        made = system.generate(moved).float().cpu()
        if system.answers not in (1, None):
            sums["nearest_l1"] = sums.get("nearest_l1", 0.0) + _nearest(system, moved)
        for metric in [*(METRICS[name] for name in VALIDATED), *system.measures()]:
            try:
                values = metric.of(made, batch[system.target], batch)
            except DataError:  # such as LPIPS of pictures below 31 px
                continue
            sums[metric.name] = sums.get(metric.name, 0.0) + float(values.sum())
    return {name: value / judged for name, value in sums.items()}


def _validate_ways(system: System, data: "Data", device: torch.device) -> dict[str, float]:
    """Mean scores of some pictures of every way of val whose truth is known; {} if none is."""
    known = [way for way in ways(system, data, "val") if way.paired] if data.counts["val"] else []
    known = spread(known, JUDGED_AT_MOST)
    sums: dict[str, float] = {}
    judged = 0
    for way in known:
        count = min(len(way.rows), max(1, JUDGED_AT_MOST // len(known)))
        batch = Ways(data, way).rows("val", [n * len(way.rows) // count for n in range(count)])
        moved = {key: value.to(device) for key, value in batch.items()}
        with system.choosing(asked_for(system, data, way.label_set, way.target, way.examples)):
            made, judged = system.generate(moved).float().cpu(), judged + count
        for name in VALIDATED:
            try:
                values = METRICS[name].of(made, batch["truth"], batch)
            except DataError:  # such as LPIPS of pictures below 31 px
                continue
            sums[name] = sums.get(name, 0.0) + float(values.sum())
    return {name: value / judged for name, value in sums.items()}


def _nearest(system: System, batch: Batch) -> float:
    """Sum over pictures of the L1 of that answer which is nearest to the truth."""
    assert system.answers is not None
    assert system.target is not None
    numbers = range(min(system.answers, answers.MOST))
    asked = [replace(system.controls, answer=number) for number in numbers]
    made = [system.generate(batch, one) for one in asked]
    apart = [METRICS["l1"].measure(one.float(), batch[system.target]) for one in made]
    return float(torch.stack(apart).amin(0).sum())


def evaluate(
    folder: str | Path,
    split: str = "test",
    data: "Data | None" = None,
    device: str = "auto",
    stage: str | None = None,
) -> dict[str, Any]:
    """Score a run's translator on a split beside the baselines; also writes scores.json.

    Earlier stages that the run has kept stand beside the baselines, as "after NAME". stage: the
    name of one of them that is to be scored instead; its scores go to scores_stage_NAME.json.
    Raises DataError where outputs have no true partners to be compared with, FileError if there
    is no such stage.
    """
    from dragoman.pipeline import load

    run = Run.open(folder)
    place = run.folder if stage is None else _stage(run, stage)
    translator = load(place, device)
    data = data or open_data(build(DataSettings, run.settings))
    check_same(translator.config["domains"], data)
    system = translator.system
    check_same_classes(system.domains(), data)
    if not data.counts.get(split):
        known = ", ".join(name for name, count in data.counts.items() if count)
        raise DataError(f"{data.name} has no pictures in the split '{split}'; it has {known}")
    if not can_evaluate(system, data, split):
        raise DataError(
            f"{data.name} holds no true partners of what {translator.config['system']} makes; "
            "choose paired --data to score against"
        )
    earlier = [] if stage is not None else _stages(run, system)
    beside = {f"after {name}": load(run.stages / name, device) for name in earlier}
    if system.domains():
        scores = judge_ways(system, data, split, partial(_judged_way, translator, data, beside))
    else:
        scores = _judge_directions(translator, data, split, beside)
    scores["system"] = translator.config["system"]
    parts = ["scores", *(["stage", stage] if stage else []), *([split] if split != "test" else [])]
    run.write_json(f"{'_'.join(parts)}.json", scores)
    if split == "test":
        translator.write_card(run.translator if stage is None else place, scores)
    return scores


def _judge_directions(
    translator: "Translator", data: "Data", split: str, beside: dict[str, "Translator"]
) -> dict[str, Any]:
    """The scores of the usual direction, with those of others under "directions"."""
    system, told = translator.system, dict[str, dict[str, Any]]()
    for name, controls in system.directions().items():
        for one in (translator, *beside.values()):
            one.system.choose(controls)
        named = [data.domains[key].name for key in (system.source, system.target or "")]
        name = name if named[0] == named[1] else " to ".join(named)
        told[name] = judge_all(_judged(translator, data, beside, data.partners(split)), data, split)
    first, *others = told
    further = {"directions": {name: told[name] for name in others}} if others else {}
    return {**told[first], "direction": first, **further}


def _judged_way(
    translator: "Translator", data: "Data", beside: dict[str, "Translator"], way: Way
) -> Judged:
    """As `_judged`, from one domain into another."""
    for one in (translator, *beside.values()):
        one.system.choose(asked_for(one.system, data, way.label_set, way.target, way.examples))
    return _judged(translator, data, beside, paired=way.paired)


def _stages(run: Run, system: System) -> list[str]:
    """The names of the stages that a run has kept, in the order of training."""
    kept = sorted(place.parent.name for place in run.stages.glob("*/config.json"))
    order = [stage.name for stage in system.stages(int(run.settings.get("steps") or 1))]
    return sorted(kept, key=lambda name: order.index(name) if name in order else len(order))


def _stage(run: Run, name: str) -> Path:
    kept = sorted(place.parent.name for place in run.stages.glob("*/config.json"))
    if name not in kept:
        known = f"it has kept {', '.join(kept)}" if kept else "it has kept none"
        raise FileError(
            f"{run.folder} has no earlier stage '{name}'{did_you_mean(name, kept)}; {known}"
        )
    return run.stages / name


def _judged(
    translator: "Translator", data: "Data", beside: dict[str, "Translator"], paired: bool
) -> Judged:
    """A translator with the same noise at every evaluation, and all by which it is judged."""
    system, seeded = translator.system, Seeded(translator)
    assert system.target is not None
    most = answers.MOST if system.answers is None else min(system.answers, answers.MOST)
    return Judged(
        seeded.generate,
        system.source,
        system.target,
        further=[*system.measures(), *set_metrics(data, system.source, system.target)],
        given=seeded.given,
        answer=seeded.answer,
        answers=most,
        beside={name: Seeded(earlier).generate for name, earlier in beside.items()},
        paired=paired,
    )


def set_metrics(data: "Data", source: str, target: str) -> list[SetMetric]:
    """The measures of whole splits that make sense for a data set."""
    measures = [KID_ALEX]
    if data.domains[target].rule == "cover":
        read = data.domains.get(source)
        wet = read is not None and read.classes[: len(WATER)] == WATER
        measures.append(cover_agreement(len(WATER) if wet else 0))
    return measures


class Seeded:
    """A translator whose noise is the same at every evaluation, batch after batch."""

    def __init__(self, translator: "Translator") -> None:
        self.translator = translator
        self.number = 0  # of the batch

    def generate(self, batch: Batch) -> Tensor:
        """The pictures made for the next batch."""
        self.number += 1
        with self._drawing(self.number):
            return self.translator.generate(batch)

    def answer(self, batch: Batch, number: int) -> Tensor:
        """Answer `number` to the batch that `generate` has seen last, whose own is number 0."""
        from dragoman.pipeline import APART

        with self._drawing(self.number + APART * number):
            asked = replace(self.translator.system.controls, answer=number)
            return self.translator.generate(batch, asked)

    def given(self, batch: Batch) -> Tensor:
        """What `generate` went by for the batch that it has seen last."""
        device, system = self.translator.device, self.translator.system
        moved = {key: value.to(device) for key, value in batch.items()}
        with self._drawing(self.number):
            return system.given(moved)

    def _drawing(self, seed: int) -> AbstractContextManager[None]:
        from dragoman.pipeline import drawing

        return drawing(seed, torch.device(self.translator.device))
