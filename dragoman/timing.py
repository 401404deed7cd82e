"""How many steps fit into some minutes, found by taking a few on a system that is thrown away."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from dragoman import checkpoint, processes
from dragoman.engine import Engine, EngineSettings, close
from dragoman.system import Batch, System

WARM, FEWEST = 3, 5  # steps left out, steps timed at least
PATIENCE, SHARE = 4.0, 0.1  # seconds for a stage, and share of the minutes for all of them
RESERVE = 0.95  # of the time is given to steps; the rest is for samples, scores and checkpoints
NOMINAL = 100_000  # steps, to learn how a system divides a budget between its stages


def steps_in(
    minutes: float,
    make: Callable[[], System],
    settings: EngineSettings,
    loader: Callable[..., Iterator[Batch]],
) -> int:
    """Return how many steps can be taken in `minutes`; every random generator stays as it was."""
    began = time.perf_counter()
    before = checkpoint.random_state()
    engine = Engine(make(), settings, NOMINAL)
    seconds = 0.0
    timed = [stage for stage in engine.stages if stage.steps]
    patience = min(PATIENCE, SHARE * minutes * 60 / len(timed))
    for stage in timed:
        seconds += stage.steps / NOMINAL * _seconds_per_step(engine, stage, loader, patience)
    checkpoint.set_random_state(before)
    left = RESERVE * (minutes * 60 - (time.perf_counter() - began))
    return processes.from_first(max(1, int(left / seconds)))


def _seconds_per_step(
    engine: Engine, stage: Any, loader: Callable[..., Iterator[Batch]], patience: float
) -> float:
    engine.enter(stage)
    engine.step = 0
    batches = loader(start=0, **stage.data)
    times: list[float] = []
    # Turns may be due only every so often: whole rounds of them are timed.
    every = max(turn.every for turn in stage.turns)
    began = time.perf_counter()
    enough = False
    while not enough:
        start = time.perf_counter()
        for _ in range(every):
            engine.take_step(stage, engine.to_device(next(batches)))
        if engine.device.type == "cuda":
            torch.cuda.synchronize(engine.device)
        times.append((time.perf_counter() - start) / every)
        spent = time.perf_counter() - began
        enough = len(times) >= WARM + FEWEST and spent >= patience
        slow = len(times) > WARM and spent > 10 * PATIENCE
        # One process decides: the others would wait for ever for one that stops earlier.
        enough = processes.from_first(enough or slow)
    close(batches)
    return statistics.median(times[WARM:])  # a hiccup of the machine must not count
