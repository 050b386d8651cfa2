"""Always-valid intervals: golden numbers, duality, and what continuous peeking does to them and to others."""

import math

import numpy as np
import pytest

from crossrec.serving.experiments.analysis import always_valid
from crossrec.serving.experiments.analysis.contrast import contrast
from crossrec.serving.experiments.analysis.moments import MetricValues, estimates

ALPHA = 0.05
TUNED_FOR = 2000
PRECISION = always_valid.mixing_precision(ALPHA, TUNED_FOR)
RUNS, UNITS, FIRST = 600, 3000, 200


def test_golden_numbers():
    # -2 ln 0.05 = 5.991465; ln 6.991465 = 1.944690
    assert always_valid.mixing_precision(0.05, 10_000) == pytest.approx(7.936155e-4, rel=1e-6)
    # sqrt(2 * 8.936155 / 7.936155 * (ln(8.936155) / 2 - ln 0.05)) with ln(8.936155) = 2.190105
    assert always_valid.width(0.05, 10_000, 7.936155e-4) == pytest.approx(3.035209, rel=1e-5)
    # sqrt(2) exp(-9 / 4) at n rho^2 = 1
    assert always_valid.p_value(3.0, 500, 1 / 500) == pytest.approx(math.sqrt(2) * math.exp(-2.25), rel=1e-12)


def test_the_interval_excludes_zero_exactly_where_p_is_below_alpha():
    for units in (10, 1000, 10**6):
        z = always_valid.width(ALPHA, units, PRECISION)
        assert always_valid.p_value(z, units, PRECISION) == pytest.approx(ALPHA)
        assert always_valid.p_value(-z * 1.01, units, PRECISION) < ALPHA
        assert always_valid.p_value(z * 0.99, units, PRECISION) > ALPHA
    assert always_valid.p_value(0.0, 100, PRECISION) == 1.0
    assert always_valid.p_value(math.inf, 100, PRECISION) == 0.0


def test_the_interval_is_narrowest_where_it_was_tuned():
    widths = {scale: always_valid.width(ALPHA, TUNED_FOR, PRECISION * scale) for scale in (0.25, 0.8, 1, 1.25, 4)}
    assert min(widths, key=widths.get) == 1


def walks(rate, share, effect=0.0, seed=0):
    """z statistics of simulated experiments after every unit, as `contrast` computes them; and the arms, values."""
    generator = np.random.default_rng(seed)
    treated = generator.random((RUNS, UNITS)) < share
    values = (generator.random((RUNS, UNITS)) < rate + effect * treated).astype(float)
    n = np.arange(1, UNITS + 1)
    n_t = treated.cumsum(1)
    n_c = n - n_t
    s_t, s = (values * treated).cumsum(1), values.cumsum(1)
    with np.errstate(all="ignore"):
        m_t, m_c = s_t / n_t, (s - s_t) / n_c
        v_t, v_c = (m_t * (1 - m_t) * n_t / (n_t - 1), m_c * (1 - m_c) * n_c / (n_c - 1))
        pooled = ((n_t - 1) * v_t + (n_c - 1) * v_c) / (n - 2)
        error = np.sqrt(np.maximum(v_t, pooled) / n_t + np.maximum(v_c, pooled) / n_c)
        z = (m_t - m_c - effect) / error
    return z, treated, values


def test_the_simulation_computes_what_the_analysis_does():
    z, treated, values = walks(0.2, 0.3, 0.1)
    for run, units in ((0, 500), (1, 3000)):
        arms = treated[run, :units].astype(int)
        seen = contrast(*estimates(MetricValues("m", values[run, :units]), arms, 2))
        assert (seen.difference - 0.1) / seen.difference * seen.z == pytest.approx(z[run, units - 1])


@pytest.mark.parametrize(("rate", "share"), [(0.5, 0.5), (0.1, 0.5), (0.1, 0.1)])
def test_peeking_after_every_unit_gives_no_more_false_verdicts_than_alpha(rate, share):
    z, treated, _ = walks(rate, share, seed=1)
    units = np.arange(FIRST, UNITS + 1)
    widths = np.array([always_valid.width(ALPHA, n, PRECISION) for n in units])
    peeked = np.abs(z[:, FIRST - 1 :])
    assert (peeked > widths).any(1).mean() <= ALPHA
    # The same with a fixed-horizon interval: that is why.
    assert (peeked > 1.96).any(1).mean() > 2 * ALPHA


def test_the_interval_covers_the_true_difference_at_every_look():
    z, _, _ = walks(0.1, 0.3, effect=0.05, seed=2)
    widths = np.array([always_valid.width(ALPHA, n, PRECISION) for n in range(FIRST, UNITS + 1)])
    assert (np.abs(z[:, FIRST - 1 :]) <= widths).all(1).mean() >= 1 - ALPHA


def test_a_real_difference_is_found_before_the_end():
    generator = np.random.default_rng(3)
    # Twice the standard error that the planned test needs for 80 % power.
    drift = 2 * (1.96 + 0.84) / math.sqrt(TUNED_FOR)
    paths = generator.normal(drift, 1, (RUNS, TUNED_FOR)).cumsum(1) / np.sqrt(np.arange(1, TUNED_FOR + 1))
    widths = np.array([always_valid.width(ALPHA, n, PRECISION) for n in range(1, TUNED_FOR + 1)])
    found = paths > widths
    assert found.any(1).mean() > 0.99
    assert np.median(found.argmax(1)) < TUNED_FOR / 2
