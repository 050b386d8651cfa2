"""Search of the most promising partitions in core TensorFlow operations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from crossrec.components.candidate_indexer.index import ExactIndex
from crossrec.components.candidate_indexer.partitions import Partitions
from crossrec.components.features.item_table import Array

# Scores of which only the highest competes in a first round; divides every capacity.
_GROUP = 16
# Exact search multiplies whole matrices, so that it is the faster one well before all partitions are looked at.
EXACT_FROM = 0.25


@dataclass(frozen=True)
class Probing:
    """Which partitions a search looks at.

    Attributes:
        probes: How many, where a request does not say.
        spread_weight: Weight of a partition's spread beside the score of its centre.
    """

    probes: int
    spread_weight: float


class PartitionedIndex(tf.Module):
    """The best k of the nearest partitions. Ties go to the lower row.

    A partition is as good as the score of its centre, and better the wider its items are spread:
    ``q c + weight |q| spread``. All its items are scored in float32. Where that gives fewer than k items, or where so
    few pass the filters that most partitions would have to be looked at, all items are scored.
    """

    def __init__(self, exact: ExactIndex, partitions: Partitions, probing: Probing, embeddings: Array):
        """Lays the embeddings out by partition.

        Args:
            exact: Search over all items, and scores of given ones.
            partitions: Where each item lies.
            probing: Which partitions to look at.
            embeddings: float32 ``[N + 1, D]``, as in ``exact``.
        """
        super().__init__(name="partitioned_index")
        self.items, self.filters = exact.items, exact.filters
        self._exact, self._default = exact, probing.probes
        self._count, self._capacity = partitions.members.shape
        width = embeddings.shape[1]
        self._width = width
        extended = np.concatenate([partitions.centres, probing.spread_weight * partitions.spreads[:, None]], 1)
        self._centres = tf.Variable(extended, trainable=False, name="centres")
        self._members = tf.Variable(partitions.members.reshape(-1), trainable=False, name="members")
        held = np.flatnonzero(partitions.members.reshape(-1) >= 0)
        # An item that lies nowhere is in no partition that a search looks at.
        slots = np.full(self.items, -self._capacity, np.int32)
        slots[partitions.members.reshape(-1)[held]] = held
        self._slots = tf.Variable(slots, trainable=False, name="slots")
        self._table = tf.Variable(_columns(partitions.members, embeddings), trainable=False, name="columns")
        self._codes = {
            name: tf.Variable(
                np.where(partitions.members >= 0, codes.numpy()[np.maximum(partitions.members, 0)], -9),
                trainable=False,
                name=f"partition_codes_{name}",
            )
            for name, codes in self.filters.codes.items()
        }

    def with_probes(self, probes: int) -> PartitionedIndex:
        """The same index, of whose partitions a search looks at another number."""
        other = copy.copy(self)
        other._default = probes
        return other

    @property
    def bytes(self) -> int:
        """Size of what it holds beside the exact index."""
        parts = (self._centres, self._members, self._slots, self._table, *self._codes.values())
        return sum(int(np.prod(part.shape)) * part.dtype.size for part in parts)

    def score(self, queries: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Scores of given rows; see ``ExactIndex.score``."""
        return self._exact.score(queries, rows)

    def search(
        self,
        queries: tf.Tensor,
        exclude: tf.Tensor,
        k: int,
        probes: tf.Tensor | None = None,
        wanted: Mapping[str, tf.Tensor] | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The k best items of the partitions looked at; see ``ExactIndex.search``.

        Args:
            queries: float32 ``[B, D]``.
            exclude: int64 rows ``[B, E]``; negative rows are padding.
            k: Items wanted.
            probes: int64 ``[B]`` partitions to look at; 0 and less is the default.
            wanted: What ``filters.wanted`` gave. The fewer items pass, the more partitions are looked at.
        """
        k = min(k, self.items)
        least = min(-(-k // self._capacity) + 1, self._count)
        default = min(max(self._default, least), self._count)

        def exact() -> tuple[tf.Tensor, tf.Tensor]:
            return self._exact.search(queries, exclude, k, None, wanted)

        if probes is None and not wanted:
            return self._or_exact(self._probe(queries, exclude, k, default, None, wanted), exact)
        count = tf.fill([tf.shape(queries)[0]], default)
        if probes is not None:
            given = tf.cast(tf.clip_by_value(probes, 0, self._count), tf.int32)
            count = tf.where(given > 0, tf.maximum(given, least), count)
        if wanted:
            share = tf.maximum(self.filters.shares(wanted), 0.5 / self.items)
            scaled = tf.math.ceil(tf.cast(count, tf.float32) / share)
            count = tf.cast(tf.minimum(scaled, float(self._count)), tf.int32)
        most = tf.maximum(tf.reduce_max(count), least)
        found: tuple[tf.Tensor, tf.Tensor] = tf.cond(
            most > max(default, int(EXACT_FROM * self._count)),
            exact,
            lambda: self._or_exact(self._probe(queries, exclude, k, most, count, wanted), exact),
        )
        return found

    def _or_exact(
        self, found: tuple[tf.Tensor, tf.Tensor], exact: Callable[[], tuple[tf.Tensor, tf.Tensor]]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What was found, or all scores where a list is short."""
        best: tuple[tf.Tensor, tf.Tensor] = tf.cond(tf.reduce_any(found[1][:, -1] < 0), exact, lambda: found)
        return best

    def _probe(
        self,
        queries: tf.Tensor,
        exclude: tf.Tensor,
        k: int,
        probes: int | tf.Tensor,
        count: tf.Tensor | None,
        wanted: Mapping[str, tf.Tensor] | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The best k of the first ``probes`` partitions of each query, of which ``count`` ``[B]`` count."""
        lengths = tf.norm(queries, axis=1, keepdims=True)
        nearness = tf.matmul(tf.concat([queries, lengths], 1), self._centres, transpose_b=True)
        parts = tf.math.top_k(nearness, probes, sorted=count is not None).indices
        scores = self._scores(queries, parts)
        if count is not None:
            ahead = tf.range(probes)[None, :] < count[:, None]
            scores = tf.where(ahead[:, :, None], scores, float("-inf"))
        if wanted:
            codes = {name: self._flat(tf.gather(table, parts)) for name, table in self._codes.items()}
            passing = tf.reshape(self.filters.passes(wanted, codes), tf.shape(scores))
            scores = tf.where(passing, scores, float("-inf"))
        scores = tf.cond(tf.size(exclude) > 0, lambda: self._without(scores, exclude, parts), lambda: scores)
        return self._best(self._flat(scores), parts, k)

    def _scores(self, queries: tf.Tensor, parts: tf.Tensor) -> tf.Tensor:
        """Scores of all places of partitions ``[B, T]``, float32 ``[B, T, C]``, -inf where no item is.

        A sparse matrix whose row for each query and partition holds the query at the partition's places, times the
        table: the one core operation that reads chosen parts of a table and multiplies them without a copy.
        """
        shape = tf.shape(parts)
        rows = shape[0] * shape[1]
        # Entries are multiplied as they come. Queries that look at the same partition come one after another, so that
        # it is read from memory once and then lies in the processor's cache.
        flat = tf.reshape(parts, [-1])
        numbers = tf.argsort(flat)
        first = tf.gather(flat, numbers) * (self._width + 1)
        # Pairs of int32 (row, column) are made as one int64, the lower half first as on all platforms of TensorFlow.
        high = tf.constant(2**32, tf.int64)
        starts = tf.cast(numbers, tf.int64) + tf.cast(first, tf.int64) * high
        pairs = starts[:, None] + tf.range(self._width + 1, dtype=tf.int64)[None, :] * high
        values = tf.gather(tf.pad(queries, [[0, 0], [0, 1]], constant_values=1.0), numbers // tf.maximum(shape[1], 1))
        products = tf.raw_ops.SparseTensorDenseMatMul(
            a_indices=tf.reshape(tf.bitcast(pairs, tf.int32), [-1, 2]),
            a_values=tf.reshape(values, [-1]),
            a_shape=tf.stack([tf.cast(rows, tf.int64), tf.constant(self._table.shape[0], tf.int64)]),
            b=self._table,
        )
        return tf.reshape(products, [shape[0], shape[1], self._capacity])

    def _without(self, scores: tf.Tensor, exclude: tf.Tensor, parts: tf.Tensor) -> tf.Tensor:
        """Scores ``[B, T, C]`` with those of excluded rows ``[B, E]`` lowered to -inf."""
        slots = tf.gather(self._slots, tf.maximum(exclude, 0))
        there = (slots[:, :, None] // self._capacity == parts[:, None, :]) & (exclude >= 0)[:, :, None]
        found = tf.where(there)
        columns = tf.gather_nd(slots % self._capacity, found[:, :2])
        places = tf.stack([found[:, 0], found[:, 2], tf.cast(columns, tf.int64)], 1)
        return tf.tensor_scatter_nd_update(scores, places, tf.fill([tf.shape(places)[0]], float("-inf")))

    def _best(self, scores: tf.Tensor, parts: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The best k of scores ``[B, T C]``, and their rows."""
        batch, length = tf.shape(scores)[0], tf.shape(scores)[1]
        # One more than wanted shows whether a tie is cut.
        depth = tf.minimum(k + 1, length)
        groups = tf.reshape(scores, [batch, length // _GROUP, _GROUP])
        # The best k items lie in the k groups of the best first items.
        tops = tf.math.top_k(tf.reduce_max(groups, 2), tf.minimum(depth, length // _GROUP), sorted=False).indices
        rivals = self._flat(tf.gather(groups, tops, batch_dims=1))
        values, places = tf.math.top_k(rivals, depth)
        slots = tf.gather(tops, places // _GROUP, batch_dims=1) * _GROUP + places % _GROUP
        rows = self._rows(parts, slots)
        tied = tf.reduce_any((values[:, 1:] == values[:, :-1]) & tf.math.is_finite(values[:, 1:]))
        best, rows = tf.cond(
            tied,
            lambda: self._tied(scores, parts, values[:, :k], rows[:, :k]),
            lambda: (values[:, :k], rows[:, :k]),
        )
        best.set_shape([None, k])
        rows.set_shape([None, k])
        return best, tf.where(tf.math.is_inf(best), tf.constant(-1, tf.int64), tf.cast(rows, tf.int64))

    def _tied(
        self, scores: tf.Tensor, parts: tf.Tensor, values: tf.Tensor, rows: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The same ``[B, k]``, the lower row first of those with equal scores, also where the cut lies between them."""
        last = values[:, -1:]
        everywhere = self._flat(tf.gather(tf.reshape(self._members, [self._count, self._capacity]), parts))
        equal = (scores == last) & tf.math.is_finite(last)
        nobody = tf.constant(np.iinfo(np.int32).min)
        lowest = -tf.math.top_k(tf.where(equal, -everywhere, nobody), tf.shape(values)[1]).values
        above = values > last
        kept = tf.concat([tf.where(above, values, float("-inf")), tf.where(lowest >= 0, last, float("-inf"))], 1)
        order = tf.argsort(tf.concat([rows, lowest], 1), axis=1, stable=True)
        best, places = tf.math.top_k(tf.gather(kept, order, batch_dims=1), tf.shape(values)[1])
        rows = tf.gather(tf.gather(tf.concat([rows, lowest], 1), order, batch_dims=1), places, batch_dims=1)
        return best, rows

    def _rows(self, parts: tf.Tensor, slots: tf.Tensor) -> tf.Tensor:
        """Item rows of places ``[B, n]`` among the partitions looked at."""
        part = tf.gather(parts, slots // self._capacity, batch_dims=1)
        return tf.gather(self._members, part * self._capacity + slots % self._capacity)

    def _flat(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(values, [tf.shape(values)[0], tf.shape(values)[1] * values.shape[2]])


def _columns(members: Array, embeddings: Array) -> Array:
    """A table ``[P (D + 1), C]``: each partition's items as columns, and below them 0, or -inf where no item is."""
    count, capacity = members.shape
    width = embeddings.shape[1]
    table = np.empty((count, width + 1, capacity), np.float32)
    table[:, :width] = embeddings[np.maximum(members, 0)].transpose(0, 2, 1)
    table[:, width] = np.where(members >= 0, 0, -np.inf)
    return table.reshape(-1, capacity)
