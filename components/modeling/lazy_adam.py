"""Adam that touches only the rows of an embedding table that a batch looked up."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras


class LazyAdam(tf_keras.optimizers.Adam):
    """Adam (Kingma and Ba, 2015) whose sparse updates leave all other rows, and their moments, alone.

    Keras's Adam decays the moments of every row in every step, so that a step costs as much as the table is
    large. Here a row's moments decay in the steps that see the row. Dense gradients are treated as by Adam.
    """

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Applies one gradient.

        Args:
            gradient: Dense, or IndexedSlices without repeated indices (the base class adds up repeated ones).
            variable: The variable.
        """
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_1, beta_2 = tf.cast(self.beta_1, variable.dtype), tf.cast(self.beta_2, variable.dtype)
        rate = tf.cast(self.learning_rate, variable.dtype) * tf.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        index = self._index_dict[self._var_key(variable)]
        momentum, velocity = self._momentums[index], self._velocities[index]
        rows, values = gradient.indices, gradient.values
        first = beta_1 * tf.gather(momentum, rows) + (1 - beta_1) * values
        second = beta_2 * tf.gather(velocity, rows) + (1 - beta_2) * tf.square(values)
        momentum.scatter_update(tf.IndexedSlices(first, rows))
        velocity.scatter_update(tf.IndexedSlices(second, rows))
        variable.scatter_sub(tf.IndexedSlices(rate * first / (tf.sqrt(second) + self.epsilon), rows))
