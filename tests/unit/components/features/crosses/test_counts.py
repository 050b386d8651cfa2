"""Counts that merge: in any order, the same as in one pass; and what they say of coverage and of time."""

import collections

import numpy as np
import pytest

from crossrec.components.features.crosses.counts import KeyedCounts
from crossrec.components.features.crosses.coverage import Coverage
from crossrec.components.features.crosses.hashing import cross_keys_numpy
from crossrec.components.features.crosses.time_parts import TimeHistogram


def keys_of(ids):
    return cross_keys_numpy([np.asarray(ids)[:, None]], "test")[:, 0]


@pytest.mark.parametrize("smallest", [None, 50])
def test_sums_are_those_of_a_dictionary_however_they_were_split(smallest):
    rng = np.random.default_rng(1)
    keys = keys_of(rng.zipf(1.3, 5000) % 700)
    values = rng.integers(-3, 9, (5000, 2))
    expected = collections.defaultdict(lambda: np.zeros(2, np.int64))
    for key, value in zip(keys, values):
        expected[key] += value
    kept = sorted(expected)[:smallest]
    for order in range(4):
        parts = []
        for part in np.array_split(np.random.default_rng(order).permutation(5000), 1 + 3 * order):
            counts = KeyedCounts(2, smallest)
            for rows in np.array_split(part, 7):
                counts.add(keys[rows], values[rows])
                counts.sums()
            parts.append(counts)
        while len(parts) > 1:
            parts[0].merge(parts.pop())
        found, sums = parts[0].sums()
        assert found.tolist() == kept
        np.testing.assert_array_equal(sums, [expected[key] for key in kept])


def test_nothing_counted_is_nothing():
    keys, sums = KeyedCounts(3).sums()
    assert keys.shape == (0,) and sums.shape == (0, 3)
    assert vars(Coverage().describe(10)) == {"distinct": 0, "collision_rate": 0.0, "coverage": 0.0}


def test_few_combinations_are_covered_exactly():
    coverage = Coverage()
    coverage.add(keys_of([1] * 7 + [2] * 5 + [3] * 4 + [4]))
    found = coverage.describe()
    assert (found.distinct, found.collision_rate) == (4, 0.0)
    assert found.coverage == pytest.approx(12 / 17, abs=1e-6)
    assert coverage.describe(enough=1).coverage == 1.0 and coverage.describe(enough=8).coverage == 0.0


def test_collisions_are_combinations_that_share_their_id():
    keys = np.array([0, 10, 20, 7, 13])
    coverage = Coverage()
    coverage.add(keys)
    # Modulo ten, 0, 10 and 20 are one id.
    assert coverage.describe(10).collision_rate == pytest.approx(0.6)
    assert coverage.describe(1).collision_rate == 1.0


def test_many_combinations_are_estimated_from_a_sample():
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.arange(40_000), rng.integers(0, 4_000, 200_000)])
    exact, sampled = Coverage(), Coverage(4096)
    for coverage in (exact, sampled):
        coverage.add(keys_of(rows))
    truth, found = exact.describe(2**16), sampled.describe(2**16)
    assert truth.distinct == 40_000
    # The relative error of the estimate is 1 / sqrt(4096) on average.
    assert abs(found.distinct - truth.distinct) < 3 * truth.distinct / 64
    assert abs(found.coverage - truth.coverage) < 0.01 and truth.coverage == pytest.approx(1 - 36 / 240, abs=1e-3)
    assert abs(found.collision_rate - truth.collision_rate) < 0.03


def test_coverage_merges_to_that_of_all():
    rng = np.random.default_rng(2)
    keys = keys_of(rng.zipf(1.5, 3000))
    whole = Coverage(200)
    whole.add(keys)
    for seed in range(3):
        parts = []
        for rows in np.array_split(np.random.default_rng(seed).permutation(3000), 5):
            parts.append(Coverage(200))
            parts[-1].add(keys[rows])
        merged = Coverage(200)
        for part in parts:
            merged.merge(part)
        assert merged.describe(500) == whole.describe(500)


def test_time_is_cut_into_parts_of_equally_many_rows():
    times = np.random.default_rng(3).permutation(np.arange(1_600_000_000, 1_600_001_000))
    histogram = TimeHistogram()
    histogram.add(times)
    assert histogram.boundaries(4).tolist() == [1_600_000_250, 1_600_000_500, 1_600_000_750, 1_600_001_000]


def test_rows_of_one_second_stay_together():
    histogram = TimeHistogram()
    histogram.add(np.array([5, 5, 5, 5, 5, 9, 10]))
    # The first second has more than two of three parts; the second part is empty.
    assert histogram.boundaries(3).tolist() == [9, 9, 11]


def test_one_time_for_all_rows_is_no_time():
    histogram = TimeHistogram()
    assert histogram.boundaries(4) is None
    histogram.add(np.zeros(10, np.int64))
    assert histogram.boundaries(4) is None


def test_times_in_cells_do_not_depend_on_how_they_were_split():
    rng = np.random.default_rng(4)
    times = rng.integers(-(10**5), 2 * 10**9, 3000)
    whole = TimeHistogram(64)
    whole.add(times)
    expected = whole.boundaries(8)
    shares = np.searchsorted(np.sort(times), expected) / len(times)
    assert np.abs(shares - np.arange(1, 9) / 8).max() < 2 / 64
    for seed in range(4):
        merged = TimeHistogram(64)
        for rows in np.array_split(np.random.default_rng(seed).permutation(3000), 6):
            part = TimeHistogram(64)
            for some in np.array_split(rows, 4):
                part.add(times[some])
            merged.merge(part)
        np.testing.assert_array_equal(merged.boundaries(8), expected)
