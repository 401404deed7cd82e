"""What a run tells while it trains: the lines of losses.jsonl and live progress."""

import json
import math
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from torch import Tensor

NAME = "losses.jsonl"
LONGEST_LINE = 1 << 20  # bytes; a longer line was not written by a journal and is skipped
PATIENCE = 10.0  # seconds between progress lines where the output is no terminal


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the readable lines of a losses.jsonl in order; torn or foreign lines are skipped.

    Every line is a dict with an integer "step" and either "terms" (with "stage", "seconds",
    "pictures_per_second", "rate") or "val". A value that was not finite is None.
    """
    with path.open("rb") as file:
        while raw := file.readline(LONGEST_LINE):
            try:
                line = json.loads(raw)
            except (ValueError, RecursionError):
                continue
            if isinstance(line, dict) and type(line.get("step")) is int:
                yield line


class Journal:
    """Averages the terms of a run, writes them every few steps and shows how far it has come.

    folder: the run folder, which must exist. steps: the steps of the whole run; may be assigned
    later (`journal.steps = n`) when they are only known after measuring. every: steps per line.
    live: show progress on the error stream. tensorboard: also write folder/tensorboard where that
    package is installed. A step is the number of steps taken since the run began, from 1.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        every: int = 10,
        live: bool = True,
        tensorboard: bool = False,
        console: Console | None = None,
    ) -> None:
        self.folder, self.steps, self.every = Path(folder), steps, max(1, every)
        self.path = self.folder / NAME
        self._screen = Screen(console or Console(stderr=True)) if live else None
        self._events = Events(self.folder / "tensorboard") if tensorboard else None
        if self._events and not self._events.possible and self._screen:
            self._screen.say(
                "tensorboard is not installed, so only losses.jsonl is written; "
                "pip install 'dragoman[track]' adds it"
            )
        self._file: Any = None
        self._stage = ""
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._before = 0.0  # training seconds of earlier processes of this run
        self._forget()

    def _forget(self) -> None:
        """Start an empty window; the clock starts with the first stage, terms or step."""
        self._sums, self._counts = {}, {}
        self._began: float | None = None
        self._paused = 0.0
        self._halted: float | None = None  # when the pause that is on began
        self._pictures, self._steps_since, self._last_seconds = 0, 0, self._before
        self._last = (0, 0.0)  # step and learning rate of the latest step

    @property
    def seconds(self) -> float:
        """Seconds spent training so far, pauses left out, earlier processes included."""
        if self._began is None:
            return self._before
        now = time.perf_counter() if self._halted is None else self._halted
        return self._before + now - self._began - self._paused

    def _start(self) -> None:
        if self._began is None:
            self._began = time.perf_counter()

    def stage(self, name: str) -> None:
        """Name the stage that the following lines belong to; what came before is written first."""
        self.flush()
        self._stage = name
        self._start()

    def terms(self, step: int, turn: str, terms: "dict[str, Tensor]") -> None:
        """Add the terms of one turn (scalar tensors); nothing waits for the device here."""
        self._start()
        for name, term in terms.items():
            key = f"{turn}.{name}"
            value = term.detach().float()
            if key in self._sums:
                self._sums[key] += value
                self._counts[key] += 1
            else:
                self._sums[key], self._counts[key] = value.clone(), 1

    def step(self, step: int, pictures: int, rate: float) -> None:
        """End a step that used so many pictures at that learning rate; write a line if one is due.

        A line is due every `every` steps and at the last step of the run.
        """
        self._start()
        self._pictures += pictures
        self._steps_since += 1
        self._last = (step, rate)
        if step % self.every == 0 or step == self.steps:
            self.flush()
        elif self._screen:
            self._screen.advance(step, self.steps)

    def scores(self, step: int, scores: dict[str, float]) -> None:
        """Write validation scores: a line {"step", "val": {metric: value}}."""
        line = {"step": step, "val": {name: _rounded(value) for name, value in scores.items()}}
        self._write(line)
        if self._events:
            self._events.add({f"val/{name}": value for name, value in scores.items()}, step)
        if self._screen:
            self._screen.scores(step, scores)

    @contextmanager
    def pause(self) -> Generator[None]:
        """Stop the clock of training, for instance while pictures are judged or saved.

        It stands still for lines written meanwhile, too.
        """
        self._halted = begin = time.perf_counter()
        try:
            yield
        finally:
            self._halted = None
            if self._began is not None:
                self._paused += time.perf_counter() - begin

    def rewind(self, step: int) -> None:
        """Drop the lines after `step` (atomically) and go on counting seconds from the rest."""
        self._shut()
        self._before = 0.0
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as file:
            for line in read_journal(self.path) if self.path.exists() else ():
                if line["step"] <= step:
                    file.write(json.dumps(line) + "\n")
                    self._before = float(line.get("seconds") or self._before)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        self._forget()
        if self._events:
            self._events.purge(step)

    def close(self) -> None:
        """Write what is left, end the display and close the files; may be called twice."""
        self.flush()
        self._shut()
        if self._screen:
            self._screen.close()
        if self._events:
            self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def flush(self) -> None:
        """Write the averages since the last line, if any step ended since then.

        Called before a checkpoint, so that a run that goes on from there repeats the next line.
        """
        if self._steps_since == 0:
            return
        step, rate = self._last
        seconds = self.seconds
        elapsed = max(seconds - self._last_seconds, 1e-9)
        terms = self._averages()
        speed = self._pictures / elapsed
        self._write(
            {
                "step": step,
                "stage": self._stage,
                "seconds": round(seconds, 3),
                "pictures_per_second": round(speed, 2),
                "rate": _rounded(rate),
                "terms": {name: _rounded(value) for name, value in terms.items()},
            }
        )
        if self._events:
            values = {name.replace(".", "/", 1): value for name, value in terms.items()}
            self._events.add(values | {"speed/pictures_per_second": speed, "rate": rate}, step)
        if self._screen:
            self._screen.window(step, self.steps, elapsed / self._steps_since, speed, terms)
        self._pictures, self._steps_since, self._last_seconds = 0, 0, seconds
        self._sums, self._counts = {}, {}

    def _averages(self) -> dict[str, float]:
        """Return the mean of every term since the last line; waits for the device once."""
        if not self._sums:
            return {}
        import torch

        totals = torch.stack([total.reshape(()) for total in self._sums.values()]).tolist()
        return {
            name: total / self._counts[name] for name, total in zip(self._sums, totals, strict=True)
        }

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            torn = _torn(self.path)
            self._file = self.path.open("a", encoding="utf-8")
            if torn:  # keep the fragment off the new line
                self._file.write("\n")
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()


