"""The history of fakes that a discriminator is shown again (Shrivastava et al. 2017)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

CHANCE = 0.5  # that an old fake is shown in place of a new one


def draws(size: int) -> Iterator[tuple[bool, int]]:
    """Endless random choices: whether an old fake is shown, and which of `size`."""
    while True:
        if torch.rand(()).item() > CHANCE:
            yield True, int(torch.randint(size, ()).item())
        else:
            yield False, 0


class History(nn.Module):
    """Keeps `size` fakes; shows each new one, or with probability 1/2 an old one in its place.

    While it fills, every fake is kept and shown. Later, a fake that is not shown takes the place
    of the old one that is. Size 0 shows fakes as they are. Content and fill are buffers, so that
    a resumed run sees the same fakes; random choices come from torch's default CPU generator.
    """

    per_process = True  # each process of a run has its own content

    pictures: Tensor
    count: Tensor

    def __init__(self, size: int = 50) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("pictures", torch.empty(0))  # [size, C, H, W] from the first call on
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_load_state_dict_pre_hook(_fit)

    @torch.no_grad()
    def forward(self, fakes: Tensor, choices: Iterator[tuple[bool, int]] | None = None) -> Tensor:
        """[B, C, H, W] to detached fakes of the same shape, some of them old.

        `choices` stands in for the random ones: for each fake, once the history is full, whether
        an old fake is shown, and which.
        """
        fakes = fakes.detach()
        if self.size == 0:
            return fakes
        if self.pictures.shape[1:] != fakes.shape[1:] or not len(self.pictures):
            self.pictures = fakes.new_zeros(self.size, *fakes.shape[1:])
            self.count.zero_()
        choices = draws(self.size) if choices is None else choices
        count, shown = int(self.count), fakes.clone()
        for place, fake in enumerate(fakes):
            if count < self.size:
                self.pictures[count] = fake
                count += 1
                continue
            old, index = next(choices)
            if old:
                shown[place] = self.pictures[index]
                self.pictures[index] = fake
        self.count.fill_(count)
        return shown


def _fit(history: History, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Take the size of the pictures from the state, which a fresh history cannot know."""
    saved = state.get(prefix + "pictures")
    if isinstance(saved, Tensor) and len(saved) in (0, history.size):
        history.pictures = torch.zeros_like(saved, device=history.pictures.device)
