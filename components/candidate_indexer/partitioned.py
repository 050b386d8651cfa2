"""Search of the most promising partitions in core TensorFlow operations."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from crossrec.components.candidate_indexer import probing as choice
from crossrec.components.candidate_indexer.index import ExactIndex
from crossrec.components.candidate_indexer.partitions import Partitions
from crossrec.components.candidate_indexer.probing import Probing
from crossrec.components.features.item_table import Array

# Scores of which only the highest competes in a first round; divides every capacity.
_GROUP = 16
# Exact search multiplies whole matrices: for a batch it is the faster one before all partitions are looked at.
_EXACT_FROM = 0.5


class _Pairs(NamedTuple):
    """The n pairs of a partition and a query that looks at it, by partition, then by query.

    Attributes:
        parts: int32 ``[n]``, the partition.
        queries: int32 ``[n]``, the query's place in the batch.
        places: int32 ``[B, T]``, numbers of each query's pairs; n fills up.
    """

    parts: tf.Tensor
    queries: tf.Tensor
    places: tf.Tensor


class PartitionedIndex(tf.Module):
    """The best k of the nearest partitions. Ties go to the lower row.

    Which partitions a query looks at, see Probing. All their items are scored in float32. Where that gives fewer than
    k items, or where the queries of a batch look at half of the partitions or more, all items are scored.
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
        self._exact, self._probing = exact, probing
        self._count, self._capacity = partitions.members.shape
        self._width = embeddings.shape[1]
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

    def with_margin(self, margin: float) -> PartitionedIndex:
        """The same index, which looks at more or fewer partitions."""
        other = copy.copy(self)
        other._probing = Probing(0, self._probing.spread_weight, self._probing.rank, margin)
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

        def exact() -> tuple[tf.Tensor, tf.Tensor]:
            return self._exact.search(queries, exclude, k, None, wanted)

        def probe() -> tuple[tf.Tensor, tf.Tensor]:
            found = self._probe(queries, exclude, k, _pairs(chosen, places), wanted)
            best: tuple[tf.Tensor, tf.Tensor] = tf.cond(
                tf.reduce_any(tf.math.is_inf(found[0][:, -1])), exact, lambda: found
            )
            return best

        chosen = self._choose(queries, k, probes, wanted)
        places = tf.where(chosen)
        batch, pairs = tf.shape(queries)[0], tf.shape(places)[0]
        # A query that is not a number looks at nothing.
        few = (pairs >= batch) & (pairs <= max(1, int(_EXACT_FROM * self._count)) * batch)
        found: tuple[tf.Tensor, tf.Tensor] = tf.cond(few, probe, exact)
        return found

    def _choose(
        self, queries: tf.Tensor, k: int, probes: tf.Tensor | None, wanted: Mapping[str, tf.Tensor] | None
    ) -> tf.Tensor:
        """Whether a partition is looked at by a query, bool ``[P, B]``."""
        # So many hold k items though one of them is nearly empty.
        least = min(-(-k // self._capacity) + 1, self._count)
        lengths = tf.norm(queries, axis=1)
        nearness = tf.matmul(tf.concat([queries, lengths[:, None]], 1), self._centres, transpose_b=True)
        lowest = choice.limits(nearness, lengths, self._probing, least)
        if probes is not None or wanted:
            shares = tf.maximum(self.filters.shares(wanted), 0.5 / self.items) if wanted else None
            lowest = choice.moved(nearness, lowest, least, probes, shares)
        return tf.transpose(nearness) >= lowest

    def _probe(
        self,
        queries: tf.Tensor,
        exclude: tf.Tensor,
        k: int,
        pairs: _Pairs,
        wanted: Mapping[str, tf.Tensor] | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The best k of the partitions that each query looks at."""
        scores = self._scores(queries, pairs)
        if wanted:
            scores = self._filtered(scores, pairs, wanted)
        scores = tf.cond(tf.size(exclude) > 0, lambda: self._without(scores, exclude, pairs), lambda: scores)
        return self._best(scores, pairs, k)

    def _scores(self, queries: tf.Tensor, pairs: _Pairs) -> tf.Tensor:
        """Scores of all places of each pair's partition, float32 ``[n, C]``, -inf where no item is.

        A sparse matrix whose row for each pair holds the query at the partition's places, times the table: the one
        core operation that reads chosen parts of a table and multiplies them without a copy. Entries are multiplied as
        they come: pairs of one partition come one after another, so that it is read from memory once and then lies in
        the processor's cache.
        """
        first = tf.cast(pairs.parts, tf.int64) * (self._width + 1)
        # Pairs of int32 (row, column) are made as one int64, the lower half first as on all platforms of TensorFlow.
        high = tf.constant(2**32, tf.int64)
        starts = tf.range(tf.size(first, tf.int64)) + first * high
        entries = starts[:, None] + tf.range(self._width + 1, dtype=tf.int64)[None, :] * high
        values = tf.gather(tf.pad(queries, [[0, 0], [0, 1]], constant_values=1.0), pairs.queries)
        scores: tf.Tensor = tf.raw_ops.SparseTensorDenseMatMul(
            a_indices=tf.reshape(tf.bitcast(entries, tf.int32), [-1, 2]),
            a_values=tf.reshape(values, [-1]),
            a_shape=tf.stack([tf.size(first, tf.int64), tf.constant(self._table.shape[0], tf.int64)]),
            b=self._table,
        )
        return scores

    def _filtered(self, scores: tf.Tensor, pairs: _Pairs, wanted: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Scores ``[n, C]`` with those of items that do not pass lowered to -inf."""
        accepted = {name: tf.gather(codes, pairs.queries) for name, codes in wanted.items()}
        codes = {name: tf.gather(table, pairs.parts) for name, table in self._codes.items()}
        return tf.where(self.filters.passes(accepted, codes), scores, float("-inf"))

    def _without(self, scores: tf.Tensor, exclude: tf.Tensor, pairs: _Pairs) -> tf.Tensor:
        """Scores ``[n, C]`` with those of excluded rows ``[B, E]`` lowered to -inf."""
        slots = tf.gather(self._slots, tf.maximum(exclude, 0))
        parts = tf.gather(tf.concat([pairs.parts, [self._count]], 0), pairs.places)
        there = (slots[:, :, None] // self._capacity == parts[:, None, :]) & (exclude >= 0)[:, :, None]
        found = tf.where(there)
        numbers = tf.gather_nd(pairs.places, tf.gather(found, [0, 2], axis=1))
        columns = tf.gather_nd(slots % self._capacity, found[:, :2])
        lowered = tf.fill([tf.shape(found)[0]], float("-inf"))
        return tf.tensor_scatter_nd_update(scores, tf.stack([numbers, columns], 1), lowered)

    def _best(self, scores: tf.Tensor, pairs: _Pairs, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The best k of each query's scores, and their rows, which mean nothing where a score is -inf."""
        across = self._capacity // _GROUP
        groups = tf.reshape(scores, [-1, _GROUP])
        tops = _spread(tf.reshape(tf.reduce_max(groups, 1), [-1, across]), pairs)
        # One more than wanted shows whether a tie is cut.
        depth = tf.minimum(k + 1, tf.shape(tops)[1] * _GROUP)
        # The best k items lie in the k groups of the best first items.
        firsts, tops = tf.math.top_k(tops, tf.minimum(depth, tf.shape(tops)[1]), sorted=False)
        last = tf.shape(scores)[0] - 1
        # Where a query has fewer pairs than others, groups of others fill up; the minimum takes them out.
        numbers = tf.minimum(tf.gather(pairs.places, tops // across, batch_dims=1), last) * across + tops % across
        rivals = _flat(tf.minimum(tf.gather(groups, numbers), firsts[:, :, None]))
        values, places = tf.math.top_k(rivals, depth)
        slots = tf.gather(numbers, places // _GROUP, batch_dims=1) * _GROUP + places % _GROUP
        part = tf.gather(pairs.parts, slots // self._capacity)
        rows = tf.gather(self._members, part * self._capacity + slots % self._capacity)
        equal = (values[:, 1:] == values[:, :-1]) & tf.math.is_finite(values[:, 1:])
        best, rows = tf.cond(
            tf.reduce_any(equal),
            lambda: tf.cond(
                tf.reduce_any(equal[:, k - 1 :]),
                lambda: self._cut(scores, pairs, values[:, :k], rows[:, :k]),
                lambda: _ordered(values[:, :k], rows[:, :k], k),
            ),
            lambda: (values[:, :k], rows[:, :k]),
        )
        best.set_shape([None, k])
        rows.set_shape([None, k])
        return best, tf.cast(rows, tf.int64)

    def _cut(self, scores: tf.Tensor, pairs: _Pairs, values: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same ``[B, k]`` where the cut lies between items of equal scores: those of the lower rows stay."""
        batch, k = tf.shape(values)[0], tf.shape(values)[1]
        last = values[:, -1:]
        found = tf.where((scores == tf.gather(last, pairs.queries)) & tf.math.is_finite(scores))
        number, column = tf.cast(found[:, 0], tf.int32), tf.cast(found[:, 1], tf.int32)
        equal = tf.gather(self._members, tf.gather(pairs.parts, number) * self._capacity + column)
        # By query, then by row.
        codes = tf.sort(tf.cast(tf.gather(pairs.queries, number), tf.int64) * self.items + tf.cast(equal, tf.int64))
        queries, equal = tf.cast(codes // self.items, tf.int32), tf.cast(codes % self.items, tf.int32)
        starts = tf.cumsum(tf.math.bincount(queries, minlength=batch), exclusive=True)
        lanes = tf.range(tf.size(queries)) - tf.gather(starts, queries)
        kept = tf.where(lanes < k)[:, 0]
        places = tf.gather(tf.stack([queries, lanes], 1), kept)
        lowest = tf.tensor_scatter_nd_update(tf.fill([batch, k], -1), places, tf.gather(equal, kept))
        above = tf.where(values > last, values, float("-inf"))
        return _ordered(
            tf.concat([above, tf.where(lowest >= 0, last, float("-inf"))], 1), tf.concat([rows, lowest], 1), k
        )


def _pairs(chosen: tf.Tensor, found: tf.Tensor) -> _Pairs:
    """The pairs of those chosen, bool ``[P, B]``, whose places are ``found`` int64 ``[n, 2]``."""
    numbers = tf.range(tf.shape(found)[0])
    seen = tf.cumsum(tf.cast(chosen, tf.int32), axis=0)
    lanes = tf.gather_nd(seen, found) - 1
    queries = tf.cast(found[:, 1], tf.int32)
    widest = tf.maximum(tf.reduce_max(seen[-1:], 1), 1)
    places = tf.fill(tf.concat([tf.shape(chosen)[1:], widest], 0), tf.size(numbers))
    places = tf.tensor_scatter_nd_update(places, tf.stack([queries, lanes], 1), numbers)
    return _Pairs(tf.cast(found[:, 0], tf.int32), queries, places)


def _spread(values: tf.Tensor, pairs: _Pairs) -> tf.Tensor:
    """Values of pairs ``[n, m]`` by query, ``[B, T m]``; -inf where a query has fewer pairs than others."""
    padded = tf.pad(values, [[0, 1], [0, 0]], constant_values=float("-inf"))
    return _flat(tf.gather(padded, pairs.places))


def _ordered(values: tf.Tensor, rows: tf.Tensor, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best of ``[B, n]``, the lower row first of those with equal values."""
    order = tf.argsort(rows, axis=1, stable=True)
    best, places = tf.math.top_k(tf.gather(values, order, batch_dims=1), k)
    return best, tf.gather(tf.gather(rows, order, batch_dims=1), places, batch_dims=1)


def _flat(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, [tf.shape(values)[0], tf.shape(values)[1] * values.shape[2]])


def _columns(members: Array, embeddings: Array) -> Array:
    """A table ``[P (D + 1), C]``: each partition's items as columns, and below them 0, or -inf where no item is."""
    count, capacity = members.shape
    width = embeddings.shape[1]
    table = np.empty((count, width + 1, capacity), np.float32)
    table[:, :width] = embeddings[np.maximum(members, 0)].transpose(0, 2, 1)
    table[:, width] = np.where(members >= 0, 0, -np.inf)
    return table.reshape(-1, capacity)
