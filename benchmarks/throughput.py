"""Pictures per second of training, loading and inference, as ratios to a plain fp32 eager step.

python benchmarks/throughput.py [--batch 16] [--seconds 10] [--compile] [--out benchmarks/x.json]

All variants run in one process, one after the other, in several rounds; the ratio of a variant is
its median over rounds to the median of the plain step. Absolute numbers depend on the machine.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from dragoman.data import open_data
from dragoman.data.settings import DataSettings
from dragoman.engine import Engine, EngineSettings
from dragoman.pipeline import Translator
from dragoman.report.machine import machine
from dragoman.settings import build, own_values, read_yaml
from dragoman.system import Facts
from dragoman.systems import find_system

FACTS = Facts({"a": 3, "b": 3}, (64, 64))
RECIPE = Path(__file__).parent.parent / "recipes" / "earth_pix2pix.yaml"
Step = Callable[[], int]  # takes one step, returns its number of pictures


def pix2pix(**over: Any) -> Any:
    """pix2pix with the official networks, or those of a recipe."""
    torch.manual_seed(0)
    kind = find_system("pix2pix")
    return kind(build(kind.Settings, over), FACTS)


def pictures(batch: int) -> dict[str, torch.Tensor]:
    """A batch of noise: speed does not depend on what is seen."""
    return {key: torch.rand(batch, 3, 64, 64) * 2 - 1 for key in ("a", "b")}


def plain_step(batch: int) -> Step:
    """The step as the official code takes it: fp32, eager, D frozen by hand, plain Adam."""
    system = pix2pix()
    generator, discriminator = system.generator, system.discriminator
    adam = {
        n: torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999), foreach=False, fused=False)
        for n in (generator, discriminator)
    }
    data = pictures(batch)
    bce = functional.binary_cross_entropy_with_logits

    def step() -> int:
        a, b = data["a"], data["b"]
        fake = generator(a)
        discriminator.requires_grad_(True)
        adam[discriminator].zero_grad()
        false = discriminator(torch.cat([a, fake], 1).detach())
        true = discriminator(torch.cat([a, b], 1))
        loss = bce(false, torch.zeros_like(false)) + bce(true, torch.ones_like(true))
        (loss * 0.5).backward()
        adam[discriminator].step()
        discriminator.requires_grad_(False)
        adam[generator].zero_grad()
        judged = discriminator(torch.cat([a, fake], 1))
        adversarial = bce(judged, torch.ones_like(judged))
        (adversarial + 100 * (fake - b).abs().mean()).backward()
        adam[generator].step()
        return batch

    return step


def engine_step(batch: int, knobs: dict[str, object], **how: object) -> Step:
    """The step as dragoman takes it."""
    settings = build(EngineSettings, how)
    engine = Engine(pix2pix(**knobs), settings, 1_000_000)
    data = pictures(batch)
    steps = engine.run(lambda start: itertools.repeat(data))

    def step() -> int:
        next(steps)
        return batch

    return step


def loading_step(batch: int) -> Step:
    """The loader alone."""
    data = open_data(DataSettings("earth64:relief,satellite", batch=batch))
    batches = data.batches(batch=batch, seed=0)
    return lambda: len(next(batches)["a"])


def inference_step(size: int, knobs: dict[str, object]) -> Step:
    """A translator on one picture after the other."""
    domain = {"name": "photo", "kind": "photo", "channels": 3}
    config = {"domains": {"a": domain, "b": domain}}
    translator = Translator(pix2pix(**knobs), config)
    picture = torch.rand(3, size, size) * 2 - 1

    def step() -> int:
        translator(picture)
        return 1

    return step


def speed(step: Step, seconds: float) -> float:
    """Pictures per second over a span, after the step was taken twice to warm up."""
    step(), step()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        count += step()
    return count / (time.perf_counter() - began)


def variants(batch: int, compiled: bool) -> dict[str, Step]:
    """What is compared; the first is the reference of all ratios."""
    own = own_values(find_system("pix2pix").Settings, read_yaml(RECIPE))
    found = {
        "official nets, plain fp32 eager step": plain_step(batch),
        "official nets, dragoman fp32": engine_step(batch, {}, precision="fp32"),
        "official nets, dragoman bf16": engine_step(batch, {}, precision="bf16"),
        "recipe's nets, dragoman auto": engine_step(batch, own),
        "loading alone": loading_step(batch),
        "inference 64 px, recipe's nets": inference_step(64, own),
        "inference 512 px, recipe's nets": inference_step(512, own),
    }
    if compiled:
        for precision in ("fp32", "bf16"):
            how = {"precision": precision, "compile": True}
            found[f"official nets, dragoman compiled {precision}"] = engine_step(batch, {}, **how)
    return found


def main() -> None:
    """Measure and print; also write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    steps = variants(arguments.batch, arguments.compile)
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            found[name].append(speed(step, arguments.seconds))
    medians = {name: statistics.median(speeds) for name, speeds in found.items()}
    reference = next(iter(medians.values()))
    print(f"{machine()}, torch {torch.__version__}, batch {arguments.batch}, 64 px")
    for name, median in medians.items():
        print(f"{name:42s}{median:10.1f} pictures/s {median / reference:8.2f} x")
    if arguments.out:
        result = {"machine": machine(), "batch": arguments.batch, "pictures_per_second": medians}
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
