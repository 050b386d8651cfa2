"""The interface of all multi-task heads."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf
import tf_keras

from crossrec.components.features.frozen import Frozen


class Heads(tf_keras.layers.Layer):
    """Maps what the interactions give ``[N, units]`` to one logit per task, float32 ``[N, tasks]``.

    A subclass names its configuration class in ``CONFIG``, so that Keras can rebuild it from ``get_config``.
    """

    CONFIG: ClassVar[type[Frozen]]

    def __init__(self, config: Any, tasks: int, **kwargs: Any):
        """Constructs the layer.

        Args:
            config: A ``CONFIG``, or the mapping that ``get_config`` gives.
            tasks: Number of tasks.
            **kwargs: For Keras.
        """
        super().__init__(**kwargs)
        self.config: Any = self.CONFIG.model_validate(config)
        self.tasks = tasks

    def call(self, hidden: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps ``[N, units]`` to float32 ``[N, tasks]``."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to construct the layer again."""
        return {**super().get_config(), "config": self.config.model_dump(mode="json"), "tasks": self.tasks}
