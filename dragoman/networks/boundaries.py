"""Maps of the lines where regions or instances meet."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Instances = Literal["none", "regions", "map"]  # whose boundaries are seen


def with_boundaries(
    x: Tensor, kind: Instances, regions: Tensor, instances: Tensor | None
) -> Tensor:
    """Append the boundaries to x [B, C, H, W], if any are wanted: [B, C + 1, H, W].

    Of the instances [B, H, W] if kind is "map" and there are some, else of the regions
    [B, K, H, W].
    """
    if kind == "none":
        return x
    mapped = kind == "map" and instances is not None
    return torch.cat([x, boundaries(instances if mapped else regions, x.dtype)], 1)


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
