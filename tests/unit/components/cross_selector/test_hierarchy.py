import numpy as np
import pytest
from scipy.stats import multivariate_normal

from crossrec.components.cross_selector.data import Task
from crossrec.components.cross_selector.fields import Field
from crossrec.components.cross_selector.hierarchy import _VARIANCES, own_evidence
from crossrec.components.cross_selector.score import Model, sigmoid


def fitted(effects, columns, sizes):
    rng = np.random.default_rng(0)
    n = len(effects)
    labels = (rng.random(n) < sigmoid(effects)).astype(float)
    model = Model(Task("clicked", columns, labels, np.zeros(n, int), (n, n, n)), n, 1)
    for names in (("a", "b"), ("a", "b", "c")):
        model.add(Field(names, tuple(sizes[name] for name in names)))
    for _ in range(5):
        model.sweep()
    return model


def test_evidence_is_that_of_the_normal_model_of_effects_within_cells():
    rng = np.random.default_rng(1)
    sizes = {"a": 3, "b": 2, "c": 4}
    columns = {name: rng.integers(0, size, 5_000) for name, size in sizes.items()}
    table = rng.normal(size=(3, 2))[..., None] + 0.5 * rng.normal(size=(3, 2, 4))
    effects = table[columns["a"], columns["b"], columns["c"]]
    model = fitted(effects, columns, sizes)
    cell = np.ravel_multi_index([columns[name] for name in "abc"], (3, 2, 4))
    hessian = np.bincount(cell, model.curvature)
    seen = (
        np.repeat(model.fields["a x b"].table, 4)
        + model.fields["a x b x c"].table
        + np.bincount(cell, model.residual) / hessian
    )
    alike = np.kron(np.eye(6), np.ones((4, 4)))
    values = {
        (shared, within): multivariate_normal.logpdf(
            seen, np.zeros(24), shared * alike + within * np.eye(24) + np.diag(1 / hessian)
        )
        for shared in _VARIANCES
        for within in _VARIANCES
    }
    expected = max(values.values()) - max(value for (shared, _), value in values.items() if shared == 0)
    assert expected > 1
    assert own_evidence(model, "a x b", "a x b x c") == pytest.approx(expected, rel=1e-6)


def test_a_part_of_a_multi_valued_cross_is_told_from_the_whole():
    rng = np.random.default_rng(2)
    n, sizes = 40_000, {"a": 6, "b": 8, "c": 4}
    tags = rng.integers(0, 8, (n, 2))
    tags[rng.random((n, 2)) < 0.2] = -1
    columns = {"a": rng.integers(0, 6, n), "b": tags, "c": rng.integers(0, 4, n)}
    own = np.append(rng.normal(size=(6, 8)), np.zeros((6, 1)), 1)
    whole = np.append(rng.normal(size=(6, 8, 4)), np.zeros((6, 1, 4)), 1)
    count = np.maximum((tags >= 0).sum(1), 1)
    by_part = own[columns["a"][:, None], tags].sum(1) / count
    by_whole = whole[columns["a"][:, None], tags, columns["c"][:, None]].sum(1) / count
    assert own_evidence(fitted(by_part + by_whole, columns, sizes), "a x b", "a x b x c") > 10
    assert own_evidence(fitted(by_whole, columns, sizes), "a x b", "a x b x c") < 3
