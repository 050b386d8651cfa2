r"""What was met together, as vectors in closed form: the first directions of what a graph filter scores.

Let R be 1 where a user met an item, and :math:`d` numbers of neighbours, an offset added. A filter of the graph says
how well item j goes with item i,

.. math::
   W = D_I^{-a} R^T D_U^{-b} R D_I^{-c}, \qquad S = D_U^{-1/2} R \, W \approx U \Sigma Y^T

and S are the scores that users give all items. Of these, the D directions that hold most are kept: a query with recent
items H and an item j have the vectors

.. math::
   q \propto \sum_{i \in H} (W Y)_i, \qquad x_j \propto Y_j

q has length one, and x length one in the mean over positives. So q x is what W scores, projected on what the scores of
all users have in common, and an index finds it. With :math:`a = c = 1/2, b = 1`, W is the linear filter of Shen et al.,
"How Powerful is Graph Convolution for Recommendation?", CIKM 2021; other exponents weaken popular items on one side
more than on the other, as in Kim, Sung, Han, Lee: "Graph Spectral Filtering with Chebyshev Interpolation for
Recommendation", SIGIR 2025 (their :math:`\beta` is :math:`a - 1/2 = 1/2 - c`), and :math:`a = b = 1` is the random walk
of Paudel, Christoffel, Newell, Bernstein: "Updatable, Accurate, Diverse, and Scalable Recommendations for Interactive
Applications", ACM TiiS 2017. The directions come from subspace iteration on a random start (Halko, Martinsson, Tropp:
"Finding Structure with Randomness", SIAM Review 2011).

Nothing is trained, and no user has a vector of its own: whoever sends recent items has a query.
"""

from __future__ import annotations

from collections.abc import Sequence
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
_OVERSAMPLING, _PASSES = 32, 3
# Of the first singular value: what float32 tells from zero.
_LEAST = 1e-3


class GraphFilterConfig(Frozen):
    r"""A part of the score that says how well an item goes with the recent ones.

    Attributes:
        history: A query feature of type ``recent_items``.
        dimension: D, numbers that it adds to the embeddings.
        history_exponent: a; the higher, the less popular recent items say.
        user_exponent: b; the higher, the less users with many items say.
        item_exponent: c; the higher, the less popular items come up.
        degree_offset: Neighbours that each user and item counts as having beside its own, which weakens the rare.
        weight: What its score counts beside that of the towers divided by the temperature.
    """

    history: str
    dimension: int = Field(default=256, ge=1, le=4096)
    history_exponent: float = Field(default=0.9, ge=0, le=2)
    user_exponent: float = Field(default=1.0, ge=0, le=2)
    item_exponent: float = Field(default=0.1, ge=0, le=2)
    degree_offset: float = Field(default=0.0, ge=0, le=1e6)
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
    known = (users >= 0) & (items >= 0)
    if not known.any():
        return np.zeros([count, config.dimension], np.float32), np.zeros([count, config.dimension], np.float32)
    edges = np.unique(np.stack([np.unique(users[known], return_inverse=True)[1], items[known]], 1), axis=0)
    of_user, of_item = np.bincount(edges[:, 0]), np.bincount(edges[:, 1], minlength=count)

    def of_edges(user_exponent: float, item_exponent: float) -> sparse.csr_matrix:
        by_user = (of_user[edges[:, 0]] + config.degree_offset) ** -user_exponent
        by_item = (of_item[edges[:, 1]] + config.degree_offset) ** -item_exponent
        weights = (by_user * by_item).astype(np.float32)
        return sparse.csr_matrix((weights, (edges[:, 0], edges[:, 1])), (len(of_user), count))

    into, back = of_edges(0.0, config.history_exponent).T.tocsr(), of_edges(config.user_exponent, config.item_exponent)
    scores = [of_edges(0.5, 0.0), into, back]
    values, vectors = singular_vectors(scores, min(config.dimension, len(of_user), count))
    # What is left of a graph with fewer directions is rounding.
    vectors = vectors[:, values > _LEAST * values[0]]
    missing = [[0, 0], [0, config.dimension - vectors.shape[1]]]
    candidates, neighbours = (
        np.pad(_of_length_one(found, of_item), missing) for found in (vectors, into @ (back @ vectors))
    )
    return candidates, neighbours


def _of_length_one(vectors: Array, weights: Array) -> Array:
    """Vectors times one number, so that their squared length is 1 in the weighted mean, float32."""
    lengths = np.square(vectors).sum(1, dtype=np.float64)
    return np.asarray(vectors / np.sqrt(np.average(lengths, weights=weights)), np.float32)


def singular_vectors(factors: Sequence[Any], count: int, seed: int = 0) -> tuple[Array, Array]:
    """The largest singular values, falling, float64 ``[count]``, and their right vectors, float32 ``[columns, count]``.

    Args:
        factors: Sparse matrices, float32, compressed by rows; their product, which is never made, is what is meant.
        count: How many; at most the smaller side.
        seed: Of the directions that the search starts from.
    """
    transposed = [factor.T.tocsr() for factor in reversed(factors)]
    rows, columns = factors[0].shape[0], factors[-1].shape[1]
    found = np.random.default_rng(seed).standard_normal(
        (columns, min(count + _OVERSAMPLING, rows, columns)), np.float32
    )
    for _ in range(_PASSES):
        found = np.linalg.qr(_product(transposed, _product(factors, found)))[0]
    image = _product(factors, found)
    squares, rotation = np.linalg.eigh((image.T @ image).astype(np.float64))
    order = np.argsort(-squares)[:count]
    return np.sqrt(np.maximum(squares[order], 0.0)), found @ rotation[:, order].astype(np.float32)


def _product(factors: Sequence[Any], vectors: Array) -> Array:
    for factor in reversed(factors):
        vectors = factor @ vectors
    return vectors
