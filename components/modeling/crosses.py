"""Crosses in the graph: one operator per cross, the same in training and in serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from crossrec.components.features.crosses import statistics as stats
from crossrec.components.features.crosses.bm25 import bm25
from crossrec.components.features.crosses.config import (
    FOUND,
    BM25Cross,
    HashedCross,
    SimilarityCross,
    StatisticsCross,
    VocabularyCross,
)
from crossrec.components.features.crosses.hashing import cross_ids, cross_keys
from crossrec.components.features.crosses.multi_valued import once
from crossrec.components.features.crosses.similarity import similarity
from crossrec.components.features.crosses.vocabulary import look_up
from crossrec.components.features.schema import TIMESTAMP, USER, CrossOutput, FeatureSchema

Tensors = Mapping[str, tf.Tensor]
Array = np.ndarray[Any, Any]
ROW_KEYS = (TIMESTAMP, USER)
"""Columns that say which rows of training a row may know of."""


def row_of(batch: Tensors, training: bool) -> Tensors | None:
    """What says which rows of training the rows of a batch may know of; None for later examples."""
    return {key: batch[key] for key in ROW_KEYS if key in batch} if training else None


def named_crosses(schema: FeatureSchema, names: Sequence[str] | None) -> tuple[str, ...]:
    """The crosses that a model asks for.

    Args:
        schema: Has all crosses.
        names: Names of crosses, and ``found`` for all that the data spoke for; None for all crosses.
    """
    if names is None:
        return tuple(cross.name for cross in schema.crosses)
    found = [cross.name for cross in schema.crosses if cross.found]
    return tuple(dict.fromkeys(name for asked in names for name in (found if asked == FOUND else (asked,))))


class Crosses(tf.Module):
    """The named crosses of a schema. What they look up are variables, so a SavedModel holds it once."""

    def __init__(self, schema: FeatureSchema, names: Sequence[str]):
        """Makes the operators.

        Args:
            schema: Describes the crosses, and has their tables.
            names: Crosses to compute; names of plain features are passed over.
        """
        super().__init__(name="crosses")
        self._operators = {
            cross.name: _operator(cross, schema.tables.arrays.get(cross.name, {}))
            for cross in schema.crosses
            if cross.name in names
        }

    @property
    def names(self) -> list[str]:
        """The crosses that are computed."""
        return list(self._operators)

    def __call__(
        self, features: Tensors, names: Sequence[str] | None = None, row: Tensors | None = None
    ) -> dict[str, tf.Tensor]:
        """The features and, beside them, crosses of them.

        Args:
            features: ``{name: [..., width]}``; query and item features may differ in leading dimensions of
                size one, which are broadcast.
            names: Only these crosses; all if left out.
            row: ``@timestamp`` and ``@user`` of rows of training, int64 ``[..., 1]``, so that none sees its own label;
                left out for examples that are later than all of training, such as requests.
        """
        out = dict(features)
        for name, operator in self._operators.items():
            if names is None or name in names:
                out[name] = operator([features[part] for part in operator.inputs], row)
        return out


class _Operator(tf.Module):
    """One cross as a function of its inputs."""

    def __init__(self, cross: CrossOutput):
        super().__init__(name=cross.name)
        self.inputs, self._cross_name = cross.inputs, cross.name
        self._once = cross.pooling == "sum"


class _Hashed(_Operator):
    def __init__(self, cross: CrossOutput):
        super().__init__(cross)
        self._buckets = cross.buckets

    def __call__(self, inputs: Sequence[tf.Tensor], row: Tensors | None) -> tf.Tensor:
        """Hashed ids ``[..., width]``."""
        ids = cross_ids(inputs, self._cross_name, self._buckets)
        return once(ids) if self._once else ids


class _Vocabulary(_Operator):
    def __init__(self, cross: CrossOutput, table: Mapping[str, Array]):
        super().__init__(cross)
        self._keys = tf.Variable(table["keys"], trainable=False, name=f"{cross.name}_keys")
        self._values = tf.Variable(table["ids"], trainable=False, name=f"{cross.name}_ids")

    def __call__(self, inputs: Sequence[tf.Tensor], row: Tensors | None) -> tf.Tensor:
        """Ids of the vocabulary ``[..., width]``."""
        ids = look_up(cross_keys(inputs, self._cross_name), self._keys, self._values)
        return once(ids) if self._once else ids


class _History:
    """Statistics as each part of training sees them: no tf.Module, so that no checkpoint and no export holds them."""

    def __init__(self, name: str, table: stats.StatisticsTable):
        self.values = tf.Variable(table.values, trainable=False, name=f"{name}_history")
        self.boundaries, self.parts = table.boundaries, table.values.shape[1] - 1


class _Statistics(_Operator):
    def __init__(self, cross: CrossOutput, config: StatisticsCross, arrays: Mapping[str, Array]):
        super().__init__(cross)
        self._statistics = config.statistics
        table = stats.StatisticsTable(**arrays)
        self._history = _History(cross.name, table)
        self._keys = tf.Variable(table.keys, trainable=False, name=f"{cross.name}_keys")
        self._final = tf.Variable(table.values[:, -1], trainable=False, name=f"{cross.name}_statistics")

    def __call__(self, inputs: Sequence[tf.Tensor], row: Tensors | None) -> tf.Tensor:
        """Statistics ``[..., len(statistics)]``, of what the rows may know of."""
        keys = cross_keys(inputs, self._cross_name)
        ids = look_up(once(keys) if self._once else keys, self._keys)
        if row is None:
            return stats.statistics(ids, self._final, self._statistics)
        history = self._history
        column = stats.column_of(row[TIMESTAMP], row[USER], history.boundaries, history.parts)
        return stats.statistics(ids, history.values, self._statistics, column)


class _Similarity(_Operator):
    def __init__(self, cross: CrossOutput, config: SimilarityCross):
        super().__init__(cross)
        self._measures = config.measures

    def __call__(self, inputs: Sequence[tf.Tensor], row: Tensors | None) -> tf.Tensor:
        """Measures ``[..., len(measures)]``."""
        left, right = inputs
        return similarity(left, right, self._measures)


class _BM25(_Operator):
    def __init__(self, cross: CrossOutput, config: BM25Cross, arrays: Mapping[str, Array]):
        super().__init__(cross)
        self._config = config
        self._keys = tf.Variable(arrays["keys"], trainable=False, name=f"{cross.name}_keys")
        self._idf = tf.Variable(arrays["idf"], trainable=False, name=f"{cross.name}_idf")
        self._lengths = tf.Variable(arrays["lengths"], trainable=False, name=f"{cross.name}_lengths")

    def __call__(self, inputs: Sequence[tf.Tensor], row: Tensors | None) -> tf.Tensor:
        """Measures ``[..., len(measures)]``."""
        query, *texts = inputs
        return bm25(query, texts, (self._keys, self._idf, self._lengths), self._config)


def _operator(cross: CrossOutput, table: Mapping[str, Array]) -> _Operator:
    config = cross.config
    if isinstance(config, HashedCross):
        return _Hashed(cross)
    if isinstance(config, SimilarityCross):
        return _Similarity(cross, config)
    if not table:
        raise ValueError(
            f"cross {cross.name!r} of type {config.type!r} was never fitted: its schema has no table of it. "
            "Read the schema of the cross_set"
        )
    if isinstance(config, BM25Cross):
        return _BM25(cross, config, table)
    return _Vocabulary(cross, table) if isinstance(config, VocabularyCross) else _Statistics(cross, config, table)
