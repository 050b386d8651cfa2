"""The interface of all interaction layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import tensorflow as tf
import tf_keras

from crossrec.components.features.frozen import Frozen

Logits = Callable[[tf.Tensor], tf.Tensor]
"""Maps an interaction's output ``[N, units]`` to the model's logits ``[N, tasks]``, everything else being as it is."""


class Interaction(tf_keras.layers.Layer):
    """Maps the fields of examples ``[N, F, d]`` to ``[N, units]``; the model puts its heads on top.

    A subclass names its configuration class in ``CONFIG``, so that Keras can rebuild it from ``get_config``.
    """

    CONFIG: ClassVar[type[Frozen]]

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer from a ``CONFIG`` or from the mapping that ``get_config`` gives."""
        super().__init__(**kwargs)
        self.config: Any = self.CONFIG.model_validate(config)

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps ``[N, F, d]`` to ``[N, units]``."""
        raise NotImplementedError

    def auxiliary_losses(self, hidden: tf.Tensor, logits: Logits, labels: tf.Tensor) -> tf.Tensor | None:
        """A loss of this interaction's own, to be added to the cross-entropy in training; None if it has none.

        Args:
            hidden: This layer's output ``[N, units]``.
            logits: Maps such an output to the model's logits ``[N, tasks]``, all else being equal.
            labels: float32 ``[N, tasks]``.

        Returns:
            float32 ``[N, tasks]``, or None.
        """
        del hidden, logits, labels
        return None

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to construct the layer again."""
        return {**super().get_config(), "config": self.config.model_dump(mode="json")}


def flatten(fields: tf.Tensor) -> tf.Tensor:
    """Fields ``[N, F, d]`` one after the other: ``[N, F d]``."""
    return tf.reshape(fields, [-1, fields.shape[1] * fields.shape[2]])
