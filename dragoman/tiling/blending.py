"""Tiles that overlap fade into each other; only the strips still to be met are kept."""

import itertools
import math

import torch
from torch import Tensor

from dragoman.tiling.place import Box


class Blend:
    """Joins the tiles between edges, given row by row, into finished regions.

    Each tile comes grown by half the overlap beyond its inner edges. Within an overlap the weights
    of the two tiles follow a half cosine and sum to one. A picture of any height needs the memory
    of one strip as wide as itself and as high as the overlap.
    """

    def __init__(self, rows: list[int], columns: list[int], overlap: int, scale: int) -> None:
        shortest = min(b - a for e in (rows, columns) for a, b in itertools.pairwise(e))
        self.half = max(0, min(overlap, shortest)) // 2
        self.rows, self.columns, self.scale = rows, columns, scale
        self.beside = torch.zeros(())  # what the tile to the left leaves for this one
        self.below: Tensor | None = None  # what the row of tiles above leaves for this one
        self.next: Tensor | None = None  # what this row leaves for the one below

    def grown(self, i: int, j: int) -> Box:
        """The part that the tile in row i, column j must bring."""
        (y0, y1), (x0, x1) = self._span(self.rows, i), self._span(self.columns, j)
        return Box(y0, y1, x0, x1)

    def _span(self, edges: list[int], n: int) -> tuple[int, int]:
        start = edges[n] - (self.half if n else 0)
        return start, edges[n + 1] + (self.half if n + 2 < len(edges) else 0)

    def add(self, i: int, j: int, tile: Tensor) -> tuple[int, int, Tensor]:
        """Take in a tile [1, C, h, w]; return y0, x0 and pixels of the region it finishes.

        Places are those of the output, `scale` times the input's. Call in order, row by row.
        """
        box, s, fade = self.grown(i, j), self.scale, 2 * self.half * self.scale
        if not fade:
            return box.y0 * s, box.x0 * s, tile
        lower, right = i + 2 < len(self.rows), j + 2 < len(self.columns)
        tile = tile * _weights(tile.shape[-2], fade, i > 0, lower)[:, None]
        tile *= _weights(tile.shape[-1], fade, j > 0, right)
        if j == 0:
            self.below, self.next = self.next, None
            if lower:
                width = (self.columns[-1] - self.columns[0]) * s
                self.next = tile.new_zeros(*tile.shape[:2], fade, width)
        else:
            tile[..., :fade] += self.beside
        if right:
            tile, self.beside = tile[..., :-fade], tile[..., -fade:].clone()
        x0 = (box.x0 - self.columns[0]) * s
        place = slice(x0, x0 + tile.shape[-1])
        if self.next is not None:
            self.next[..., place] = tile[..., -fade:, :]
            tile = tile[..., :-fade, :]
        if self.below is not None:
            tile[..., :fade, :] += self.below[..., place]
        return box.y0 * s, box.x0 * s, tile


def _weights(length: int, fade: int, before: bool, after: bool) -> Tensor:
    """Weights along one side of a tile that fades in and out where it has neighbours."""
    weights = torch.ones(length)
    ramp = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(fade) + 0.5) / fade)
    if before:
        weights[:fade] *= ramp
    if after:
        weights[-fade:] *= 1 - ramp
    return weights
