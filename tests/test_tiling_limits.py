"""Tiling goes on when memory runs out, says what it does, and leaves everything as it was."""

import subprocess
import sys
import threading
from typing import Any

import pytest
import torch
from stacks import Wrapped
from synthetic import make
from tiles import (
    FACTS,
    NORMED,
    PLAIN,
    Canvas,
    furthest,
    photograph,
    reading,
    started,
    tiled,
    untiled,
)
from torch import Tensor, nn

from dragoman.errors import DataError, SettingsError
from dragoman.settings import build
from dragoman.system import System
from dragoman.tiling import Tiler, TileSettings


class Hungry:
    """Lets a system's generate run out of memory above a number of pixels."""

    def __init__(self, system: System, most: int, error: Exception) -> None:
        self.generate, self.most, self.error = system.generate, most, error
        self.refused = 0

    def __call__(self, batch: dict[str, Tensor], controls: Any = None) -> Tensor:
        picture = batch["a"]
        if picture.device.type == "cpu" and picture.numel() > 3 * self.most:
            self.refused += 1
            raise self.error
        return self.generate(batch, controls)


ERRORS = [
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("overlap", [0, 12])
def test_out_of_memory_halves_the_tile_and_goes_on(error, overlap, monkeypatch):
    system, picture, told = started(PLAIN[0]), photograph(200, 260), []
    whole = untiled(system, picture)
    monkeypatch.setattr(system, "generate", Hungry(system, 120 * 120, error))
    made = tiled(system, picture, say=told.append, tile=128, overlap=overlap)
    assert furthest(made, whole) < 1e-5
    assert told == ["memory does not suffice: the picture goes on in tiles of 64 px"]


def test_out_of_memory_on_the_way_leaves_what_is_written(monkeypatch):
    system, picture, told = started(PLAIN[0]), photograph(200, 260), []
    whole = untiled(system, picture)
    hungry = Hungry(system, 10**9, ERRORS[0])
    monkeypatch.setattr(system, "generate", hungry)
    canvas = Canvas(picture)

    def write(y: int, x: int, pixels: Tensor) -> None:
        canvas.write(y, x, pixels)
        hungry.most = 100 * 100 if y >= 60 else hungry.most

    tiler = Tiler(system, "cpu", TileSettings(tile=64, overlap=10))
    tiler.run(reading(picture), write, 200, 260, told.append)
    assert furthest(canvas.pixels, whole) < 1e-5
    assert told == ["memory does not suffice: the picture goes on in tiles of 32 px"]
    assert hungry.refused == 1, "what is too large is not tried again"
    assert tiler.tile == 32, "nor for the next picture"


@pytest.mark.parametrize("norms", ["fast", "exact"])
def test_out_of_memory_while_statistics_are_taken(norms, monkeypatch):
    system, picture = started(NORMED[0]), photograph(200, 260)
    whole = tiled(system, picture, tile=64, norms=norms)
    monkeypatch.setattr(system, "generate", Hungry(system, 100 * 100, ERRORS[0]))
    told: list[str] = []
    made = tiled(system, picture, say=told.append, tile=256, norms=norms)
    assert furthest(made, whole) < 1e-4
    assert told[0].endswith("in tiles of 128 px")
    assert told[-1].endswith(("in tiles of 64 px", "in tiles of 32 px"))


def test_a_picture_that_does_not_fit_at_once_is_run_in_tiles(monkeypatch):
    system, picture, told = started(NORMED[0]), photograph(100, 100), []
    whole = untiled(system, picture)
    monkeypatch.setattr(system, "generate", Hungry(system, 99 * 99, ERRORS[2]))
    made = tiled(system, picture, say=told.append, norms="exact")
    assert furthest(made, whole) < 1e-4
    assert len(told) == 1


def test_too_little_memory_for_any_tile_is_said(monkeypatch):
    system, picture = started(PLAIN[0]), photograph(100, 100)
    monkeypatch.setattr(system, "generate", Hungry(system, 1, ERRORS[0]))
    with pytest.raises(DataError, match="not even suffice for a tile of 32 px; set less context"):
        tiled(system, picture, tile=64)
    assert isinstance(system.generate, Hungry), "nothing else is left changed"


def test_other_errors_are_not_taken_for_lack_of_memory(monkeypatch):
    system, picture = started(PLAIN[0]), photograph(100, 100)
    monkeypatch.setattr(system, "generate", Hungry(system, 1, RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        tiled(system, picture, tile=64)


class Mean(nn.Module):
    """Depends on everything."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean((2, 3), keepdim=True)


def test_what_depends_on_everything_is_run_in_one_piece_and_that_is_said(monkeypatch):
    system, picture, told = Wrapped(Mean()), photograph(600, 40, 2), []
    made = tiled(system, picture, say=told.append, channels=2, tile=64)
    assert furthest(made, untiled(system, picture)) < 1e-6
    assert told == [
        "the picture is translated in one piece, since the system has values that depend on the "
        "whole picture"
    ]
    monkeypatch.setattr(system, "generate", Hungry(system, 1, MemoryError()))
    with pytest.raises(DataError, match="40 x 600 px in one piece, and tiles are not possible"):
        tiled(system, picture, channels=2)
    monkeypatch.setattr("dragoman.tiling.passage.MOST_WHOLE", 20_000)
    with pytest.raises(DataError, match=r"40 x 600 px are too many for one piece.*--tile 0 to try"):
        tiled(system, picture, channels=2)


def test_progress_never_falls_and_ends_at_one(monkeypatch):
    system, picture = started(NORMED[0]), photograph(150, 211)
    for knobs in ({"norms": "exact"}, {"norms": "fast"}):
        shares: list[float] = []
        canvas = Canvas(picture)
        tiler = Tiler(system, "cpu", TileSettings(tile=64, **knobs))
        tiler.run(reading(picture), canvas.write, 150, 211, None, shares.append)
        assert shares == sorted(shares)
        assert len(set(shares)) >= 12
        assert 0 < shares[0] < 0.2
        assert shares[-1] == 1


def test_the_default_tile_is_as_large_as_memory_allows():
    small = make("regression", facts=FACTS, depth=3, width=4).eval()
    large = make("regression", facts=FACTS, depth=3, width=256).eval()
    assert Tiler(small, "cpu").tile == 512
    assert 32 <= Tiler(large, "cpu").tile < 512
    assert Tiler(large, "cpu").tile % large.stride == 0
    assert Tiler(small, "cpu", TileSettings(tile=100)).tile == 96


@pytest.mark.parametrize(
    "knobs", [{"tile": 8}, {"context": -1}, {"overlap": -1}, {"norms": "slow"}], ids=str
)
def test_impossible_settings_are_refused(knobs):
    with pytest.raises(SettingsError, match=f"--{next(iter(knobs))}"):
        build(TileSettings, knobs)


def test_the_settings_alone_do_not_load_torch():
    code = "import sys, dragoman.tiling.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_two_threads_may_share_a_system():
    system = started(NORMED[4])
    pictures = [photograph(100, 140), photograph(140, 100)]
    wanted = [tiled(system, p, n, tile=64, norms="exact") for n, p in enumerate(pictures)]
    made: dict[int, Tensor] = {}

    def work(n: int) -> None:
        made[n] = tiled(system, pictures[n], n, tile=64, norms="exact")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(made[n], wanted[n]) for n in range(2))


def test_low_precision_gives_full_floats_near_those_of_full_precision():
    system, picture = started(NORMED[4], width=8), photograph(120, 150)
    whole = untiled(system, picture)
    with torch.autocast("cpu", torch.bfloat16):
        made = tiled(system, picture, tile=64, norms="exact")
        same = untiled(system, picture).float()
    assert (made - whole).abs().mean() < 2 * (same - whole).abs().mean() + 1e-3


def test_the_caller_s_random_numbers_stay():
    system, picture = started(PLAIN[5]), photograph(80, 100)
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    first, other = (tiled(system, picture, seed, tile=32) for seed in (0, 1))
    assert torch.equal(torch.rand(4), wanted)
    assert not torch.equal(first, other)
