"""The interface of all sequence interests."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf
import tf_keras
from pydantic import Field

from crossrec.components.features.frozen import Frozen

InterestInputs = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""Candidates, history, and which items of the history are present."""


class SequenceConfig(Frozen):
    """What every interest is computed from.

    Attributes:
        sequence: A query feature of type ``recent_items``.
        features: Item features whose fields, one after the other, are the vector of an item, recent or candidate;
            the single-valued id features of the item among ``ranking.features`` if left out.
    """

    sequence: str
    features: tuple[str, ...] | None = Field(default=None, min_length=1)

    @property
    def query_features(self) -> tuple[str, ...]:
        """The query features that it is computed from."""
        return (self.sequence,)

    @property
    def item_features(self) -> tuple[str, ...]:
        """The features of the sequence's items that it is computed from, as far as they are named."""
        return self.features or ()


class Interest(tf_keras.layers.Layer):
    """What a sequence of items says about candidates.

    The sequence has its most recent item first; rows that are padding may stand anywhere in it and change
    nothing, and where all rows are padding the interest is zeros. A subclass names its configuration class in
    ``CONFIG``, so that Keras can rebuild it from ``get_config``.
    """

    CONFIG: ClassVar[type[SequenceConfig]]

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer from a ``CONFIG`` or from the mapping that ``get_config`` gives."""
        super().__init__(**kwargs)
        self.config: Any = self.CONFIG.model_validate(config)

    def call(self, inputs: InterestInputs, training: bool | None = None) -> tf.Tensor:
        """Maps candidates and history to interests.

        Args:
            inputs: Vectors of candidates ``[B, C, D]``, vectors of the sequence's items ``[B, L, D]``, and bool
                ``[B, L]``, False where an item is padding; sizes are static but for B and C.
            training: As in Keras.

        Returns:
            ``[B, C, D]``.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to construct the layer again."""
        return {**super().get_config(), "config": self.config.model_dump(mode="json")}


def masked_softmax(scores: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
    """Softmax over the last axis among the allowed places; zeros where none is.

    Args:
        scores: ``[..., L]``.
        allowed: bool, broadcast to the shape of the scores.
    """
    # In float16 the exponentials of long sequences lose what their sum needs, and -1e9 would be infinite.
    full = tf.where(allowed, tf.cast(scores, tf.float32), -1e9)
    return tf.cast(tf.nn.softmax(full) * tf.cast(allowed, tf.float32), scores.dtype)


def to_candidates(interest: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """One interest per query ``[B, D]`` for each of its candidates: ``[B, C, D]``."""
    shape = tf.shape(candidates)
    return tf.broadcast_to(interest[:, None, :], [shape[0], shape[1], interest.shape[-1]])
