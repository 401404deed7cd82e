"""Labels of several label sets as one vector of numbers, of which some may be unknown."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dragoman.errors import SettingsError


def label_widths(counts: Mapping[str, int], binary: bool = True) -> tuple[int, ...]:
    """How many numbers, and logits, each label set takes in a vector.

    counts: number of classes by label set, as `Facts.label_sets`. A set of n classes takes n
    numbers; with `binary` one of two classes takes a single one, as an attribute that a picture
    has or lacks. Raises SettingsError for a set of one class.
    """
    for name, count in counts.items():
        if count < 2:
            raise SettingsError(
                f"the label set '{name}' has {count} class, between which nothing can be "
                "translated; leave it out or label pictures of another class"
            )
    return tuple(1 if binary and count == 2 else count for count in counts.values())


def label_vector(labels: Tensor, widths: Sequence[int], mask: bool = False) -> Tensor:
    """Labels [B, S], int64, -1 where unknown, to vectors float [B, sum(widths)], or + S.

    By `widths` from `label_widths`: a set of width 1 becomes its class, 0 or 1, one of width n a
    one-hot vector; an unknown label becomes zeros. With `mask` a number for each set follows, 1
    where its label is known: the mask vector m of Choi et al. 2018 (section 3.2, equation 7),
    there one-hot as each picture was from a data set that labels one set only.
    """
    _check(labels, widths)
    known = labels >= 0
    parts = []
    for place, width in enumerate(widths):
        label = labels[:, place].clamp(min=0)
        part = label[:, None].float() if width == 1 else functional.one_hot(label, width).float()
        parts.append(part * known[:, place, None])
    return torch.cat([*parts, known.float()] if mask else parts, 1)


def _check(labels: Tensor, widths: Sequence[int]) -> None:
    if labels.ndim != 2 or labels.shape[1] != len(widths):
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} are not those of {len(widths)} label sets"
        )
