"""Training the ranking model and measuring it on the validation split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorflow as tf
import tf_keras

from crossrec.components.errors import DataError
from crossrec.components.evaluation.graded_metrics import mean_ndcg
from crossrec.components.evaluation.metrics import log_loss
from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.schema import (
    CANDIDATE,
    ITEM_ROW,
    POSITION,
    RETRIEVAL_SCORE,
    RETRIEVED,
    TIMESTAMP,
    USER,
    WEIGHT,
    FeatureSchema,
    label_key,
)
from crossrec.components.modeling import inputs, runtime, saving
from crossrec.components.modeling.lazy_adam import LazyAdam
from crossrec.components.modeling.training import Monitor, fit
from crossrec.components.modeling.warm_start import WarmStart
from crossrec.components.ranking_examples.lists import LIST
from crossrec.components.ranking_trainer.config import NegativesConfig, RankingConfig, TaskConfig
from crossrec.components.ranking_trainer.fusion import fit_balance, fit_calibration, fit_graded_balance, standardise
from crossrec.components.ranking_trainer.model import RankingModel
from crossrec.components.ranking_trainer.reading import read_rows

_EVALUATION_BATCH = 8192
_VALIDATION_ROWS = 500_000
NDCG_AT = 10
"""Ranks that count on validation."""


def _logits_of_rows(model: RankingModel, dataset: tf.data.Dataset) -> tuple[dict[str, Array], Array]:
    """Logits of rows at the places where they were shown.

    Returns:
        The rows' columns beside the features ``{name: [n]}``, and float32 ``[n, tasks]``.
    """
    step = tf.function(
        lambda batch: model.logits(batch, batch[ITEM_ROW], batch.get(POSITION))[:, 0],
        autograph=False,
        reduce_retracing=True,
    )
    columns: dict[str, list[Array]] = {}
    out = []
    for batch in dataset:
        out.append(step(batch).numpy())
        for name, values in batch.items():
            if name.startswith("@"):
                columns.setdefault(name, []).append(values.numpy()[:, 0])
    return {name: np.concatenate(values) for name, values in columns.items()}, np.concatenate(out)


def validation_loss(model: RankingModel, dataset: tf.data.Dataset) -> float:
    """The tasks' losses, weighted as in training: log loss, or of a graded task what NDCG@10 lacks to 1."""
    columns, logits = _logits_of_rows(model, dataset)
    total = 0.0
    for i, task in enumerate(model.tasks):
        labels = columns[label_key(task.label_column)]
        if task.type == "graded":
            logged = columns[RETRIEVED] == 0
            loss = 1.0 - mean_ndcg(logits[logged, i], labels[logged], columns[LIST][logged], NDCG_AT, task.gain)
        else:
            loss = log_loss(labels, 1.0 / (1.0 + np.exp(-logits[:, i])), columns[WEIGHT])
        total += task.weight * loss
    return total / sum(task.weight for task in model.tasks)


def _monitor(model: RankingModel, dataset: tf.data.Dataset) -> Monitor:
    """What decides which epoch is kept."""
    kinds = {task.type for task in model.tasks}
    if kinds == {"graded"}:
        return Monitor(f"ndcg@{NDCG_AT}", maximise=True, measure=lambda: 1.0 - validation_loss(model, dataset))
    name = "log loss" if kinds == {"binary"} else f"log loss and 1 - ndcg@{NDCG_AT}"
    return Monitor(name, maximise=False, measure=lambda: validation_loss(model, dataset))


def fuse(model: RankingModel, dataset: tf.data.Dataset, negatives: NegativesConfig, limit: float = 0.5) -> None:
    """Joins the model's logits with the retrieval scores, fitted on a dataset that neither was trained on.

    The balance is fitted to rows that retrieval would hand on; each sampled candidate stands for all those that
    it was drawn from, and a query is what one user asked at one moment. The probabilities are fitted to logged
    rows, at the places where they were shown. A graded task's balance is fitted to the rows that have grades.
    """
    columns, logits = _logits_of_rows(model, dataset)
    sampled, candidate = columns[RETRIEVED] > 0, columns[CANDIDATE] > 0
    _, queries = np.unique(np.stack([columns[USER], columns[TIMESTAMP]]), axis=1, return_inverse=True)
    scores = columns[RETRIEVAL_SCORE]
    parameters = []
    for i, task in enumerate(model.tasks):
        labels = columns[label_key(task.label_column)]
        if task.type == "graded":
            parameters.append(_graded_fusion(task, columns, logits[:, i], limit))
            continue
        # Among the few that were shown the score says little; they would outvote the many that were not.
        ordered = candidate & (sampled | (labels > 0))
        balance = fit_balance(
            logits[ordered, i],
            scores[ordered],
            labels[ordered],
            queries.reshape(-1)[ordered],
            negatives.from_top / max(negatives.retrieved, 1),
            limit,
        )
        scale, level = _calibration(logits[:, i] + balance * scores, labels, sampled, candidate)
        parameters.append([scale, scale * balance, level])
    model.set_fusion(np.array(parameters, np.float32))


def calibrate(model: RankingModel, dataset: tf.data.Dataset) -> None:
    """Fits scale and level of the logits alone, on a dataset that the model was not trained on."""
    columns, logits = _logits_of_rows(model, dataset)
    sampled = columns[RETRIEVED] > 0
    parameters = []
    for i, task in enumerate(model.tasks):
        if task.type == "graded":
            scale, level = standardise(logits[~sampled, i])
        else:
            labels = columns[label_key(task.label_column)]
            scale, level = _calibration(logits[:, i], labels, sampled, np.ones_like(sampled))
        parameters.append([scale, 0.0, level])
    model.set_fusion(np.array(parameters, np.float32))


