r"""Averages of a model's weights over training, which are measured, kept and served in place of the last ones.

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; Izmailov, Podoprikhin,
Garipov, Vetrov and Wilson, "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import tensorflow as tf
import tf_keras
from pydantic import Field

from crossrec.components.features.frozen import Frozen


class AveragingConfig(Frozen):
    r"""Which average of the weights is kept.

    Attributes:
        type: ``exponential``, :math:`\bar w \leftarrow d\,\bar w + (1 - d)\,w` with
            :math:`d = \min(decay, (1 + n) / (10 + n))` at update n, so that the first weights are soon forgotten;
            ``uniform``, the mean of all weights since ``first_epoch`` (stochastic weight averaging).
        decay: Of the exponential average, per update.
        first_epoch: Epochs, counted from 0, before it are not averaged: there the last weights are measured.
        every: Steps between two updates. An update passes over all weights, which is long beside a step where
            tables are large.
    """

    type: Literal["exponential", "uniform"] = "exponential"
    decay: float = Field(default=0.99, gt=0, lt=1)
    first_epoch: int = Field(default=0, ge=0)
    every: int = Field(default=1, ge=1)


class WeightAverages(tf.Module):
    """Averages of the trained weights and of the statistics of batch normalisation.

    They are variables, so that they come back with the checkpoint of whoever tracks this module.
    """

    def __init__(self, model: tf_keras.Model, config: AveragingConfig):
        """Starts with the weights of a built model as they are."""
        super().__init__(name="weight_averages")
        self._config = config
        statistics = [
            variable
            for layer in model.submodules
            if isinstance(layer, tf_keras.layers.BatchNormalization)
            for variable in layer.non_trainable_variables
        ]
        # In a list, Module would track the model's own weights as weights of the averages.
        self._weights: Callable[[], list[tf.Variable]] = lambda: [*model.trainable_variables, *statistics]
        with model.distribute_strategy.scope():
            self._averages = [
                tf.Variable(weight, trainable=False, name=f"average_{place}")
                for place, weight in enumerate(self._weights())
            ]
            self._updates = tf.Variable(0, trainable=False, dtype=tf.int64, name="updates")
            # Traced here, not in the first step, whose time Keras compares with that of its callbacks.
            self._move.get_concrete_function()

    def update(self, epoch: int, step: int) -> None:
        """Takes the weights after a step into the averages, if it is one of those that count.

        Args:
            epoch: The epoch, from 0.
            step: Steps so far, this one included.
        """
        if epoch >= self._config.first_epoch and step % self._config.every == 0:
            self._move()

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def _move(self) -> None:
        done = tf.cast(self._updates, tf.float32)
        decay = done / (done + 1.0)
        if self._config.type == "exponential":
            decay = tf.minimum(self._config.decay, tf.where(done > 0, (1.0 + done) / (10.0 + done), 0.0))
        for average, weight in zip(self._averages, self._weights()):
            average.assign(average + (1.0 - decay) * (weight - average))
        self._updates.assign(self._updates + 1)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the model has the averages as its weights, and these are kept; before the first update, its own."""
        swapped = self._updates.numpy() > 0
        if swapped:
            self._swap()
        try:
            yield
        finally:
            if swapped:
                self._swap()

    def _swap(self) -> None:
        for average, weight in zip(self._averages, self._weights()):
            kept = tf.identity(weight)
            weight.assign(average)
            average.assign(kept)
