"""Fitting crosses to the training interactions: vocabularies, statistics, and what each cross covers.

Everything is counted by accumulators of whole numbers, which merge to the same result in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from crossrec.components.features.crosses.bm25 import fit_terms
from crossrec.components.features.crosses.config import (
    BM25Cross,
    HashedCross,
    SimilarityCross,
    StatisticsCross,
    VocabularyCross,
)
from crossrec.components.features.crosses.counts import Array, KeyedCounts
from crossrec.components.features.crosses.coverage import ENOUGH, Coverage
from crossrec.components.features.crosses.hashing import PADDING, cross_keys_numpy
from crossrec.components.features.crosses.multi_valued import once_numpy
from crossrec.components.features.crosses.statistics import StatisticsCounts, part_of
from crossrec.components.features.crosses.tables import CrossTables
from crossrec.components.features.crosses.time_parts import TimeHistogram
from crossrec.components.features.crosses.vocabulary import make_vocabulary
from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP, USER, CrossOutput, FeatureSchema, label_key

Batch = Mapping[str, Array]


@dataclass
class CrossCounts:
    """What is counted for one cross.

    Attributes:
        coverage: Its combinations.
        vocabulary: Occurrences of each combination, of a cross by vocabulary; of each term of the queries, of BM25.
        statistics: Rows and labels by combination and part, of a cross of statistics.
    """

    coverage: Coverage = field(default_factory=Coverage)
    vocabulary: KeyedCounts | None = None
    statistics: StatisticsCounts | None = None

    def merge(self, other: CrossCounts) -> None:
        """Adds the counts of another."""
        self.coverage.merge(other.coverage)
        if self.vocabulary is not None and other.vocabulary is not None:
            self.vocabulary.merge(other.vocabulary)
        if self.statistics is not None and other.statistics is not None:
            self.statistics.merge(other.statistics)


class CrossFitter:
    """Counts and fits the crosses of a schema; its methods are those of a Beam CombineFn."""

    def __init__(
        self, schema: FeatureSchema, items: Mapping[str, Array], label: str, histogram: TimeHistogram | None = None
    ):
        """Prepares the fit.

        Args:
            schema: The features, and the crosses to fit.
            items: The item table's features ``{name: [N + 1, width]}``.
            label: The label of statistics that name none.
            histogram: Times of all training rows; needed by crosses of statistics, see :func:`needs_times`.
        """
        self._schema, self._items, self._label = schema, items, label
        self._boundaries: dict[str, Array | None] = {}
        for cross in schema.crosses:
            if isinstance(cross.config, StatisticsCross):
                timed = histogram if cross.config.by != "user" else None
                self._boundaries[cross.name] = timed.boundaries(cross.config.parts) if timed else None

    def create(self) -> dict[str, CrossCounts]:
        """Empty counts of every cross."""
        counts = {}
        for cross in self._schema.crosses:
            config = cross.config
            counts[cross.name] = CrossCounts(
                vocabulary=KeyedCounts(1) if isinstance(config, (VocabularyCross, BM25Cross)) else None,
                statistics=StatisticsCounts(config.parts) if isinstance(config, StatisticsCross) else None,
            )
        return counts

    def add(self, counts: dict[str, CrossCounts], batch: Batch) -> dict[str, CrossCounts]:
        """Adds rows of training.

        Args:
            counts: What was counted so far; it is changed.
            batch: Transformed interactions ``{name: [n, width]}``: query features, item rows, labels, times, users.
        """
        for cross in self._schema.crosses:
            if isinstance(cross.config, BM25Cross):
                _add_each(counts[cross.name].vocabulary, batch[cross.inputs[0]])
            elif not isinstance(cross.config, SimilarityCross):
                self._add(counts[cross.name], cross, batch)
        return counts

    def merge(self, parts: Iterable[dict[str, CrossCounts]]) -> dict[str, CrossCounts]:
        """The counts of all rows from those of parts of them."""
        merged = self.create()
        for part in parts:
            for name, counts in part.items():
                merged[name].merge(counts)
        return merged

    def extract(self, counts: dict[str, CrossCounts]) -> FeatureSchema:
        """The schema with fitted crosses and their tables."""
        outputs, tables = [], {}
        for cross in self._schema.crosses:
            output, arrays = self._fit(cross, counts[cross.name])
            outputs.append(output)
            if arrays:
                tables[cross.name] = arrays
        return self._schema.with_fitted(outputs, CrossTables(tables))

    def _add(self, counts: CrossCounts, cross: CrossOutput, batch: Batch) -> None:
        config = cross.config
        rows = batch[ITEM_ROW][:, 0]
        inputs = [
            batch[name] if self._schema.feature(name).side == "query" else self._items[name][rows]
            for name in cross.inputs
        ]
        keys = cross_keys_numpy(inputs, cross.name)
        if cross.pooling == "sum":
            keys = once_numpy(keys)
        present = keys[keys != PADDING]
        counts.coverage.add(present)
        _add_each(counts.vocabulary, keys)
        if counts.statistics is not None and isinstance(config, StatisticsCross):
            parts = part_of(batch[TIMESTAMP][:, 0], batch[USER][:, 0], self._boundaries[cross.name], config.parts)
            counts.statistics.add(keys, batch[label_key(config.label or self._label)][:, 0], parts)

    def _fit(self, cross: CrossOutput, counts: CrossCounts) -> tuple[CrossOutput, dict[str, Array]]:
        config = cross.config
        if isinstance(config, BM25Cross):
            return self._fit_terms(cross, counts)
        found: dict[str, object] = {}
        arrays: dict[str, Array] = {}
        if counts.vocabulary is not None and isinstance(config, VocabularyCross):
            keys, sums = counts.vocabulary.sums()
            keys, ids = make_vocabulary(keys, sums[:, 0], config.min_count, config.max_size)
            found["buckets"] = int(np.count_nonzero(ids))
            arrays = {"keys": keys, "ids": ids}
        if counts.statistics is not None and isinstance(config, StatisticsCross):
            table = counts.statistics.table(config, self._boundaries[cross.name])
            found["buckets"] = len(table.keys)
            arrays = dict(vars(table))
        if not isinstance(config, SimilarityCross):
            enough = config.min_count if isinstance(config, VocabularyCross) else ENOUGH
            covered = counts.coverage.describe(cross.buckets if isinstance(config, HashedCross) else 0, enough)
            found |= vars(covered)
        return cross.model_copy(update=found), arrays

    def _fit_terms(self, cross: CrossOutput, counts: CrossCounts) -> tuple[CrossOutput, dict[str, Array]]:
        # The last row is the item of which nothing is known.
        table = fit_terms([self._items[name][:-1] for name in cross.inputs[1:]])
        asked, times = counts.vocabulary.sums() if counts.vocabulary is not None else (table.keys[:0], table.keys[:0])
        known = times[np.isin(asked, table.keys)].sum() / max(times.sum(), 1)
        taken, ids = np.count_nonzero(table.keys), self._schema.feature(cross.inputs[0]).cardinality - 1
        # So many words, spread by chance, take so many of the ids (Whang, Vander-Zanden, Taylor 1990, "A linear-time
        # probabilistic counting algorithm for database applications").
        words = -ids * np.log1p(-min(taken, ids - 0.5) / ids)
        shared = -np.expm1((max(words, 1.0) - 1.0) * np.log1p(-1.0 / ids)) if ids > 1 else 0.0
        found = {"distinct": round(words), "collision_rate": round(shared, 6), "coverage": round(float(known), 6)}
        return cross.model_copy(update=found), dict(vars(table))


def _add_each(counts: KeyedCounts | None, keys: Array) -> None:
    """Counts each key that is no padding once."""
    if counts is not None:
        present = keys[keys != PADDING]
        counts.add(present, np.ones((len(present), 1), np.int64))


def needs_times(schema: FeatureSchema) -> bool:
    """Whether the fit needs a first pass over the times of the training rows."""
    return any(isinstance(cross.config, StatisticsCross) and cross.config.by != "user" for cross in schema.crosses)


def fit_crosses(
    schema: FeatureSchema, items: Mapping[str, Array], batches: Callable[[], Iterable[Batch]], label: str
) -> FeatureSchema:
    """Fits all crosses of a schema in this process.

    Args:
        schema: The features, and the crosses to fit.
        items: The item table's features ``{name: [N + 1, width]}``.
        batches: Gives the transformed training interactions once more with every call.
        label: The label of statistics that name none.

    Returns:
        The schema with fitted crosses and their tables.
    """
    histogram = TimeHistogram()
    for batch in batches() if needs_times(schema) else ():
        histogram.add(batch[TIMESTAMP][:, 0])
    fitter = CrossFitter(schema, items, label, histogram)
    counts = fitter.create()
    for batch in batches() if schema.crosses else ():
        fitter.add(counts, batch)
    return fitter.extract(counts)
