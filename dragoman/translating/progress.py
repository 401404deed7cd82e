"""How far a translation has come: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from dragoman.journal import PATIENCE, duration


class Speed(ProgressColumn):
    """Pictures per second since the beginning."""

    def render(self, task: Task) -> Text:
        """Return the speed of a task, once something is done."""
        return Text(_speed(task.completed, task.elapsed or 0.0))


class Meter:
    """Counts pictures; as a context manager it shows them on the error stream.

    total: pictures to do. Of a single one nothing is shown unless it is translated in tiles.
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        self.total, self.done = total, 0
        self._parts: dict[str, float] = {}
        self.console = console or Console(stderr=True)
        self._began = self._spoke = time.perf_counter()
        self._bar: Progress | None = None

    def __enter__(self) -> Meter:
        self._began = self._spoke = time.perf_counter()
        if self.total > 1:
            self._show()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self) -> None:
        """Begin a bar, if this is a terminal."""
        if self._bar is not None or not self.console.is_interactive:
            return
        self._bar = Progress(
            TextColumn("{task.fields[count]} of {task.total:.0f} pictures"),
            BarColumn(bar_width=None),
            Speed(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            expand=True,
        )
        self._bar.add_task("", total=self.total, left="", count=self.done)
        self._bar.start()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._began

    def advance(self, name: str = "") -> None:
        """Count one picture, of which `part` may have been told some before."""
        self.done += 1
        self._parts.pop(name, None)
        self._tell(f"{self.done} of {self.total} pictures")

    def part(self, name: str, share: float) -> None:
        """Note how much of a large picture is done."""
        self._parts[name] = share
        self._show()
        if share < 1:
            self._tell(f"{name}: {share:.0%}")

    def _tell(self, text: str) -> None:
        done = self.done + sum(list(self._parts.values()))  # large ones end in other threads
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=done, count=self.done, left=self._left(done))
        elif time.perf_counter() - self._spoke >= PATIENCE and done < self.total:
            self._spoke = time.perf_counter()
            told = [text, _speed(done, self.seconds), self._left(done)]
            self.say(", ".join(part for part in told if part))

    def say(self, text: str) -> None:
        """Print one line above the bar."""
        self.console.print(Text(text), soft_wrap=True)

    def speed(self) -> str:
        """Return the pictures per second in words."""
        return _speed(self.done, self.seconds)

    def _left(self, done: float) -> str:
        return f"{duration((self.total - done) * self.seconds / done)} left" if done else ""


def _speed(count: float, seconds: float) -> str:
    if not count or seconds <= 0:
        return ""
    pace = count / seconds
    if pace < 0.1:
        return f"{1 / pace:.0f} s a picture"
    return f"{pace:,.{1 if pace < 10 else 0}f} pictures/s"
