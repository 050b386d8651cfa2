r"""FINAL: dense layers with a product in them, so that the degree of crosses doubles with each layer.

Zhu, Jia, Cai, Dai, Li, Dong, Tang, Zhang: "FINAL: Factorized Interaction Layer for CTR Prediction", SIGIR 2023;
"FinalNet" in the open CTR benchmark.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field, model_validator

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.deep_network import DeepConfig, DeepNetwork
from crossrec.components.modeling.interactions.interaction import Interaction, Logits, flatten
from crossrec.components.modeling.interactions.streams import streams_alone


class FinalNetConfig(Frozen):
    """FINAL; the defaults are those of its published result on Frappe_x1.

    Attributes:
        type: Names this interaction in the spec.
        blocks: One stack of factorised layers, or two side by side.
        field_gate: Whether the first block also sees each field times a linear combination of all fields.
        residual: ``sum``, a layer adds linear part and product; ``concat``, it puts them side by side, half its
            units each.
        distillation: Weight of the loss that teaches each of two blocks the prediction of both.
    """

    type: Literal["final_net"] = "final_net"
    blocks: tuple[DeepConfig, ...] = Field(
        default=(
            DeepConfig(layers=(400, 400), dropout=0.1, batch_normalisation=True),
            DeepConfig(layers=(400,), dropout=0.1, batch_normalisation=True),
        ),
        min_length=1,
        max_length=2,
    )
    field_gate: bool = True
    residual: Literal["sum", "concat"] = "sum"
    distillation: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _layers(self) -> FinalNetConfig:
        for place, block in enumerate(self.blocks):
            if not block.layers:
                raise ValueError(f"blocks[{place}].layers is empty. Give each block a layer or more")
            odd = [units for units in block.layers if units % 2]
            if odd and self.residual == "concat":
                raise ValueError(
                    f"blocks[{place}].layers: {odd} cannot be halved. With residual: concat use even units"
                )
        return self


class FactorisedLayer(tf_keras.layers.Layer):
    r"""One layer: :math:`h_1 = W_1 x + b_1`, :math:`h_2 = h_1 \odot (W_2 x + b_2)`; their sum, or both side by side.

    Shapes: ``[N, D]`` to ``[N, units]``; W_1 and W_2 are one kernel ``[D, 2 units]``, ``[D, units]`` for ``concat``.
    """

    def __init__(self, units: int, residual: Literal["sum", "concat"], **kwargs: Any):
        """Constructs the layer; ``residual`` as in FinalNetConfig."""
        super().__init__(**kwargs)
        self._residual = residual
        self._dense = tf_keras.layers.Dense(2 * units if residual == "sum" else units, name="dense")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps ``[N, D]`` to ``[N, units]``."""
        linear, factor = tf.split(self._dense(inputs), 2, -1)
        product = linear * factor
        return linear + product if self._residual == "sum" else tf.concat([linear, product], -1)


class FieldGate(tf_keras.layers.Layer):
    r"""Fields, and behind them :math:`e_i \odot (\sum_j w_{ij} e_j + b_i)`: ``[N, F, d]`` to ``[N, 2 F, d]``.

    At the start w is 0 and b is 1, so that both halves are the fields.
    """

    def build(self, shape: tf.TensorShape) -> None:
        """Makes w and b."""
        self._mix = tf_keras.layers.Dense(
            int(shape[1]), kernel_initializer="zeros", bias_initializer="ones", name="mix"
        )

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Maps the fields to themselves and their gated copies."""
        gates = tf.transpose(self._mix(tf.transpose(fields, [0, 2, 1])), [0, 2, 1])
        return tf.concat([fields, fields * gates], 1)


class FinalNet(Interaction):
    r"""One block or two, one after the other.

    A dense head w on top is the paper's mean :math:`\hat y = (\hat y_1 + \hat y_2) / 2` of a logit of each block,
    :math:`\hat y_k = 2 w_k x_k + b`.

    Shapes: ``[N, F, d]`` to ``[N, U]``, U the sum of the blocks' last layers.
    """

    CONFIG = FinalNetConfig

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._gate = FieldGate(name="gate") if self.config.field_gate else None
        self._blocks = [
            DeepNetwork(block, partial(FactorisedLayer, residual=self.config.residual), name=f"block_{place}")
            for place, block in enumerate(self.config.blocks)
        ]

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to the blocks' last layers."""
        gated = self._gate(fields) if self._gate is not None else fields
        inputs = [flatten(gated), flatten(fields)]
        return tf.concat([block(seen, training=training) for block, seen in zip(self._blocks, inputs)], -1)

    def auxiliary_losses(self, hidden: tf.Tensor, logits: Logits, labels: tf.Tensor) -> tf.Tensor | None:
        r"""Self-distillation: cross-entropy of each block alone with what both predict, which gets no gradient.

        Args:
            hidden: This layer's output ``[N, U]``.
            logits: Maps it to the model's logits ``[N, tasks]``.
            labels: float32 ``[N, tasks]``, of which only the shape counts here.

        Returns:
            :math:`\sum_k \mathrm{CE}(\sigma(\hat y_k), \sigma(\hat y))` times ``distillation``, float32 ``[N, tasks]``;
            None with one block.
        """
        if len(self.config.blocks) < 2 or not self.config.distillation:
            return None
        teacher = tf.stop_gradient(tf.sigmoid(tf.cast(logits(hidden), tf.float32)))
        sizes = [block.layers[-1] for block in self.config.blocks]
        losses = [
            tf.nn.sigmoid_cross_entropy_with_logits(teacher, tf.cast(logits(alone), tf.float32))
            for alone in streams_alone(hidden, sizes)
        ]
        return self.config.distillation * tf.add_n(losses)
