"""Statistics of crosses: golden numbers, what a row may see, and TensorFlow against the reference."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.crosses import StatisticsCross, cross_keys_numpy
from crossrec.components.features.crosses.statistics import (
    StatisticsCounts,
    column_of,
    part_of,
    statistics,
    statistics_numpy,
)
from crossrec.components.features.crosses.time_parts import TimeHistogram
from crossrec.components.features.crosses.vocabulary import look_up

BOTH = ("count", "rate")


def log_odds(rate):
    return np.log(rate / (1 - rate))


def fit(keys, labels, times, users, config):
    histogram = TimeHistogram()
    histogram.add(times)
    boundaries = None if config.by == "user" else histogram.boundaries(config.parts)
    counts = StatisticsCounts(config.parts)
    counts.add(keys, labels, part_of(times, users, boundaries, config.parts))
    return counts.table(config, boundaries)


def of_training(table, config, keys, times, users):
    """What the rows of training see; after TensorFlow gave the same."""
    column = part_of(times, users, table.boundaries, config.parts)
    expected = statistics_numpy(table, keys, config.statistics, column)
    ids = look_up(tf.constant(keys), tf.constant(table.keys))
    columns = column_of(tf.constant(times[:, None]), tf.constant(users[:, None]), table.boundaries, config.parts)
    np.testing.assert_array_equal(columns[:, 0], column)
    found = statistics(ids, tf.constant(table.values), config.statistics, columns)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    return expected


def of_requests(table, config, keys):
    """What later examples see; after TensorFlow gave the same."""
    last = np.full(len(keys), table.values.shape[1] - 1)
    expected = statistics_numpy(table, keys, config.statistics, last)
    ids = look_up(tf.constant(keys), tf.constant(table.keys))
    found = statistics(ids, tf.constant(table.values[:, -1]), config.statistics)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    return expected


def rows_of(seed, rows=400, values=30, width=3):
    rng = np.random.default_rng(seed)
    keys = cross_keys_numpy(
        [np.where(rng.random((rows, width)) < 0.3, -1, rng.integers(0, values, (rows, width)))], "k"
    )
    labels = (rng.random(rows) < 0.3).astype(np.float32)
    return keys, labels, rng.integers(1_000, 9_000, rows), rng.integers(0, 2**62, rows)


def test_golden_numbers_by_hand():
    """Combination 7 has labels 1, 0 | 1 | 1 in three parts, combination 9 has 0 | 0, 0."""
    keys = np.array([7, 7, 9, 7, 9, 9, 7])[:, None]
    labels = np.array([1, 0, 0, 1, 0, 0, 1], np.float32)
    times, users = np.array([1, 2, 3, 4, 5, 6, 7]), np.zeros(7, np.int64)
    config = StatisticsCross(inputs=("a",), parts=3, smoothing=2.0)
    table = fit(keys, labels, times, users, config)
    assert table.boundaries.tolist() == [4, 6, 8]
    seen = of_training(table, config, keys, times, users)
    # The first part knows nothing; the second the first, with 1 of 3 rows, so that the prior is 2/5; the third
    # part both, with 2 of 5 rows, so that the prior is 3/7.
    np.testing.assert_array_equal(seen[:3], np.zeros((3, 2)))
    second, third = 2 / 5, 3 / 7
    expected = [
        [np.log(3), log_odds((1 + 2 * second) / 4) - log_odds(second)],
        [np.log(2), log_odds((0 + 2 * second) / 3) - log_odds(second)],
        [np.log(3), log_odds((0 + 2 * third) / 4) - log_odds(third)],
        [np.log(4), log_odds((2 + 2 * third) / 5) - log_odds(third)],
    ]
    np.testing.assert_allclose(seen[3:], expected, rtol=1e-5)
    whole = 4 / 9
    later = of_requests(table, config, np.array([[7], [9], [8], [-1]]))
    expected = [
        [np.log(5), log_odds((3 + 2 * whole) / 6) - log_odds(whole)],
        [np.log(4), log_odds((0 + 2 * whole) / 5) - log_odds(whole)],
        [0, 0],
        [0, 0],
    ]
    np.testing.assert_allclose(later, expected, rtol=1e-5, atol=1e-6)


def test_rows_of_several_pairs_add_up_and_rates_are_averaged():
    keys, labels = np.array([[7], [7], [9]]), np.array([1, 1, 0], np.float32)
    config = StatisticsCross(inputs=("a", "b"), parts=2, smoothing=1.0)
    table = fit(keys, labels, np.array([1, 2, 3]), np.zeros(3, np.int64), config)
    prior = 3 / 5
    rates = [log_odds((2 + prior) / 3) - log_odds(prior), log_odds((0 + prior) / 2) - log_odds(prior)]
    found = of_requests(table, config, np.array([[7, 9, -1], [7, 7, 8], [-1, -1, -1]]))
    expected = [
        [np.log(4), (rates[0] + rates[1]) / 2],
        [np.log(5), (2 * rates[0] + 0) / 3],
        [0, 0],
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("by", ["time", "user"])
@pytest.mark.parametrize("seed", range(5))
def test_no_row_sees_its_own_label(by, seed):
    keys, labels, times, users = rows_of(seed)
    config = StatisticsCross(inputs=("a",), parts=6, by=by)
    before = of_training(fit(keys, labels, times, users, config), config, keys, times, users)
    rng = np.random.default_rng(seed)
    changed = 0
    for row in rng.choice(len(labels), 25, replace=False):
        flipped = labels.copy()
        flipped[row] = 1 - flipped[row]
        after = of_training(fit(keys, flipped, times, users, config), config, keys, times, users)
        np.testing.assert_array_equal(after[row], before[row])
        changed += (after != before).any()
    # The labels of others do count.
    assert changed > 10


@pytest.mark.parametrize("lag", [1, 2, 4])
def test_no_row_sees_a_label_of_its_own_or_a_later_part_nor_within_the_lag(lag):
    keys, labels, times, users = rows_of(lag)
    config = StatisticsCross(inputs=("a",), parts=6, lag_parts=lag)
    table = fit(keys, labels, times, users, config)
    before = of_training(table, config, keys, times, users)
    parts = part_of(times, users, table.boundaries, 6)
    for part in range(6):
        flipped = np.where(parts == part, 1 - labels, labels)
        after = of_training(fit(keys, flipped, times, users, config), config, keys, times, users)
        moved = (after != before).any(1)
        assert not moved[parts < part + lag].any()
        if part + lag < 6:
            assert moved[parts >= part + lag].mean() > 0.9


def test_users_of_one_fold_do_not_see_each_other():
    keys, labels, times, users = rows_of(3)
    config = StatisticsCross(inputs=("a",), parts=4, by="user")
    before = of_training(fit(keys, labels, times, users, config), config, keys, times, users)
    own = users % 4 == 2
    after = of_training(fit(keys, np.where(own, 1 - labels, labels), times, users, config), config, keys, times, users)
    np.testing.assert_array_equal(after[own], before[own])
    assert (after != before).any(1)[~own].mean() > 0.9


def test_later_rows_see_all_of_training():
    keys, labels, times, users = rows_of(5)
    config = StatisticsCross(inputs=("a",), parts=5, lag_parts=3)
    table = fit(keys, labels, times, users, config)
    later = of_training(table, config, keys, np.full(len(keys), times.max() + 1), users)
    np.testing.assert_array_equal(later, of_requests(table, config, keys))


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_label_only_gives_finite_numbers(label):
    keys, _, times, users = rows_of(6)
    config = StatisticsCross(inputs=("a",), smoothing=1e-3)
    table = fit(keys, np.full(len(keys), label, np.float32), times, users, config)
    for found in (of_training(table, config, keys, times, users), of_requests(table, config, keys)):
        assert np.isfinite(found).all()


def test_rare_combinations_have_the_statistics_of_no_rows():
    keys, labels, times, users = rows_of(7)
    whole = fit(keys, labels, times, users, StatisticsCross(inputs=("a",)))
    counts = whole.values[1:, -1, 0]
    config = StatisticsCross(inputs=("a",), min_count=int(np.median(counts)))
    kept = fit(keys, labels, times, users, config)
    assert kept.keys.tolist() == whole.keys[counts >= np.median(counts)].tolist()
    rare = whole.keys[counts < np.median(counts)]
    np.testing.assert_array_equal(of_requests(kept, config, rare[:, None]), np.zeros((len(rare), 2)))
    few = fit(keys, labels, times, users, StatisticsCross(inputs=("a",), max_size=3))
    assert set(few.values[1:, -1, 0]) == set(np.sort(counts)[-3:]) and len(few.keys) == 3
    nothing = StatisticsCounts(8).table(StatisticsCross(inputs=("a",)), None)
    np.testing.assert_array_equal(of_requests(nothing, config, keys), np.zeros((len(keys), 2)))


def test_counts_merge_to_those_of_one_pass_in_any_order():
    keys, labels, times, users = rows_of(8)
    config = StatisticsCross(inputs=("a",), parts=5)
    table = fit(keys, labels, times, users, config)
    parts = part_of(times, users, table.boundaries, 5)
    for seed in range(3):
        merged = StatisticsCounts(5)
        for rows in np.array_split(np.random.default_rng(seed).permutation(len(keys)), 4):
            some = StatisticsCounts(5)
            some.add(keys[rows], labels[rows], parts[rows])
            merged.merge(some)
        found = merged.table(config, table.boundaries)
        for name in ("keys", "values", "boundaries"):
            np.testing.assert_array_equal(getattr(found, name), getattr(table, name))


def test_statistics_stand_in_the_order_in_which_they_are_named():
    keys, labels, times, users = rows_of(9)
    tables = {}
    for names in (BOTH, BOTH[::-1], ("rate",)):
        config = StatisticsCross(inputs=("a",), statistics=names)
        tables[names] = of_requests(fit(keys, labels, times, users, config), config, keys)
    np.testing.assert_array_equal(tables[BOTH], tables[BOTH[::-1]][:, ::-1])
    np.testing.assert_array_equal(tables[BOTH][:, 1:], tables[("rate",)])


def test_a_query_meets_each_of_its_candidates_as_of_its_own_time():
    keys, labels, times, users = rows_of(10, width=1)
    config = StatisticsCross(inputs=("a",), parts=4)
    table = fit(keys, labels, times, users, config)
    ids = look_up(tf.constant(keys.reshape(100, 4, 1)), tf.constant(table.keys))
    query_times = times.reshape(100, 4)[:, :1]
    columns = column_of(tf.constant(query_times[:, None]), tf.constant(query_times[:, None]), table.boundaries, 4)
    found = statistics(ids, tf.constant(table.values), BOTH, columns)
    assert found.shape == (100, 4, 2)
    flat = statistics_numpy(table, keys, BOTH, np.repeat(part_of(query_times[:, 0], users, table.boundaries, 4), 4))
    np.testing.assert_allclose(tf.reshape(found, [400, 2]), flat, rtol=2e-5, atol=2e-5)
