"""Sample-ratio mismatch: golden numbers, a fair bet under the null, peeking, and what it finds."""

import itertools
import math

import numpy as np
import pytest

from crossrec.serving.experiments.analysis.sample_ratio import (
    _CONCENTRATIONS,
    _log_bayes_factor,
    chi_square_tail,
    sample_ratio,
)


@pytest.mark.parametrize(
    ("statistic", "degrees", "tail"),
    # From the tables.
    [(3.841459, 1, 0.05), (10.827566, 1, 0.001), (5.991465, 2, 0.05), (11.070498, 5, 0.05), (29.588298, 10, 0.001)],
)
def test_the_chi_square_tail(statistic, degrees, tail):
    assert chi_square_tail(statistic, degrees) == pytest.approx(tail, rel=1e-5)


def test_the_chi_square_tail_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    for degrees, statistic in itertools.product((1, 2, 3, 8, 15), (0.01, 1.0, 7.5, 60.0, 700.0)):
        assert chi_square_tail(statistic, degrees) == pytest.approx(stats.chi2.sf(statistic, degrees), rel=1e-9)
    assert chi_square_tail(0.0, 3) == 1.0


def test_golden_numbers():
    assert sample_ratio((1, 0), (0.5, 0.5)).p_value == pytest.approx(1.0, rel=1e-9)
    # Two heads: the factor of a Beta(k/2, k/2) prior is (k + 2) / (k + 1).
    mean = (102 / 101 + 10_002 / 10_001) / 2
    assert sample_ratio((2, 0), (0.5, 0.5)).p_value == pytest.approx(1 / mean, rel=1e-9)
    found = sample_ratio((5100, 4900), (0.5, 0.5))
    assert found.expected == (5000.0, 5000.0)
    assert found.chi_square_p_value == pytest.approx(math.erfc(math.sqrt(2.0)), rel=1e-12)  # chi square of 4


def test_one_over_p_is_a_fair_bet_where_the_shares_hold():
    shares, n = (0.5, 0.3, 0.2), 7
    total = 0.0
    for counts in itertools.product(range(n + 1), repeat=3):
        if sum(counts) == n:
            ways = math.factorial(n) // math.prod(map(math.factorial, counts))
            probability = ways * math.prod(share**count for share, count in zip(shares, counts))
            total += probability / _uncapped(counts, shares)
    assert total == pytest.approx(1.0, rel=1e-9)


def _uncapped(counts, shares):
    # The p-value is capped at 1, the factor is not.
    factors = [_log_bayes_factor(list(zip(counts, shares)), k) for k in _CONCENTRATIONS]
    return 1 / np.mean(np.exp(factors))


@pytest.mark.parametrize("share", [0.5, 0.05])
def test_peeking_at_the_counts_gives_no_more_false_alarms_than_the_level(share):
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        treated = (generator.random(20_000) < share).cumsum()
        for n in range(100, 20_001, 400):
            count = int(treated[n - 1])
            if sample_ratio((n - count, count), (1 - share, share)).p_value < 0.01:
                alarms += 1
                break
    assert alarms <= 3  # 0.01 of 300


@pytest.mark.parametrize(
    ("units", "shares"),
    [
        ((600, 400), (0.5, 0.5)),  # gross, few
        ((507_000, 493_000), (0.5, 0.5)),  # slight, many
        ((95_400, 4_600), (0.95, 0.05)),
        ((33_000, 33_000, 34_500), (1 / 3, 1 / 3, 1 / 3)),
    ],
)
def test_a_mismatch_is_found_whatever_the_order(units, shares):
    found = sample_ratio(units, shares)
    assert found.p_value < 1e-3
    assert sample_ratio(units[::-1], shares[::-1]).p_value == pytest.approx(found.p_value)


def test_arms_without_a_share():
    assert sample_ratio((100, 0, 100), (0.5, 0.0, 0.5)).p_value == 1.0
    assert sample_ratio((100, 1, 100), (0.5, 0.0, 0.5)).p_value == 0.0
    assert sample_ratio((0, 0), (0.5, 0.5)).p_value == 1.0
    with pytest.raises(ValueError, match="give one share for each of 2 arms"):
        sample_ratio((1, 1), (0.5, 0.4))