def _graded_fusion(task: TaskConfig, columns: dict[str, Array], logits: Array, limit: float) -> list[float]:
    """a, b and c of a graded task."""
    logged = columns[RETRIEVED] == 0
    grades, scores = columns[label_key(task.label_column)][logged].astype(np.float64), columns[RETRIEVAL_SCORE][logged]
    gains = 2.0**grades - 1.0 if task.gain == "exponential" else grades
    balance = fit_graded_balance(logits[logged], scores, gains, columns[LIST][logged], limit=limit)
    scale, level = standardise(logits[logged] + balance * scores)
    return [scale, scale * balance, level]


def _calibration(values: Array, labels: Array, sampled: Array, otherwise: Array) -> tuple[float, float]:
    """Scale and level on logged rows, where these have both labels, and else on other ones.

    Beside candidates that retrieval found, positives that it did not find would turn the part of its score around.
    """
    rows = ~sampled if len(np.unique(labels[~sampled])) == 2 else otherwise
    return fit_calibration(values[rows], labels[rows])


def check_labels(data: inputs.TrainingData, config: RankingConfig) -> None:
    """Looks whether every task has both labels in training, a graded one two grades in one list.

    Raises:
        DataError: A task's labels are all equal.
    """
    for task in config.tasks:
        key = label_key(task.label_column)
        if task.type == "graded":
            _check_grades(data, config, task)
            continue
        seen: set[float] = set()
        labels = replace(data, spec={key: data.spec[key]})
        for batch in read_rows(labels, "train", config, _EVALUATION_BATCH):
            seen |= set(np.unique(batch[key].numpy()).tolist())
            if len(seen) > 1:
                break
        if len(seen) < 2:
            raise DataError(
                f"ranking.tasks.{task.name}",
                f"label {task.label_column!r} is {seen.pop() if seen else 'never set'} in every training row",
                "Choose a label that varies, or let ranking.negatives.retrieved add negatives.",
            )


def _check_grades(data: inputs.TrainingData, config: RankingConfig, task: TaskConfig) -> None:
    key = label_key(task.label_column)
    for batch in read_rows(replace(data, spec={key: data.spec[key]}), "train", config, _EVALUATION_BATCH):
        lists, grades = batch[LIST].numpy()[:, 0], batch[key].numpy()[:, 0]
        order = np.lexsort((grades, lists))
        if ((np.diff(lists[order]) == 0) & (np.diff(grades[order]) > 0)).any():
            return
    raise DataError(
        f"ranking.tasks.{task.name}",
        f"no list of the training split has two different grades {task.label_column!r}",
        "A list is what one user (or query) asked at one moment, or a request: check which columns these are.",
    )


def train(
    schema: FeatureSchema,
    table: ItemTable,
    config: RankingConfig,
    data: inputs.TrainingData,
    checkpoints: str,
    warm: WarmStart | None = None,
) -> tuple[RankingModel, list[dict[str, float]]]:
    """Trains the ranking model.

    Args:
        schema: Describes features and crosses.
        table: The catalogue.
        config: Features, interaction, tasks, training.
        data: Ranking examples with splits ``train`` and ``validation``.
        checkpoints: Directory for checkpoints; training goes on from those it finds there.
        warm: Where the weights start from; anew if None.

    Returns:
        The model with the weights of its best epoch, and the history.
    """
    runtime.prepare()
    check_labels(data, config)
    tf_keras.utils.set_random_seed(config.training.seed)
    # Several devices would divide batches by rows, and lists with them.
    strategy = tf.distribute.get_strategy() if config.learns_lists else runtime.strategy()
    with runtime.mixed_precision(), strategy.scope():
        model = build(schema, config, table)
        model.compile(optimizer=LazyAdam(config.training.learning_rate))
    if warm is not None:
        warm.start(model, (schema, table, config), _load_former)
    size = config.training.batch_size
    validation = read_rows(data, "validation", config, _EVALUATION_BATCH).take(_VALIDATION_ROWS // _EVALUATION_BATCH)
    history = fit(
        model,
        read_rows(data, "train", config, size, shuffle=True).prefetch(tf.data.AUTOTUNE),
        _monitor(model, validation),
        config.training if warm is None else warm.shortened(config.training),
        checkpoints,
    )
    if config.retrieval_score:
        fuse(model, validation, config.negatives, config.score_limit)
    else:
        calibrate(model, validation)
    return model, history


def _load_former(directory: str, schema: FeatureSchema, table: ItemTable) -> tuple[RankingModel, RankingConfig]:
    """The model of an earlier run, and its configuration."""
    config = saving.read_config(directory, RankingConfig)
    model = build(schema, config, table)
    saving.restore(directory, model)
    return model, config


def build(schema: FeatureSchema, config: RankingConfig, table: ItemTable) -> RankingModel:
    """The untrained model with all its weights made, so that weights can be loaded into it."""
    model = RankingModel(schema, config, table)
    query = {
        feature.name: tf.zeros([1, feature.width], tf.float32 if feature.kind == "dense" else tf.int64)
        for feature in schema.side("query")
    }
    model.probabilities(query, tf.zeros([1, 1], tf.int64), tf.zeros([1, 1]))
    return model
