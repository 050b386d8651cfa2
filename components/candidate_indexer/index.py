"""Exact search over the catalogue in core TensorFlow operations."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from crossrec.components.candidate_indexer.filters import Filters
from crossrec.components.features.item_table import Array

_SERVED = "served"


def write_index(directory: str, embeddings: Array, served: Array | None = None) -> None:
    """Writes the embeddings of an index.

    Args:
        directory: Where to.
        embeddings: float32 ``[N + 1, D]``; the last row is the unknown item, which is never found.
        served: Those to serve, where they are others.

    Raises:
        FloatingPointError: An embedding is not finite.
    """
    bad = np.flatnonzero(~np.isfinite(embeddings).all(1))
    if bad.size:
        raise FloatingPointError(
            f"retrieval.training: {bad.size} item embeddings are not finite, the first that of row {bad[0]}. "
            "Lower learning_rate and train again"
        )
    if served is not None:
        write_index(f"{directory}/{_SERVED}", served)
    fileio.makedirs(directory)
    buffer = io.BytesIO()
    np.save(buffer, embeddings)
    with fileio.open(f"{directory}/embeddings.npy", "wb") as file:
        file.write(buffer.getvalue())


def read_embeddings(directory: str, served: bool = False) -> Array:
    """The embeddings of an index, float32 ``[N + 1, D]``.

    Args:
        directory: Where the index is.
        served: Whether those to serve are wanted, where they are others.
    """
    if served and fileio.exists(f"{directory}/{_SERVED}"):
        directory = f"{directory}/{_SERVED}"
    with fileio.open(f"{directory}/embeddings.npy", "rb") as file:
        out: Array = np.load(io.BytesIO(file.read()))
    return out


class ExactIndex(tf.Module):
    """All scores, the best k. Ties go to the lower row."""

    def __init__(self, embeddings: Array, filters: Filters | None = None, removed: Array | None = None):
        """Copies the embeddings ``[N + 1, D]`` into a variable; rows ``removed`` bool ``[N]`` are never found."""
        super().__init__(name="exact_index")
        self._gone = None
        if removed is not None:
            lowered = np.where(removed, -np.inf, 0).astype(np.float32)
            self._gone = tf.Variable(np.append(lowered, np.float32(0)), trainable=False, name="removed")
        self.items = len(embeddings) - 1
        self.filters = Filters({}) if filters is None else filters
        self._embeddings = tf.Variable(embeddings, trainable=False, name="candidate_embeddings")

    def score(self, queries: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Scores of given rows.

        Args:
            queries: float32 ``[B, D]``.
            rows: ``[B, C]``; negative is the unknown item.

        Returns:
            float32 ``[B, C]``.
        """
        known = tf.where(rows < 0, tf.constant(self.items, rows.dtype), rows)
        return tf.einsum("bd,bcd->bc", queries, tf.gather(self._embeddings, known))

    def search(
        self,
        queries: tf.Tensor,
        exclude: tf.Tensor,
        k: int,
        probes: tf.Tensor | None = None,
        wanted: Mapping[str, tf.Tensor] | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The k items of highest score, those excluded or not wanted left out before the cut.

        Args:
            queries: float32 ``[B, D]``.
            exclude: int64 rows ``[B, E]``; negative rows are padding.
            k: Items wanted, at most the number of items.
            probes: Has no meaning here.
            wanted: What ``filters.wanted`` gave; nothing is filtered without.

        Returns:
            Scores float32 ``[B, k]``, descending, and rows int64 ``[B, k]``. Where fewer than k items
            are left the score is -inf and the row -1.
        """
        del probes
        scores = tf.matmul(queries, self._embeddings, transpose_b=True)
        if self._gone is not None:
            scores += self._gone
        batch = tf.broadcast_to(tf.range(tf.shape(exclude, tf.int64)[0], dtype=tf.int64)[:, None], tf.shape(exclude))
        # The column of the unknown item takes the padding, and is itself never a result.
        columns = tf.where(exclude < 0, tf.constant(self.items, tf.int64), exclude)
        places = tf.stack([tf.reshape(batch, [-1]), tf.reshape(columns, [-1])], 1)
        none = tf.fill([tf.shape(places)[0]], tf.constant(float("-inf")))
        scores = tf.tensor_scatter_nd_update(scores, places, none)[:, : self.items]
        if wanted:
            codes = {name: codes[None] for name, codes in self.filters.codes.items()}
            scores = tf.where(self.filters.passes(wanted, codes), scores, float("-inf"))
        best, rows = tf.math.top_k(scores, k=min(k, self.items))
        rows = tf.where(tf.math.is_inf(best), tf.constant(-1, tf.int64), tf.cast(rows, tf.int64))
        return best, rows
