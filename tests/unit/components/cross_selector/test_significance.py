import numpy as np
import pytest
from scipy import stats

from crossrec.components.cross_selector.significance import (
    Gain,
    clustered,
    discoveries,
    least_score,
    normal_score,
    student_quantile,
)


def test_clustered_error_by_hand():
    # Two users: 3 rows that sum to 3, 1 row of -1; the mean is 0.5, deviations of users 1.5 and -1.5.
    gain = clustered(np.array([3.0, 0.0, -1.0]), np.array([3, 0, 1]), 4)
    assert gain.mean == 0.5
    assert gain.error == pytest.approx(np.sqrt(2 / 1 * (1.5**2 + 1.5**2)) / 4)
    assert gain.clusters == 2


def test_intervals_cover_the_truth_about_as_often_as_said_though_rows_of_a_user_are_alike():
    rng = np.random.default_rng(0)
    covered = {0.8: 0, 0.95: 0}
    for _ in range(600):
        sizes = rng.geometric(0.08, 150)
        # Users differ in how much they gain; active users gain more.
        own = 0.02 * sizes + rng.normal(scale=0.4, size=150)
        sums = own * sizes + rng.normal(size=150) * np.sqrt(sizes)
        gain = clustered(sums, sizes, int(sizes.sum()))
        mean_size, mean_square = 1 / 0.08, (2 - 0.08) / 0.08**2
        truth = 0.02 * mean_square / mean_size
        for level in covered:
            low, high = gain.interval(level)
            covered[level] += low <= truth <= high
    assert covered[0.95] / 600 == pytest.approx(0.95, abs=0.03)
    assert covered[0.8] / 600 == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("freedom", [4, 10, 40, 5_000])
def test_student_by_its_normal_score(freedom):
    for t in (-3.0, 0.5, 2.5, 5.0):
        assert normal_score(t, freedom) == pytest.approx(stats.norm.isf(stats.t.sf(t, freedom)), abs=0.03)
    assert student_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.01)


def test_p_value_of_a_gain_and_without_variation():
    assert Gain(2.0, 1.0, 10**6).p_value == pytest.approx(stats.norm.sf(2.0), rel=1e-3)
    assert Gain(-2.0, 1.0, 10**6).p_value == pytest.approx(stats.norm.sf(-2.0), rel=1e-3)
    assert Gain(0.0, 0.0, 50).p_value == 0.5


def test_discoveries_by_hand():
    # Sorted: 0.001 <= 0.0125, 0.02 <= 0.025, 0.036 <= 0.0375, 0.5 > 0.05.
    assert discoveries([0.5, 0.02, 0.001, 0.036], 0.05) == [False, True, True, True]
    assert discoveries([0.02, 0.9], 0.03) == [False, False]
    assert discoveries([], 0.05) == []


def test_false_discoveries_stay_below_their_rate():
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(400):
        p = np.concatenate([stats.norm.sf(rng.normal(3.0, 1.0, 5)), rng.random(20)])
        chosen = np.array(discoveries(p.tolist(), 0.1))
        shares.append(chosen[5:].sum() / max(chosen.sum(), 1))
    assert np.mean(shares) <= 0.1


def test_least_score_of_many_hypotheses():
    assert least_score(1, 0.05) == pytest.approx(1.6449, abs=1e-4)
    assert least_score(1000, 0.05) == pytest.approx(stats.norm.isf(5e-5), abs=1e-6)
