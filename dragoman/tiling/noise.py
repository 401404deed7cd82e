"""Dropout whose noise belongs to places of the picture, so that tiles drop what the whole would."""

import zlib
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dragoman.system import System
from dragoman.tiling.place import Call, Forward, Place, watching

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


def steady_forwards(system: System, seed: int) -> dict:
    """What `watching` needs for the dropout layers that are on."""

    def steady(name: str):
        return lambda layer, place: _steady(name, layer, place, seed)

    return {
        name: steady(name)
        for name, layer in system.named_modules()
        if isinstance(layer, Dropout) and layer.training and layer.p > 0
    }


def _steady(name: str, layer: Dropout, place: Place, seed: int) -> Forward:
    """The forward that stands in for a dropout layer's."""

    def forward(x: Tensor) -> Tensor:
        kept = keep(seed, place.call(name), layer, x, place)
        return torch.mul(x, kept).mul_(1 / (1 - layer.p)) if layer.p < 1 else torch.zeros_like(x)

    return forward


def keep(seed: int, call: Call, layer: Dropout, x: Tensor, place: Place) -> Tensor:
    """Which values of x [B, C, H, W] a layer keeps: bool [C, H, W], the same for all pictures."""
    channels, rows, columns = x.shape[-3:]
    y, x0 = place.origin(rows, columns)
    name, round_, count = call
    key = _mixed(seed ^ _mixed(zlib.crc32(name.encode()) ^ _mixed(round_ << 32 | count)))
    flat = isinstance(layer, nn.Dropout2d)  # drops whole channels
    sides = (1, 1) if flat else (rows, columns)
    pixel = _pixels(key, (0, 0) if flat else (y, x0), sides, x.device)
    channel = _mixed_words(torch.arange(channels, device=x.device) + _signed(_mixed(key + 1)))
    word = pixel[None] ^ _low(channel)[:, None, None]
    # The finish of MurmurHash3 for 32 bits; its last step leaves the high bits as they are.
    word ^= (word >> 16) & 0xFFFF
    word *= 0x85EBCA6B - (1 << 32)
    word ^= (word >> 13) & 0x7FFFF
    word *= 0xC2B2AE35 - (1 << 32)
    return word >= min(round(layer.p * (1 << 32)), (1 << 32) - 1) - (1 << 31)


def _pixels(
    key: int, origin: tuple[int, int], sides: tuple[int, int], device: torch.device
) -> Tensor:
    """A random word for every place: int32 [rows, columns]."""
    y, x = (
        torch.arange(first, first + size, device=device, dtype=torch.int64)
        for first, size in zip(origin, sides, strict=True)
    )
    return _low(_mixed_words((y[:, None] << 32) + x[None] + _signed(key)))


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
