"""Training the retrieval model and measuring it on the validation split."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from crossrec.components.errors import DataError
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import ITEM_ROW, FeatureSchema, label_key
from crossrec.components.modeling import inputs, runtime
from crossrec.components.modeling.lazy_adam import LazyAdam
from crossrec.components.modeling.training import Monitor, fit
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.model import RetrievalModel

RECALL_AT = 50
_VALIDATION_ROWS = 20_000


def positives(data: inputs.TrainingData, split: str, label: str, config: RetrievalConfig) -> tf.data.Dataset:
    """Batches of the split's positive rows; the training split is shuffled."""
    training = split == "train"
    batches = inputs.read_batches(
        data.patterns[split],
        data.spec,
        max(config.training.batch_size, 4096),
        shuffle=config.training.shuffle_rows if training else 0,
        seed=config.training.seed,
    )
    return inputs.keep_rows(batches, label_key(label), config.training.batch_size, drop_remainder=False)


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


def train(
    schema: FeatureSchema, table: ItemTable, config: RetrievalConfig, data: inputs.TrainingData, checkpoints: str
) -> tuple[RetrievalModel, list[dict[str, float]]]:
    """Trains the two towers.

    Args:
        schema: Describes the features.
        table: The catalogue.
        config: Towers, loss, training; ``label`` is set.
        data: Transformed interactions with splits ``train`` and ``validation``.
        checkpoints: Directory for checkpoints; training goes on from those it finds there.

    Returns:
        The model with the weights of its best epoch, and the history.
    """
    runtime.prepare()
    tf_keras.utils.set_random_seed(config.training.seed)
    tf_keras.mixed_precision.set_global_policy(runtime.mixed_precision_policy())
    label = config.label
    with runtime.strategy().scope():
        model = build(schema, config, table)
        model.compile(optimizer=LazyAdam(config.training.learning_rate))
    validation = (
        positives(data, "validation", label, config)
        .take(max(1, _VALIDATION_ROWS // config.training.batch_size))
        .cache()
    )
    history = fit(
        model,
        positives(data, "train", label, config).prefetch(tf.data.AUTOTUNE),
        Monitor(f"recall@{RECALL_AT}", maximise=True, measure=lambda: recall(model, validation)),
        config.training,
        checkpoints,
    )
    return model, history


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
