"""Dropout at test depends on seed, layer, channel and place, and on nothing else."""

from typing import Any

import numpy as np
import pytest
import torch
from stacks import Wrapped, conv
from tiles import clean, furthest, photograph, tiled, untiled
from torch import Tensor, nn

from dragoman.system import System
from dragoman.tiling import noise, steady_noise
from dragoman.tiling.place import Box, Place

SIDE, CHANNELS = 64, 16


def layer(share: float = 0.5, kind: type[nn.Module] = nn.Dropout) -> System:
    """A system of one dropout layer that is on, as with at_test dropout."""
    network = nn.Sequential(kind(share))
    system = Wrapped(network, channels=CHANNELS)
    network.train()
    return system


def kept(
    system: System, seed: int = 0, pictures: int = 1, sides: tuple[int, int] = (SIDE, SIDE)
) -> Tensor:
    """Which values come through, as 0 or 1: [B, C, H, W]."""
    ones = torch.ones(pictures, CHANNELS, *sides)
    with steady_noise(system, seed):
        made = system.generate({"a": ones})
    assert set(made.unique().tolist()) <= {0.0, float(made.max())}
    return (made > 0).float()


def correlation(a: Tensor, b: Tensor) -> float:
    return float(np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1])


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
def test_the_share_dropped_and_what_is_left_are_right(share):
    system = layer(share)
    with steady_noise(system, 3):
        made = system.generate({"a": torch.ones(1, CHANNELS, 256, 256)})
    off = (made == 0).float()
    deviation = (share * (1 - share)) ** 0.5
    assert abs(off.mean() - share) < 4 * deviation / off.numel() ** 0.5
    channels = off.mean((0, 2, 3))
    assert (channels - share).abs().max() < 4.5 * deviation / 256, "in every channel"
    rows = off.mean((0, 1, 3))
    assert (rows - share).abs().max() < 5 * deviation / (256 * CHANNELS) ** 0.5, "in every row"
    assert made.max() == pytest.approx(1 / (1 - share))
    counts = off[0].sum(0).flatten()  # of the channels, at each pixel: as independent coins
    assert counts.var().item() == pytest.approx(CHANNELS * share * (1 - share), rel=0.05)


def test_channels_places_layers_calls_and_seeds_are_independent():
    first = kept(layer())
    limit = 4.5 / (SIDE * SIDE) ** 0.5
    for a in range(CHANNELS):
        for b in range(a):
            assert abs(correlation(first[0, a], first[0, b])) < limit
    for y, x in [(0, 1), (1, 0), (1, 1), (2, 0), (0, 4), (8, 8), (0, 16), (32, 0)]:
        shifted = first[..., y:, x:]
        same = first[..., : SIDE - y, : SIDE - x]
        assert abs(correlation(shifted, same)) < 4.5 / same.numel() ** 0.5
    for seed in (1, 2, -1, 2**31, 2**62):
        assert abs(correlation(first, kept(layer(), seed))) < 4.5 / first.numel() ** 0.5

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Dropout(0.5), nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.a(x), self.b(x), self.a(x)], 1)

    network = Two()
    system = Wrapped(network)
    network.train()
    with steady_noise(system, 0):
        parts = system.generate({"a": torch.ones(1, 8, SIDE, SIDE)}).chunk(3, 1)
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        assert abs(correlation(parts[a], parts[b])) < 4.5 / parts[a].numel() ** 0.5


def test_noise_belongs_to_the_place():
    system = layer()
    whole = kept(system)
    assert torch.equal(kept(system), whole), "the same seed gives the same"
    assert torch.equal(kept(system, sides=(30, 50)), whole[..., :30, :50])
    batch = kept(system, pictures=3)
    assert all(torch.equal(one, whole[0]) for one in batch), "and no picture's place in the batch"
    with steady_noise(system, 0) as place:
        place.windows = [Box(20, 36, 8, 40)]
        part = system.generate({"a": torch.ones(1, CHANNELS, 16, 32)})
    assert torch.equal((part > 0).float(), whole[..., 20:36, 8:40])
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    kept(system)
    assert torch.equal(torch.rand(3), wanted), "PyTorch's generator is left alone"


