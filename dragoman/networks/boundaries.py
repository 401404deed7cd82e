"""Maps of the lines where regions or instances meet."""

import torch
from torch import Tensor
from torch.nn import functional


def boundaries(regions: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """1 at each pixel that differs from one of its four neighbours, else 0: [B, 1, H, W].

    regions: numbers [B, H, W], or [B, C, H, W], of which any channel may differ, such as a label
    map of one channel for each class. Both pixels of a differing pair are marked
    (Wang et al. 2018, section 3.3).
    """
    if regions.dim() == 3:
        regions = regions[:, None]
    below = (regions[..., 1:, :] != regions[..., :-1, :]).any(1, keepdim=True).to(dtype)
    beside = (regions[..., 1:] != regions[..., :-1]).any(1, keepdim=True).to(dtype)
    rows = torch.maximum(functional.pad(below, (0, 0, 0, 1)), functional.pad(below, (0, 0, 1, 0)))
    columns = torch.maximum(functional.pad(beside, (0, 1)), functional.pad(beside, (1, 0)))
    return torch.maximum(rows, columns)