class Screen:
    """Progress for people: a live display on a terminal, else a plain line every few seconds."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._step, self._steps = 0, 0
        self._step_seconds: float | None = None
        self._pace = 0.0
        self._terms: dict[str, float] = {}
        self._scores = ""
        self._spoke = -math.inf

    def say(self, text: str) -> None:
        """Print one line above the display."""
        self.console.print(Text(text), soft_wrap=True)

    def advance(self, step: int, steps: int) -> None:
        """Note a step; costs next to nothing."""
        self._step, self._steps = step, steps

    def window(
        self, step: int, steps: int, step_seconds: float, pace: float, terms: dict[str, float]
    ) -> None:
        """Note what a new line of the journal tells, and show it."""
        self.advance(step, steps)
        old = self._step_seconds
        # A moving average keeps the time left from jumping with every window.
        self._step_seconds = step_seconds if old is None else 0.7 * old + 0.3 * step_seconds
        self._pace = pace
        self._terms = self._terms | terms
        if self.console.is_interactive:
            if self._live is None:
                self._live = Live(
                    get_renderable=self.render, console=self.console, refresh_per_second=4
                )
                self._live.start()
        elif time.perf_counter() - self._spoke >= PATIENCE or step >= steps:
            self._spoke = time.perf_counter()
            self.say(" · ".join([*self._head(), *self._parts()]))

    def scores(self, step: int, scores: dict[str, float]) -> None:
        """Show validation scores."""
        shown = ", ".join(f"{name} {_short(value)}" for name, value in scores.items())
        self._scores = f"val at step {step}: {shown}"
        if not self.console.is_interactive:
            self.say(self._scores)

    def close(self) -> None:
        """Leave the last state on the terminal and give it back."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def render(self) -> RenderableType:
        """Return the live display: one row of progress, then as many terms a row as fit."""
        head = self._head()
        parts: list[RenderableType] = []
        if self.console.width < 70:  # no room for a bar: the numbers alone, wrapped
            parts.append(Text(" · ".join(head)))
        else:
            bar = ProgressBar(total=max(1, self._steps), completed=self._step)
            row = Table.grid(expand=True, padding=(0, 2, 0, 0))
            row.add_column(no_wrap=True)
            row.add_column(ratio=1)
            for _ in head[1:]:
                row.add_column(no_wrap=True, justify="right")
            row.add_row(Text(head[0]), bar, *(Text(part) for part in head[1:]))
            parts.append(row)
        if self._terms:
            parts.append(Columns([Text(part) for part in self._parts()], padding=(0, 3)))
        if self._scores:
            parts.append(Text(self._scores, style="green"))
        return Group(*parts)

    def _head(self) -> list[str]:
        head = [
            f"step {self._step} of {self._steps}",
            f"{self._pace:,.{1 if self._pace < 10 else 0}f} pictures/s",
        ]
        if self._step_seconds is not None and self._step < self._steps:
            left = (self._steps - self._step) * self._step_seconds
            head.append(f"{duration(left)} left")
        return head

    def _parts(self) -> list[str]:
        return [f"{name} {_short(value)}" for name, value in self._terms.items()]


class Events:
    """Scalars for TensorBoard, where it is installed; no server is started."""

    def __init__(self, folder: Path) -> None:
        from importlib.util import find_spec

        self.folder = folder
        self.possible = find_spec("tensorboard") is not None
        self._purge: int | None = None
        self._writer: Any = None

    def add(self, values: dict[str, float], step: int) -> None:
        """Write scalars of one step."""
        if not self.possible:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=self._purge, flush_secs=10)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def purge(self, step: int) -> None:
        """Hide what an earlier process wrote after `step`."""
        self.close()
        self._purge = step + 1

    def close(self) -> None:
        """Flush and close; writing again opens a new file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def duration(seconds: float) -> str:
    """Return a span of time as "m:ss" or "h:mm:ss"."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _torn(path: Path) -> bool:
    """Tell whether the last line lacks its end, as a killed process leaves it."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def _short(value: float) -> str:
    return f"{value:.4g}"


def _rounded(value: float) -> float | None:
    """Six significant digits; None (null, as JSON has no NaN) for what is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
