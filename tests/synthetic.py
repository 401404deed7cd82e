"""Small data made in memory, for tests of systems and engine that need no pictures."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dragoman.settings import build
from dragoman.system import Facts
from dragoman.systems import find_system

FACTS = Facts(channels={"a": 3, "b": 3}, size=(32, 32), images=64)
SMALL = {"width": 4, "discriminator_width": 4, "patch": 16}  # knobs that a system may lack


def make(name: str, seed: int = 0, facts: Facts = FACTS, **over: Any) -> Any:
    """A small system with the seed's weights."""
    torch.manual_seed(seed)
    kind = find_system(name)
    return kind(build(kind.Settings, SMALL | over), facts)


def batches(start: int = 0, batch: int = 4, **overrides: int) -> Iterator[dict[str, Tensor]]:
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
    index = torch.arange(batch) + number * batch
    return {"a": a, "b": b, "index": index, "label": index % 3}
