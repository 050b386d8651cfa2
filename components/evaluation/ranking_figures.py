"""Figures of the ranking model, batch by batch: no more than a batch of rows is held."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from crossrec.components.evaluation.classification_metrics import checked, log_loss
from crossrec.components.evaluation.graded_metrics import graded_ndcg
from crossrec.components.evaluation.score_counts import ScoreCounts
from crossrec.components.features.item_table import Array
from crossrec.components.features.schema import CANDIDATE, ITEM_ROW, POSITION, RETRIEVAL_SCORE, RETRIEVED, label_key
from crossrec.components.modeling.inputs import Tensors
from crossrec.components.ranking_examples.lists import LIST
from crossrec.components.ranking_trainer.config import TaskConfig
from crossrec.components.ranking_trainer.model import RankingModel


class Predicted(NamedTuple):
    """Rows and what a model says of them.

    Attributes:
        columns: Labels, ``@retrieved``, ``@candidate`` and whatever is no feature, ``{name: [n]}``; with graded tasks
            also ``@list``, and then all rows of a list.
        probabilities: float32 ``[n, tasks]``, as served, that is as if each row had been shown first: for the AUC.
        at_logged_places: The same at the places where rows were shown: for log loss and calibration.
    """

    columns: Mapping[str, Array]
    probabilities: Array
    at_logged_places: Array


def predict(model: RankingModel, dataset: tf.data.Dataset) -> Iterator[Predicted]:
    """Predicts batch by batch; the network runs once for both places."""

    def of_batch(batch: Tensors) -> list[tf.Tensor]:
        places = [None, batch.get(POSITION)]
        return [found[:, 0] for found in model.probabilities_at(batch, batch[ITEM_ROW], batch[RETRIEVAL_SCORE], places)]

    step = tf.function(of_batch, autograph=False, reduce_retracing=True)
    for batch in dataset:
        first, placed = step(batch)
        columns = {name: values.numpy()[:, 0] for name, values in batch.items() if name.startswith("@")}
        yield Predicted(columns, first.numpy(), placed.numpy())


def evaluate_ranking(
    predicted: Iterable[Predicted], tasks: Sequence[TaskConfig], cut_offs: Sequence[int] = ()
) -> dict[str, float]:
    """AUC, log loss and calibration of each binary task, NDCG of each graded one.

    Only logged rows count where their labels vary. Where every logged row is a positive, the rows are those that
    retrieval hands on, positives and negatives alike: one that it did not find is no question to the ranking.

    Args:
        predicted: The rows, in batches of any size.
        tasks: The tasks.
        cut_offs: Of the NDCG.
    """
    with tempfile.TemporaryDirectory() as directory:
        figures = [
            _Graded(task, cut_offs) if task.type == "graded" else _LoggedOrCandidates(directory) for task in tasks
        ]
        for columns, probabilities, placed in predicted:
            for place, (task, figure) in enumerate(zip(tasks, figures)):
                figure.add(columns, columns[label_key(task.label_column)], probabilities[:, place], placed[:, place])
        return {
            f"ranking/{task.name}/{name}": value
            for task, figure in zip(tasks, figures)
            for name, value in figure.figures().items()
        }


class _Graded:
    """Mean NDCG of the lists that have any gain; NaN if none has."""

    def __init__(self, task: TaskConfig, cut_offs: Sequence[int]):
        self._task, self._sums, self._lists = task, dict.fromkeys(cut_offs, 0.0), dict.fromkeys(cut_offs, 0)

    def add(self, columns: Mapping[str, Array], labels: Array, probabilities: Array, placed: Array) -> None:
        rows = columns[RETRIEVED] == 0
        for k in self._sums:
            values = graded_ndcg(probabilities[rows], labels[rows], columns[LIST][rows], k, self._task.gain)
            present = values[~np.isnan(values)]
            self._sums[k] += float(present.sum())
            self._lists[k] += len(present)

    def figures(self) -> dict[str, float]:
        return {
            f"ndcg@{k}": total / self._lists[k] if self._lists[k] else float("nan") for k, total in self._sums.items()
        }


class _LoggedOrCandidates:
    """Figures of logged rows if both labels are among them, and else of what retrieval hands on."""

    def __init__(self, directory: str):
        self._logged, self._candidates = _Binary(directory), _Binary(directory)

    def add(self, columns: Mapping[str, Array], labels: Array, probabilities: Array, placed: Array) -> None:
        sets = [(self._logged, columns[RETRIEVED] == 0)]
        if not self._logged.varies:
            sets.append((self._candidates, columns[CANDIDATE] > 0))
        for figure, rows in sets:
            if rows.any():
                figure.add(labels[rows], probabilities[rows], placed[rows])

    def figures(self) -> dict[str, float]:
        chosen = self._logged if self._logged.varies else self._candidates
        return chosen.figures() if chosen.varies else {}


class _Binary:
    """Sums over rows with a label of 0 or 1."""

    def __init__(self, directory: str):
        self._counts = ScoreCounts(directory)
        self._loss = self._probability = 0.0

    @property
    def varies(self) -> bool:
        """Whether both labels were seen."""
        return self._counts.positives > 0 and self._counts.negatives > 0

    def add(self, labels: Array, probabilities: Array, placed: Array) -> None:
        label, _ = checked(labels, probabilities)
        self._counts.add(label, probabilities)
        self._loss += log_loss(labels, placed) * len(labels)
        self._probability += float(placed.sum(dtype=np.float64))

    def figures(self) -> dict[str, float]:
        positives = self._counts.positives
        return {
            "auc": self._counts.auc(),
            "log_loss": self._loss / (positives + self._counts.negatives),
            "calibration": self._probability / positives,
        }
