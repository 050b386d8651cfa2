"""Cuts by time: exact where memory allows, the same in any order, and never through one moment."""

from __future__ import annotations

import numpy as np
import pytest

from crossrec.components.example_gen.split import SplitConfig
from crossrec.components.example_gen.time_split import TimeCounts, assign, find_cuts


def counted(seconds, parts=1, most=1 << 17, seed=0):
    shuffled = np.random.default_rng(seed).permutation(seconds)
    total = TimeCounts(most)
    for part in np.array_split(shuffled, parts):
        other = TimeCounts(most)
        for batch in np.array_split(part, 2):
            other.add(batch)
        total.merge(other)
    return total


def test_dates_cut_where_they_say():
    cuts = find_cuts(SplitConfig(validation_from=100, test_from=200), TimeCounts())
    assert assign(np.array([1, 99, 100, 199, 200, 10**10]), cuts).tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("rows", [10, 997, 20_000])
def test_fractions_of_distinct_times_are_exact(rows):
    seconds = 10**9 + np.arange(rows) * 7
    cuts = find_cuts(SplitConfig(validation=0.1, test=0.2), counted(seconds))
    sizes = np.bincount(assign(seconds, cuts), minlength=3)
    assert abs(sizes[1] - 0.1 * rows) <= 1
    assert abs(sizes[2] - 0.2 * rows) <= 1


def test_a_moment_is_never_divided():
    seconds = np.repeat([10, 20, 30, 40], [5, 50, 30, 15])
    cuts = find_cuts(SplitConfig(validation=0.2, test=0.2), counted(seconds))
    for moment in (10, 20, 30, 40):
        assert len(set(assign(seconds[seconds == moment], cuts))) == 1


@pytest.mark.parametrize("most", [1 << 17, 50])
def test_the_order_and_the_number_of_workers_do_not_matter(most):
    seconds = np.random.default_rng(1).integers(10**9, 10**9 + 10**7, 5_000)
    whole = counted(seconds, most=most)
    for parts, seed in ((2, 3), (7, 4), (40, 5)):
        other = counted(seconds, parts, most, seed)
        assert other.shift == whole.shift
        for fraction in (0.1, 0.5, 0.8, 0.9):
            assert other.moment(fraction) == whole.moment(fraction)


def test_bounded_memory_costs_little_accuracy():
    seconds = np.random.default_rng(2).integers(10**9, 10**9 + 10**8, 100_000)
    bounded = counted(seconds, parts=5, most=1_000)
    assert len(bounded._buckets) <= 1_000
    for fraction in (0.5, 0.8, 0.9):
        assert abs(np.mean(seconds < bounded.moment(fraction)) - fraction) < 0.003
    assert (bounded.first, bounded.last) == (seconds.min(), seconds.max())
