"""How well logits tell the classes of pictures, where some labels are unknown; in float32."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dragoman.losses.distances import full


def classification(logits: Tensor, labels: Tensor, widths: Sequence[int]) -> Tensor:
    """-log of the probability of a picture's known labels, averaged over the batch.

    logits: [B, sum(widths)]; labels: int64 [B, S], -1 where unknown, which adds nothing. widths:
    logits of each of the S label sets, as `networks.label_vector.label_widths` tells them. A set
    of width 1 is a binary attribute, class 0 or 1, whose logit is of class 1; one of width n is
    one class of n. This is D_cls of Choi et al. 2018, equations 2 and 3, where several sets are
    known only in part (section 3.2): in a batch that lacks a set its logits get no gradient.
    """
    if logits.ndim != 2 or logits.shape[1] != sum(widths):
        raise ValueError(f"logits of shape {tuple(logits.shape)} are not those of sets of {widths}")
    if labels.shape != (len(logits), len(widths)):
        raise ValueError(f"labels of shape {tuple(labels.shape)} are not those of sets of {widths}")
    terms = [
        _binary(part[:, 0], label) if width == 1 else _one_of(part, label)
        for part, label, width in zip(
            full(logits).split(list(widths), 1), labels.unbind(1), widths, strict=True
        )
    ]
    return torch.stack(terms).sum() / len(logits)


def _binary(logits: Tensor, label: Tensor) -> Tensor:
    """Sum over known attributes of the cross entropy; logits [B], label [B]."""
    target = label.clamp(min=0).to(logits.dtype)
    return functional.binary_cross_entropy_with_logits(
        logits, target, weight=(label >= 0).to(logits.dtype), reduction="sum"
    )


def _one_of(logits: Tensor, label: Tensor) -> Tensor:
    """Sum over known classes of the cross entropy; logits [B, n], label [B]."""
    return functional.cross_entropy(logits, label, ignore_index=-1, reduction="sum")
