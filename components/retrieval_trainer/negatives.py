r"""Which items a positive is compared with, beside those of its own batch.

Candidates come from several sources, and item j is expected :math:`c_j` times among them: :math:`B p_j` times from the
batch, :math:`M p_j` from former batches, :math:`u / N + v p_j` among u uniform and v popular draws, with p the shares
of the positives. Where a candidate counts :math:`1 / c_j`, the sum over candidates is, in expectation, that over the
catalogue (Bengio and Senécal, "Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
Model", 2008; Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from pydantic import Field, model_validator

from crossrec.components.features.frozen import Frozen
from crossrec.components.features.item_table import Array
from crossrec.components.modeling.replicas import gather_replicas, replicas


class HardNegativesConfig(Frozen):
    """Negatives that the model itself scores highest, found anew in each step.

    Zhang, Chen, Wang, Yu: "Optimizing Top-N Collaborative Filtering via Dynamic Negative Item Sampling", SIGIR 2013.

    Attributes:
        pool: Items drawn uniformly in each step.
        kept: Of them, those that each row is compared with: its highest scores, targets of its request left out.
    """

    pool: int = Field(default=2048, ge=2, le=1_000_000)
    kept: int = Field(default=64, ge=1)

    @model_validator(mode="after")
    def _kept_are_of_the_pool(self) -> HardNegativesConfig:
        if self.kept > self.pool:
            raise ValueError(f"kept {self.kept} is more than pool {self.pool}. Draw more, or keep fewer")
        return self


class DrawnConfig(Frozen):
    """Negatives beside those of the batch.

    Attributes:
        uniform: Items drawn uniformly from the catalogue in each step (with those of the batch the mixed negatives of
            Yang et al., "Mixed Negative Sampling for Learning Two-tower Neural Networks in Recommendations", 2020).
        popular: Items drawn by their share of the positives.
        memory: Positives of former batches that are kept, with the embeddings that they had then (Wang, Zhu, He:
            "Cross-Batch Negative Sampling for Training Two-Tower Recommenders", SIGIR 2021).
        hard: Negatives mined from the model itself.
    """

    uniform: int = Field(default=0, ge=0, le=1_000_000)
    popular: int = Field(default=0, ge=0, le=1_000_000)
    memory: int = Field(default=0, ge=0, le=10_000_000)
    hard: HardNegativesConfig | None = None

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self.uniform or self.popular or self.memory or self.hard)


@dataclass(frozen=True)
class Candidates:
    """Items that a batch is compared with.

    Attributes:
        rows: Item rows, int64 ``[C]``; negative where a memory is not full yet.
        embeddings: float32 ``[C, D]``.
    """

    rows: tf.Tensor
    embeddings: tf.Tensor

    def and_then(self, other: Candidates) -> Candidates:
        """These and others."""
        return Candidates(tf.concat([self.rows, other.rows], 0), tf.concat([self.embeddings, other.embeddings], 0))


def sampling_probabilities(frequencies: Array) -> Array:
    """Probability that an item is drawn as an in-batch negative: its share of the training positives.

    Items without a positive are never drawn as negatives; they get the share of half an interaction.

    Args:
        frequencies: int64 ``[N]``.

    Returns:
        float32 ``[N]``.
    """
    out: Array = (np.maximum(frequencies, 0.5) / max(frequencies.sum(), 1)).astype(np.float32)
    return out


class Memory(tf.Module):
    """The items of former batches, the oldest replaced first; equal on all devices."""

    def __init__(self, size: int, dimension: int):
        """Constructs an empty memory."""
        super().__init__(name="memory")
        self._size = size
        # All devices write the same, because each has gathered the items of all.
        shared = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        self._rows = tf.Variable(tf.fill([size], tf.constant(-1, tf.int64)), name="memory_rows", **shared)
        self._embeddings = tf.Variable(tf.zeros([size, dimension]), name="memory_embeddings", **shared)
        self._next = tf.Variable(0, dtype=tf.int64, name="memory_next", **shared)

    def candidates(self) -> Candidates:
        """What it holds, as it is now."""
        return Candidates(tf.identity(self._rows), tf.identity(self._embeddings))

    @property
    def filled(self) -> tf.Tensor:
        """How many items it holds, float32."""
        return tf.reduce_sum(tf.cast(self._rows.value() >= 0, tf.float32))

    def put(self, items: Candidates) -> None:
        """Takes items in; of more than its size the last."""
        rows, embeddings = items.rows[-self._size :], tf.stop_gradient(items.embeddings)[-self._size :]
        count = tf.shape(rows, tf.int64)[0]
        places = (self._next.value() + tf.range(count)) % self._size
        old_rows, old_embeddings = self._rows.value(), self._embeddings.value()
        self._rows.assign(tf.tensor_scatter_nd_update(old_rows, places[:, None], rows))
        self._embeddings.assign(tf.tensor_scatter_nd_update(old_embeddings, places[:, None], embeddings))
        self._next.assign((self._next.value() + count) % self._size)


class Negatives(tf.Module):
    """Draws candidates, and knows how often to expect each."""

    def __init__(self, config: DrawnConfig, in_batch: bool, probabilities: Array, dimension: int):
        """Constructs the sources.

        Args:
            config: How many of which.
            in_batch: Whether the positives of the other rows are candidates.
            probabilities: Shares of the positives, float32 ``[N]``.
            dimension: Size of the embeddings.
        """
        super().__init__(name="negatives")
        self._config, self._in_batch, self._items = config, in_batch, len(probabilities)
        self._probabilities = tf.Variable(probabilities, trainable=False, name="sampling_probabilities")
        self._memory = Memory(config.memory, dimension) if config.memory else None

    @property
    def pool(self) -> int:
        """How many of the last candidates are the pool of hard negatives."""
        return self._config.hard.pool if self._config.hard else 0

    def draw(self, batch: Candidates | None, embed: Callable[[tf.Tensor], tf.Tensor], dimension: int) -> Candidates:
        """All candidates: those of the batch, those of former ones, uniform and popular draws, the pool.

        Args:
            batch: The positives of all devices; None where they are no candidates.
            embed: Embeds item rows int64 ``[C]``.
            dimension: Size of the embeddings.
        """
        none = Candidates(tf.zeros([0], tf.int64), tf.zeros([0, dimension]))
        out = none if batch is None else batch
        if self._memory is not None:
            out = out.and_then(self._memory.candidates())
        parts = []
        if self._config.uniform:
            parts.append(self._uniform(self._config.uniform))
        if self._config.popular:
            logits = tf.math.log(self._probabilities.value())[None]
            parts.append(tf.random.categorical(logits, self._config.popular, tf.int64)[0])
        if self.pool:
            parts.append(self._uniform(self.pool))
        if not parts:
            return out
        rows = tf.concat(parts, 0)
        return out.and_then(Candidates(rows, embed(rows)))

    def expected_counts(self, rows: tf.Tensor, batch_size: tf.Tensor) -> tf.Tensor:
        """How often each of the items is expected among the candidates.

        Args:
            rows: int64 ``[C]``; those that are negative count once.
            batch_size: Positives of all devices, float32.

        Returns:
            float32 ``[C]``.
        """
        drawn = tf.constant(float(self._config.popular))
        if self._in_batch:
            drawn += batch_size
        if self._memory is not None:
            drawn += self._memory.filled
        uniform = (self._config.uniform + self.pool) / self._items
        counts = drawn * tf.gather(self._probabilities.value(), tf.maximum(rows, 0)) + uniform
        return tf.where(rows < 0, tf.ones_like(counts), counts)

    def remember(self, batch: Candidates) -> None:
        """Keeps the positives of a batch for later ones."""
        if self._memory is not None:
            self._memory.put(batch)

    def _uniform(self, count: int) -> tf.Tensor:
        return tf.random.uniform([count], 0, self._items, tf.int64)


@dataclass(frozen=True)
class BatchNegatives:
    """The items of the whole batch as each row's candidates.

    Attributes:
        rows: Item rows of all devices, int64 ``[C]``.
        own: Place of each of this device's rows among them, int64 ``[P]``.
    """

    rows: tf.Tensor
    own: tf.Tensor

    @classmethod
    def of(cls, rows: tf.Tensor) -> BatchNegatives:
        """From this device's item rows int64 ``[P]``."""
        size = tf.shape(rows, tf.int64)[0]
        everyone = gather_replicas(rows)
        places = tf.range(size)
        if replicas() > 1:
            before = tf.cumsum(gather_replicas(size[None]), exclusive=True)
            places += tf.gather(before, tf.distribute.get_replica_context().replica_id_in_sync_group)
        return cls(everyone, places)


