"""Translating files: what was asked for from start to end, with everything that must be told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dragoman.controls import offered
from dragoman.errors import DataError, DragomanError, SettingsError, did_you_mean
from dragoman.interruption import listening
from dragoman.pipeline import Translator, load
from dragoman.settings import own_values, parse
from dragoman.translating.cutting import cutting
from dragoman.translating.files import Stages, Work
from dragoman.translating.flow import flow, lanes
from dragoman.translating.known import check_foreign
from dragoman.translating.options import Options
from dragoman.translating.places import Plan, make_plan
from dragoman.translating.progress import Meter
from dragoman.translating.record import check_single, keep_record, record_of, stale_before
from dragoman.translating.sources import Pictures, find

MOST_LINES = 1000  # of failed pictures that are listed; the rest is counted


class PicturesFailed(DataError):
    """Some pictures could not be translated; the others are written."""

    exit_code = 1


class Stopped(DragomanError):
    """The user asked to stop; what is written is whole, and the same command goes on."""

    def __init__(self, done: int, total: int, signal_number: int) -> None:
        super().__init__(
            f"stopped after {done} of {total} pictures, all of them whole; the same command goes on"
        )
        self.signal_number = signal_number


def translate(
    run: str | Path | Translator, source: str | Path, out: str | Path, **options: Any
) -> str:
    """Translate the pictures of `source` into `out`, and return a sentence on what was written.

    run: a run, a saved translator, a Hub repository, or a loaded translator. source: a file, a
    folder, a pattern, a list or several inputs joined by "+"; see `sources.find`. out: a file or,
    for several pictures, a folder, in which names and folders are kept. options: see `Options`;
    others are controls, as of `Translator.choosing`.

    Files are written whole or not at all. What is there already is left, unless it is older than
    its input, or a single file was named; a folder of pictures that were made otherwise is refused
    (see `record`). A picture that cannot be translated does not stop the
    rest: PicturesFailed lists them at the end. Raises DataError, SettingsError or FileError before
    any work for what cannot be; Stopped after Ctrl-C or SIGTERM.
    """
    own = own_values(Options, options)
    controls = {name: value for name, value in options.items() if name not in own}
    chosen = Options(**parse([Options], own))
    _ = chosen.part  # refused before anything is looked for, as are tiles that are none
    cutting(chosen.tile, chosen.context, chosen.overlap, chosen.norms)
    pictures = find(str(source), Path(out))
    translator = run if isinstance(run, Translator) else load(run, chosen.device)
    if controls:
        check_known(translator, controls)
        translator = translator.choosing(**controls)
    translator.system.check_chosen()
    jobs = _jobs(translator, pictures, chosen, str(out))
    told, failed = [], []
    for job in jobs:
        with listening(job):
            job.go()
        try:
            told.append(job.told())
        except PicturesFailed as error:  # the other answers are made all the same
            failed.append(str(error))
    if failed:
        raise PicturesFailed("\n".join(dict.fromkeys([*told, *failed])))
    return "\n".join(told)


def check_known(translator: Translator, names: Iterable[str]) -> None:
    """Raise SettingsError for what is neither an option nor a control of the translator."""
    controls = offered(translator.system.Controls)
    known = [*(field.name for field in fields(Options)), *controls]
    for name in names:
        if name not in controls:
            check_foreign(translator.config["system"], translator.system.Controls, [name])
            raise SettingsError(f"unknown setting '{name}'{did_you_mean(name, known)}")


def _jobs(translator: Translator, pictures: Pictures, options: Options, out: str) -> list[_Job]:
    """A job for each wanted answer; what makes them is written down beside them."""
    answering = _answering(translator, options.answers)
    record = None if pictures.named else record_of(translator, options)
    since = stale_before(Path(out), record, options.again) if record else 0
    jobs = []
    for one, tag in answering:
        plan = make_plan(pictures, out, options, one.target, tag, since)
        jobs.append(_Job(one, pictures, plan, options, out))
    places = [place for job in jobs for place in job.plan.places]
    if record is None:
        check_single(places, translator, options)
        return jobs
    stale_before(Path(out), record, options.again)  # another process may have begun meanwhile
    if any(job.plan.todo for job in jobs):
        keep_record(Path(out), record, options.again, places)
    return jobs


def _answering(translator: Translator, count: int) -> list[tuple[Translator, str]]:
    """A translator for each wanted answer, and what its files are called besides."""
    if count == 1:
        return [(translator, "")]
    most = translator.system.answers
    if most is not None and count > most:
        raise SettingsError(
            f"{translator.config['system']} as it was trained has "
            + (f"{most} different answers; use --answers {most}" if most > 1 else "one answer")
            + (" for a picture; leave --answers out" if most == 1 else "")
        )
    return [(translator.answering(number), f"_{number + 1}") for number in range(count)]


@dataclass
class _Job:
    """One translation of many pictures; `signal` is set when the user asks to stop."""

    translator: Translator
    pictures: Pictures
    plan: Plan
    options: Options
    out: str
    signal: int | None = None
    written: int = 0
    finished: int = 0  # written, or known to be impossible
    failed: list[tuple[str, str]] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def go(self) -> None:
        """Do the work; raises Stopped if the user asked to stop before its end."""
        total = len(self.plan.todo)
        self.failed += self.pictures.problems
        with Meter(total) as meter:
            stages = Stages(
                self.translator,
                self.options,
                lambda: self.signal is not None,
                meter.say,
                meter.part,
            )
            results = self._results(stages, total)
            for work in results:
                self._note(work)
                meter.advance(str(work.files[0]))
                if self.signal is not None:
                    break
            results.close()
            for text, count in self.notes.items():
                meter.say(f"{count} picture{'s' * (count > 1)}: {text}")
            if self.signal is not None and self.finished < total:
                raise Stopped(self.written, total, self.signal)
            if total > 1:
                done = f"{self.written} of {total} pictures"
                meter.say(f"{done} in {meter.seconds:.1f} s, {meter.speed()}")

    def _results(self, stages: Stages, total: int) -> Generator[Work]:
        """Every picture once it is written; a single one needs no threads."""
        if total == 1:
            return (stages.write(stages.network([stages.read(w)])[0]) for w in self._works())
        return flow(
            self._works(),
            stages.read,
            stages.network,
            stages.write,
            self.options.batch,
            stages.together,
            lanes(self.options.workers, self.translator.device, total),
        )

    def _works(self) -> Iterator[Work]:
        for number in self.plan.todo:
            yield Work(self.pictures.files(number), Path(self.plan.places[number]))

    def _note(self, work: Work) -> None:
        if work.halted:
            return
        self.finished += 1
        if work.error:
            self.failed.append((str(work.files[0]), work.error))
        else:
            self.written += 1
            self.notes.update(work.notes)

    def told(self) -> str:
        """Say what was done; raises PicturesFailed if something could not be."""
        if self.pictures.named and self.failed:
            raise PicturesFailed(_line(*self.failed[0]))
        if self.pictures.named:
            return f"wrote {self.plan.places[0]}"
        total = len(self.plan.todo) + self.plan.skipped + len(self.pictures.problems)
        text = f"wrote {self.written} of {total} pictures to {self.out}"
        if self.plan.skipped:
            text += f"; {self.plan.skipped} were there already (--again true translates them anew)"
        if not self.failed:
            return text
        lines = [f"  {_line(*one)}" for one in self.failed[:MOST_LINES]]
        if len(self.failed) > MOST_LINES:
            lines.append(f"  and {len(self.failed) - MOST_LINES} more")
        raise PicturesFailed(f"{text}; these could not be translated:\n" + "\n".join(lines))


def _line(path: str, reason: str) -> str:
    return reason if reason.startswith(path) else f"{path}: {reason}"
