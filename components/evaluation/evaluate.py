"""Retrieval, ranking and the bundle as a whole, measured on the test split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crossrec.components.candidate_indexer.report import IndexReport
from crossrec.components.evaluation.baselines import Popularity
from crossrec.components.evaluation.bundle_lists import ask
from crossrec.components.evaluation.config import EvaluationConfig, ThresholdConfig
from crossrec.components.evaluation.metrics import ranking_metrics
from crossrec.components.evaluation.queries import Queries
from crossrec.components.evaluation.report import Report, judge
from crossrec.components.features.item_table import Array, ItemTable
from crossrec.serving.contract import names

_SMALLEST_SLICE = 30


def list_metrics(lists: Mapping[str, Array], queries: Queries, config: EvaluationConfig) -> dict[str, Array]:
    """Metrics of each query, ``<list>/<metric>@<k>`` to ``[Q]``."""
    out = {}
    for source, rows in lists.items():
        # A catalogue of fewer items than a cut-off gives shorter lists.
        full = np.pad(rows, [(0, 0), (0, max(max(config.k) - rows.shape[1], 0))], constant_values=-1)
        figures = ranking_metrics(full, queries.relevant, config.k)
        out.update({f"{source}/{name}": values for name, values in figures.items()})
    return out


def evaluate_lists(
    bundle: Any, table: ItemTable, queries: Queries, config: EvaluationConfig
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Lists of the bundle, of its retrieval and of popularity.

    Args:
        bundle: The loaded SavedModel.
        table: The catalogue.
        queries: The queries.
        config: Cut-offs and slices.

    Returns:
        Means over all queries, and over each slice of 30 queries or more.
    """
    popularity = Popularity(table.frequencies)
    lists = {
        "end_to_end": ask(bundle, names.RECOMMEND, queries, table.ids),
        "retrieval": ask(bundle, names.RETRIEVE, queries, table.ids),
        "popularity": popularity.recommend(queries.excluded, min(max(config.k), table.items)),
    }
    values = list_metrics(lists, queries, config)
    means = {name: float(np.mean(figures)) for name, figures in values.items()}
    depth = lists["retrieval"].shape[1]
    reach = ranking_metrics(lists["retrieval"], queries.relevant, [depth])[f"recall@{depth}"]
    means[f"retrieval/recall@{depth}"] = float(np.mean(reach))
    slices: dict[str, dict[str, float]] = {}
    for column in config.slices:
        for value in np.unique(queries.inputs[column]):
            rows = queries.inputs[column] == value
            if rows.sum() >= _SMALLEST_SLICE:
                name = f"{column}={value.decode('utf-8', 'replace')}"
                slices[name] = {metric: float(np.mean(figures[rows])) for metric, figures in values.items()}
                slices[name]["queries"] = int(rows.sum())
    return means, slices


def evaluate(
    bundle: Any,
    table: ItemTable,
    queries: Queries,
    ranking: dict[str, float],
    config: EvaluationConfig,
    index: IndexReport | None = None,
) -> Report:
    """The whole report.

    Args:
        bundle: The loaded SavedModel.
        table: The catalogue.
        queries: The queries.
        ranking: What ``evaluate_ranking`` gave.
        config: Cut-offs, slices, thresholds.
        index: Of a partitioned one the recall is a figure too, and its target a threshold.
    """
    means, slices = evaluate_lists(bundle, table, queries, config)
    metrics = means | ranking
    thresholds = config.thresholds
    if index is not None and index.type == "partitioned":
        metrics[index.metric] = index.recall
        thresholds += (ThresholdConfig(metric=index.metric, minimum=index.recall_target),)
    counts = {"queries": len(queries), "items": table.items, "relevant": len(queries.relevant.items)}
    return Report(metrics=metrics, slices=slices, counts=counts, verdicts=judge(metrics, thresholds))