def test_pictures_run_one_by_one_have_the_noise_of_a_batch():
    """As systems do that take batch statistics at test."""

    class OneByOne(Wrapped):
        def generate(self, batch: dict[str, Tensor], controls: Any = None) -> Tensor:
            return torch.cat([self.network(one) for one in batch["a"].split(1)])

    network = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
    system = OneByOne(network, channels=CHANNELS)
    network.train()
    batch = kept(system, pictures=3)
    assert torch.equal(batch[1], batch[0])
    assert torch.equal(batch[2], kept(system)[0])


def test_words_are_those_of_the_published_mixers():
    """SplitMix64's finish and MurmurHash3's, by plain integers."""

    def finish(word: int) -> int:
        word ^= word >> 16
        word = word * 0x85EBCA6B % 2**32
        word ^= word >> 13
        return word * 0xC2B2AE35 % 2**32

    assert noise._mixed(0) == 0xE220A8397B1DCDAF  # SplitMix64's first output from the seed 0
    words = torch.tensor([0, 1, -1, 2**62, -(2**63)])
    mixed = noise._mixed_words(words).tolist()
    gamma = 0x9E3779B97F4A7C15
    assert [w % 2**64 for w in mixed] == [noise._mixed((w - gamma) % 2**64) for w in words.tolist()]
    place, drop = Place(windows=[Box(5, 9, 3, 6)], given=(4, 3)), nn.Dropout(0.3)
    found = noise.keep(7, ("x", 0, 2), drop, torch.ones(1, 2, 4, 3), place)[0]
    key = noise._mixed(7 ^ noise._mixed(0x8CDC1683 ^ noise._mixed(2)))  # CRC 32 of "x"
    for channel in range(2):
        own = noise._mixed((noise._mixed(key + 1) + channel - gamma) % 2**64) % 2**32
        for y in range(4):
            for x in range(3):
                spot = (((y + 5) << 32) + x + 3 + key - gamma) % 2**64
                word = finish(noise._mixed(spot) % 2**32 ^ own)
                signed = word - 2**32 if word >> 31 else word
                assert found[channel, y, x] == (signed >= round(0.3 * 2**32) - 2**31)


def test_whole_channels_are_dropped_where_the_layer_does_so():
    found = kept(layer(0.5, nn.Dropout2d), pictures=2)
    assert torch.equal(found.amin((2, 3)), found.amax((2, 3)))
    seeds = torch.cat([kept(layer(0.5, nn.Dropout2d), seed).amax((2, 3)) for seed in range(200)])
    assert abs(seeds.mean() - 0.5) < 4 * 0.5 / seeds.numel() ** 0.5


def test_all_none_and_off():
    assert not kept(layer(1.0)).any()
    assert kept(layer(0.0)).all()
    system = layer()
    system.eval()
    assert kept(system).all(), "a layer that is off stays off"


def test_layers_of_other_scales_keep_their_noise_in_tiles():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.up = nn.AvgPool2d(4), nn.Upsample(scale_factor=8)
            self.inner, self.outer = nn.Dropout(0.5), nn.Dropout(0.3)
            self.last = conv(3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.outer(self.up(self.inner(self.down(x)))))

    network = Scaled()
    system, picture = Wrapped(network, stride=4, size=8), photograph(90, 70, 2)
    network.train()
    whole = untiled(system, picture, seed=5)
    made = tiled(system, picture, 5, channels=2, scale=2, tile=20, overlap=6)
    assert furthest(made, whole) < 1e-6


def test_what_is_replaced_comes_back_whatever_happens():
    system = layer()

    def fail() -> None:
        with steady_noise(system, 0), steady_noise(system, 1):
            assert not clean(system)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert clean(system)
    torch.manual_seed(0)
    first, second = (system.generate({"a": torch.ones(1, 2, 9, 9)}) for _ in range(2))
    assert not torch.equal(first, second), "dropout draws again"


def test_nested_noise_is_that_of_the_inner_seed():
    system = layer()
    with steady_noise(system, 0):
        assert torch.equal(kept(system, 1), kept(system, 1))
        inner = kept(system, 1)
        outer = (system.generate({"a": torch.ones(1, CHANNELS, SIDE, SIDE)}) > 0).float()
    assert torch.equal(inner, kept(system, 1))
    assert torch.equal(outer, kept(system, 0))
