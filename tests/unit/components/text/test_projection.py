"""Principal components, against what they are defined by."""

import numpy as np
import pytest

from crossrec.components.text.projection import fit_projection, unit


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(3)
    return (random.normal(size=(500, 12)) * np.linspace(0.2, 3, 12) + random.normal(size=12)).astype(np.float32)


def test_columns_are_orthonormal_and_diagonalise_the_covariance(vectors):
    projection = fit_projection(vectors, 5)
    np.testing.assert_allclose(projection.matrix.T @ projection.matrix, np.eye(5), atol=1e-6)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = (units - projection.mean) @ projection.matrix
    covariance = np.cov(scores, rowvar=False, bias=True)
    variances = np.diag(covariance)
    np.testing.assert_allclose(covariance, np.diag(variances), atol=1e-7)
    assert (np.diff(variances) < 0).all()
    # Singular values are another way to the same variances.
    expected = np.linalg.svd(units - units.mean(axis=0), compute_uv=False) ** 2 / len(units)
    np.testing.assert_allclose(variances, expected[:5], rtol=1e-4)
    assert projection.kept == pytest.approx(expected[:5].sum() / expected.sum(), rel=1e-5)


def test_order_of_the_texts_and_their_lengths_change_nothing(vectors):
    lengths = np.random.default_rng(0).uniform(0.5, 2, (500, 1)).astype(np.float32)
    one, other = fit_projection(vectors, 5), fit_projection((vectors * lengths)[::-1], 5)
    np.testing.assert_allclose(one.matrix, other.matrix, atol=1e-5)
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-6)


def test_fewer_texts_than_components():
    projection = fit_projection(np.eye(6, dtype=np.float32)[:2], 4)
    np.testing.assert_allclose(projection.matrix.T @ projection.matrix, np.eye(4), atol=1e-6)
    assert projection.kept == pytest.approx(1)


def test_equal_and_smaller_widths(vectors):
    assert fit_projection(vectors, 12) is None
    with pytest.raises(ValueError, match="dimension 13 is more than the encoder's 12"):
        fit_projection(vectors, 13)


def test_zeros_have_no_direction():
    np.testing.assert_array_equal(
        unit(np.array([[3, 4], [0, 0]], np.float32)), np.array([[0.6, 0.8], [0, 0]], np.float32)
    )
