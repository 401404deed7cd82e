"""One picture as an array, as people hold it, to a tensor in [-1, 1] and back."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.data.appearance import encode
from dragoman.data.catalogue import METRES, Domain
from dragoman.errors import DataError


def to_tensor(domain: Domain, array: NDArray) -> Tensor:
    """Turn a picture [H, W] or [H, W, C] into a batch of one, [1, C, H, W] in [-1, 1].

    uint8 for photographs and drawings, whole class numbers for label maps, metres for heights.
    Raises DataError for other shapes, types and unknown classes.
    """
    if array.ndim == 2:
        array = array[..., None]
    channels = 1 if domain.kind in ("labels", "metres") else domain.channels
    if array.ndim != 3 or array.shape[2] != channels or 0 in array.shape:
        raise DataError(
            f"a picture of {domain.name} must be an array [height, width, {channels}], "
            f"this one has shape {list(array.shape)}"
        )
    if domain.kind in ("photo", "drawing") and array.dtype != np.uint8:
        raise DataError(
            f"a picture of {domain.name} must be uint8, this one is {array.dtype}; "
            "or give a torch tensor in [-1, 1]"
        )
    if domain.kind == "labels":
        if not np.issubdtype(array.dtype, np.integer):
            raise DataError(f"a label map must hold whole numbers, this one is {array.dtype}")
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= domain.channels:
            raise DataError(
                f"a label map of {domain.name} holds classes 0 to {domain.channels - 1}, "
                f"this one has {low if low < 0 else high}"
            )
    return torch.from_numpy(encode(domain, array.transpose(2, 0, 1)[None]))


def from_tensor(domain: Domain, pictures: Tensor) -> NDArray:
    """Turn [B, C, H, W] in [-1, 1] back: the reverse of `to_tensor`, [B, H, W] or [B, H, W, C]."""
    values = pictures.detach().float().cpu()
    if domain.kind == "labels":
        return values.argmax(1).to(torch.uint8).numpy()
    if domain.kind == "metres":
        return (values[:, 0] * METRES).round().clamp(-32768, 32767).to(torch.int16).numpy()
    levels = ((values.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    return levels[..., 0].numpy() if domain.channels == 1 else levels.numpy()
