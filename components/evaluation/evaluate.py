"""Retrieval, ranking and the bundle as a whole, measured on the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crossrec.components.candidate_indexer.report import IndexReport
from crossrec.components.evaluation.baselines import Popularity
from crossrec.components.evaluation.bundle_lists import ask
from crossrec.components.evaluation.config import EvaluationConfig, ThresholdConfig
from crossrec.components.evaluation.graded_metrics import mean_ndcg
from crossrec.components.evaluation.metrics import auc, log_loss, ranking_metrics
from crossrec.components.evaluation.queries import Queries
from crossrec.components.evaluation.report import Report, judge
from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.schema import CANDIDATE, RETRIEVED, label_key
from crossrec.components.ranking_examples.lists import LIST
from crossrec.components.ranking_trainer.config import TaskConfig
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


def evaluate_ranking(
    columns: Mapping[str, Array],
    probabilities: Array,
    tasks: tuple[TaskConfig, ...],
    at_logged_places: Array | None = None,
    cut_offs: Sequence[int] = (),
) -> dict[str, float]:
    """AUC, log loss and calibration of each binary task, NDCG of each graded one.

    Only logged rows count where their labels vary. Where every logged row is a positive, the rows are those that
    retrieval hands on, positives and negatives alike: one that it did not find is no question to the ranking.

    Args:
        columns: Labels, ``@retrieved`` and ``@candidate`` of the rows, ``[n]``; for graded tasks also ``@list``.
        probabilities: float32 ``[n, tasks]``, as served, that is without knowledge of the place: for the AUC.
        tasks: The tasks.
        at_logged_places: The same at the places where rows were shown: for log loss and calibration.
        cut_offs: Of the NDCG.
    """
    placed = probabilities if at_logged_places is None else at_logged_places
    out = {}
    for place, task in enumerate(tasks):
        labels = columns[label_key(task.label_column)]
        rows = columns[RETRIEVED] == 0
        if task.type == "graded":
            for k in cut_offs:
                value = mean_ndcg(probabilities[rows, place], labels[rows], columns[LIST][rows], k, task.gain)
                out[f"ranking/{task.name}/ndcg@{k}"] = value
            continue
        if len(np.unique(labels[rows])) < 2:
            rows = columns[CANDIDATE] > 0
        if len(np.unique(labels[rows])) < 2:
            continue
        out[f"ranking/{task.name}/auc"] = auc(labels[rows], probabilities[rows, place])
        chosen = placed[rows, place]
        out[f"ranking/{task.name}/log_loss"] = log_loss(labels[rows], chosen)
        out[f"ranking/{task.name}/calibration"] = float(chosen.mean() / labels[rows].mean())
    return out


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
