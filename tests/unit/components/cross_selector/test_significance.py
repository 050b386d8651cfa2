import numpy as np
import pytest
from scipy import stats

from crossrec.components.cross_selector.data import Task
from crossrec.components.cross_selector.fields import Field
from crossrec.components.cross_selector.score import Model, log_loss, sigmoid
from crossrec.components.cross_selector.significance import (
    Gain,
    clustered,
    combined,
    discoveries,
    least_score,
    normal_score,
    student_quantile,
)
from tests.unit.components.cross_selector.simulated import table


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


def test_intervals_of_a_cross_cover_its_gain_in_the_population_of_users():
    rng = np.random.default_rng(2)
    users, effects = 4_000, table(6, 5, 6)
    user = np.repeat(np.arange(users), rng.geometric(0.06, users))
    a, b = rng.integers(0, 5, users)[user], rng.integers(0, 6, len(user))
    # Users have a level of their own, and a taste that the cross knows only in part.
    taste = rng.normal(scale=0.5, size=(users, 6))
    logits = -1 + 0.6 * effects[a, b] + taste[user, b] + rng.normal(scale=0.7, size=users)[user]
    labels = (rng.random(len(user)) < sigmoid(logits)).astype(float)
    early = user < 400
    model = Model(
        Task("clicked", {"a": a[early], "b": b[early]}, labels[early], user[early], (0, 0, 0)), int(early.sum()), 5
    )
    model.add(Field(("a", "b"), (5, 6)))
    model.sweep()
    weights = model.fields["a x b"].table
    base = np.full(len(user), model.logits[0] - weights[a[0] * 6 + b[0]])
    after = base + weights[a * 6 + b]
    gains = np.bincount(user, log_loss(labels, base) - log_loss(labels, after))
    sizes = np.bincount(user)
    truth = gains[400:].sum() / sizes[400:].sum()
    assert truth > 0.005
    covered = 0
    for _ in range(400):
        some = rng.choice(np.arange(400, users), 120, replace=False)
        low, high = clustered(gains[some], sizes[some], int(sizes[some].sum())).interval(0.9)
        covered += low <= truth <= high
    assert covered / 400 == pytest.approx(0.9, abs=0.045)


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


def test_two_gains_together_are_surer_than_either():
    one, other = Gain(2.0, 1.0, 10**6), Gain(3.0, 1.0, 10**6)
    assert combined(one, other) == pytest.approx(stats.norm.sf(5 / np.sqrt(2)), rel=1e-3)
    assert combined(one, Gain(0.0, 1.0, 10**6)) > one.p_value


def test_the_best_of_many_are_discoveries_only_by_the_standard_of_all():
    # 0.0004 <= 0.05 * 1 / 100, 0.0009 <= 0.05 * 2 / 100; among two both would pass with far more.
    assert discoveries([0.0004, 0.0009], 0.05, 100) == [True, True]
    assert discoveries([0.0004, 0.002], 0.05, 100) == [True, False]
    assert discoveries([0.0004, 0.002], 0.05) == [True, True]


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
