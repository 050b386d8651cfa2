"""Features as fields: one vector of a common size per feature or cross, looked up in one table.

All id features and crosses share one table, each with rows of its own, so that a batch costs one gather
and not one per feature (the fused embedding tables of TorchRec; Ivchenko et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from crossrec.components.features.schema import CrossOutput, FeatureSchema
from crossrec.components.modeling.inputs import Tensors

_ID_DEVIATION, _DENSE_DEVIATION = 0.03, 0.1


class Fields(tf_keras.layers.Layer):
    """Named features and crosses as fields.

    Ids int64 ``[..., width]`` become the mean of their rows, those of a cross with ``pairs: any`` their sum; -1 is
    padding, and all padding gives zeros. Dense numbers float32 ``[..., width]`` become the sum of as many vectors,
    each times its number. Beside its field each id or number has ``linear`` weights, which begin as zeros and are
    summed over all features.
    """

    def __init__(self, schema: FeatureSchema, names: Sequence[str], dimension: int, linear: int = 0, **kwargs: Any):
        """Constructs the layer.

        Args:
            schema: Describes the features and crosses.
            names: Which of them may become fields.
            dimension: Size of each field.
            linear: Number of linear weights.
            **kwargs: For Keras.
        """
        super().__init__(**kwargs)
        self._dimension, self._linear = dimension, linear
        crosses = {cross.name: cross for cross in schema.crosses}
        self._widths: dict[str, int] = {}
        self._offsets: dict[str, int] = {}
        self._columns: dict[str, int] = {}
        self._summed = {cross.name for cross in schema.crosses if cross.pooling == "sum"}
        self._rows = self._numbers = 0
        for name in names:
            output = crosses[name] if name in crosses else schema.feature(name)
            self._widths[name] = output.width
            if output.kind == "dense":
                self._columns[name] = self._numbers
                self._numbers += output.width
            else:
                self._offsets[name] = self._rows
                self._rows += output.buckets + 1 if isinstance(output, CrossOutput) else output.cardinality

    def build(self, shape: Any) -> None:
        """Makes the table and the vectors of the dense numbers."""
        for name, rows, deviation in (
            ("table", self._rows, _ID_DEVIATION),
            ("vectors", self._numbers, _DENSE_DEVIATION),
        ):
            if rows:
                weight = self.add_weight(
                    name=name,
                    shape=(rows, self._dimension + self._linear),
                    initializer=_Normal(deviation, self._dimension),
                )
                setattr(self, f"_{name}", weight)

    def call(self, features: Tensors, names: Sequence[str]) -> tuple[tf.Tensor, tf.Tensor]:
        """Looks up some of the features.

        Args:
            features: ``{name: [..., width]}``, all with the same leading dimensions.
            names: Which of them.

        Returns:
            Fields ``[..., len(names), dimension]``, id features before dense ones, and the sum of their
            linear weights ``[..., linear]``.
        """
        parts = []
        ids = [name for name in names if name in self._offsets]
        dense = [name for name in names if name in self._columns]
        if ids:
            parts.append(self._look_up(features, ids))
        if dense:
            parts.append(self._project(features, dense))
        out = tf.concat(parts, -2)
        return out[..., : self._dimension], tf.reduce_sum(out[..., self._dimension :], -2)

    @property
    def size(self) -> int:
        """Numbers in a row of the tables: the field and the linear weights."""
        return self._dimension + self._linear

    @property
    def rows(self) -> int:
        """Rows of the tables: one for each id, and one for each dense number."""
        return self._rows + self._numbers

    @property
    def names(self) -> list[tuple[str, int]]:
        """The features and crosses that may become fields, with their widths."""
        return list(self._widths.items())

    def take_rows(self, other: Fields, places: Callable[[str], np.ndarray[Any, Any] | None]) -> tuple[int, list[str]]:
        """Copies rows of another layer with rows of the same size.

        Args:
            other: The layer that has them.
            places: Gives by name the place in the other layer of each id or number, int64 ``[ids]`` or ``[width]``, -1
                where it has none; None for features and crosses that the other layer has nothing of.

        Returns:
            How many rows were copied, and the names of which none was.
        """
        taken, without = 0, []
        for mine, theirs, table in (
            (_ranges(self._offsets, self._rows), _ranges(other._offsets, other._rows), "_table"),
            (_ranges(self._columns, self._numbers), _ranges(other._columns, other._numbers), "_vectors"),
        ):
            if not mine:
                continue
            values = getattr(self, table).numpy()
            former = getattr(other, table).numpy() if theirs else values[:0]
            for name, (start, _) in mine.items():
                first, last = theirs.get(name, (0, 0))
                found = places(name)
                if found is None or last == first:
                    without.append(name)
                    continue
                known = np.flatnonzero((found >= 0) & (found < last - first))
                values[start + known] = former[first + found[known]]
                taken += len(known)
            getattr(self, table).assign(values)
        return taken, without

    def take_all(self, other: Fields) -> None:
        """Copies a layer for the same features, which may know fewer items; the rows of further ones become zeros."""
        for mine, theirs, table in (
            (_ranges(self._offsets, self._rows), _ranges(other._offsets, other._rows), "_table"),
            (_ranges(self._columns, self._numbers), _ranges(other._columns, other._numbers), "_vectors"),
        ):
            if not mine:
                continue
            values, former = np.zeros_like(getattr(self, table).numpy()), getattr(other, table).numpy()
            for name, (start, _) in mine.items():
                first, last = theirs[name]
                values[start : start + last - first] = former[first:last]
            getattr(self, table).assign(values)

    def _project(self, features: Tensors, names: Sequence[str]) -> tf.Tensor:
        """Numbers times their vectors, ``[..., len(names), dimension + linear]``."""
        vectors = tf.cast(self._vectors, self.compute_dtype)
        narrow = [name for name in names if self._widths[name] == 1]
        found = {}
        if narrow:
            numbers = tf.concat([tf.cast(features[name], self.compute_dtype) for name in narrow], -1)
            chosen = tf.gather(vectors, [self._columns[name] for name in narrow])
            if len(narrow) == len(names):
                return numbers[..., None] * chosen
            found = dict(zip(narrow, tf.unstack(numbers[..., None] * chosen, axis=-2)))
        for name in names:
            if name not in found:
                # One flat product, for what oneDNN makes of batches of small ones see below.
                start = self._columns[name]
                numbers = tf.cast(features[name], self.compute_dtype)
                found[name] = tf.tensordot(numbers, vectors[start : start + self._widths[name]], 1)
        return tf.stack([found[name] for name in names], -2)

    def _look_up(self, features: Tensors, names: Sequence[str]) -> tf.Tensor:
        """Means or sums of the ids' rows, ``[..., len(names), dimension + linear]``."""
        widths = [self._widths[name] for name in names]
        offsets = np.repeat([self._offsets[name] for name in names], widths)
        ids = tf.concat([features[name] for name in names], -1)
        mask = tf.cast(ids >= 0, self.compute_dtype)[..., None]
        vectors = tf.gather(tf.cast(self._table, self.compute_dtype), tf.maximum(ids, 0) + offsets) * mask
        if sum(widths) == len(names):
            return vectors
        # Sums the values of each feature; a matrix product takes less than a slice per feature. Vectors and
        # counts go in one: oneDNN (TensorFlow 2.16) gives wrong sums where a batch of single columns, as the
        # counts would be alone, meets one shared matrix on several threads.
        owner = tf.constant(np.repeat(np.eye(len(names)), widths, axis=0), self.compute_dtype)
        sums = tf.einsum("...wd,wf->...fd", tf.concat([vectors, mask], -1), owner)
        counts = sums[..., -1:]
        if self._summed.intersection(names):
            summed = tf.constant([[name in self._summed] for name in names])
            counts = tf.where(summed, tf.ones_like(counts), counts)
        return sums[..., :-1] / tf.maximum(counts, 1.0)


def _ranges(starts: Mapping[str, int], end: int) -> dict[str, tuple[int, int]]:
    """First row and the one behind the last of each name."""
    ends = [*list(starts.values())[1:], end]
    return {name: (start, stop) for (name, start), stop in zip(starts.items(), ends)}


class _Normal(tf_keras.initializers.Initializer):
    """Normally distributed fields, and linear weights of zero."""

    def __init__(self, deviation: float, dimension: int):
        self._deviation, self._dimension = deviation, dimension

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> tf.Tensor:
        """Makes the weights of the given shape."""
        fields = tf.random.normal([shape[0], self._dimension], stddev=self._deviation, dtype=dtype or tf.float32)
        return tf.pad(fields, [[0, 0], [0, shape[1] - self._dimension]])
