"""Principal components: from an encoder's wide vectors to fewer numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Projection(NamedTuple):
    """A linear map that keeps most of the vectors' differences (Pearson 1901, Hotelling 1933).

    Attributes:
        mean: float32 ``[width]``, subtracted first.
        matrix: float32 ``[width, dimension]`` with orthonormal columns, the one of the greatest variance first.
        kept: Share of the vectors' variance that is kept.
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]
    kept: float


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divides each row of float32 ``[N, width]`` by its length; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def fit_projection(vectors: NDArray[np.float32], dimension: int) -> Projection | None:
    """Finds the principal components of texts' vectors, each divided by its length first.

    Args:
        vectors: float32 ``[N, width]``, at least one.
        dimension: Numbers to keep.

    Returns:
        The projection, or None if the vectors have that many numbers already.

    Raises:
        ValueError: If they have fewer.
    """
    width = vectors.shape[1]
    if dimension > width:
        raise ValueError(f"dimension {dimension} is more than the encoder's {width}")
    if dimension == width:
        return None
    units = unit(vectors).astype(np.float64)
    mean = units.mean(axis=0)
    variances, components = np.linalg.eigh(np.cov(units - mean, rowvar=False, bias=True))
    matrix = components[:, ::-1][:, :dimension]
    # A component's sign is arbitrary; this makes it the same in each run.
    matrix = matrix * np.sign(matrix[np.abs(matrix).argmax(axis=0), np.arange(dimension)])
    total = float(variances.sum())
    kept = float(variances[::-1][:dimension].sum()) / total if total > 0 else 1.0
    return Projection(mean.astype(np.float32), matrix.astype(np.float32), kept)
