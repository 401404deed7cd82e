"""The pictures that a training shows of itself: input, output and truth in every direction."""

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from dragoman.domain_judging import spread
from dragoman.examples import asked_for, examples_of
from dragoman.system import Batch, System

if TYPE_CHECKING:
    from dragoman.data import Data

MOST_DOMAINS = 8  # of a label set beside each other
Column = np.ndarray | None  # uint8 [N, H, W, 3]


def sampled(
    system: System, data: "Data", batch: Batch, paired: bool, split: str = "val"
) -> tuple[Column, np.ndarray, Column]:
    """Return inputs, outputs and truths of a batch, the directions below each other.

    paired: the pictures of the batch show the same thing; else they hold no truth. split: that of
    the batch, of which a system that must be shown a domain is shown other pictures. Inputs and
    truths are None where there are none, or where not all directions have them.
    """
    if system.domains():
        return _into_domains(system, data, batch, split)
    rows: list[tuple[Column, np.ndarray, Column]] = []
    for controls in system.directions().values():
        with system.choosing(controls):
            rows.append(_one_way(system, data, batch))
    inputs, outputs, truths = zip(*rows, strict=True)
    return _joined(inputs), np.concatenate(outputs), _joined(truths) if paired else None


def _one_way(system: System, data: "Data", batch: Batch) -> tuple[Column, np.ndarray, Column]:
    made: Tensor = system.generate(batch).float().cpu()
    source, target = system.source, system.target or system.source
    given = system.given(batch).cpu() if source in batch else None
    true = batch[target].cpu() if system.target in batch else None
    return (
        None if given is None else data.show(source, given),
        data.show(target, made.clamp(-1, 1)),
        None if true is None else data.show(target, true),
    )


def _into_domains(
    system: System, data: "Data", batch: Batch, split: str
) -> tuple[Column, np.ndarray, Column]:
    """Inputs, and beside each other what is made of them in every domain, the sets in turn.

    Of many domains some are shown, spread evenly. Those that a system must be shown, and of which
    there is nothing to show, are left out.
    """
    strips = []
    for label_set, classes in system.domains().items():
        for number, name in spread(list(enumerate(classes)), MOST_DOMAINS):
            shown, count = None, system.examples
            if count:
                but = batch["index"].tolist()
                shown = examples_of(data, split, label_set, number, count, but)
                if shown is None:
                    continue
            with system.choosing(asked_for(system, data, label_set, name, shown)):
                made = system.generate(batch).float().cpu().clamp(-1, 1)
            strips.append(data.show("image", made))
    return data.show("image", batch["image"].cpu()), np.concatenate(strips, 2), None


def _joined(columns: tuple[Column, ...]) -> Column:
    there = [column for column in columns if column is not None]
    return np.concatenate(there) if len(there) == len(columns) else None
