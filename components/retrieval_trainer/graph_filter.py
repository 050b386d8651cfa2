r"""What was met together, as vectors in closed form: a low-pass filter of the graph of positive interactions.

Let R be 1 where a user met an item, :math:`d` the numbers of neighbours, :math:`\alpha` an offset, and
:math:`\tilde R = (D_U + \alpha)^{-1/2} R (D_I + \alpha)^{-1/2} \approx U \Sigma V^T` its first D singular values and
vectors. A query with recent items H and an item j have the vectors

.. math::
   q \propto \sum_{i \in H} (d_i + \alpha)^{-1/2} \, e^{s \Sigma / \sigma_1} \odot v_i, \qquad x_j = d_j^{\rho} \, v_j

q has length one, and x length one in the mean over positives. The score q x is that of the linear filter of Shen et
al., "How Powerful is Graph Convolution for Recommendation?", CIKM 2021, cut to D dimensions so that an index finds it;
the offset, which weakens the noise of rare items, and the exponential, which favours what varies slowly over the
graph, are those of Peng, Sugiyama, Mine: "Less is More: Reweighting Important Spectral Graph Features for
Recommendation", SIGIR 2022. The singular vectors come from subspace iteration on a random start (Halko, Martinsson,
Tropp: "Finding Structure with Randomness", SIAM Review 2011).

Nothing is trained, and no user has a vector of its own: whoever sends recent items has a query.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from pydantic import Field
from scipy import sparse

from crossrec.components.errors import DataError
from crossrec.components.features.frozen import Frozen
from crossrec.components.features.item_table import Array
from crossrec.components.features.schema import FeatureSchema

# Directions beside those wanted make the last ones of these exact enough in a few passes.
_OVERSAMPLING, _PASSES = 32, 4


class GraphFilterConfig(Frozen):
    r"""A part of the score that says how well an item goes with the recent ones.

    Attributes:
        history: A query feature of type ``recent_items``.
        dimension: D, numbers that it adds to the embeddings.
        degree_offset: :math:`\alpha`, neighbours that each user and item counts as having beside its own.
        sharpness: s; 0 lets all D directions count alike.
        degree_exponent: :math:`\rho`; the higher, the more popular items come up.
        weight: What its score counts beside that of the towers divided by the temperature.
    """

    history: str
    dimension: int = Field(default=256, ge=1, le=4096)
    degree_offset: float = Field(default=20.0, ge=0, le=1e6)
    sharpness: float = Field(default=1.0, ge=0, le=20)
    degree_exponent: float = Field(default=0.2, ge=0, le=1)
    weight: float = Field(default=20.0, gt=0, le=1e4)


def check_graph_filter(config: GraphFilterConfig, schema: FeatureSchema) -> None:
    """Looks whether the feature is what a filter can be applied to.

    Raises:
        DataError: It is not.
    """
    histories = [feature.name for feature in schema.side("query") if feature.kind == "items"]
    if config.history not in histories:
        raise DataError(
            "retrieval.graph_filter.history",
            f"{config.history!r} is no feature of type recent_items",
            f"Name one of them: {', '.join(histories) or 'there is none; add one to features.query'}.",
        )


class GraphFilter(tf.Module):
    """The vectors of items, as candidates and as recent ones."""

    def __init__(self, config: GraphFilterConfig, items: int):
        """Constructs a filter in which nobody has met anything.

        Args:
            config: Dimension and shape of the filter.
            items: Items of the catalogue.
        """
        super().__init__(name="graph_filter")
        self.config, self._count = config, items
        size = [items + 1, config.dimension]
        self._items = tf.Variable(tf.zeros(size), trainable=False, name="items")
        self._neighbours = tf.Variable(tf.zeros(size), trainable=False, name="neighbours")

    def fit(self, users: Array, items: Array) -> None:
        """Takes over who met what.

        Args:
            users: Any numbers that tell users apart, int64 ``[n]``.
            items: Rows, int64 ``[n]``; pairs with a negative one are left out, and a pair counts once.
        """
        candidates, neighbours = filter_vectors(users, items, self._count, self.config)
        # The last row is the unknown item, which goes with nothing.
        self._items.assign(np.pad(candidates, [[0, 1], [0, 0]]))
        self._neighbours.assign(np.pad(neighbours, [[0, 1], [0, 0]]))

    def of_items(self, rows: tf.Tensor) -> tf.Tensor:
        """Vectors of item rows ``[C]``, negative where unknown, float32 ``[C, D]``; they hold the weight."""
        known = tf.where(rows < 0, tf.constant(self._count, rows.dtype), rows)
        return self.config.weight * tf.gather(self._items, known)

    def of_queries(self, history: tf.Tensor) -> tf.Tensor:
        """Vectors of recent items ``[B, L]``, negative where there is none, float32 ``[B, D]``."""
        present = history >= 0
        vectors = tf.gather(self._neighbours, tf.boolean_mask(history, present))
        sums = tf.math.unsorted_segment_sum(vectors, tf.where(present)[:, 0], tf.shape(history)[0])
        return tf.math.l2_normalize(sums, 1)


def filter_vectors(users: Array, items: Array, count: int, config: GraphFilterConfig) -> tuple[Array, Array]:
    """Vectors of items as candidates and as recent ones, both float32 ``[count, D]``, zero where nobody met them.

    Args:
        users: Any numbers that tell users apart, int64 ``[n]``.
        items: Rows, int64 ``[n]``; pairs with a negative one are left out, and a pair counts once.
        count: Items of the catalogue.
        config: Shape of the filter.
    """
    met = (users >= 0) & (items >= 0)
    if not met.any():
        return np.zeros([count, config.dimension], np.float32), np.zeros([count, config.dimension], np.float32)
    edges = np.unique(np.stack([np.unique(users[met], return_inverse=True)[1], items[met]], 1), axis=0)
    of_user, of_item = np.bincount(edges[:, 0]), np.bincount(edges[:, 1], minlength=count)
    shares = 1.0 / np.sqrt(np.maximum(of_item + config.degree_offset, 1.0))
    weights = shares[edges[:, 1]] / np.sqrt(of_user[edges[:, 0]] + config.degree_offset)
    matrix = sparse.csr_matrix((weights.astype(np.float32), (edges[:, 0], edges[:, 1])), (len(of_user), count))
    values, vectors = singular_vectors(matrix, min(config.dimension, *matrix.shape))
    candidates = vectors * of_item[:, None] ** config.degree_exponent
    candidates /= np.sqrt(np.average((candidates**2).sum(1), weights=of_item))
    neighbours = vectors * np.exp(config.sharpness * values / values[0]) * (shares * (of_item > 0))[:, None]
    missing = [[0, 0], [0, config.dimension - vectors.shape[1]]]
    return np.pad(candidates, missing).astype(np.float32), np.pad(neighbours, missing).astype(np.float32)


def singular_vectors(matrix: Any, count: int, seed: int = 0) -> tuple[Array, Array]:
    """The largest singular values, falling, float64 ``[count]``, and their right vectors, float32 ``[columns, count]``.

    Args:
        matrix: Sparse, float32, compressed by rows.
        count: How many; at most the smaller side.
        seed: Of the directions that the search starts from.
    """
    by_columns = matrix.T.tocsr()
    width = min(count + _OVERSAMPLING, *matrix.shape)
    found = np.random.default_rng(seed).standard_normal((matrix.shape[1], width), np.float32)
    for _ in range(_PASSES):
        found = np.linalg.qr(by_columns @ (matrix @ found))[0]
    image = matrix @ found
    squares, rotation = np.linalg.eigh((image.T @ image).astype(np.float64))
    order = np.argsort(-squares)[:count]
    return np.sqrt(np.maximum(squares[order], 0.0)), (found @ rotation[:, order].astype(np.float32))
