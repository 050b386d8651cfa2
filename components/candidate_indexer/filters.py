"""Filters by columns of the items, applied to all items that a search looks at, before it cuts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from crossrec.components.features.item_table import Array
from crossrec.serving.contract import names as contract

# Codes of accepted values: padding of a list, and a value that no item has. Codes of items are 0 and more, or _EMPTY.
_PADDING, _UNKNOWN, _EMPTY = -1, -2, -3


class Filters(tf.Module):
    """Which items have one of the accepted values in each column."""

    def __init__(self, columns: Mapping[str, Array]):
        """Codes the columns ``{name: [N]}`` of str; an item whose value is "" passes no filter of that column."""
        super().__init__(name="filters")
        self.names = tuple(columns)
        self.codes: dict[str, tf.Variable] = {}
        self._lookups: dict[str, tf.lookup.StaticHashTable] = {}
        self._shares: dict[str, tf.Variable] = {}
        for name, values in columns.items():
            known, codes = np.unique(values.astype(str), return_inverse=True)
            counts = np.bincount(codes, minlength=len(known)) / len(values)
            codes = np.where(known[codes] == "", _EMPTY, codes)
            self.codes[name] = tf.Variable(codes.astype(np.int32), trainable=False, name=f"filter_codes_{name}")
            self._shares[name] = tf.Variable(counts.astype(np.float32), trainable=False, name=f"filter_shares_{name}")
            self._lookups[name] = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.constant(["", *known[known != ""]], tf.string),
                    tf.constant([_PADDING, *np.flatnonzero(known != "")], tf.int32),
                ),
                default_value=_UNKNOWN,
            )

    def wanted(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Codes of the accepted values, int32 ``[B, F]`` by column, of inputs ``filter_<column>`` string ``[B, F]``."""
        return {name: self._lookups[name].lookup(inputs[f"{contract.FILTER_PREFIX}{name}"]) for name in self.names}

    def shares(self, wanted: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Share of the items that pass, float32 ``[B]``, as if columns were independent of each other."""
        out = tf.constant(1.0)
        for name, codes in wanted.items():
            # A value that is given twice counts once.
            first = tf.reduce_all(
                (codes[:, :, None] != codes[:, None, :])
                | (tf.range(tf.shape(codes)[1])[:, None] <= tf.range(tf.shape(codes)[1])[None, :]),
                2,
            )
            values = tf.gather(self._shares[name], tf.maximum(codes, 0))
            share = tf.reduce_sum(tf.where((codes >= 0) & first, values, 0.0), 1)
            out *= tf.where(tf.reduce_all(codes == _PADDING, 1), 1.0, share)
        return out

    def passes(self, wanted: Mapping[str, tf.Tensor], codes: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Whether items pass.

        Args:
            wanted: What ``wanted`` gave, ``[B, F]`` by column.
            codes: Codes of the items, ``[B or 1, n]`` by column.

        Returns:
            bool ``[B, n]``.
        """
        parts = []
        for name, accepted in wanted.items():
            found = tf.reduce_any(codes[name][:, :, None] == accepted[:, None, :], 2)
            parts.append(found | tf.reduce_all(accepted == _PADDING, 1)[:, None])
        return tf.reduce_all(tf.stack(parts), 0)
