"""Shared bottom: all tasks share everything up to their own layers.

Caruana: "Multitask Learning", Machine Learning 28, 1997.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field, PositiveInt

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.heads.experts import Towers
from crossrec.components.modeling.heads.heads import Heads
from crossrec.components.modeling.interactions.deep_network import DeepConfig


class SharedBottomConfig(Frozen):
    """Shared bottom.

    Attributes:
        type: Names these heads in the spec.
        tower_layers: Units of each task's own layers; without any, a task has one linear unit.
        dropout: Share of these layers' outputs dropped in training.
    """

    type: Literal["shared_bottom"] = "shared_bottom"
    tower_layers: tuple[PositiveInt, ...] = ()
    dropout: float = Field(default=0.0, ge=0, lt=1)


class SharedBottom(Heads):
    r"""Each task's network :math:`h_k` on the same input: :math:`y_k = h_k(x)`.

    Shapes: ``[N, units]`` to ``[N, tasks]``.
    """

    CONFIG = SharedBottomConfig

    def __init__(self, config: Any, tasks: int, **kwargs: Any):
        """Constructs the layer; arguments as in Heads."""
        super().__init__(config, tasks, **kwargs)
        towers = DeepConfig(layers=self.config.tower_layers, dropout=self.config.dropout)
        # One matrix for all tasks is one product instead of as many as there are tasks.
        self._network: Any = (
            Towers(tasks, towers, name="towers")
            if towers.layers
            else tf_keras.layers.Dense(tasks, dtype="float32", name="logits")
        )

    def call(self, hidden: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps ``[N, units]`` to float32 ``[N, tasks]``."""
        if not self.config.tower_layers:
            return self._network(hidden)
        return self._network([hidden] * self.tasks, training=training)
