"""Weights by which the terms of a loss come out equally large, found while training begins."""

import torch
from torch import Tensor, nn


class Balance(nn.Module):
    """Measures the mean of each term over the first steps (Chen & Koltun 2017, section 3.2).

    The weights of a step go by the means of the steps before it, all 1 in the first. So they are
    constants within a step, in however many parts its batch is taken and by however many
    processes, and after `steps` steps they stay as they are. What was measured is buffers.
    """

    sums: Tensor
    seen: Tensor
    means: Tensor
    step: Tensor

    def __init__(self, terms: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("sums", torch.zeros(terms))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("means", torch.ones(terms))
        self.register_buffer("step", torch.tensor(-1))

    @torch.no_grad()
    def begin(self, step: int) -> None:
        """Go by what has been measured so far; asked again in one step, nothing changes."""
        fresh = (self.step != step) & (self.seen > 0)
        self.means.copy_(torch.where(fresh, self.sums / self.seen.clamp(min=1), self.means))
        self.step.fill_(step)

    @torch.no_grad()
    def measure(self, terms: Tensor, count: int) -> None:
        """Take in the mean of each term, [terms], over `count` pictures of this step."""
        counted = (self.step < self.steps) * count
        self.sums.add_(terms * counted)
        self.seen.add_(counted)

    def weights(self) -> Tensor:
        """The weight of each term, [terms]: 1 for the first, and all come out as large as it."""
        return self.means[0] / self.means.clamp(min=1e-12)
