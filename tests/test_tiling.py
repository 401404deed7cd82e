"""A picture in tiles becomes what it becomes as a whole."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from noisy import COLOUR, noisy
from stacks import There, Wrapped, conv, systems
from synthetic import make
from tiles import (
    FACTS,
    NORMED,
    PLAIN,
    Canvas,
    clean,
    furthest,
    photograph,
    reading,
    started,
    tiled,
    untiled,
)
from torch import Tensor, nn
from torch.nn import functional

from dragoman.networks import blocks
from dragoman.tiling import Tiler, TileSettings, passage
from dragoman.tiling.blending import Blend
from dragoman.tiling.layout import edges, mirrored, padded, spread
from dragoman.tiling.place import Box


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


@settings(max_examples=20)
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
