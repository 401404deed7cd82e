"""From settings to a finished run: train, resume, and all that happens between steps."""

import platform
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dragoman import __version__, checkpoint, processes, timing
from dragoman.data import open_data
from dragoman.data.credits import credits_of
from dragoman.data.settings import DataSettings
from dragoman.engine import Engine, EngineSettings, NotFinite, find_device
from dragoman.errors import DataError, FileError, SettingsError, TrainingError
from dragoman.evaluation import can_evaluate, evaluate, validate
from dragoman.interruption import Interrupted, listening, resume_command
from dragoman.journal import Journal
from dragoman.matching import check_fits, check_same, check_shapes, tell_left_out
from dragoman.pipeline import save_translator
from dragoman.report.machine import machine
from dragoman.report.report import write_report
from dragoman.report.samples import save_samples
from dragoman.run import Run, RunSettings, read_json
from dragoman.sampling import sampled
from dragoman.settings import build, parse, read_yaml
from dragoman.system import System
from dragoman.systems import SYSTEMS, find_system

if TYPE_CHECKING:
    from dragoman.data import Data

MINUTES = 5.0  # of training where neither --steps nor --minutes is given
SAMPLES = 8  # pictures on a sample sheet


def groups(system: str) -> list[type]:
    """The settings dataclasses of a run of that system."""
    return [RunSettings, DataSettings, EngineSettings, find_system(system).Settings]


def settle_settings(
    system: str, values: dict[str, Any], arguments: list[str] | None = None
) -> tuple[str, dict[str, Any]]:
    """Return the system's name and the value of every knob, from a call or a recipe file.

    system: a name, or the path of a YAML file with a line `system: NAME`.
    """
    where, from_file = "", {}
    if system not in SYSTEMS and (system.endswith((".yaml", ".yml")) or Path(system).is_file()):
        where, from_file = system, read_yaml(Path(system))
        if "system" not in from_file:
            raise SettingsError(f"{system} has no line 'system: NAME'")
        system = str(from_file.pop("system"))
    defaults = find_system(system).defaults
    parse(groups(system), from_file, (), defaults, where=where)  # errors that name the file
    values = {**from_file, **values}
    program = f"dragoman train {system}"
    return system, parse(groups(system), values, arguments or (), defaults, program)


def train(system: str, *, arguments: list[str] | None = None, **settings: Any) -> Run:
    """Train a system (or a recipe file) and return its run, judged and reported.

    Settings are the knobs of `dragoman train SYSTEM --help`, such as minutes=4 and
    data="earth64:relief,satellite". Raises DragomanError for whatever the user can mend,
    Interrupted after a signal once everything is saved.
    """
    processes.join()
    system, values = settle_settings(system, settings, arguments)
    if not values["data"]:
        raise SettingsError("--data is missing; 'dragoman datasets' lists what can be named")
    if values["accumulate"] > values["batch"]:
        raise SettingsError(
            f"--accumulate {values['accumulate']} takes a batch in more parts than the "
            f"{values['batch']} pictures of --batch; use at most {values['batch']}"
        )
    find_device(values["device"])
    data = open_data(build(DataSettings, values))
    kind = find_system(system)
    own = build(kind.Settings, values)
    check_fits(system, kind, own, data)
    made = kind(own, data.facts)  # a system that cannot be made says so before a folder exists
    made.check()
    check_shapes(system, made, data)
    tell_left_out(system, made, data)
    run = Run(processes.from_first(_new_folder(system, data, values)))
    return Trainer(run, system, values, data).train()


def resume(folder: str | Path, steps: int | None = None) -> Run:
    """Go on with a run exactly where its last checkpoint was taken; `steps` may extend it."""
    processes.join()
    run = Run.open(folder)
    values = run.settings
    system = str(values.pop("system", ""))
    find_system(system)
    values = parse(groups(system), values, where=str(run.folder / "settings.yaml"))
    values["folder"] = str(folder)
    if steps is not None:
        values |= {"steps": steps, "minutes": None}
    data = open_data(build(DataSettings, values))
    kind = find_system(system)
    own = build(kind.Settings, values)
    check_fits(system, kind, own, data)
    kind(own, data.facts).check()
    saved = run.translator / "config.json"
    if saved.is_file():
        check_same(read_json(saved).get("domains", {}), data)
    return Trainer(run, system, values, data).train()


def _new_folder(system: str, data: "Data", values: dict[str, Any]) -> Path | None:
    if processes.rank():
        return None
    return Run.create(values["folder"], f"{system}-{data.name}").folder


