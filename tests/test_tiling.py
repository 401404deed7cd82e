"""A picture in tiles becomes what it becomes as a whole."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from noisy import COLOUR, noisy
from stacks import There, Wrapped, conv, systems
from synthetic import make
from torch import Tensor, nn
from torch.nn import functional

from dragoman.errors import DataError, SettingsError
from dragoman.networks import blocks
from dragoman.settings import build
from dragoman.system import Facts, System
from dragoman.tiling import Tiler, TileSettings, passage, steady_noise
from dragoman.tiling.blending import Blend
from dragoman.tiling.layout import edges, mirrored, padded, spread
from dragoman.tiling.place import Box

FACTS = Facts({"a": 3, "b": 3}, (32, 32), images=1)
LEVEL = 2 / 255


def photograph(height: int, width: int, channels: int = 3) -> Tensor:
    """A picture of soft large forms and some grain, brighter to the right."""
    torch.manual_seed(7)
    coarse = torch.randn(1, channels, height // 24 + 2, width // 24 + 2)
    forms = functional.interpolate(coarse, (height, width), mode="bicubic")
    ramp = torch.linspace(-0.5, 0.5, width)
    return (0.3 * forms + ramp + 0.1 * torch.randn(1, channels, height, width)).clamp(-1, 1)


@torch.no_grad()
def untiled(system: System, picture: Tensor, seed: int = 0) -> Tensor:
    """What the system makes of the padded whole, cut back."""
    height, width = picture.shape[2:]
    least = padded(min(system.facts.size), system.stride, 1)
    sides = [padded(side, system.stride, least) for side in (height, width)]
    whole = mirrored(reading(picture), Box(0, sides[0], 0, sides[1]), height, width)
    with torch.random.fork_rng(), steady_noise(system, seed):
        torch.manual_seed(seed)
        made = system.generate({system.source: whole})
    scale = made.shape[-1] // whole.shape[-1]
    return made[..., : height * scale, : width * scale]


def reading(picture: Tensor) -> Callable[[int, int, int, int], Tensor]:
    height, width = picture.shape[2:]

    def read(y0: int, y1: int, x0: int, x1: int) -> Tensor:
        assert 0 <= y0 < y1 <= height
        assert 0 <= x0 < x1 <= width
        return picture[..., y0:y1, x0:x1]

    return read


class Canvas:
    """What is written, which must come row by row and nothing twice."""

    def __init__(self, like: Tensor, channels: int = 3, scale: int = 1) -> None:
        height, width = like.shape[2] * scale, like.shape[3] * scale
        self.pixels = torch.full((1, channels, height, width), torch.nan)
        self.last = 0

    def write(self, y: int, x: int, pixels: Tensor) -> None:
        assert y >= self.last, "from top to bottom"
        assert pixels.dtype == torch.float32
        assert pixels.numel()
        place = self.pixels[..., y : y + pixels.shape[2], x : x + pixels.shape[3]]
        assert place.shape == pixels.shape
        assert place.isnan().all(), "nothing is written twice"
        place.copy_(pixels)
        self.last = y


def tiled(
    system: System,
    picture: Tensor,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
    scale: int = 1,
    channels: int = 3,
    **knobs: Any,
) -> Tensor:
    """What a tiler makes of a picture."""
    canvas = Canvas(picture, channels, scale)
    tiler = Tiler(system, "cpu", TileSettings(**knobs), seed)
    tiler.run(reading(picture), canvas.write, picture.shape[2], picture.shape[3], say)
    assert not canvas.pixels.isnan().any(), "all is written"
    return canvas.pixels


def furthest(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


def clean(system: System) -> bool:
    """No trace of tiling is left in a system."""
    layers = [m for m in system.modules() if "forward" in vars(m) or m._forward_pre_hooks]
    return not layers and "generate" not in vars(system)


PLAIN: list[dict[str, Any]] = [
    {"depth": 3, "norm": "none"},
    {"depth": 4, "norm": "batch", "at_test": "eval"},
    {"depth": 3, "norm": "none", "upsample": "nearest", "border": "replicate"},
    {"depth": 3, "norm": "none", "upsample": "bilinear"},
    {"depth": 2, "norm": "none", "upsample": "pixelshuffle", "generator": "encoder_decoder"},
    {"generator": "resnet", "blocks": 2, "norm": "none", "dropout": 0.5},
    {"generator": "resnet", "blocks": 1, "norm": "batch", "upsample": "nearest"},
]
NORMED: list[dict[str, Any]] = [
    {"depth": 3, "norm": "instance"},
    {"depth": 5, "norm": "instance", "dropout": 0.5, "width": 2},
    {"depth": 3, "norm": "group", "upsample": "nearest", "border": "replicate"},
    {"depth": 3, "norm": "batch", "at_test": "train"},
    {"generator": "resnet", "blocks": 2, "norm": "instance", "dropout": 0.5},
    {"generator": "resnet", "blocks": 1, "norm": "batch", "dropout": 0.5, "at_test": "train"},
]


def started(knobs: dict[str, Any], **over: Any) -> System:
    return make("pix2pix", facts=FACTS, start="kaiming", **(knobs | over)).eval()


@pytest.mark.parametrize("knobs", PLAIN, ids=str)
@pytest.mark.parametrize(("height", "width"), [(150, 211), (20, 300)])
def test_tiles_with_full_context_change_nothing(knobs, height, width):
    system, picture = started(knobs), photograph(height, width)
    whole = untiled(system, picture)
    assert furthest(tiled(system, picture, tile=64), whole) < 1e-5
    assert furthest(tiled(system, picture, tile=48, overlap=20), whole) < 1e-5
    assert clean(system)


@pytest.mark.parametrize("knobs", [PLAIN[1], PLAIN[5]], ids=str)
def test_a_picture_of_1024_px(knobs):
    system, picture = started(knobs, width=2), photograph(1024, 1024)
    assert furthest(tiled(system, picture, tile=256), untiled(system, picture)) < 1e-5


@settings(max_examples=20, deadline=None)
@given(systems(holes=True), st.data())
def test_random_stacks_change_nothing_in_tiles(system: Wrapped, data: Any):
    height, width = data.draw(st.integers(1, 130)), data.draw(st.integers(1, 130))
    tile, overlap = data.draw(st.integers(8, 60)), data.draw(st.integers(0, 30))
    picture = photograph(height, width, 2)
    whole = untiled(system, picture)
    scale = whole.shape[-1] // width
    made = tiled(system, picture, scale=scale, channels=2, tile=tile, overlap=overlap)
    assert furthest(made, whole) < 1e-4 * max(1.0, float(whole.abs().max()))


def test_what_must_be_made_on_the_way_lies_in_the_tile():
    system, picture = Wrapped(There(), size=8), photograph(60, 60, 2)
    made = tiled(system, picture, channels=2, tile=16)
    assert torch.equal(made, untiled(system, picture))


@pytest.mark.parametrize("knobs", NORMED, ids=str)
def test_exact_norms_change_nothing(knobs):
    system, picture = started(knobs), photograph(150, 211)
    whole = untiled(system, picture)
    assert furthest(tiled(system, picture, tile=64, norms="exact"), whole) < 1e-4
    assert furthest(tiled(system, picture, tile=96, norms="exact", overlap=16), whole) < 1e-4
    if "dropout" not in knobs:
        alone = tiled(system, picture, tile=64, context=0, overlap=0, norms="exact")
        assert furthest(alone, whole) > 1e-3, "or nothing was tested"
    assert clean(system)


@pytest.mark.parametrize("knobs", NORMED, ids=str)
def test_fast_norms_come_near_and_never_change_from_tile_to_tile(knobs, monkeypatch):
    monkeypatch.setattr(passage, "SAMPLE_AREA", 1 << 18)
    system, picture = started(knobs), photograph(256, 320)
    whole = untiled(system, picture)
    fast = tiled(system, picture, tile=64)
    assert furthest(tiled(system, picture, tile=160), fast) < 1e-4, "whatever the tiles are"
    own = torch.cat(  # each tile by itself
        [
            torch.cat(
                [untiled(system, picture[..., y : y + 64, x : x + 64]) for x in range(0, 320, 64)],
                3,
            )
            for y in range(0, 256, 64)
        ],
        2,
    )
    assert (fast - whole).abs().mean() < (own - whole).abs().mean() / 2
    monkeypatch.setattr(passage.Passage, "_together", lambda *_: False)
    if not knobs.get("dropout"):
        assert furthest(tiled(system, picture, tile=64), fast) < 1e-4, "swept or run together"


def test_statistics_of_a_map_of_one_pixel_are_left_alone():
    """The innermost map is 1 x 1 in a window, but larger in the whole picture, or never."""
    system = make("pix2pix", facts=FACTS, start="kaiming", depth=5, norm="instance").eval()
    inner = system.get_submodule("generator.up.0")
    assert isinstance(inner.norm, blocks.InstanceNorm)
    for height, width in [(30, 200), (150, 40)]:
        picture = photograph(height, width)
        made = tiled(system, picture, tile=32, norms="exact")
        assert furthest(made, untiled(system, picture)) < 1e-4

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = blocks.norm("instance", 2)

        def forward(self, x: Tensor) -> Tensor:
            small = self.norm(functional.avg_pool2d(x, 64))
            return x + functional.interpolate(small, scale_factor=64)

    pooled = Wrapped(Pooled(), 64)
    for side in (64, 128):
        picture = photograph(side, side, 2)
        canvas = Canvas(picture, 2)
        one = Tiler(pooled, "cpu", TileSettings(tile=64, norms="exact"))
        passage.Passage(one, reading(picture), canvas.write, (side, side), None, None)._in_tiles()
        assert furthest(canvas.pixels, untiled(pooled, picture)) < 1e-5


def test_a_norm_called_several_times_has_statistics_of_each_call():
    class Repeated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = conv(3, padding=1), nn.GroupNorm(1, 2)
            nn.init.normal_(self.norm.weight)
            nn.init.normal_(self.norm.bias)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(3):
                x = functional.relu(self.norm(self.conv(x)))
            return x

    system, picture = Wrapped(Repeated()), photograph(90, 70, 2)
    made = tiled(system, picture, channels=2, tile=32, norms="exact")
    assert furthest(made, untiled(system, picture)) < 1e-4


def test_a_system_that_enlarges():
    network = nn.Sequential(conv(3, padding=1), nn.Upsample(scale_factor=3), nn.InstanceNorm2d(2))
    system, picture = Wrapped(network), photograph(61, 50, 2)
    whole = untiled(system, picture)
    assert whole.shape == (1, 2, 183, 150)
    for overlap in (0, 9):
        made = tiled(system, picture, channels=2, scale=3, tile=20, norms="exact", overlap=overlap)
        assert furthest(made, whole) < 1e-4


def test_less_context_differs_less_the_more_there_is_and_blending_hides_seams():
    system, picture = started(PLAIN[2], width=8), photograph(256, 256)
    whole = untiled(system, picture)
    errors = [
        float((tiled(system, picture, tile=64, context=c, overlap=0) - whole).abs().mean())
        for c in (0, 8, 16, 24)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0
    assert errors[-1] < errors[0] / 4

    def seam(made: Tensor) -> float:
        """How much more than in the whole neighbours differ across the edge of two tiles."""
        step = (made - whole).diff(dim=-1)[..., 63::64]
        return float(step.abs().mean())

    hard, soft = (tiled(system, picture, tile=64, context=0, overlap=o) for o in (0, 32))
    assert seam(soft) < seam(hard) / 4


def test_by_default_tiles_are_blended_only_without_full_context():
    system = started(PLAIN[0])
    assert Tiler(system, "cpu").overlap == 0
    assert Tiler(system, "cpu", TileSettings(context=1000)).overlap == 0
    assert Tiler(system, "cpu", TileSettings(context=4)).overlap == 32
    assert Tiler(system, "cpu", TileSettings(context=4, overlap=6)).overlap == 6


@given(
    st.integers(0, 50),
    st.integers(1, 400),
    st.integers(1, 120),
    st.sampled_from([1, 2, 4, 16]),
    st.integers(0, 60),
    st.integers(1, 2),
)
def test_weights_of_all_tiles_sum_to_one(start, length, tile, stride, overlap, scale):
    rows, columns = edges(start, start + length, tile, stride), edges(0, 40, 16, 4)
    inner = rows[1:-1]
    assert all(edge % stride == 0 for edge in inner)
    assert rows == sorted(set(rows))
    assert max(b - a for a, b in itertools.pairwise(rows)) <= max(tile, stride)
    blend = Blend(rows, columns, overlap, scale)
    found = torch.zeros(1, 2, length * scale, 40 * scale)
    for i in range(len(rows) - 1):
        for j in range(len(columns) - 1):
            box = blend.grown(i, j)
            tile_of_ones = torch.ones(1, 2, box.height * scale, box.width * scale)
            y, x, pixels = blend.add(i, j, tile_of_ones)
            y -= start * scale
            found[..., y : y + pixels.shape[2], x : x + pixels.shape[3]] += pixels
    assert furthest(found, torch.ones_like(found)) < 1e-6


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 4, 8]), st.integers(1, 50))
def test_beyond_the_border_is_what_a_translator_pads(height, width, stride, least):
    from dragoman.pipeline import pad

    picture = torch.rand(1, 1, height, width)
    whole = pad(picture, stride, least)
    box = Box(0, whole.shape[2], 0, whole.shape[3])
    assert torch.equal(mirrored(reading(picture), box, height, width), whole)
    assert (padded(height, stride, least), padded(width, stride, least)) == whole.shape[2:]
    part = Box(box.y1 // 2, box.y1, box.x1 // 3, box.x1)
    wanted = whole[..., part.y0 : part.y1, part.x0 : part.x1]
    assert torch.equal(mirrored(reading(picture), part, height, width), wanted)


def test_a_translator_gives_the_same_at_once():
    translator = noisy(COLOUR, COLOUR, blocks=2, norm="instance")
    picture = photograph(90, 75)
    made = tiled(translator.system, picture, seed=3, tile=32, norms="exact")
    assert furthest(made, translator.translate(picture, seed=3)) < 1e-3
    assert furthest(made, translator.translate(picture, seed=4)) > 0.01


def test_squares_of_a_sample_lie_everywhere():
    squares = spread(800, 1200, 64, 100, 4)
    assert len(set(squares)) == 100
    assert squares == spread(800, 1200, 64, 100, 4)
    for square in squares:
        assert square.y0 % 4 == square.x0 % 4 == 0
        assert (square.height, square.width) == (64, 64)
        assert square.y1 <= 800
        assert square.x1 <= 1200
    for y in range(0, 800, 200):
        for x in range(0, 1200, 300):
            near = [s for s in squares if y <= s.y0 + 32 < y + 200 and x <= s.x0 + 32 < x + 300]
            assert 3 <= len(near) <= 10, "each of 16 parts has about 6"


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
