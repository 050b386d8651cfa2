import math

import numpy as np
import pytest

from crossrec.components.evaluation.metrics import (
    auc,
    auc_interval,
    bootstrap_interval,
    compare_paired,
    mean_interval,
)


def test_mean_interval_by_hand_and_without_undefined_queries():
    found = mean_interval([1, 2, math.nan, 3, 4])
    half = 1.959963985 * math.sqrt(5 / 3) / 2
    assert (found.mean, found.count) == (2.5, 4)
    assert (found.low, found.high) == pytest.approx((2.5 - half, 2.5 + half))


@pytest.mark.parametrize("interval", [mean_interval, lambda values: bootstrap_interval(values, resamples=300)])
def test_intervals_cover_the_truth_about_as_often_as_they_say(interval):
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        found = interval(generator.exponential(size=150))
        covered += found.low <= 1.0 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_bootstrap_is_reproducible_and_close_to_normal():
    values = np.random.default_rng(1).normal(size=2000)
    first, again = bootstrap_interval(values, seed=3), bootstrap_interval(values, seed=3)
    normal = mean_interval(values)
    assert first == again != bootstrap_interval(values, seed=4)
    assert first.high - first.low == pytest.approx(normal.high - normal.low, rel=0.15)


def test_auc_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(2)
    labels = np.repeat([0, 1], [150, 80])
    truth = 0.5 * math.erfc(-1 / 2)  # scores one standard deviation apart: Phi(1 / sqrt(2))
    covered = 0
    for _ in range(300):
        scores = generator.normal(size=230) + labels
        found = auc_interval(labels, scores)
        assert found.mean == auc(labels, scores)
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / 300 <= 0.985


def test_auc_interval_of_a_perfect_model_has_no_width():
    assert auc_interval([0, 0, 1, 1], [1, 2, 3, 4]) == auc_interval([0, 0, 1, 1], [1, 2, 30, 40])
    assert auc_interval([0, 0, 1, 1], [1, 2, 3, 4]).low == 1.0


def test_paired_comparison_sees_what_separate_intervals_do_not():
    generator = np.random.default_rng(4)
    baseline = generator.uniform(size=300)
    candidate = baseline + 0.01 + generator.normal(scale=0.02, size=300)
    found = compare_paired(baseline, candidate)
    assert mean_interval(candidate).low < mean_interval(baseline).high
    assert found.low > 0 and found.p_value < 0.001 and found.wins > found.losses
    back = compare_paired(candidate, baseline)
    assert (back.difference, back.low, back.high) == pytest.approx((-found.difference, -found.high, -found.low))
    assert (back.wins, back.losses, back.p_value) == (found.losses, found.wins, found.p_value)


def test_paired_comparison_of_equals():
    found = compare_paired([0.1, 0.5, math.nan], [0.1, 0.5, 0.7])
    assert (found.difference, found.p_value, found.count, found.wins, found.losses) == (0, 1, 2, 0, 0)


def test_false_alarms_are_as_rare_as_promised():
    generator = np.random.default_rng(5)
    alarms = sum(
        compare_paired(generator.normal(size=100), generator.normal(size=100)).p_value < 0.05 for _ in range(400)
    )
    assert 0.02 <= alarms / 400 <= 0.09


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="values: 1 of 2 are numbers"):
        mean_interval([1.0, math.nan])
    with pytest.raises(ValueError, match="level: 95"):
        bootstrap_interval([1, 2], level=95)
    with pytest.raises(ValueError, match="same queries"):
        compare_paired([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="a class has 1 example"):
        auc_interval([0, 1, 1], [1, 2, 3])
