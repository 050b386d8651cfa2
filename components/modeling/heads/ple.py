"""Progressive layered extraction: experts of each task beside shared ones, level upon level.

Tang, Liu, Zhao, Gong: "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for
Personalized Recommendations", RecSys 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field, PositiveInt

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.heads.experts import Experts, Gate, Towers
from crossrec.components.modeling.heads.heads import Heads
from crossrec.components.modeling.interactions.deep_network import DeepConfig


class PLEConfig(Frozen):
    """Progressive layered extraction.

    Attributes:
        type: Names these heads in the spec.
        levels: Extraction levels; with one it is the paper's customised gate control (CGC).
        shared_experts: Shared experts of each level.
        task_experts: Experts of each task, on each level.
        expert_layers: Units of each expert's layers.
        tower_layers: Units of each task's own layers on top.
        dropout: Share of these layers' outputs dropped in training.
    """

    type: Literal["ple"] = "ple"
    levels: int = Field(default=2, ge=1, le=8)
    shared_experts: int = Field(default=2, ge=1, le=64)
    task_experts: int = Field(default=2, ge=1, le=64)
    expert_layers: tuple[PositiveInt, ...] = Field(default=(64,), min_length=1)
    tower_layers: tuple[PositiveInt, ...] = ()
    dropout: float = Field(default=0.0, ge=0, lt=1)


class ExtractionLevel(tf_keras.layers.Layer):
    """One level: inputs of each task, then the shared one, to as many outputs; the last level has no shared one.

    A task's gate mixes its own experts and the shared ones, the shared gate mixes all; each gate sees its own input.
    """

    def __init__(self, config: PLEConfig, tasks: int, last: bool, **kwargs: Any):
        """Constructs the level.

        Args:
            config: Numbers and layers of experts.
            tasks: Number of tasks.
            last: Whether nothing would read a shared output.
            **kwargs: For Keras.
        """
        super().__init__(**kwargs)
        layers = DeepConfig(layers=config.expert_layers, dropout=config.dropout)
        self._own = [Experts(config.task_experts, layers, name=f"experts_{task}") for task in range(tasks)]
        self._shared = Experts(config.shared_experts, layers, name="experts_shared")
        self._gates = [Gate(config.task_experts + config.shared_experts, name=f"gate_{task}") for task in range(tasks)]
        everyone = tasks * config.task_experts + config.shared_experts
        self._shared_gate = None if last else Gate(everyone, name="gate_shared")

    def call(self, inputs: Sequence[tf.Tensor], training: bool | None = None) -> list[tf.Tensor]:
        """Maps ``[N, in]`` of each task and the shared one to ``[N, expert_layers[-1]]`` of each."""
        *of_tasks, of_all = inputs
        own = [experts(hidden, training=training) for experts, hidden in zip(self._own, of_tasks)]
        shared = self._shared(of_all, training=training)
        out = [
            gate((hidden, tf.concat([experts, shared], 1))) for gate, hidden, experts in zip(self._gates, of_tasks, own)
        ]
        if self._shared_gate is not None:
            out.append(self._shared_gate((of_all, tf.concat([*own, shared], 1))))
        return out


class PLE(Heads):
    r"""Level j, task k: :math:`x_k^j = \sum_e \mathrm{softmax}(W_k^j x_k^{j-1} + b_k^j)_e [f_k^j; f_s^j]_e`.

    The task's experts :math:`f_k^j` read :math:`x_k^{j-1}`, the shared ones :math:`f_s^j` read
    :math:`x_s^{j-1}`, which is the shared gate's mixture of all experts below; all of level 1 read the input.
    Shapes: ``[N, units]`` to ``[N, tasks]``.
    """

    CONFIG = PLEConfig

    def __init__(self, config: Any, tasks: int, **kwargs: Any):
        """Constructs the layer; arguments as in Heads."""
        super().__init__(config, tasks, **kwargs)
        own = self.config
        self._levels = [
            ExtractionLevel(own, tasks, last=level == own.levels - 1, name=f"level_{level}")
            for level in range(own.levels)
        ]
        self._towers = Towers(tasks, DeepConfig(layers=own.tower_layers, dropout=own.dropout), name="towers")

    def call(self, hidden: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps ``[N, units]`` to float32 ``[N, tasks]``."""
        current = [hidden] * (self.tasks + 1)
        for level in self._levels:
            current = level(current, training=training)
        return self._towers(current, training=training)
