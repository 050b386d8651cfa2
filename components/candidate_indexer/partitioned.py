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
# Length of a query of zeros, which would make the -inf of empty places a NaN.
_SHORTEST = 1e-30


class _Pairs(NamedTuple):
    """The n pairs of a query and a partition that it looks at, by query, then by partition.

    Attributes:
        queries: int64 ``[n]``, the query's place in the batch.
        parts: int64 ``[n]``, the partition.
        starts: int64 ``[B, 1]``, the number of each query's first pair.
        places: int64 ``[B, T]``, the numbers of each query's pairs; n fills up.
    """

    queries: tf.Tensor
    parts: tf.Tensor
    starts: tf.Tensor
    places: tf.Tensor


class PartitionedIndex(tf.Module):
    """The best k of the nearest partitions. Ties go to the lower row.

    Which partitions a query looks at, see Probing. All their items are scored in float32. Where that gives fewer than
    k items, or where the queries of a batch look at more than half of the partitions, all items are scored.
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
        # So many hold k items though one of them is nearly empty.
        least = -(-k // self._capacity) + 1
        most = int(_EXACT_FROM * self._count)
        if least > most:
            return self._exact.search(queries, exclude, k, None, wanted)
        lengths = tf.maximum(tf.norm(queries, axis=1, keepdims=True), _SHORTEST)
        extended = tf.concat([queries, lengths], 1)
        chosen = self._choose(extended, lengths, least, probes, wanted)
        found = tf.where(chosen)

        def exact() -> tuple[tf.Tensor, tf.Tensor]:
            return self._exact.search(queries, exclude, k, None, wanted)

        def probe() -> tuple[tf.Tensor, tf.Tensor]:
            pairs = _pairs(chosen, found)
            scores = self._scores(extended, pairs)
            if wanted:
                scores = self._filtered(scores, pairs, wanted)
            scores = tf.cond(tf.size(exclude) > 0, lambda: self._without(scores, exclude, pairs), lambda: scores)
            # One more than wanted shows whether a tie is cut; where items are missing -inf is equal to -inf.
            values, rows = self._best(scores, pairs, k + 1, least if probes is not None else max(least, rank))
            best = values[:, :k], rows[:, :k]

            def doubtful() -> tuple[tf.Tensor, tf.Tensor]:
                short = tf.reduce_any(tf.math.is_inf(best[0]))
                out: tuple[tf.Tensor, tf.Tensor] = tf.cond(short, exact, lambda: self._cut(scores, pairs, *best))
                return out

            cut = tf.reduce_any(values[:, k - 1] == values[:, k])
            out: tuple[tf.Tensor, tf.Tensor] = tf.cond(cut, doubtful, lambda: self._in_order(*best))
            return out

        rank = min(self._probing.rank, self._count)
        batch, pairs = tf.shape(queries)[0], tf.shape(found)[0]
        # A query that is not a number looks at nothing.
        few = (pairs >= tf.maximum(batch, 1)) & (pairs <= most * batch)
        best, rows = tf.cond(few, probe, exact)
        best.set_shape([None, k])
        rows.set_shape([None, k])
        return best, rows

    def _choose(
        self,
        extended: tf.Tensor,
        lengths: tf.Tensor,
        least: int,
        probes: tf.Tensor | None,
        wanted: Mapping[str, tf.Tensor] | None,
    ) -> tf.Tensor:
        """Whether a query looks at a partition, bool ``[B, P]``."""
        nearness = tf.matmul(extended, self._centres, transpose_b=True)
        lowest = choice.limits(nearness, lengths, self._probing, least)
        if probes is not None or wanted:
            shares = tf.maximum(self.filters.shares(wanted), 0.5 / self.items) if wanted else None
            lowest = choice.moved(nearness, lowest, least, probes, shares)
        return nearness >= lowest

    def _scores(self, extended: tf.Tensor, pairs: _Pairs) -> tf.Tensor:
        """Scores of all places of each pair's partition, float32 ``[n, C]``, -inf where no item is.

        A sparse matrix whose row for each pair holds the query at the partition's places, times the table: the one
        core operation that reads chosen parts of a table and multiplies them without a copy. Entries are multiplied as
        they come: pairs of one partition come one after another, so that it is read from memory once and then lies in
        the processor's cache.
        """
        rows, columns = self._table.shape[0], self._width + 1
        count = tf.size(pairs.parts, tf.int64)
        # Pairs of int32 (row, column) are made as one int64, the lower half first as on all platforms of TensorFlow.
        starts = tf.range(count) + pairs.parts * (columns << 32)
        # A sort; tf.sort is this with a dozen operations around it.
        starts = -tf.math.top_k(-starts, tf.size(starts)).values
        entries = starts[:, None] + np.arange(columns, dtype=np.int64) * 2**32
        values = tf.gather(extended, tf.gather(pairs.queries, starts % 2**32))
        scores: tf.Tensor = tf.raw_ops.SparseTensorDenseMatMul(
            a_indices=tf.reshape(tf.bitcast(entries, tf.int32), [-1, 2]),
            a_values=tf.reshape(values, [-1]),
            a_shape=tf.stack([count, tf.constant(rows, tf.int64)]),
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
        slots = tf.cast(tf.gather(self._slots, tf.maximum(exclude, 0)), tf.int64)
        parts = tf.gather(tf.concat([pairs.parts, [self._count]], 0), pairs.places)
        there = (slots[:, :, None] // self._capacity == parts[:, None, :]) & (exclude >= 0)[:, :, None]
        found = tf.where(there)
        numbers = tf.gather_nd(pairs.places, tf.gather(found, [0, 2], axis=1))
        columns = tf.gather_nd(slots % self._capacity, found[:, :2])
        lowered = tf.fill([tf.shape(found)[0]], float("-inf"))
        return tf.tensor_scatter_nd_update(scores, tf.stack([numbers, columns], 1), lowered)

    def _best(self, scores: tf.Tensor, pairs: _Pairs, depth: int, least: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The best of each query's scores ``[B, depth]``, and their rows, which mean nothing where a score is -inf."""
        across = self._capacity // _GROUP
        groups = tf.reshape(scores, [-1, _GROUP])
        tops = tf.reshape(tf.reduce_max(groups, 1), [-1, across])
        tops = _flat(tf.gather(tf.pad(tops, [[0, 1], [0, 0]], constant_values=float("-inf")), pairs.places))
        # The best items lie in as many groups, those of the best first items.
        many = depth if least * across >= depth else tf.minimum(depth, tf.shape(tops)[1])
        firsts, numbers = tf.math.top_k(tops, many, sorted=False)
        # Where a query has fewer pairs than others, groups of others fill up; the minimum takes them out.
        last = tf.size(pairs.parts, tf.int64) * across - 1
        numbers = tf.minimum(tf.cast(numbers, tf.int64) + pairs.starts * across, last)
        rivals = _flat(tf.minimum(tf.gather(groups, numbers), firsts[:, :, None]))
        values, places = tf.math.top_k(rivals, depth)
        numbers = tf.gather(numbers, places // _GROUP, batch_dims=1)
        slots = tf.gather(pairs.parts, numbers // across) * across + numbers % across
        rows = tf.gather(self._members, slots * _GROUP + tf.cast(places % _GROUP, tf.int64))
        return values, tf.cast(rows, tf.int64)

    def _in_order(self, values: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same ``[B, k]``, whose values fall, with the lower row first of those with equal values."""
        falls = tf.cast(values[:, 1:] < values[:, :-1], tf.int64)
        codes = tf.cumsum(tf.pad(falls, [[0, 0], [1, 0]]), axis=1) * self.items + rows
        return values, -tf.math.top_k(-codes, tf.shape(codes)[1]).values % self.items

    def _cut(self, scores: tf.Tensor, pairs: _Pairs, values: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same ``[B, k]`` where the cut lies between items of equal scores: those of the lower rows stay."""
        batch, k = tf.shape(values)[0], tf.shape(values)[1]
        last = values[:, -1:]
        found = tf.where((scores == tf.gather(last, pairs.queries)) & tf.math.is_finite(scores))
        number, column = found[:, 0], found[:, 1]
        equal = tf.gather(self._members, tf.gather(pairs.parts, number) * self._capacity + column)
        # By query, then by row.
        codes = tf.sort(tf.gather(pairs.queries, number) * self.items + tf.cast(equal, tf.int64))
        counts = tf.math.bincount(tf.cast(codes // self.items, tf.int32), minlength=batch)
        above = tf.math.count_nonzero(values > last, 1, keepdims=True, dtype=tf.int32)
        lanes = tf.range(k) - above
        places = tf.cumsum(counts, exclusive=True)[:, None] + tf.maximum(lanes, 0)
        rows = tf.where(lanes < 0, rows, tf.gather(codes % self.items, places))
        return self._in_order(values, rows)


def _pairs(chosen: tf.Tensor, found: tf.Tensor) -> _Pairs:
    """The pairs of those chosen, bool ``[B, P]``, whose places are ``found`` int64 ``[n, 2]``."""
    queries, parts = tf.unstack(found, axis=1)
    counts = tf.math.count_nonzero(chosen, 1, keepdims=True)
    starts = tf.cumsum(counts, exclusive=True)
    lanes = tf.range(tf.reduce_max(counts))
    return _Pairs(queries, parts, starts, tf.where(lanes < counts, starts + lanes, tf.size(parts, tf.int64)))


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