class Trainer:
    """One training: the engine's steps, and between them samples, scores and checkpoints."""

    def __init__(self, run: Run, system: str, values: dict[str, Any], data: "Data") -> None:
        self.run, self.name, self.data = run, system, data
        self.values: dict[str, Any] = {**values, "folder": str(run.folder)}
        self.settings = build(RunSettings, self.values)
        self.how = build(EngineSettings, self.values)
        self.main = processes.rank() == 0
        self.signal: int | None = None
        self.best: dict[str, Any] | None = None

    def make(self) -> System:
        """A new system with the seed's weights, the same in every process."""
        import torch

        torch.manual_seed(self.how.seed)
        kind = find_system(self.name)
        return kind(build(kind.Settings, self.values), self.data.facts)

    def loader(self, start: int = 0, **overrides: Any) -> Iterator[Any]:
        """Endless training batches of this process from batch number `start` on."""
        return self.data.batches(
            batch=self.values["batch"],
            seed=self.how.seed,
            start=start,
            rank=processes.rank(),
            world=processes.world(),
            **overrides,
        )

    def train(self) -> Run:
        """Train to the end; returns the run with scores and report."""
        with listening(self), self.run.alone() if self.main else nullcontext():
            state = self.run.load_checkpoint(self._say)
            self._announce(state)
            steps, note = self._steps()
            self.system = self.make()
            self.journal = Journal(
                self.run.folder,
                steps,
                every=self.settings.log_every,
                live=self.values["live"] and self.main,
                tensorboard=self._tensorboard() and self.main,
            )
            self.engine = Engine(self.system, self.how, steps, self._hear)
            self._seed_process()
            self._go_back(state)
            self._write_settings(note, fresh=state is None)
            try:
                self._steps_and_journal()
            except OSError as error:
                raise FileError(
                    f"{error}; mend this (free some space?), then go on with: "
                    f"{resume_command(self.run.folder)}"
                ) from error
            except Interrupted:
                processes.meet()
                raise
        if self.main:
            self._finish()
        processes.meet()
        return self.run

    def _tensorboard(self) -> bool:
        """As asked for; else if it is installed."""
        wanted = self.settings.tensorboard
        return find_spec("tensorboard") is not None if wanted is None else wanted

    def _say(self, text: str) -> None:
        if self.main:
            print(f"dragoman: {text}", file=sys.stderr)

    def _steps(self) -> tuple[int, str]:
        """The number of steps, measured from --minutes on a fresh run, and a note of that."""
        steps, minutes = self.how.steps, self.how.minutes
        if minutes is None and steps is None:
            minutes = MINUTES
        if minutes is not None:
            try:
                fit = timing.steps_in(minutes, self.make, self.how, self.loader)
            except NotFinite as error:
                self._keep_batch(error)
            steps = fit if steps is None else min(fit, steps)
        assert steps is not None
        self.values |= {"steps": steps, "minutes": None}
        every = max(1, -(-steps // 8))
        self.checkpoint_every = self.settings.checkpoint_every or every
        self.sample_every = self.settings.sample_every or every
        return steps, f"steps fixed from {minutes:g} minutes of training" if minutes else ""

    def _write_settings(self, note: str, fresh: bool) -> None:
        """Write down the settings with the number of steps, once a checkpoint has agreed to it."""
        self.values |= {"precision": "bf16" if self.engine.bf16 else "fp32"}
        if self.main and (fresh or self.run.settings != {"system": self.name, **self.values}):
            self.run.write_settings(self.name, self.values, note)

    def _announce(self, state: Any) -> None:
        """Write what is known before the first step, so that even a killed run tells of itself."""
        if not self.main or state is not None:
            return
        self.run.write_settings(self.name, self.values)
        self.run.write_json("run.json", self._facts())

    def _facts(self) -> dict[str, Any]:
        import torch

        return {
            "command": shlex.join(["dragoman", *sys.argv[1:]])
            if Path(sys.argv[0]).name == "dragoman" or sys.argv[0].endswith("dragoman/__main__.py")
            else f"dragoman train {self.run.folder / 'settings.yaml'} --folder NEW",
            "machine": machine(),
            "started": time.strftime("%Y-%m-%d %H:%M"),
            "dragoman": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "processes": processes.world(),
            "credits": credits_of(self.values["data"]),
        }

    def _seed_process(self) -> None:
        """From here on each process draws its own random numbers, of whatever generator."""
        checkpoint.seed_all(self.how.seed + 1_000_003 * (1 + processes.rank()))

    def _go_back(self, state: dict[str, Any] | None) -> None:
        """Continue from a checkpoint, if there is one."""
        if state is not None:
            self.engine.load(state["engine"])
            self.best = state["best"]
            if state["data"] != self.data.digest:
                raise DataError(
                    f"the pictures of {self.data.name} are not those that {self.run.folder} began "
                    "with; put them back, or train a new run"
                )
        if self.main:
            self.journal.rewind(self.engine.done)
        if self.engine.done == self.engine.steps:
            self._say(
                f"{self.run.folder} is finished, all {self.engine.steps} steps are taken; "
                "scores and report are written again; --steps N extends it"
            )

    def _hear(self, step: int, turn: str, terms: dict[str, Any]) -> None:
        if self.main:
            self.journal.terms(step + 1, turn, terms)

    def _steps_and_journal(self) -> None:
        try:
            self._steps_to_the_end()
        except NotFinite as error:
            self._keep_batch(error)
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error):
                raise
            raise TrainingError(
                f"out of memory after step {self.engine.done}; try --accumulate 2, a smaller "
                "--batch or --size, or --precision bf16"
            ) from error
        finally:
            self.journal.close()

    def _steps_to_the_end(self) -> None:
        pictures = self.values["batch"] * processes.world()
        stage = -1
        for done in self.engine.run(self.loader):
            if self.main:
                if self.engine.stage != stage:
                    stage = self.engine.stage
                    self.journal.stage(self.engine.stages[stage].name)
                self.journal.step(done, pictures, self.engine.rate)
            last = done == self.engine.steps
            stop = processes.any_process(self.signal is not None, self.engine.device)
            with self.journal.pause():
                if self.main and (last or done % self.sample_every == 0):
                    self._sample(done)
                self._keep_stage(done)
                if last or stop or done % self.checkpoint_every == 0:
                    self._checkpoint(done, judge=last or done % self.checkpoint_every == 0)
            if stop:
                raise Interrupted(self.run.folder, done, self.signal or signal.SIGTERM)

    def _sample(self, step: int) -> None:
        """Save pictures made from some of val, always the same ones, spread over the split."""
        split = "val" if self.data.counts.get("val") else "train"
        count = self.data.counts[split]
        chosen = [i * count // SAMPLES for i in range(SAMPLES)] if count > SAMPLES else range(count)
        batch = self.engine.to_device(self.data.rows(split, chosen))
        with self.engine.generating(self.how.seed) as system, self.engine.precision():
            columns = sampled(system, self.data, batch, self.data.partners(split), split)
        save_samples(self.run.folder, step, *columns, split=split)

    def _checkpoint(self, step: int, judge: bool) -> None:
        """Save everything; if it is the best so far, or nothing is judged, save the translator."""
        if not self.engine.all_finite():
            raise TrainingError(
                f"a weight is no longer finite at step {step}; the last good checkpoint stays; "
                "try a lower --lr or --clip 1"
            )
        scores = None
        if judge and self.main:
            with self.engine.generating(self.how.seed) as system:
                scores = validate(system, self.data, self.engine.device)
            if scores:
                self.journal.scores(step, scores)
        better = self._better(step, scores) if judge else False
        state = self.engine.state()
        if self.main:
            self.journal.flush()
            if better:  # before the checkpoint that says so: a kill in between loses neither
                with self.engine.generating() as system:
                    self._save_translator(self.run.translator, system)
            whole = {"engine": state, "best": self.best, "data": self.data.digest}
            self.run.save_checkpoint(step, whole, self.settings.keep)

    def _save_translator(self, folder: Path, system: System) -> None:
        save_translator(folder, system, self.data, self.name, self.values)

    def _keep_stage(self, done: int) -> None:
        """Keep what a stage has learned, unless it is the last, whose translator is the run's."""
        stage = self.engine.stages[self.engine.stage]
        if self.main and self.engine.step == stage.steps and done < self.engine.steps:
            with self.engine.generating() as system:
                self._save_translator(self.run.stages / stage.name, system)

    def _better(self, step: int, scores: dict[str, float] | None) -> bool:
        """Note the step if it is the best of its stage by the first measure that it has.

        Stages have aims of their own: what a later one makes is not held against an earlier one's.
        What learns without pairs must not be chosen by them: there the last step counts.
        """
        stage = self.engine.stages[self.engine.stage].name
        if not scores or not self.system.pairs:
            self.best = {"step": step, "stage": stage}
            return True
        choices = (self.system.best_by, "nearest_l1", "lpips", "l1")
        by = next(name for name in choices if name in scores)
        before = self.best if self.best and self.best.get("stage", stage) == stage else {}
        if before.get("score", float("inf")) <= scores[by]:
            return False
        self.best = {"step": step, "stage": stage, "by": by, "score": scores[by]}
        return True

    def _keep_batch(self, error: NotFinite) -> NoReturn:
        """Save the batch that made a term infinite, of each process, then stop."""
        rank = f"_process_{processes.rank()}" if processes.world() > 1 else ""
        path = self.run.folder / f"failed_step_{error.step}{rank}.safetensors"
        checkpoint.save(path, {"turn": error.turn, "term": error.term, "batch": error.batch})
        processes.meet()
        raise TrainingError(f"{error}; its batch is saved in {path}") from error

    def _finish(self) -> None:
        try:
            begun = read_json(self.run.folder / "run.json")
        except FileError:
            begun = {}
        kept = {name: begun[name] for name in ("command", "started") if name in begun}
        facts = {
            **self._facts(),
            **kept,  # of the run's beginning, not of its last continuation
            "training_seconds": round(self.journal.seconds, 1),
            "steps": self.engine.steps,
            "best": self.best,
            "parameters": {
                name: sum(p.numel() for p in network.parameters())
                for name, network in self.system.named_children()
            },
        }
        self.run.write_json("run.json", facts)
        if can_evaluate(self.system, self.data, "test"):
            try:
                evaluate(self.run.folder, data=self.data, device=self.how.device)
            except DataError as error:  # what was learned is there all the same
                self._say(f"no scores: {error}")
        write_report(self.run.folder)
