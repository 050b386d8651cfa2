import numpy as np
import pytest
from scipy.optimize import minimize

from crossrec.components.cross_selector.data import Task
from crossrec.components.cross_selector.fields import Field, sums
from crossrec.components.cross_selector.score import Model, log_loss, prior_variance, sigmoid, solve


def test_log_loss_and_sigmoid_by_definition_and_without_overflow():
    logits = np.array([-2.0, 0.0, 3.0])
    labels = np.array([1.0, 0.0, 1.0])
    p = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(log_loss(labels, logits), -(labels * np.log(p) + (1 - labels) * np.log(1 - p)))
    np.testing.assert_allclose(sigmoid(np.array([-800.0, 800.0])), [0.0, 1.0])
    np.testing.assert_allclose(log_loss(np.array([1.0]), np.array([-800.0])), [800.0])


def test_sums_share_a_row_among_its_ids():
    columns = {"m": np.array([[0, 1], [1, -1], [-1, -1]]), "s": np.array([2, 0, 1])}
    residual, curvature = np.array([0.5, -0.25, 9.0]), np.array([0.2, 0.1, 9.0])
    multi = sums(Field(("m",), (2,)), columns, slice(0, 3), residual, curvature)
    np.testing.assert_allclose(multi.rows, [0.5, 1.5])
    np.testing.assert_allclose(multi.gradient, [0.25, 0.0])
    np.testing.assert_allclose(multi.bound, [0.1, 0.2])
    np.testing.assert_allclose(multi.hessian, [0.05, 0.15])
    single = sums(Field(("s",), (3,)), columns, slice(0, 3), residual, curvature)
    np.testing.assert_allclose(single.gradient, [-0.25, 9.0, 0.5])
    np.testing.assert_allclose(single.hessian, single.bound)


def test_prior_variance_is_that_of_the_weights_and_zero_for_noise():
    rng = np.random.default_rng(0)
    hessian = rng.uniform(20, 200, 4_000)
    for variance in (0.01, 0.1, 1.0):
        weights = rng.normal(scale=np.sqrt(variance), size=4_000)
        gradient = hessian * weights + rng.normal(size=4_000) * np.sqrt(hessian)
        found, evidence = prior_variance(gradient, hessian)
        assert found == pytest.approx(variance, rel=0.35)
        expected = 0.5 * np.sum(found * gradient**2 / (1 + found * hessian) - np.log1p(found * hessian))
        assert evidence == pytest.approx(expected)
    few = hessian[:200]
    noise = [prior_variance(rng.normal(size=200) * np.sqrt(few), few)[0] for _ in range(500)]
    # Twice the log evidence of no effect is 0 or, half of the time, chi-squared; above 2 in 7.9 % of cases.
    assert np.mean(np.array(noise) > 0) == pytest.approx(0.079, abs=0.035)


def test_weights_of_a_field_on_a_constant_are_the_exact_posterior_mode():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 4, 2_000)
    labels = (rng.random(2_000) < np.array([0.02, 0.1, 0.4, 0.9])[ids]).astype(float)
    base, variance = np.log(0.1 / 0.9), 0.7
    p = np.full(2_000, 0.1)
    found = sums(Field(("s",), (4,)), {"s": ids}, slice(0, 2_000), labels - p, p * (1 - p))
    weights = solve(found.rows, found.gradient, found.bound, variance, steps=20)
    for value in range(4):
        mine = labels[ids == value]

        def loss(w, mine=mine):
            return log_loss(mine, np.full(len(mine), base + w[0])).sum() + w[0] ** 2 / (2 * variance)

        assert weights[value] == pytest.approx(minimize(loss, [0.0]).x[0], abs=1e-3)


def test_without_a_prior_variance_there_are_no_weights():
    assert not solve(np.full(3, 9.0), np.ones(3), np.ones(3), 0.0).any()


def test_sweeps_reach_the_joint_optimum():
    rng = np.random.default_rng(3)
    n = 6_000
    columns = {"a": rng.integers(0, 3, n), "b": rng.integers(0, 4, n), "m": rng.integers(-1, 3, (n, 2))}
    effects = {"a": rng.normal(size=3), "b": rng.normal(size=4), "m": rng.normal(size=3)}
    design = []
    for name, size in (("a", 3), ("b", 4), ("m", 3)):
        values = columns[name] if columns[name].ndim == 2 else columns[name][:, None]
        shares = np.stack([(values == v).sum(1) for v in range(size)], 1)
        design.append(shares / np.maximum((values >= 0).sum(1), 1)[:, None])
    matrix = np.concatenate(design, 1)
    truth = matrix @ np.concatenate(list(effects.values()))
    labels = (rng.random(n) < sigmoid(truth)).astype(float)
    model = Model(Task("clicked", columns, labels, np.zeros(n, int), (n, n, n)), n, 1)
    start = model.logits[0]
    for name, size in (("a", 3), ("b", 4), ("m", 3)):
        model.add(Field((name,), (size,)))
    for _ in range(60):
        model.sweep()
    precision = np.concatenate([np.full(one.field.size, 1 / one.variance) for one in model.fields.values()])

    def loss(w):
        return log_loss(labels, start + matrix @ w).sum() + 0.5 * np.sum(precision * w * w)

    best = minimize(loss, np.zeros(10), method="BFGS")
    weights = np.concatenate([one.table for one in model.fields.values()])
    # One constant may stand in any of the three tables, and moves between them slowly; probabilities do not change.
    np.testing.assert_allclose(sigmoid(model.logits), sigmoid(start + matrix @ best.x), atol=0.002)
    assert loss(weights) == pytest.approx(best.fun, abs=0.05)
    np.testing.assert_allclose(model.logits, start + matrix @ weights, atol=1e-9)
    before = model.logits.copy()
    model.add(Field(("a", "b"), (3, 4)))
    model.sweep(["a x b"])
    model.remove("a x b")
    np.testing.assert_allclose(model.logits, before, atol=1e-9)


def test_rare_ids_get_no_weight():
    ids = np.array([0] * 100 + [1] * 4)
    labels = np.array([1.0, 0.0] * 50 + [1.0] * 4)
    model = Model(Task("clicked", {"s": ids}, labels, np.zeros(104, int), (104, 104, 104)), 104, 5)
    model.add(Field(("s",), (2,)))
    model.sweep()
    assert model.fields["s"].table[1] == 0
