"""Multi-gate mixture of experts: tasks share experts, and each mixes them by a gate of its own.

Ma, Zhao, Yi, Chen, Hong, Chi: "Modeling Task Relationships in Multi-task Learning with Multi-gate
Mixture-of-Experts", KDD 2018.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from pydantic import Field, PositiveInt

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.heads.experts import Experts, Gate, Towers
from crossrec.components.modeling.heads.heads import Heads
from crossrec.components.modeling.interactions.deep_network import DeepConfig


class MMoEConfig(Frozen):
    """Multi-gate mixture of experts.

    Attributes:
        type: Names these heads in the spec.
        experts: Experts that all tasks share.
        expert_layers: Units of each expert's layers.
        tower_layers: Units of each task's own layers on its mixture.
        dropout: Share of these layers' outputs dropped in training.
    """

    type: Literal["mmoe"] = "mmoe"
    experts: int = Field(default=4, ge=1, le=64)
    expert_layers: tuple[PositiveInt, ...] = Field(default=(64,), min_length=1)
    tower_layers: tuple[PositiveInt, ...] = ()
    dropout: float = Field(default=0.0, ge=0, lt=1)


class MMoE(Heads):
    r"""Task k: :math:`y_k = h_k\left(\sum_e \mathrm{softmax}(W_k x + b_k)_e f_e(x)\right)`.

    Shapes: ``[N, units]`` to ``[N, tasks]``; the experts f are ``[N, experts, expert_layers[-1]]``.
    """

    CONFIG = MMoEConfig

    def __init__(self, config: Any, tasks: int, **kwargs: Any):
        """Constructs the layer; arguments as in Heads."""
        super().__init__(config, tasks, **kwargs)
        own = self.config
        self._experts = Experts(own.experts, DeepConfig(layers=own.expert_layers, dropout=own.dropout), name="experts")
        self._gates = [Gate(own.experts, name=f"gate_{task}") for task in range(tasks)]
        self._towers = Towers(tasks, DeepConfig(layers=own.tower_layers, dropout=own.dropout), name="towers")

    def call(self, hidden: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps ``[N, units]`` to float32 ``[N, tasks]``."""
        experts = self._experts(hidden, training=training)
        return self._towers([gate((hidden, experts)) for gate in self._gates], training=training)
