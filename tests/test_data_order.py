"""Positions to pictures: pure, resumable, shared by processes; and the thread that runs ahead."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.data.order import DRAWS, Order
from dragoman.data.prefetch import prefetch


@settings(max_examples=30)
@given(seed=st.integers(0, 2**40), count=st.integers(1, 300), start=st.integers(0, 10**6))
def test_every_epoch_is_a_permutation_and_any_window_agrees(seed, count, start):
    order = Order(seed, 0, count)
    first = start // count * count
    epoch = order.rows(np.arange(first, first + count))
    assert sorted(epoch) == list(range(count))
    window = np.arange(start, start + 50)
    rows, draws = order.rows(window), order.draws(window)
    single = Order(seed, 0, count)  # one at a time and backwards: no hidden state
    for at in reversed(range(50)):
        assert single.rows(window[at : at + 1])[0] == rows[at]
        np.testing.assert_array_equal(single.draws(window[at : at + 1])[0], draws[at])


def test_draws_are_uniform_and_streams_differ():
    order, other = Order(3, 0, 1000), Order(3, 1, 1000)
    draws = order.draws(np.arange(50_000))
    assert draws.shape == (50_000, DRAWS)
    # 1/sqrt(12) / sqrt(50000) = 0.0013 is one standard deviation of a mean
    assert np.abs(draws.mean(0) - 0.5).max() < 0.0065
    correlation = np.corrcoef(draws.T) - np.eye(DRAWS)
    assert np.abs(correlation).max() < 0.025
    first = np.arange(1000)
    assert (order.rows(first) != other.rows(first)).mean() > 0.9
    assert (order.rows(first) != order.rows(first + 1000)).mean() > 0.9


def _loaders() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "dragoman-loader"]


def test_prefetch_runs_ahead_but_not_without_bound_and_ends_when_closed():
    made = []

    def make(number: int) -> int:
        made.append(number)
        return number

    before = len(_loaders())
    numbers = prefetch(make, 7, depth=3)
    assert [next(numbers) for _ in range(5)] == [7, 8, 9, 10, 11]
    time.sleep(0.2)
    assert 12 <= max(made) <= 11 + 3 + 1
    numbers.close()
    assert len(_loaders()) == before
    numbers = prefetch(make, 0)
    next(numbers)
    del numbers  # forgotten without being closed
    assert len(_loaders()) == before


def test_prefetch_hands_errors_over():
    def make(number: int) -> int:
        if number == 2:
            raise ValueError("the third")
        return number

    numbers = prefetch(make, 0)
    assert [next(numbers), next(numbers)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(numbers)
