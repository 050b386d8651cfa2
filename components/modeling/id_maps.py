"""Which id of an earlier run an id of this run is: the same raw value, item or combination of these."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow_transform as tft
from tfx.dsl.io import fileio

from crossrec.components.features.crosses.config import HashedCross, VocabularyCross
from crossrec.components.features.crosses.hashing import cross_ids_numpy, cross_keys_numpy
from crossrec.components.features.crosses.vocabulary import look_up_numpy
from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.schema import CrossOutput, FeatureOutput, FeatureSchema

_RESERVED = 2  # Ids of a vocabulary: missing, unknown, and then the values.
_MOST_COMBINATIONS = 2**22


@dataclass(frozen=True)
class Ids:
    """What the ids of one run stand for.

    Attributes:
        schema: The features and crosses.
        graphs: Directory of the transform graphs, with the vocabularies.
        items: Item ids in the order of the item table.
    """

    schema: FeatureSchema
    graphs: str
    items: Array

    @classmethod
    def of(cls, schema: FeatureSchema, graphs: str, table: ItemTable) -> Ids:
        """Those of a run's artifacts.

        Raises:
            FileNotFoundError: The transform graphs are gone; without them every feature would seem to be hashed.
        """
        for side in ("query", "item"):
            if not fileio.exists(f"{graphs}/{side}"):
                raise FileNotFoundError(f"{graphs}/{side} does not exist")
        return cls(schema, graphs, table.ids)

    @cached_property
    def _outputs(self) -> dict[str, FeatureOutput | CrossOutput]:
        named: dict[str, FeatureOutput | CrossOutput] = {feature.name: feature for feature in self.schema.features}
        return named | {cross.name: cross for cross in self.schema.crosses}

    def output(self, name: str) -> FeatureOutput | CrossOutput | None:
        """The feature or cross of that name, if there is one."""
        return self._outputs.get(name)

    def vocabulary(self, feature: FeatureOutput) -> list[bytes] | None:
        """The values of a feature in the order of their ids; None where it has no vocabulary."""
        graph = tft.TFTransformOutput(f"{self.graphs}/{feature.side}")
        if graph.vocabulary_file_by_name(feature.name) is None:
            return None
        values: list[bytes] = graph.vocabulary_by_name(feature.name)
        return values[: max(feature.cardinality - _RESERVED, 0)]


class IdMaps:
    """From the ids of this run to those of an earlier one, and from the numbers of its dense features and crosses."""

    def __init__(self, now: Ids, before: Ids):
        """Compares two runs."""
        self._now, self._before = now, before
        self._found: dict[str, Array | None] = {}

    def of(self, name: str) -> Array | None:
        """The earlier id of each id of a feature or cross, or the earlier place of each of its numbers.

        Args:
            name: Of a feature or cross.

        Returns:
            int64 ``[ids]`` or ``[width]``, -1 where there was none; None where nothing of the feature or cross can be
            matched.
        """
        if name not in self._found:
            now, before = self._now.output(name), self._before.output(name)
            if isinstance(now, FeatureOutput) and isinstance(before, FeatureOutput):
                self._found[name] = self._of_feature(now, before)
            elif isinstance(now, CrossOutput) and isinstance(before, CrossOutput):
                self._found[name] = self._of_cross(now, before)
            else:
                self._found[name] = None
        return self._found[name]

    def _of_feature(self, now: FeatureOutput, before: FeatureOutput) -> Array | None:
        if (now.kind, now.side) != (before.kind, before.side):
            return None
        if now.encoder_digest != before.encoder_digest or (now.encoder and not now.encoder_digest):
            # An encoder of the same configuration, its principal components and clusters may be fitted to other texts.
            return None
        if now.kind == "dense":
            return np.arange(now.width) if now.width == before.width else None
        if now.kind == "items":
            return _places(list(self._before.items), list(self._now.items))
        values, former = self._now.vocabulary(now), self._before.vocabulary(before)
        if values is not None and former is not None:
            found = _places(former, values)
            found = np.where(found < 0, -1, found + _RESERVED)
            return _fill(np.concatenate([np.arange(_RESERVED), found]), now.cardinality)
        if values is None and former is None and now.cardinality == before.cardinality:
            return np.arange(now.cardinality)
        return None

    def _of_cross(self, now: CrossOutput, before: CrossOutput) -> Array | None:
        if now.config != before.config:
            return None
        if now.kind == "dense":
            return np.arange(now.width)
        inputs = [self.of(name) for name in now.inputs]
        known = [source for source in inputs if source is not None]
        if len(known) < len(inputs):
            return None
        if isinstance(now.config, HashedCross):
            if now.buckets != before.buckets:
                return None
            if all(np.array_equal(source, np.arange(len(source))) for source in known):
                return np.arange(now.buckets + 1)
        combinations = _combinations(known)
        if combinations is None:
            return None
        new, old = combinations
        found = _first_of_each(self._ids(now, new, self._now), self._ids(before, old, self._before), new)
        return _fill(found, now.buckets + 1)

    @staticmethod
    def _ids(cross: CrossOutput, inputs: list[Array], ids: Ids) -> Array:
        """Ids of combinations ``[n]``; 0 for those of a vocabulary that are rare."""
        columns = [values[:, None] for values in inputs]
        if isinstance(cross.config, VocabularyCross):
            table = ids.schema.tables.arrays[cross.name]
            found: Array = look_up_numpy(cross_keys_numpy(columns, cross.name), table["keys"], table["ids"])[:, 0]
            return found
        hashed: Array = cross_ids_numpy(columns, cross.name, cross.buckets)[:, 0]
        return hashed


def _places(before: list[bytes] | list[str], now: list[bytes] | list[str]) -> Array:
    """The former place of each value, -1 where it is new."""
    places = {value: place for place, value in enumerate(before)}
    return np.fromiter((places.get(value, -1) for value in now), np.int64, len(now))


def _fill(found: Array, size: int) -> Array:
    """The array at that length: cut, or filled up with -1."""
    out = np.full(size, -1, np.int64)
    out[: min(size, len(found))] = found[:size]
    return out


def _combinations(sources: list[Array]) -> tuple[list[Array], list[Array]] | None:
    """All combinations of ids that both runs have, in this run's ids and in those of the earlier one."""
    shared = [np.flatnonzero(source >= 0) for source in sources]
    if np.prod([float(len(ids)) for ids in shared]) > _MOST_COMBINATIONS:
        return None
    new = [grid.reshape(-1) for grid in np.meshgrid(*shared, indexing="ij")]
    return new, [source[ids] for source, ids in zip(sources, new)]


def _first_of_each(new: Array, old: Array, inputs: list[Array]) -> Array:
    """The earlier id of each id of a cross, from those of combinations.

    Of several combinations with one id the one of the most frequent values counts: vocabularies put them first.
    """
    rank = np.sum([np.log1p(ids) for ids in inputs], axis=0)
    order = np.argsort(rank, kind="stable")
    order = order[(new[order] > 0) & (old[order] > 0)]
    ids, first = np.unique(new[order], return_index=True)
    found = np.full(int(ids.max(initial=0)) + 1, -1, np.int64)
    found[0] = 0
    found[ids] = old[order[first]]
    return found
