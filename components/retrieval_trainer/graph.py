r"""What users and items learn from their neighbours in the graph of positive interactions.

With :math:`\hat A_{ui} = 1 / \sqrt{d_u d_i}` for each pair of user and item that met in training, d their numbers of
neighbours, layer k of a user is :math:`e_u^{(k)} = \sum_i \hat A_{ui} e_i^{(k-1)}`, that of an item likewise, and an
embedding is the mean of layers 0 to K. He, Deng, Wang, Li, Zhang, Wang: "LightGCN: Simplifying and Powering Graph
Convolution Network for Recommendation", SIGIR 2020.

Here layer 0 is what the towers make of features, so that content spreads too. After training the other layers are
folded into tables, and serving looks them up. A user whom the graph does not have gets what a user with the same
neighbours would have, from recent items R: :math:`|R|^{-1/2} \sum_{i \in R} d_i^{-1/2} \sum_{k \geq 1} e_i^{(k-1)}`.

Where users have no ids in the graph, their layer 0 is zero, and all of them are known by their recent items, which
count alike: :math:`|R|^{-1/2} \sum_{i \in R} \sum_{k \geq 1} e_i^{(k-1)}`. With ``requests``, whose items are divided
into what is known and what is wanted, a user then never carries a wanted item.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from pydantic import Field, model_validator

from crossrec.components.errors import DataError
from crossrec.components.features.frozen import Frozen
from crossrec.components.features.item_table import Array
from crossrec.components.features.schema import FeatureSchema


class GraphConfig(Frozen):
    """Propagation in training, folded into the served embeddings.

    Attributes:
        user: A query feature with one id, whose values are the users of the graph; without, users have no embeddings
            of their own in it.
        history: A query feature of type ``recent_items``, the neighbours of users whom the graph does not have;
            without, they have none.
        layers: Layers of propagation.
    """

    user: str | None = None
    history: str | None = None
    layers: int = Field(default=3, ge=1, le=8)

    @model_validator(mode="after")
    def _queries_are_in_the_graph(self) -> GraphConfig:
        if self.user is None and self.history is None:
            raise ValueError("names neither user nor history, so no query has a place in the graph. Name one of them")
        return self


def check_graph(config: GraphConfig, schema: FeatureSchema) -> None:
    """Looks whether the features are what a graph can be made of.

    Raises:
        DataError: One of them is not.
    """
    query = {feature.name: feature for feature in schema.side("query")}
    single = [name for name, feature in query.items() if feature.kind == "ids" and not feature.multi_valued]
    histories = [name for name, feature in query.items() if feature.kind == "items"]
    if config.user is not None and config.user not in single:
        raise DataError(
            "retrieval.graph.user",
            f"{config.user!r} is no query feature with one id",
            f"Name one of them: {', '.join(single) or 'there is none; add one to features.query'}.",
        )
    if config.history is not None and config.history not in histories:
        raise DataError(
            "retrieval.graph.history",
            f"{config.history!r} is no feature of type recent_items",
            f"Name one of them: {', '.join(histories) or 'there is none; add one to features.query'}.",
        )


@dataclass(frozen=True)
class Propagated:
    """Layers 1 to K, over K + 1.

    Attributes:
        users: float32 ``[users, D]``; None where they have no ids.
        items: float32 ``[N + 1, D]``; the last row is the unknown item, which has no neighbours.
        neighbours: What each item adds to an unknown user's sum, float32 ``[N + 1, D]``.
    """

    users: tf.Tensor | None
    items: tf.Tensor
    neighbours: tf.Tensor


class Graph(tf.Module):
    """Edges while a model is trained, and tables of what they spread for when it is served."""

    def __init__(self, config: GraphConfig, users: int, items: int, dimension: int):
        """Constructs a graph without edges.

        Args:
            config: Layers.
            users: Ids of the user feature; 0 where there is none.
            items: Items of the catalogue.
            dimension: Size of the embeddings.
        """
        super().__init__(name="graph")
        self.config, self._sizes = config, (users, items)
        # The number of edges is known once there is data; what is saved for serving has none.
        self._edges = tf.Variable(
            np.zeros([0, 2], np.int64), trainable=False, shape=[None, 2], name="edges", dtype=tf.int64
        )
        self._weights = tf.Variable(np.zeros(0, np.float32), trainable=False, shape=[None], name="edge_weights")
        self._roots = tf.Variable(tf.zeros([items]), trainable=False, name="item_roots")
        self._known = tf.Variable(tf.zeros([users], tf.bool), trainable=False, name="known_users")
        self._shape = tf.Variable([users, items], trainable=False, dtype=tf.int64, name="shape")
        self._users = tf.Variable(tf.zeros([users, dimension]), trainable=False, name="users") if users else None
        self._items = tf.Variable(tf.zeros([items + 1, dimension]), trainable=False, name="items")
        self._neighbours = tf.Variable(tf.zeros([items + 1, dimension]), trainable=False, name="neighbours")

    def set_edges(self, users: Array, items: Array) -> None:
        """Takes over who met what.

        Args:
            users: Ids, int64 ``[n]``.
            items: Rows, int64 ``[n]``; pairs with a negative one are left out, and a pair counts once.
        """
        met = (users >= 0) & (items >= 0)
        edges = np.unique(np.stack([users[met], items[met]], 1), axis=0)
        if self._users is None:
            # Any number may name a user.
            edges[:, 0] = np.unique(edges[:, 0], return_inverse=True)[1]
        of_user = np.bincount(edges[:, 0], minlength=self._sizes[0])
        of_item = np.bincount(edges[:, 1], minlength=self._sizes[1])
        roots = 1.0 / np.sqrt(np.maximum(of_item, 1))
        self._edges.assign(edges)
        self._weights.assign((roots[edges[:, 1]] / np.sqrt(of_user[edges[:, 0]])).astype(np.float32))
        # Without users of its own, a graph needs no second share for them: items count alike, as in a root mean.
        of_neighbours = roots if self._users is not None else np.ones(len(roots))
        self._roots.assign((of_neighbours * (of_item > 0)).astype(np.float32))
        self._shape.assign([len(of_user), self._sizes[1]])
        if self._users is not None:
            self._known.assign(of_user > 0)

    @property
    def has_edges(self) -> bool:
        """Whether there is something to spread along, as in training."""
        return bool(self._weights.shape[0] != 0 and tf.size(self._weights.value()).numpy() > 0)

    def forget_edges(self) -> None:
        """Leaves what serving needs."""
        self._edges.assign(np.zeros([0, 2], np.int64))
        self._weights.assign(np.zeros(0, np.float32))

    def propagate(self, users: tf.Tensor | None, items: tf.Tensor) -> Propagated:
        """Spreads layer 0 along the edges.

        Args:
            users: Of all users, float32 ``[users, D]``; None is zero.
            items: Of all items, float32 ``[N, D]``.
        """
        matrix = tf.SparseTensor(self._edges.value(), self._weights.value(), self._shape.value())
        of_users, of_items, before = [], [], []
        at_users, at_items = users, items
        for _ in range(self.config.layers):
            # What is None is zero, and so is what comes of it.
            if at_items is not None:
                before.append(at_items)
            at_users, at_items = (
                None if at_items is None else tf.sparse.sparse_dense_matmul(matrix, at_items),
                None if at_users is None else tf.sparse.sparse_dense_matmul(matrix, at_users, adjoint_a=True),
            )
            of_users += [] if at_users is None else [at_users]
            of_items += [] if at_items is None else [at_items]
        share, rows_of_all = self.share, [[0, 1], [0, 0]]
        spread = tf.add_n(of_items) if of_items else tf.zeros_like(items)
        neighbours = tf.add_n(before) * self._roots.value()[:, None]
        return Propagated(
            None if self._users is None else tf.add_n(of_users) * share,
            tf.pad(spread * share, rows_of_all),
            tf.pad(neighbours * share, rows_of_all),
        )

    @property
    def share(self) -> float:
        """Part of each layer in an embedding."""
        return 1.0 / (self.config.layers + 1)

    def fold(self, propagated: Propagated) -> None:
        """Keeps what was spread for serving."""
        if self._users is not None:
            self._users.assign(propagated.users)
        self._items.assign(propagated.items)
        self._neighbours.assign(propagated.neighbours)

    def folded(self) -> Propagated:
        """What was kept."""
        return Propagated(self._users, self._items, self._neighbours)

    def of_queries(self, found: Propagated, users: tf.Tensor | None, history: tf.Tensor | None) -> tf.Tensor:
        """The part of neighbours in queries' embeddings, float32 ``[B, D]``.

        Args:
            found: Tables.
            users: Ids int64 ``[B, 1]``; None where they have none.
            history: Rows of recent items int64 ``[B, L]``, negative where there is none; None where no feature has
                them.
        """
        if users is None or found.users is None:
            return self._of_history(found, history)
        ids = tf.maximum(users[:, 0], 0)
        out = tf.gather(found.users, ids)
        if history is None:
            return out
        known = tf.gather(self._known.value(), ids) & (users[:, 0] >= 0)
        return tf.where(known[:, None], out, self._of_history(found, history))

    def _of_history(self, found: Propagated, history: tf.Tensor) -> tf.Tensor:
        present = history >= 0
        vectors = tf.gather(found.neighbours, tf.boolean_mask(history, present))
        sums = tf.math.unsorted_segment_sum(vectors, tf.where(present)[:, 0], tf.shape(history)[0])
        count = tf.maximum(tf.reduce_sum(tf.cast(present, tf.float32), 1, keepdims=True), 1.0)
        return sums / tf.sqrt(count)
