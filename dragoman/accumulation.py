"""A batch taken in parts, with what the turns of one step share computed as rarely as can be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from dragoman.engine import Engine
    from dragoman.system import Batch, Progress, Turn


class Accumulation:
    """The parts of one step's batch and what is shared over each.

    Of a whole batch, `share` is computed once, unless an optimizer asks for the loss repeatedly:
    the turn that learns through it then needs it for the weights of the moment. Of a batch in
    several parts, keeping every part's graph until the last turn would save no memory: the values
    are computed once, and the one turn that learns through them computes them again, with the
    same random draws.
    """

    def __init__(self, engine: Engine, batch: Batch, progress: Progress, due: list[Turn]) -> None:
        self.engine, self.progress = engine, progress
        batch = engine.system.whole(batch)
        self.size = len(next(iter(batch.values())))
        count = min(engine.settings.accumulate, self.size)
        parts = {key: value.chunk(count) for key, value in batch.items()}
        count = min(len(chunks) for chunks in parts.values())
        self.parts = [{key: chunks[i] for key, chunks in parts.items()} for i in range(count)]
        self.random, self.shared, self.learners, self.asked = [], [], set(), set()
        for part in self.parts:
            self.random.append(_random(engine.device))
            shared = self._share(part)
            if not self.learners:
                self.learners = _learners(shared, due)
            if count > 1:
                shared = pytree.tree_map_only(Tensor, torch.Tensor.detach, shared)
            self.shared.append(shared)

    def of(self, turn: Turn) -> Iterator[tuple[Batch, Any]]:
        """The parts of the batch, each with what is shared over it."""
        again = len(self.parts) > 1 or id(turn) in self.asked
        self.asked.add(id(turn))
        for part, random, shared in zip(self.parts, self.random, self.shared, strict=True):
            if again and id(turn) in self.learners:
                now = _random(self.engine.device)
                _set_random(self.engine.device, random)
                shared = self._share(part)
                _set_random(self.engine.device, now)
            yield part, shared

    def _share(self, part: Batch) -> Any:
        with self.engine.precision():
            return self.engine.system.share(part, self.progress)


def _random(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def _learners(shared: Any, due: list[Turn]) -> set[int]:
    """The identities of the turns that learn through the shared tensors."""
    reached = _reached(shared)
    return {
        id(turn) for turn in due if any(p in reached for n in turn.networks for p in n.parameters())
    }


def _reached(shared: Any) -> set[Tensor]:
    """The parameters that the shared tensors were computed from."""
    tensors = [t for t in pytree.tree_leaves(shared) if isinstance(t, Tensor)]
    ahead = [t.grad_fn for t in tensors if t.grad_fn is not None]
    seen, reached = set(ahead), set()
    while ahead:
        node = ahead.pop()
        if hasattr(node, "variable"):  # where a graph ends in a parameter
            reached.add(node.variable)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                ahead.append(following)
    return reached
