import numpy as np
import pytest

from crossrec.components.ranking_trainer.fusion import conditional_loss, fit_balance, fit_calibration


def queries(truth: float, seed: int = 0, count: int = 2000, size: int = 12):
    """Candidates of queries, one positive each, drawn by softmax of logit + truth * score; queries differ in level."""
    rng = np.random.default_rng(seed)
    logits, scores = rng.normal(size=(count, size)), 0.1 * rng.normal(size=(count, size))
    gumbel = rng.gumbel(size=(count, size))
    labels = np.zeros((count, size))
    labels[np.arange(count), np.argmax(logits + truth * scores + gumbel, 1)] = 1.0
    level = 3.0 * rng.normal(size=(count, 1))
    groups = np.repeat(np.arange(count), size)
    return (logits + level).reshape(-1), scores.reshape(-1), labels.reshape(-1), groups, 1.0


@pytest.mark.parametrize("truth", [0.0, 5.0, 12.0])
def test_the_balance_of_the_process_that_chose_is_found_whatever_the_level_of_a_query(truth):
    assert fit_balance(*queries(truth)) == pytest.approx(truth, rel=0.35, abs=0.6)


def test_a_score_that_misleads_gets_no_weight():
    assert fit_balance(*queries(-10.0)) == 0.0


def test_nothing_to_order_gives_no_balance():
    logits, scores, labels, groups, weight = queries(5.0, count=5)
    assert fit_balance(logits, scores, np.zeros_like(labels), groups, weight) == 0.0
    assert fit_balance(logits, np.zeros_like(scores), labels, groups, weight) == 0.0


def test_the_conditional_loss_is_the_one_written_down():
    scores, labels = np.array([1.0, 0.0, 2.0, 0.5, -1.0]), np.array([1.0, 0.0, 0.0, 1.0, 0.0])
    groups = np.array([0, 0, 0, 1, 1])
    first = -np.log(np.e / (np.e + 3.0 * (1.0 + np.exp(2.0))))
    second = -np.log(np.exp(0.5) / (np.exp(0.5) + 3.0 * np.exp(-1.0)))
    assert conditional_loss(scores, labels, groups, 3.0) == pytest.approx((first + second) / 2)
    assert conditional_loss(scores + 7.0 * groups, labels, groups, 3.0) == pytest.approx((first + second) / 2)


def test_calibration_finds_scale_and_level_and_never_turns_the_order():
    rng = np.random.default_rng(0)
    values = rng.normal(size=50_000)
    labels = (rng.random(50_000) < 1 / (1 + np.exp(-(0.5 * values - 2.0)))).astype(np.float64)
    scale, level = fit_calibration(values, labels)
    assert (scale, level) == (pytest.approx(0.5, abs=0.04), pytest.approx(-2.0, abs=0.04))
    probabilities = 1 / (1 + np.exp(-(scale * values + level)))
    assert probabilities.mean() == pytest.approx(labels.mean(), rel=1e-3)
    assert fit_calibration(-values, labels) == (1.0, 0.0)
    assert fit_calibration(values, np.ones(50_000)) == (1.0, 0.0)


def test_calibration_bears_labels_that_are_perfectly_told_apart():
    values = np.linspace(-1, 1, 100)
    scale, level = fit_calibration(values, (values > 0).astype(np.float64))
    assert np.isfinite([scale, level]).all() and scale > 0


def test_the_limit_bounds_the_score_in_units_of_the_deviations():
    """The score orders well, the logit not at all: the balance goes as far as it may, whatever the scales are."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(400), 8)
    labels = np.tile(np.arange(8) == 0, 400).astype(np.float64)
    scores, logits = 10 * (labels + 0.3 * rng.normal(size=3200)), 0.1 * rng.normal(size=3200)
    unit = logits.std() / scores.std()
    assert fit_balance(logits, scores, labels, groups, 1.0) == pytest.approx(0.5 * unit)
    assert fit_balance(logits, scores, labels, groups, 1.0, limit=4.0) == pytest.approx(4.0 * unit)
    assert fit_balance(logits, rng.normal(size=3200), labels, groups, 1.0, limit=4.0) < 4.0
