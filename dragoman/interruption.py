"""Stopping when asked to: the step is finished, everything saved, and it is said how to go on."""

import shlex
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from dragoman import processes
from dragoman.errors import DragomanError


class Stoppable(Protocol):
    """What looks at `signal` between its steps."""

    signal: int | None


class Interrupted(DragomanError):
    """Training was asked to stop, has saved everything and can go on."""

    def __init__(self, folder: Path, step: int, signal_number: int) -> None:
        super().__init__(
            f"stopped at step {step}, everything is saved; go on with: {resume_command(folder)}"
        )
        self.signal_number = signal_number


def resume_command(folder: Path, world: int | None = None) -> str:
    """What to type to go on with a run, in as many processes as it has."""
    count = world or processes.world()
    start = f"torchrun --nproc_per_node {count} -m " if count > 1 else ""
    return f"{start}dragoman resume {shlex.quote(str(folder))}"


@contextmanager
def listening(trainer: Stoppable) -> Generator[None]:
    """While training, Ctrl-C and SIGTERM only ask to stop; a second Ctrl-C stops at once."""

    def hear(number: int, frame: Any) -> None:
        # SIGTERM may well come twice, or after Ctrl-C: torchrun passes signals on.
        if trainer.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        trainer.signal = trainer.signal or number

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, hear)
    except ValueError:  # not the main thread: signals stay as they are
        before = {}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
