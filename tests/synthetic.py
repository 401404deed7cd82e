"""Small data made in memory, for tests of systems and engine that need no pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dragoman.engine import Engine, EngineSettings
from dragoman.pipeline import Translator
from dragoman.settings import build
from dragoman.system import Facts
from dragoman.systems import find_system

KEYS = ("a", "b", "image", "low", "high")  # of pictures; high is twice as large as the others
CLASSES = {"label": ("red", "green", "blue"), "tone": ("dark", "light")}
FACTS = Facts(
    channels=dict.fromkeys(KEYS, 3),
    size=(32, 32),
    labels=3,
    images=64,
    label_sets={name: len(classes) for name, classes in CLASSES.items()},
    classes=CLASSES,
)
LARGER = replace(FACTS, scale=2)
# Knobs that a system may lack, small enough for tests.
SMALL = {
    "width": 4,
    "discriminator_width": 4,
    "patch": 16,
    "hidden": 8,
    "n_critic": 2,
}


def make(name: str, seed: int = 0, facts: Facts | None = None, **over: Any) -> Any:
    """A small system with the seed's weights."""
    torch.manual_seed(seed)
    kind = find_system(name)
    return kind(build(kind.Settings, SMALL | over), facts or facts_of(name))


def shown(system: Any, number: int = 0) -> Any:
    """The system, shown examples of what it shall make, if it must be."""
    if system.examples:
        examples = picture_batch(number)["reference"][0]
        system.choose(replace(system.controls, reference=examples))
    return system


def facts_of(name: str) -> Facts:
    """Facts of the synthetic data as that system sees them."""
    return LARGER if "high" in find_system(name).needs else FACTS


def batches(start: int = 0, batch: int = 4, **overrides: Any) -> Iterator[dict[str, Tensor]]:
    """Endless batches; batch number n is the same in every iterator."""
    number = start
    while True:
        yield picture_batch(number, batch, overrides.get("size", 32))
        number += 1


def picture_batch(number: int, batch: int = 4, size: int = 32) -> dict[str, Tensor]:
    """The batch of that number: a pattern and its partner, in [-1, 1]."""
    generator = torch.Generator().manual_seed(number)
    a = torch.rand(batch, 3, size, size, generator=generator) * 2 - 1
    b = (a.flip(1) * 0.5 + 0.1).clamp(-1, 1)
    high = torch.rand(batch, 3, 2 * size, 2 * size, generator=generator) * 2 - 1
    index = torch.arange(batch) + number * batch
    pictures = {"a": a, "b": b, "image": b, "low": functional.avg_pool2d(high, 2), "high": high}
    regions = torch.arange(size) // 8
    numbers = {
        "map": a.argmax(1),
        "instance": (regions[:, None] + 100 * regions).expand(batch, -1, -1),
        "mask": torch.zeros(batch, 1, size, size).index_fill(3, torch.arange(size // 2), 1.0),
    }
    labels = {"label": index % 3, "labels": torch.stack([index % 3, index // 3 % 2], 1)}
    examples = {
        "reference": torch.rand(batch, 2, 3, size, size, generator=generator) * 2 - 1,
        "reference_label": (index // 2 + number) % 3,
    }
    return {**pictures, **numbers, **labels, **examples, "index": index}


def translator(name: str = "cyclegan", facts: Facts | None = None, **over: Any) -> Translator:
    """A translator of a small system, of photographs."""
    domain = {"name": "photo", "kind": "photo", "channels": 3}
    system = make(name, facts=facts, **over)
    config = {
        "system": name,
        "settings": vars(system.settings),
        "facts": vars(system.facts),
        "domains": dict.fromkeys(KEYS, domain),
        "data": "synthetic",
        "credits": "",
        "training": {},
    }
    return Translator(system, config, "cpu")


def runs_of_steps(
    system: Any, names: Sequence[str], steps: int, **how: Any
) -> list[dict[str, int]]:
    """How often each of the networks runs in each of so many steps of training."""
    runs, seen = dict.fromkeys(names, 0), []

    def counting(name: str) -> None:
        def count(*_: Any) -> None:
            runs[name] += 1

        system.get_submodule(name).register_forward_hook(count)

    for name in names:
        counting(name)
    knobs = {"average": 0.0, "device": "cpu", "precision": "fp32", **how}
    for _ in Engine(system, build(EngineSettings, knobs), steps).run(batches):
        seen.append({name: runs[name] - sum(one[name] for one in seen) for name in names})
    return seen
