r"""TF4CTR: a simple and a complex encoder, each with embeddings and a loss of its own.

Li, Ru, Zhang, Zhang, Sang, Yang: "TF4CTR: Twin Focus Framework for CTR Prediction via Adaptive Sample
Differentiation", arXiv 2405.03167 (2024).

Its authors' logs in github.com/salmon1802/TF4CTR give, on Frappe_x1 with embedding size 16 (and 8 more for the simple
encoder), ``separate`` selection and concatenation, a test AUC of 0.98703 and log loss of 0.1420 (run
``TF4CTRv2_Frappe_223_d90967c0``; 0.98706 and 0.1445 for ``TF4CTRv2_Frappe_203_3120031b``), and 0.98412 and 0.1649 with
``gate`` (``TF4CTRv2_Frappe_004_22d0e023``). FinalMLP has 0.98607 and 0.1484 there with embedding size 10.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field, model_validator

from crossrec.components.errors import DataError
from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.deep_network import DeepConfig, DeepNetwork
from crossrec.components.modeling.interactions.interaction import Interaction, Logits, flatten
from crossrec.components.modeling.interactions.streams import streams_alone


class TF4CTRConfig(Frozen):
    """TF4CTR; the defaults are those of the published run ``TF4CTRv2_Frappe_223_d90967c0`` on Frappe_x1.

    Attributes:
        type: Names this interaction in the spec.
        selection: What the encoders see: ``separate``, columns of the fields' embeddings of their own, which is
            as good as two tables; ``gate``, g and 1 - g times all fields, g computed from the example;
            ``shared``, all fields.
        simple_dimension: Columns of each field for the simple encoder if ``separate``; a third if left out.
        simple: Layers of the simple encoder.
        complex: Layers of the complex encoder.
        twin_focus: Weight of the twin focus loss, which is added to the cross-entropy.
        simple_weight: Share alpha of the simple encoder in that loss.
        focus: c of that loss.
        exponent: gamma of that loss.
    """

    type: Literal["tf4ctr"] = "tf4ctr"
    selection: Literal["separate", "gate", "shared"] = "separate"
    simple_dimension: int | None = Field(default=None, ge=1)
    simple: DeepConfig = DeepConfig(layers=(400, 400), dropout=0.2, batch_normalisation=True)
    complex: DeepConfig = DeepConfig(layers=(400, 400, 400), dropout=0.2, batch_normalisation=True)
    twin_focus: float = Field(default=1.0, ge=0)
    simple_weight: float = Field(default=0.25, ge=0, le=1)
    focus: float = Field(default=0.9, ge=0, le=1)
    exponent: float = Field(default=2.0, ge=0)

    @model_validator(mode="after")
    def _layers(self) -> TF4CTRConfig:
        for name in ("simple", "complex"):
            if not getattr(self, name).layers:
                raise ValueError(f"{name}.layers is empty. Give each encoder a layer or more")
        return self


def twin_focus_losses(
    simple_logits: tf.Tensor, complex_logits: tf.Tensor, labels: tf.Tensor, config: TF4CTRConfig
) -> tf.Tensor:
    r"""The twin focus loss of each example and task.

    :math:`\alpha (c + p_s)^\gamma \mathrm{CE}_s + (1 - \alpha) (2 - c - p_c)^\gamma \mathrm{CE}_c`, where p is the
    probability that an encoder alone gives the true label: the simple encoder is to care for examples that it
    finds easy, the complex one for those that it finds hard.

    Args:
        simple_logits: Logits of the simple encoder alone, float32 ``[N, tasks]``.
        complex_logits: Logits of the complex encoder alone.
        labels: float32 ``[N, tasks]``.
        config: Holds alpha, c and gamma.

    Returns:
        float32 ``[N, tasks]``.
    """

    def of_truth(logits: tf.Tensor) -> tf.Tensor:
        probability = tf.sigmoid(logits)
        return labels * probability + (1 - labels) * (1 - probability)

    # The smallest base is 1 - c, and a power of zero has no finite gradient where gamma is below 1.
    tiny = 1e-6
    easy = tf.pow(tf.maximum(config.focus + of_truth(simple_logits), tiny), config.exponent)
    hard = tf.pow(tf.maximum(2 - config.focus - of_truth(complex_logits), tiny), config.exponent)
    return config.simple_weight * easy * tf.nn.sigmoid_cross_entropy_with_logits(labels, simple_logits) + (
        1 - config.simple_weight
    ) * hard * tf.nn.sigmoid_cross_entropy_with_logits(labels, complex_logits)


class TF4CTR(Interaction):
    r"""Simple and complex encoder, one after the other.

    A dense head w on top fuses them to :math:`\hat y = (\hat y_s + \hat y_c) / 2`, :math:`\hat y_s = 2 w_s h_s + b`
    and :math:`\hat y_c = 2 w_c h_c + b` being the encoders' own logits: the published concatenation, whose encoders
    have further heads for their own logits, with these heads shared.

    Shapes: ``[N, F, d]`` to ``[N, simple.layers[-1] + complex.layers[-1]]``.
    """

    CONFIG = TF4CTRConfig

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._simple = DeepNetwork(self.config.simple, name="simple")
        self._complex = DeepNetwork(self.config.complex, name="complex")

    def build(self, shape: tf.TensorShape) -> None:
        """Divides the columns, or makes the gate.

        Raises:
            DataError: An encoder would have no columns.
        """
        size = int(shape[2])
        self._columns = self.config.simple_dimension or max(1, size // 3)
        if self.config.selection == "separate" and self._columns >= size:
            raise DataError(
                "ranking.interactions.tf4ctr.simple_dimension",
                f"{self._columns} of {size} columns leave none for the complex encoder",
                "Take fewer, or raise ranking.embedding_dimension.",
            )
        if self.config.selection == "gate":
            units = max(1, int(shape[1]) * size // 4)
            complex_ = self.config.complex
            hidden = DeepConfig(
                layers=(units,), dropout=complex_.dropout, batch_normalisation=complex_.batch_normalisation
            )
            self._gate_hidden = DeepNetwork(hidden, name="gate_hidden")
            self._gate = tf_keras.layers.Dense(1, activation="sigmoid", name="gate")
        super().build(shape)

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to both encoders' last layers."""
        if self.config.selection == "separate":
            easy, hard = flatten(fields[:, :, : self._columns]), flatten(fields[:, :, self._columns :])
        else:
            easy = hard = flatten(fields)
        if self.config.selection == "gate":
            gate = self._gate(self._gate_hidden(easy, training=training))
            easy, hard = easy * gate, hard * (1 - gate)
        return tf.concat([self._simple(easy, training=training), self._complex(hard, training=training)], -1)

    def auxiliary_losses(self, hidden: tf.Tensor, logits: Logits, labels: tf.Tensor) -> tf.Tensor | None:
        """The twin focus loss, to be added to the cross-entropy of the fused logits.

        Args:
            hidden: This layer's output ``[N, units]``.
            logits: Maps it to the model's logits ``[N, tasks]``.
            labels: float32 ``[N, tasks]``.

        Returns:
            float32 ``[N, tasks]``; None where ``twin_focus`` is 0.
        """
        if not self.config.twin_focus:
            return None
        sizes = [self.config.simple.layers[-1], self.config.complex.layers[-1]]
        simple, complex_ = (tf.cast(logits(alone), tf.float32) for alone in streams_alone(hidden, sizes))
        return self.config.twin_focus * twin_focus_losses(simple, complex_, labels, self.config)
