"""Holes: how much they drop, where, and what they depend on."""

import pytest
import torch

from dragoman import masks

RANDOM = pytest.mark.parametrize("kind", masks.DRAW)
SIZES = pytest.mark.parametrize("size", [(64, 64), (33, 50), (16, 8)])


def drawn(kind, size, count=50, share=0.25, seed=0):
    torch.manual_seed(seed)
    return masks.DRAW[kind](masks.fresh(kind, torch.empty(count, 1)), size, share)


def test_the_centre_hole_is_half_the_sides_in_the_middle():
    hole = masks.centre((64, 64))
    assert hole.shape == (1, 1, 64, 64)
    assert hole.sum() == 32 * 32
    assert hole[..., 16:48, 16:48].all()


def test_the_centre_hole_of_other_shares_and_odd_sides():
    hole = masks.centre((9, 20), share=0.3)  # 3 of 9 lines, 6 of 20
    assert hole[0, 0, 3:6, 7:13].all()
    assert hole.sum() == 18
    assert masks.centre((9, 20), share=0.001).sum() == 1


def test_more_pixels_around_the_centre_stop_at_the_border():
    assert masks.centre((8, 8), 0.5, more=1).sum() == 36
    assert masks.centre((8, 8), 0.5, more=9).sum() == 64


@RANDOM
@SIZES
def test_random_holes_are_zeros_and_ones_and_differ(kind, size):
    holes = drawn(kind, size)
    assert holes.shape == (50, 1, *size)
    assert set(holes.unique().tolist()) == {0.0, 1.0}
    assert len(holes.flatten(1).unique(dim=0)) > 25


@SIZES
def test_blocks_cover_at_most_their_share(size):
    shares = drawn("blocks", size).mean((1, 2, 3))
    assert shares.max() <= 0.25
    assert shares.min() > 0


def test_blocks_are_squares_also_at_the_ends_of_the_random_numbers():
    for value in (0.0, 1 - 2**-24):
        hole = masks.blocks(torch.full((1, masks.NUMBERS["blocks"]), value), (20, 30))[0, 0]
        rows, columns = hole.any(1).sum(), hole.any(0).sum()
        assert rows == columns == (5 if value else 3)  # of at most sqrt(0.25 * 600 / 5) px
        assert hole.sum() == rows * columns
        corner = hole[-1, -1] if value else hole[0, 0]
        assert corner == 1


@SIZES
@pytest.mark.parametrize("share", [0.1, 0.25, 0.6])
def test_a_region_covers_just_its_share(size, share):
    holes = drawn("region", size, share=share)
    assert torch.equal(holes.sum((1, 2, 3)), torch.full((50,), round(share * size[0] * size[1])))


def test_a_region_is_of_few_pieces_with_smooth_outlines():
    holes = drawn("region", (64, 64))
    changes = holes.diff(dim=2).abs().mean() + holes.diff(dim=3).abs().mean()
    assert changes < 0.2  # single random pixels: 2 * 2 * 0.25 * 0.75 = 0.75


@RANDOM
def test_fresh_holes_follow_torch_s_generator(kind):
    assert torch.equal(drawn(kind, (32, 32)), drawn(kind, (32, 32)))
    assert not torch.equal(drawn(kind, (32, 32)), drawn(kind, (32, 32), seed=1))


@RANDOM
def test_steady_holes_depend_on_the_number_of_the_picture_alone(kind):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    several = masks.steady(kind, torch.tensor([5, 7, 900_000]))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(1)
    assert torch.equal(masks.steady(kind, torch.tensor([7]))[0], several[1])
    assert not torch.equal(several[0], several[1])
    assert several.min() >= 0
    assert several.max() < 1
