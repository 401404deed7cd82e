"""What systems that translate both ways between two piles of pictures share."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from dragoman import controls as choices
from dragoman.controls import Towards
from dragoman.system import Batch, System

if TYPE_CHECKING:
    from dragoman.metrics import Metric

OTHER = {"a": "b", "b": "a"}


class TwoWay(System):
    """Translates a to b and b to a; which of the two pictures are made is `--to`."""

    Controls: ClassVar[type[choices.Controls]] = Towards
    pairs = False

    def choose(self, controls: choices.Controls) -> None:
        super().choose(controls)
        self.target = towards(controls)
        self.source = OTHER[self.target]

    def directions(self) -> dict[str, choices.Controls]:
        return {"a to b": self.Controls(to="b"), "b to a": self.Controls(to="a")}  # ty: ignore

    def translated(self, to: str, pictures: Tensor) -> Tensor:
        """Pictures of the other domain as pictures of the domain `to`."""
        raise NotImplementedError

    def generate(self, batch: Batch, controls: choices.Controls | None = None) -> Tensor:
        to = towards(controls or self.controls)
        return self.translated(to, batch[OTHER[to]])

    def averaged(self) -> list[nn.Module]:
        own = [child for name, child in self.named_children() if name in ("to_b", "to_a")]
        return own or super().averaged()

    @property
    def stride(self) -> int:
        return max(int(getattr(network, "stride", 1)) for network in self.averaged())

    def returned(self, to: str, made: Tensor, given: Tensor) -> Tensor:
        """What comes back, in the domain `to`, of pictures that were made of the given ones."""
        return self.translated(to, made)

    def measures(self) -> "list[Metric]":
        """How much of its input the way there and back loses."""
        return [cycle_error(self, self.source)]


def towards(controls: choices.Controls) -> str:
    """The domain that is to be made."""
    return controls.to if isinstance(controls, Towards) else "b"


def cycle_error(system: TwoWay, source: str) -> "Metric":
    """The L1 distance in [0, 1] between a picture and what comes back of it."""
    from dragoman.metrics.l1 import l1
    from dragoman.metrics.metric import BatchMetric
    from dragoman.pipeline import drawing

    @torch.no_grad()
    def measure(fake: Tensor, real: Tensor, batch: Batch) -> Tensor:
        device, given = next(system.parameters()).device, batch[source]
        with drawing(0, device):  # the way back has noise of its own, the same at every evaluation
            back = system.returned(source, fake.to(device), given.to(device))
        return l1(back.float().to(given.device), given)

    return BatchMetric(
        "cycle_l1",
        "",
        "low",
        measure,  # ty: ignore
        "mean absolute difference in [0, 1] between the input and what is made of it when it is "
        "translated there and back",
        ours=True,
    )
