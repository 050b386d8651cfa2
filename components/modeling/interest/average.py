"""The mean of the recent items, the same for every candidate.

Covington, Adams, Sargin: "Deep Neural Networks for YouTube Recommendations", RecSys 2016.
"""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from crossrec.components.modeling.interest.interest import Interest, InterestInputs, SequenceConfig, to_candidates


class AverageConfig(SequenceConfig):
    """The mean of the recent items.

    Attributes:
        type: Names this interest in the spec.
        sequence: As in SequenceConfig.
        features: As in SequenceConfig.
    """

    type: Literal["average"] = "average"


class Average(Interest):
    r"""Over the n items that are present: :math:`\frac{1}{n} \sum_l h_l`. Has no weights."""

    CONFIG = AverageConfig

    def call(self, inputs: InterestInputs, training: bool | None = None) -> tf.Tensor:
        """Maps ``[B, C, D]``, ``[B, L, D]`` and ``[B, L]`` to ``[B, C, D]``; see Interest."""
        candidates, history, present = inputs
        weights = tf.cast(present, history.dtype)[..., None]
        mean = tf.reduce_sum(history * weights, 1) / tf.maximum(tf.reduce_sum(weights, 1), 1.0)
        return to_candidates(mean, candidates)
