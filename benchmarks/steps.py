"""Time of one training step of every system, as dragoman takes it and as a plain fp32 loop does.

python benchmarks/steps.py [--systems pix2pix ...] [--seconds 6] [--rounds 3] [--out X.json]

Networks, batch and size are those of the first recipe of each system. The plain loop has the same
networks and losses, eager and in fp32: one forward shared by the turns, the gradient of each loss
to the networks of its turn, the optimizer tensor by tensor, no moving average, no checks, no
journal. All variants run in one process in turn; each ratio is of the medians over the rounds.
"""

import argparse
import itertools
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from throughput import speed
from torch.optim import Optimizer

from dragoman.data import open_data
from dragoman.data.settings import DataSettings
from dragoman.engine import Engine, EngineSettings, sum_of
from dragoman.report.machine import machine
from dragoman.settings import build, read_yaml
from dragoman.system import Batch, Progress, Stage, System
from dragoman.systems import SYSTEMS, find_system
from dragoman.training import settle_settings

FOLDER = Path(__file__).parent.parent / "recipes"
STEPS = 1_000_000  # of a run that never ends here
Step = Callable[[], int]  # takes one step, returns its number of pictures


def recipe_of(system: str) -> Path | None:
    """The first recipe of a system, by name."""
    files = sorted(FOLDER.glob("*.yaml"))
    return next((file for file in files if read_yaml(file)["system"] == system), None)


def made(values: dict[str, Any], name: str, facts: Any) -> System:
    """A system with the recipe's settings."""
    torch.manual_seed(0)
    kind = find_system(name)
    return kind(build(kind.Settings, values), facts)


def one_by_one(optimizer: Optimizer) -> Optimizer:
    """The same optimizer, which takes tensor by tensor as a hand-written loop's often does."""
    for group in optimizer.param_groups:
        group["foreach"] = False
        if "fused" in group:
            group["fused"] = False
    return optimizer


def plain_step(system: System, stage: Stage, batch: Batch) -> Step:
    """The step of a loop as one writes it by hand."""
    networks = dict.fromkeys(network for turn in stage.turns for network in turn.networks)
    optimizers = {network: one_by_one(system.optimizer(network)) for network in networks}
    numbers = itertools.count()

    def step() -> int:
        number = next(numbers)
        shared = system.share(batch, Progress(number, STEPS))
        for turn in stage.turns:
            if not turn.due(number):
                continue
            learning = [p for network in turn.networks for p in network.parameters()]
            for network in turn.networks:
                optimizers[network].zero_grad()
            sum_of(turn.loss(batch, shared)).backward(inputs=learning)
            for network in turn.networks:
                optimizers[network].step()
        return len(next(iter(batch.values())))

    return step


def engine_step(system: System, place: int, batch: Batch, precision: str) -> Step:
    """The step as dragoman takes it, in a stage."""
    engine = Engine(system, build(EngineSettings, {"precision": precision}), STEPS)
    stage = engine.stages[place]
    engine.enter(stage)

    def step() -> int:
        engine.take_step(stage, batch)
        return len(next(iter(batch.values())))

    return step


def variants(name: str, recipe: Path, precisions: list[str]) -> dict[str, Step]:
    """What is compared for one system, in its last stage; the plain loop is the reference."""
    _, values = settle_settings(str(recipe), {})
    data = open_data(build(DataSettings, values))
    system = made(values, name, data.facts)
    place = len(system.stages(STEPS)) - 1
    stage = system.stages(STEPS)[place]
    batch = next(data.batches(batch=values["batch"], seed=0, **stage.data))
    for earlier in system.stages(STEPS)[: place + 1]:
        earlier.begin()
    found = {"plain fp32": plain_step(system, stage, batch)}
    for precision in precisions:
        found[f"dragoman {precision}"] = engine_step(
            made(values, name, data.facts), place, batch, precision
        )
    return found


def main() -> None:
    """Measure and print; also write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--precisions", nargs="*", default=["fp32", "bf16"])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    print(f"{machine()}, torch {torch.__version__}")
    result: dict[str, Any] = {"machine": machine(), "systems": {}}
    for name in arguments.systems:
        recipe = recipe_of(name)
        if recipe is None:
            print(f"{name}: no recipe")
            continue
        steps = variants(name, recipe, arguments.precisions)
        speeds: dict[str, list[float]] = {variant: [] for variant in steps}
        for _ in range(arguments.rounds):
            for variant, step in steps.items():
                speeds[variant].append(speed(step, arguments.seconds))
        medians = {variant: statistics.median(found) for variant, found in speeds.items()}
        plain = next(iter(medians.values()))
        for variant, median in medians.items():
            print(
                f"{name:24s}{recipe.stem:28s}{variant:16s}{median:9.1f} pictures/s"
                f"{median / plain:8.2f} x",
                flush=True,
            )
        result["systems"][name] = {"recipe": recipe.stem, "pictures_per_second": medians}
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
