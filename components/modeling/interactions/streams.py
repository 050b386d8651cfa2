"""What interactions of several streams side by side have in common: the loss of each stream on its own."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def streams_alone(hidden: tf.Tensor, sizes: Sequence[int]) -> list[tf.Tensor]:
    """Each stream alone: its units times the number of streams, those of the others zero.

    The mean of the results is ``hidden``, so where a dense head lies on it, the logit of all streams together is the
    mean of the logits of each alone.

    Args:
        hidden: Units of all streams, one stream after the other, ``[N, units]``.
        sizes: Units of each stream.

    Returns:
        One ``[N, units]`` for each stream.
    """
    parts = tf.split(hidden, sizes, -1)
    return [
        tf.concat([part * len(parts) if place == own else tf.zeros_like(part) for place, part in enumerate(parts)], -1)
        for own in range(len(parts))
    ]
