"""Positions to pictures by class: each class as often as others, and references to go by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.data.order import DRAWS, BalancedOrder, Order, ReferenceOrder


def labelled(counts: list[int], unknown: int, seed: int) -> np.ndarray:
    """Labels of so many pictures of each class, shuffled."""
    labels = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.full(unknown, -1)])
    return np.random.default_rng(seed).permutation(labels)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**40),
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    unknown=st.integers(0, 5),
    start=st.integers(0, 10**6),
)
def test_every_class_comes_once_in_each_round(seed, counts, unknown, start):
    labels, classes = labelled(counts, unknown, seed % 99), len(counts)
    order = BalancedOrder(seed, 0, labels)
    positions = np.arange(start // classes * classes, start // classes * classes + 20 * classes)
    rows = order.rows(positions)
    rounds = np.sort(labels[rows].reshape(20, classes), 1)
    assert (rounds == np.arange(classes)).all(), "so those of no class never come"
    single = BalancedOrder(seed, 0, labels)  # one at a time and backwards: no hidden state
    for at in reversed(range(0, len(positions), 7)):
        assert single.rows(positions[at : at + 1])[0] == rows[at]
    np.testing.assert_array_equal(
        order.draws(positions), Order(seed, 0, len(labels)).draws(positions)
    )


@given(counts=st.lists(st.integers(1, 9), min_size=2, max_size=4), epoch=st.integers(0, 50))
@settings(max_examples=20)
def test_pictures_of_a_class_come_in_epochs_of_their_own(counts, epoch):
    labels = labelled(counts, 0, 1)
    order = BalancedOrder(5, 0, labels)
    for number, count in enumerate(counts):
        first = epoch * count * len(counts)
        rows = order.rows(np.arange(first, first + count * len(counts)))
        own = rows[labels[rows] == number]
        assert sorted(own) == np.flatnonzero(labels == number).tolist()


def test_classes_take_turns_at_random():
    order = BalancedOrder(1, 0, labelled([50, 5, 1], 0, 0))
    labels = labelled([50, 5, 1], 0, 0)
    rounds = labels[order.rows(np.arange(3 * 600))].reshape(600, 3)
    kinds, counts = np.unique(rounds, axis=0, return_counts=True)
    assert len(kinds) == 6
    assert np.abs(counts - 100).max() < 46  # five standard deviations of a sixth of 600


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**40),
    counts=st.lists(st.integers(0, 6), min_size=2, max_size=5).filter(any),
    wanted=st.integers(1, 5),
    start=st.integers(0, 10**9),
)
def test_references_are_of_one_class_and_any_window_agrees(seed, counts, wanted, start):
    labels = labelled(counts, 2, 3)
    order = ReferenceOrder(seed, labels, wanted)
    positions = np.arange(start, start + 40)
    classes, rows, draws = order.of(positions)
    assert (classes.shape, rows.shape, draws.shape) == ((40,), (40, wanted), (40, wanted, DRAWS))
    assert (labels[rows] == classes[:, None]).all()
    for number, own in zip(classes.tolist(), rows, strict=True):
        there = min(wanted, counts[number])
        assert len(set(own[:there].tolist())) == there, "different, as far as there are enough"
        np.testing.assert_array_equal(own, np.resize(own[:there], wanted))
    for at in (39, 11, 0):
        again = ReferenceOrder(seed, labels, wanted).of(positions[at : at + 1])
        for one, whole in zip(again, (classes, rows, draws), strict=True):
            np.testing.assert_array_equal(one[0], whole[at])


def test_references_are_uniform():
    """Over classes whatever their size, over the pictures of a class, and in their draws."""
    labels = labelled([20, 4, 0, 2], 9, 0)
    classes, rows, draws = ReferenceOrder(0, labels, 2).of(np.arange(12_000))
    counts = np.bincount(classes)
    assert counts[2] == 0
    # sqrt(12000 / 3 * 2 / 3) = 51.6 is one standard deviation
    assert np.abs(counts[[0, 1, 3]] - 4000).max() < 5 * 51.6
    for place in range(2):
        own = np.bincount(rows[classes == 0, place], minlength=len(labels))
        assert np.abs(own[labels == 0] - counts[0] / 20).max() < 5 * 14
    assert np.abs(draws.mean((0, 1)) - 0.5).max() < 0.0095  # five times 0.289 / sqrt(24000)
    other = ReferenceOrder(1, labels, 2).of(np.arange(1000))[0]
    assert (other == classes[:1000]).mean() == pytest.approx(1 / 3, abs=0.075)


def test_references_do_not_follow_the_pictures():
    """They are another stream: the class of a reference says nothing of the picture's."""
    labels = np.arange(4000) % 2
    pictures = labels[Order(7, 0, 4000).rows(np.arange(4000))]
    references = ReferenceOrder(7, labels, 1).of(np.arange(4000))[0]
    assert abs((pictures == references).mean() - 0.5) < 0.04