def is_easy(scores: tf.Tensor, kept: int) -> tf.Tensor:
    """Which scores ``[P, pool]`` are not among the highest ``kept`` of their row."""
    lowest = tf.math.top_k(tf.stop_gradient(scores), kept).values[:, -1:]
    return scores < lowest


def is_target(rows: tf.Tensor, targets: tf.Tensor, items: int) -> tf.Tensor:
    """Which candidates are targets of which request, bool ``[B, C]``.

    Args:
        rows: Candidates, int64 ``[C]``, not negative.
        targets: int64 ``[B, T]``, negative where there is none.
        items: Items of the catalogue.
    """
    size = tf.shape(targets, tf.int64)
    requests = tf.broadcast_to(tf.range(size[0])[:, None], size)
    # One number per candidate item, so that the requests' targets meet candidates and not the catalogue.
    distinct, place = tf.unique(rows, tf.int64)
    found = tf.fill([items + 1], tf.constant(-1, tf.int64))
    found = tf.tensor_scatter_nd_update(found, distinct[:, None], tf.range(tf.shape(distinct, tf.int64)[0]))
    columns = tf.gather(found, tf.where(targets < 0, tf.constant(items, targets.dtype), targets))
    hit = columns >= 0
    places = tf.stack([tf.boolean_mask(requests, hit), tf.boolean_mask(columns, hit)], 1)
    ones = tf.ones([tf.shape(places)[0]], tf.int32)
    table = tf.scatter_nd(places, ones, tf.stack([size[0], tf.shape(distinct, tf.int64)[0]]))
    return tf.gather(table > 0, place, axis=1)
