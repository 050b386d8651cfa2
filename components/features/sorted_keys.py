"""Looking values up among sorted ones."""

from __future__ import annotations

import numpy as np

from crossrec.components.features.item_table import Array


def find(keys: Array, values: Array) -> Array:
    """Where values stand among sorted keys.

    Args:
        keys: ``[n]``, ascending, each once.
        values: Of any shape.

    Returns:
        int64 of the values' shape: the place of each, -1 where it is none of the keys.

    Example:
        >>> find(np.array([2, 5, 9]), np.array([[5, 6], [9, 2]])).tolist()
        [[1, -1], [2, 0]]
    """
    if not len(keys):
        return np.full(values.shape, -1, np.int64)
    places = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    return np.where(keys[places] == values, places, -1)
