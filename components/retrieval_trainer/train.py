"""Training the retrieval model and measuring it on the validation split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras

from crossrec.components.errors import DataError
from crossrec.components.evaluation.ragged import RaggedItems
from crossrec.components.evaluation.ranking_metrics import ranking_metrics
from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP, USER, FeatureSchema, label_key
from crossrec.components.modeling import inputs, runtime, saving
from crossrec.components.modeling.lazy_adam import LazyAdam
from crossrec.components.modeling.training import Monitor, fit
from crossrec.components.modeling.warm_start import WarmStart
from crossrec.components.progress import progress
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.loss import without
from crossrec.components.retrieval_trainer.model import RetrievalModel
from crossrec.components.retrieval_trainer.popularity import log_shares
from crossrec.components.retrieval_trainer.requests import Requests, RequestsConfig, read_requests, request_batches

RECALL_AT, NDCG_AT = 50, 20
_REQUESTS = 512
_VALIDATION_ROWS = 20_000
_READ_ROWS = 16_384
_REFITTED = "refitted"


def positives(
    data: inputs.TrainingData, splits: Sequence[str], label: str, config: RetrievalConfig, shuffle: bool = False
) -> tf.data.Dataset:
    """Batches of the positive rows of some splits."""
    batches = inputs.read_batches(
        [data.patterns[split] for split in splits],
        data.spec,
        max(config.training.batch_size, 4096),
        shuffle=config.training.shuffle_rows if shuffle else 0,
        seed=config.training.seed,
    )
    return inputs.keep_rows(batches, label_key(label), config.training.batch_size, drop_remainder=False)


def read_columns(
    data: inputs.TrainingData, splits: Sequence[str], label: str, names: Sequence[str]
) -> tuple[Array, ...]:
    """Some columns of the positive rows of some splits, int64 ``[n]`` each."""
    spec = {name: data.spec[name] for name in (*names, label_key(label))}
    batches = inputs.read_batches([data.patterns[split] for split in splits], spec, _READ_ROWS)
    kept = [batch for batch in inputs.keep_rows(batches, label_key(label), _READ_ROWS, drop_remainder=False)]
    return tuple(np.concatenate([batch[name].numpy()[:, 0] for batch in kept]) for name in names)


def recall(model: RetrievalModel, dataset: tf.data.Dataset, k: int = RECALL_AT) -> float:
    """Share of rows whose item is among the ``k`` nearest of the whole catalogue, ties as the index breaks them."""
    catalogue = tf.constant(model.embed_catalogue()[:-1])
    columns = tf.range(tf.shape(catalogue, tf.int64)[0], dtype=tf.int64)

    def hits_of(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        scores = tf.matmul(model.embed_queries(batch), catalogue, transpose_b=True)
        rows = batch[ITEM_ROW]
        own = tf.gather(scores, rows, batch_dims=1)
        # A model whose scores are no numbers finds nothing, and one that scores all items the same finds k of them.
        ahead = (scores > own) | ((scores == own) & (columns < rows)) | ~tf.math.is_finite(own)
        better = tf.reduce_sum(tf.cast(ahead, tf.int32), 1)
        return tf.reduce_sum(tf.cast(better < k, tf.int32))

    step = tf.function(hits_of, autograph=False, reduce_retracing=True)
    hits = rows = 0
    for batch in dataset:
        hits += int(step(batch))
        rows += int(batch[ITEM_ROW].shape[0])
    if not rows:
        raise DataError("data.split", "the validation split has no positive row", "Let it begin earlier.")
    return hits / rows


@dataclass(frozen=True)
class TrainedTowers:
    """What a training gives.

    Attributes:
        model: Trained on the training split, with the weights of its best epoch on validation.
        history: Of that training.
        refitted: Trained on the training and the validation split, where the configuration asks for it.
    """

    model: RetrievalModel
    history: list[dict[str, float]]
    refitted: RetrievalModel | None


def request_ndcg(model: RetrievalModel, requests: Requests, config: RequestsConfig, k: int = NDCG_AT) -> float:
    """Mean NDCG of the ``k`` nearest items of the catalogue over requests, whose items are what is relevant."""
    catalogue = tf.constant(model.embed_catalogue()[:-1])
    k = min(k, model.items)

    def nearest(features: inputs.Tensors) -> tf.Tensor:
        scores = tf.matmul(model.embed_queries(features), catalogue, transpose_b=True)
        if config.new_items_only:
            scores = without(scores, features[config.history])
        return tf.math.top_k(scores, k).indices

    step = tf.function(nearest, autograph=False, reduce_retracing=True)
    found = [
        step({name: values[start : start + _REQUESTS] for name, values in requests.features.items()}).numpy()
        for start in range(0, len(requests), _REQUESTS)
    ]
    relevant = RaggedItems(requests.items, requests.starts)
    return float(np.mean(ranking_metrics(np.concatenate(found).astype(np.int64), relevant, [k])[f"ndcg@{k}"]))


def train(
    schema: FeatureSchema,
    table: ItemTable,
    config: RetrievalConfig,
    data: inputs.TrainingData,
    checkpoints: str,
    warm: WarmStart | None = None,
) -> TrainedTowers:
    """Trains the two towers.

    Args:
        schema: Describes the features.
        table: The catalogue.
        config: Towers, loss, training; ``label`` is set.
        data: Transformed interactions with splits ``train`` and ``validation``.
        checkpoints: Directory for checkpoints; training goes on from those it finds there.
        warm: Where the weights start from; anew if None.
    """
    runtime.prepare()
    model = compiled(schema, table, config, warm)
    history = fit(
        model,
        _prepare(model, schema, config, data, ("train",)),
        _monitor(model, schema, config, data),
        config.training if warm is None else warm.shortened(config.training),
        f"{checkpoints}/train",
    )
    model.finish()
    return TrainedTowers(model, history, _refit(schema, table, config, data, (history, checkpoints, warm)))


def _monitor(
    model: RetrievalModel, schema: FeatureSchema, config: RetrievalConfig, data: inputs.TrainingData
) -> Monitor:
    """What validation measures: of requests the NDCG, of rows the recall."""
    validation = positives(data, ("validation",), config.label, config)
    if config.requests is not None:
        of_requests = config.requests
        requests = read_requests(validation, [feature.name for feature in schema.side("query")])
        return Monitor(f"ndcg@{NDCG_AT}", maximise=True, measure=lambda: request_ndcg(model, requests, of_requests))
    rows = validation.take(max(1, _VALIDATION_ROWS // config.training.batch_size)).cache()
    return Monitor(f"recall@{RECALL_AT}", maximise=True, measure=lambda: recall(model, rows))


def _refit(
    schema: FeatureSchema,
    table: ItemTable,
    config: RetrievalConfig,
    data: inputs.TrainingData,
    first: tuple[list[dict[str, float]], str, WarmStart | None],
) -> RetrievalModel | None:
    if not config.refit:
        return None
    history, checkpoints, warm = first
    epochs = 1 + int(np.argmax([entry["monitor"] for entry in history]))
    progress(f"training once more for {epochs} epochs, on the validation split too")
    model = compiled(schema, table, config, warm)
    fit(
        model,
        _prepare(model, schema, config, data, ("train", "validation")),
        # No split is left to measure on: the last epoch counts.
        Monitor("steps", maximise=True, measure=lambda: float(model.optimizer.iterations.numpy())),
        config.training.model_copy(update={"epochs": epochs, "patience": 0}),
        f"{checkpoints}/refit",
    )
    model.finish()
    return model


def compiled(
    schema: FeatureSchema, table: ItemTable, config: RetrievalConfig, warm: WarmStart | None = None
) -> RetrievalModel:
    """The model with its optimizer, on all devices; with the weights of another where it starts warm."""
    tf_keras.utils.set_random_seed(config.training.seed)
    with runtime.mixed_precision(), runtime.strategy().scope():
        model = build(schema, config, table)
        model.compile(optimizer=LazyAdam(config.training.learning_rate))
    if warm is not None:
        warm.start(model, (schema, table, config), _load_former)
    return model


def _load_former(directory: str, schema: FeatureSchema, table: ItemTable) -> tuple[RetrievalModel, RetrievalConfig]:
    """The towers of an earlier run that have not seen its validation rows, and their configuration."""
    return load(directory, schema, table, served=False), saving.read_config(directory, RetrievalConfig)


def _prepare(
    model: RetrievalModel,
    schema: FeatureSchema,
    config: RetrievalConfig,
    data: inputs.TrainingData,
    splits: Sequence[str],
) -> tf.data.Dataset:
    """The training batches of some splits; the model learns who met what in them, and how popular it was."""
    if model.popularity is not None and config.popularity is not None:
        moments, rows = read_columns(data, splits, config.label, (TIMESTAMP, ITEM_ROW))
        model.popularity.set_history(*log_shares(moments, rows, model.items, config.popularity))
    if model.graph is not None:
        users, rows = read_columns(data, splits, config.label, (model.graph.config.user or USER, ITEM_ROW))
        model.graph.set_edges(users, rows)
    if model.graph_filter is not None:
        model.graph_filter.fit(*read_columns(data, splits, config.label, (USER, ITEM_ROW)))
    if config.requests is None:
        return positives(data, splits, config.label, config, shuffle=True).prefetch(tf.data.AUTOTUNE)
    names = [feature.name for feature in schema.side("query")]
    requests = read_requests(positives(data, splits, config.label, config), names)
    return request_batches(requests, schema, config.requests, config.training).prefetch(tf.data.AUTOTUNE)


def build(schema: FeatureSchema, config: RetrievalConfig, table: ItemTable) -> RetrievalModel:
    """The untrained model with all its weights made, so that weights can be loaded into it."""
    model = RetrievalModel(schema, config, table)
    model.embed_queries(
        {
            feature.name: tf.zeros([1, feature.width], tf.float32 if feature.kind == "dense" else tf.int64)
            for feature in schema.side("query")
        }
    )
    model.embed_items(tf.zeros([1], tf.int64))
    return model


def save(directory: str, trained: TrainedTowers, config: RetrievalConfig) -> None:
    """Writes the towers into a directory, those trained again into a folder of it."""
    saving.save(directory, trained.model, config, trained.history)
    if trained.refitted is not None:
        saving.save(f"{directory}/{_REFITTED}", trained.refitted, config, trained.history)


def load(directory: str, schema: FeatureSchema, table: ItemTable, served: bool) -> RetrievalModel:
    """Reads the towers of a directory.

    Args:
        directory: Where ``save`` wrote them.
        schema: Describes the features.
        table: The catalogue.
        served: Whether those are wanted that are served: trained on validation too, where the configuration says so.
    """
    config = saving.read_config(directory, RetrievalConfig)
    model = build(schema, config, table)
    saving.restore(f"{directory}/{_REFITTED}" if served and config.refit else directory, model)
    return model
