"""How many steps fit into some minutes, found by taking a few on a system that is thrown away."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from dragoman import checkpoint, processes
from dragoman.engine import Engine, EngineSettings, close
from dragoman.system import Batch, System

WARM, FEWEST, PATIENCE = 3, 5, 4.0  # steps left out, steps timed at least, seconds for each stage
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
    for stage in engine.stages:
        if stage.steps:
            seconds += stage.steps / NOMINAL * _seconds_per_step(engine, stage, loader)
    checkpoint.set_random_state(before)
    left = RESERVE * (minutes * 60 - (time.perf_counter() - began))
    return processes.from_first(max(1, int(left / seconds)))


def _seconds_per_step(engine: Engine, stage: Any, loader: Callable[..., Iterator[Batch]]) -> float:
    engine.enter(stage)
    engine.step = 0
    batches = loader(start=0, **stage.data)
    times: list[float] = []
    # Turns may be due only every so often: whole rounds of them are timed.
    every = max(turn.every for turn in stage.turns)
    began = time.perf_counter()
    while len(times) < WARM + FEWEST or time.perf_counter() - began < PATIENCE:
        start = time.perf_counter()
        for _ in range(every):
            engine.take_step(stage, engine.to_device(next(batches)))
        if engine.device.type == "cuda":
            torch.cuda.synchronize(engine.device)
        times.append((time.perf_counter() - start) / every)
        stop = processes.from_first(time.perf_counter() - began > 10 * PATIENCE)
        if stop and len(times) > WARM:
            break
    close(batches)
    timed = sorted(times[WARM:] or times)
    return sum(timed) / len(timed)
