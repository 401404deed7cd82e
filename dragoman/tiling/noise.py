"""Dropout whose noise belongs to places of the picture, so that tiles drop what the whole would."""

import zlib
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from dragoman.system import System
from dragoman.tiling.place import Call, Forward, Place, Replacement, watching

Dropout = nn.Dropout | nn.Dropout2d
_WORD = (1 << 64) - 1


@contextmanager
def steady_noise(system: System, seed: int) -> Generator[Place]:
    """Within it, what a dropout layer drops depends on nothing but where it is.

    That is: on the seed, the layer, which of its calls it is, the channel and the place in the
    whole picture. So the same picture gives the same result in tiles, in a batch of any size and
    on any device. One thread at a time may hold a system so; others wait.
    """
    with watching(system, steady_forwards(system, seed)) as place:
        yield place


def steady_forwards(system: System, seed: int) -> dict[str, Replacement]:
    """What `watching` needs for the dropout layers that are on."""
    return {
        name: partial(_steady, name, seed)
        for name, layer in system.named_modules()
        if isinstance(layer, Dropout) and layer.training and layer.p > 0
    }


def _steady(name: str, seed: int, layer: nn.Module, place: Place) -> Forward:
    """The forward that stands in for a dropout layer's."""
    assert isinstance(layer, Dropout)

    def forward(x: Tensor) -> Tensor:
        kept = keep(seed, place.call(name), layer, x, place)
        return torch.mul(x, kept).mul_(1 / (1 - layer.p)) if layer.p < 1 else torch.zeros_like(x)

    return forward


def keep(seed: int, call: Call, layer: Dropout, x: Tensor, place: Place) -> Tensor:
    """Which values of x [B, C, H, W] a layer keeps: bool [1 or B, C, H, W]."""
    channels, rows, columns = x.shape[-3:]
    name, number, count = call
    key = _mixed(seed ^ _mixed(zlib.crc32(name.encode()) ^ _mixed(number << 32 | count)))
    origins, sides = place.origins(rows, columns), (rows, columns)
    if isinstance(layer, nn.Dropout2d):  # drops whole channels
        origins, sides = [(0, 0)], (1, 1)
    word = _pixels(key, origins, sides, x.device)[:, None]
    channel = torch.arange(channels, device=x.device) + _signed(_mixed(key + 1))
    word = word ^ _low(_mixed_words(channel))[:, None, None]
    # The finish of MurmurHash3 for 32 bits; its last step leaves the high bits as they are.
    word ^= (word >> 16) & 0xFFFF
    word *= 0x85EBCA6B - (1 << 32)
    word ^= (word >> 13) & 0x7FFFF
    word *= 0xC2B2AE35 - (1 << 32)
    return word >= min(round(layer.p * (1 << 32)), (1 << 32) - 1) - (1 << 31)


def _pixels(
    key: int, origins: list[tuple[int, int]], sides: tuple[int, int], device: torch.device
) -> Tensor:
    """A random word for every place: int32 [origins, rows, columns]."""
    first = torch.tensor(origins, device=device)
    y, x = (first[:, n, None] + torch.arange(sides[n], device=device) for n in range(2))
    return _low(_mixed_words((y[:, :, None] << 32) + x[:, None] + _signed(key)))


# Steele, Lea and Flood 2014 (SplitMix64), with the constants of Stafford's thirteenth mix.
_MULTIPLIERS = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def _mixed(word: int) -> int:
    """Scramble a word of 64 bits."""
    word = (word + 0x9E3779B97F4A7C15) & _WORD
    word = ((word ^ word >> 30) * _MULTIPLIERS[0]) & _WORD
    word = ((word ^ word >> 27) * _MULTIPLIERS[1]) & _WORD
    return word ^ word >> 31


def _mixed_words(words: Tensor) -> Tensor:
    """Scramble int64 words."""
    words = (words ^ _shifted(words, 30)) * _signed(_MULTIPLIERS[0])
    words = (words ^ _shifted(words, 27)) * _signed(_MULTIPLIERS[1])
    return words ^ _shifted(words, 31)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Shift to the right and fill with zeros, which torch does for unsigned words only."""
    return (words >> bits) & (1 << 64 - bits) - 1


def _signed(word: int) -> int:
    word &= _WORD
    return word - (1 << 64) if word >> 63 else word


def _low(words: Tensor) -> Tensor:
    """The lower half of int64 words as int32."""
    return (((words & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000).to(torch.int32)
