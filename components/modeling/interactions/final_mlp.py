r"""FinalMLP: two deep networks, each over its own selection of the fields, fused by bilinear products.

Mao, Zhu, Su, Cai, Li, Dong: "FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction", AAAI 2023.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field, PositiveInt, model_validator

from crossrec.components.errors import DataError
from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.deep_network import DeepConfig, DeepNetwork
from crossrec.components.modeling.interactions.interaction import Interaction, flatten

Place = Annotated[int, Field(ge=0)]


class FinalMLPConfig(Frozen):
    """FinalMLP; the defaults are those of its published result on Frappe_x1, whose contexts are user and item.

    Attributes:
        type: Names this interaction in the spec.
        first: Layers of the first stream.
        second: Layers of the second stream.
        heads: Parts into which both streams' last layers are cut; each part of one meets one part of the other.
        feature_selection: Whether each stream sees the fields through a gate of its own.
        gate_layers: Units of the gates' hidden layers.
        first_context: Places, from 0, of the fields that the first gate looks at; a learned vector if left out.
        second_context: The same for the second gate.
    """

    type: Literal["final_mlp"] = "final_mlp"
    first: DeepConfig = DeepConfig(layers=(400,), dropout=0.4, batch_normalisation=True)
    second: DeepConfig = DeepConfig(layers=(100,), dropout=0.4, batch_normalisation=True)
    heads: int = Field(default=5, ge=1)
    feature_selection: bool = True
    gate_layers: tuple[PositiveInt, ...] = (400,)
    first_context: tuple[Place, ...] = ()
    second_context: tuple[Place, ...] = ()

    @model_validator(mode="after")
    def _heads(self) -> FinalMLPConfig:
        for name, stream in (("first", self.first), ("second", self.second)):
            if not stream.layers:
                raise ValueError(f"{name}.layers is empty. Give each stream a layer or more")
            if stream.layers[-1] % self.heads:
                raise ValueError(
                    f"heads is {self.heads}, which does not divide {name}.layers[-1] = {stream.layers[-1]}. "
                    "Choose a common divisor of both streams' last layers"
                )
        return self


class FeatureGate(tf_keras.layers.Layer):
    r"""Feature selection: :math:`x \odot 2\,\sigma(\mathrm{MLP}(h))`, h the chosen fields or a learned vector.

    Shapes: ``[N, F, d]`` to ``[N, F d]``.
    """

    def __init__(self, layers: tuple[int, ...], context: tuple[int, ...], **kwargs: Any):
        """Constructs the layer; both arguments as in FinalMLPConfig."""
        super().__init__(**kwargs)
        self._context = list(context)
        self._hidden = DeepNetwork(DeepConfig(layers=layers), name="hidden")

    def build(self, shape: tf.TensorShape) -> None:
        """Makes the gate's last layer and, without fields to look at, the learned vector."""
        # Not zeros, as in the published code: behind ReLU and zero biases they would never get a gradient.
        self._learned = (
            None
            if self._context
            else self.add_weight(name="context", shape=[1, int(shape[2])], initializer="random_normal")
        )
        self._gate = tf_keras.layers.Dense(int(shape[1]) * int(shape[2]), activation="sigmoid", name="gate")

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Maps the fields to what the stream sees."""
        if self._learned is None:
            context = flatten(tf.gather(fields, self._context, axis=1))
        else:
            context = tf.convert_to_tensor(self._learned)
        return flatten(fields) * (2 * self._gate(self._hidden(context)))


class BilinearFusion(tf_keras.layers.Layer):
    r"""Products :math:`(o_{1,h} W_h) \odot o_{2,h}` of each head h, whose sum is :math:`o_{1,h} W_h o_{2,h}^\top`.

    Shapes: streams ``[N, D_1]`` and ``[N, D_2]`` to ``[N, D_2]``; W is ``[heads, D_1 / heads, D_2 / heads]``.
    """

    def __init__(self, heads: int, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(**kwargs)
        self._heads = heads

    def build(self, shape: tuple[tf.TensorShape, tf.TensorShape]) -> None:
        """Makes W."""
        sizes = [int(part[-1]) // self._heads for part in shape]
        # Glorot's uniform for each head; Keras would take the number of heads for the size of a window.
        limit = (6 / sum(sizes)) ** 0.5
        self._kernel = self.add_weight(
            name="kernel",
            shape=[self._heads, *sizes],
            initializer=tf_keras.initializers.RandomUniform(-limit, limit),
        )

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Maps both streams to their products."""
        kernels = tf.unstack(tf.convert_to_tensor(self._kernel))
        first, second = (tf.split(stream, self._heads, -1) for stream in inputs)
        return tf.concat([tf.matmul(a, kernel) * b for a, kernel, b in zip(first, kernels, second)], -1)


class FinalMLP(Interaction):
    r"""Two streams and their bilinear products, one after the other.

    A dense head w on top with ones for the products is the paper's fusion
    :math:`b + w_1 o_1 + w_2 o_2 + \sum_h o_{1,h} W_h o_{2,h}^\top`; other weights only scale the columns of W_h.

    Shapes: ``[N, F, d]`` to ``[N, D_1 + D_2 + D_2]``, D_1 and D_2 being the last layers of the streams.
    """

    CONFIG = FinalMLPConfig

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._streams = [
            DeepNetwork(self.config.first, name="first"),
            DeepNetwork(self.config.second, name="second"),
        ]
        contexts = (self.config.first_context, self.config.second_context) if self.config.feature_selection else ()
        self._gates = [
            FeatureGate(self.config.gate_layers, context, name=f"gate_{place}")
            for place, context in enumerate(contexts)
        ]
        self._fusion = BilinearFusion(self.config.heads, name="fusion")

    def build(self, shape: tf.TensorShape) -> None:
        """Checks that the gates' fields exist.

        Raises:
            DataError: A context names a place behind the last field.
        """
        for name in ("first_context", "second_context"):
            beyond = [place for place in getattr(self.config, name) if place >= int(shape[1])]
            if beyond:
                raise DataError(
                    f"ranking.interactions.final_mlp.{name}",
                    f"the model has {int(shape[1])} fields, and none at {beyond}",
                    f"Places go from 0 to {int(shape[1]) - 1}.",
                )
        super().build(shape)

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to both streams and their products."""
        seen = [gate(fields) for gate in self._gates] or [flatten(fields)] * 2
        first, second = (stream(inputs, training=training) for stream, inputs in zip(self._streams, seen))
        return tf.concat([first, second, self._fusion((first, second))], -1)
