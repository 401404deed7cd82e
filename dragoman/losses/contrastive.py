"""Contrast of patches: each must be told from the others by what it was (Park et al. 2020)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.losses.distances import full

SELF = -10.0  # similarity of a patch with itself as its own negative, before the temperature
EPSILON = 1e-7  # added to lengths, as in the reference code


class PatchHeads(nn.Module):
    """Brings patches of every tapped layer to unit vectors of one space (section 3, H_l).

    Two linear layers with a ReLU between for each of the tapped layers, whose channels are
    `channels`. They learn with the generator. Reference code: "mlp_sample".
    """

    def __init__(self, channels: Sequence[int], width: int = 256) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(own, width), nn.ReLU(), nn.Linear(width, width))
            for own in channels
        )

    def forward(
        self, features: Sequence[Tensor], places: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Features [B, C, H, W] of each layer to vectors of length 1, [B, P, width] each.

        places: those taken of each layer, [P], the same in every picture; without them all, row by
        row.
        """
        taken = [None] * len(features) if places is None else places
        trios = zip(self.heads, features, taken, strict=True)
        return [unit_length(head(pick(x, chosen))) for head, x, chosen in trios]


def draw_places(features: Sequence[Tensor], count: int = 256) -> list[Tensor]:
    """Draw places for each layer of features [B, C, H, W]: [P], numbered row by row from 0.

    No place twice; P is `count`, or all where there are fewer.
    """
    return [torch.randperm(x[0, 0].numel(), device=x.device)[:count] for x in features]


def pick(features: Tensor, places: Tensor | None = None) -> Tensor:
    """Of features [B, C, H, W] those at places [P], numbered row by row: [B, P, C]."""
    rows = features.flatten(2)
    return (rows if places is None else rows[:, :, places]).transpose(1, 2)


def unit_length(vectors: Tensor) -> Tensor:
    """Vectors [..., D] over their length, in float32 or better; where that is 0 they stay 0."""
    vectors = full(vectors)
    return vectors / (torch.linalg.vector_norm(vectors, dim=-1, keepdim=True) + EPSILON)


def contrast(
    queries: Tensor, keys: Tensor, temperature: float = 0.07, across: bool = False
) -> Tensor:
    """How badly each query is told to be its own key among all keys: [B, P] (equation 2).

    queries, keys: unit vectors [B, P, D], patch by patch of the same places. The cross entropy of
    the similarities over the temperature, where the other patches of the picture, or with `across`
    of all pictures, are the negatives. As in the reference code, the patch itself stays among the
    negatives with similarity -10. No gradient reaches the keys.
    """
    queries, keys = full(queries), full(keys).detach()
    batch, patches, _ = queries.shape
    if across:
        queries, keys = (x.flatten(0, 1)[None] for x in (queries, keys))
    with torch.autocast(queries.device.type, enabled=False):
        similar = queries @ keys.transpose(1, 2)
    own = torch.eye(similar.shape[1], dtype=torch.bool, device=similar.device)
    right = (queries * keys).sum(2, keepdim=True)
    logits = torch.cat([right, similar.masked_fill(own, SELF)], dim=2) / temperature
    answers = torch.zeros(logits.shape[:2], dtype=torch.long, device=logits.device)
    entropy = functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none")
    return entropy.view(batch, patches)


def patch_nce(
    queries: Sequence[Tensor],
    keys: Sequence[Tensor],
    temperature: float = 0.07,
    across: bool = False,
) -> Tensor:
    """Mean contrast of all patches, averaged over layers (equation 3); see `contrast`.

    queries and keys of each layer: [B, P, D].
    """
    pairs = zip(queries, keys, strict=True)
    return torch.stack([contrast(q, k, temperature, across).mean() for q, k in pairs]).mean()
