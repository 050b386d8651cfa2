"""A graded task from records of lists to what is served, beside a binary one."""

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from crossrec.components.errors import DataError
from crossrec.components.evaluation.graded_metrics import mean_ndcg
from crossrec.components.evaluation.ranking_figures import Predicted, evaluate_ranking, predict
from crossrec.components.features.schema import (
    CANDIDATE,
    ITEM_ROW,
    RETRIEVAL_SCORE,
    RETRIEVED,
    TIMESTAMP,
    USER,
    WEIGHT,
    label_key,
)
from crossrec.components.modeling.inputs import TrainingData
from crossrec.components.ranking_examples.lists import LIST, list_batches
from crossrec.components.ranking_trainer.config import RankingConfig, TaskConfig
from crossrec.components.ranking_trainer.fusion import fit_graded_balance, standardise
from crossrec.components.ranking_trainer.list_loss import by_list, softmax_loss
from crossrec.components.ranking_trainer.reading import mean_length, read_rows, whole_lists
from crossrec.components.ranking_trainer.train import build, calibrate, check_labels, fuse, train
from tests.unit.components.predicted import predict_all
from tests.unit.components.small_models import ITEMS, make_query, make_schema, make_table, randomise

SCHEMA, TABLE = make_schema(), make_table()
GRADE, CLICK = label_key("rating"), label_key("clicked")
GRADED = {"name": "relevance", "label": "rating", "type": "graded"}


def make_config(*tasks, **values):
    return RankingConfig.model_validate(
        {
            "features": ["limit", "price"],
            "crosses": [],
            "tasks": list(tasks) or [GRADED],
            "embedding_dimension": 4,
            "retrieval_score": False,
            "position_bias": False,
            "interactions": [{"type": "mlp", "deep": {"layers": [6]}}],
            "training": {"batch_size": 20, "epochs": 4, "patience": 0, "learning_rate": 0.05},
            **values,
        }
    )


def make_columns(lists=24, seed=0):
    """Lists of 1 to 9 rows; the grade grows with the product's price, the click is chance."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 10, lists)
    number = np.repeat(np.arange(lists), sizes)
    rows = len(number)
    query = {name: values.numpy()[number] for name, values in make_query(lists, seed).items()}
    items = rng.integers(0, ITEMS, (rows, 1))
    price = TABLE.features["price"][items[:, 0]]
    return query | {
        USER: number[:, None],
        TIMESTAMP: np.zeros((rows, 1), np.int64),
        ITEM_ROW: items,
        GRADE: np.digitize(price, [-0.7, 0.0, 0.7]).astype(np.float32),
        CLICK: rng.integers(0, 2, (rows, 1)).astype(np.float32),
        WEIGHT: np.ones((rows, 1), np.float32),
        RETRIEVED: np.zeros((rows, 1), np.int64),
        CANDIDATE: np.ones((rows, 1), np.int64),
        RETRIEVAL_SCORE: rng.normal(size=(rows, 1)).astype(np.float32),
    }


def write_lists(directory, columns, shards=3):
    directory.mkdir(parents=True)
    encoder = RecordBatchToExamplesEncoder()
    records = [record for batch in list_batches(columns) for record in encoder.encode(batch)]
    for shard in range(shards):
        options = tf.io.TFRecordOptions(compression_type="GZIP")
        with tf.io.TFRecordWriter(f"{directory}/part-{shard}.gz", options) as writer:
            for record in records[shard::shards]:
                writer.write(record)
    return f"{directory}/*"


def spec_of(columns):
    return {
        name: tf.io.FixedLenFeature([values.shape[1]], tf.float32 if values.dtype == np.float32 else tf.int64)
        for name, values in columns.items()
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    columns = {"train": make_columns(40), "validation": make_columns(12, 1), "test": make_columns(12, 2)}
    patterns = {split: write_lists(folder / split, values) for split, values in columns.items()}
    return TrainingData(patterns, spec_of(columns["train"]))


def batch_of(columns):
    batch = {name: tf.constant(values) for name, values in columns.items()}
    return {**batch, LIST: batch[USER]}


def test_batches_hold_whole_lists_in_every_pass(data):
    columns = make_columns(40)
    sizes = np.bincount(columns[USER][:, 0])
    config = make_config(training={"batch_size": 20, "shuffle_rows": 1000})
    dataset = read_rows(data, "train", config, 20, shuffle=True)
    assert mean_length(data.patterns["train"]) == pytest.approx(sizes.mean())
    passes = [[{name: values.numpy() for name, values in batch.items()} for batch in dataset] for _ in range(2)]
    for batches in passes:
        assert len(batches) == -(-40 // round(20 / sizes.mean())), "Keras takes the number of batches for granted"
        seen = []
        for batch in batches:
            for number in np.unique(batch[LIST]):
                users = batch[USER][batch[LIST] == number]
                assert len(set(users)) == 1 and len(users) == sizes[users[0]]
                seen.append(users[0])
        assert sorted(seen) == list(range(40)), "every list once"
    first, second = ([user for batch in batches for user in batch[USER][:, 0]] for batches in passes)
    assert first != second and sorted(first) == sorted(second)


def test_a_list_longer_than_a_batch_is_not_divided():
    lists = [np.full((size, 1), size) for size in (50, 3, 70)]
    dataset = tf.data.Dataset.from_generator(
        lambda: ({"n": rows} for rows in lists), output_signature={"n": tf.TensorSpec([None, 1], tf.int64)}
    )
    found = [(batch["n"].numpy()[:, 0], batch[LIST].numpy()[:, 0]) for batch in whole_lists(dataset, 1)]
    assert [len(rows) for rows, _ in found] == [50, 3, 70]
    assert [set(numbers) for _, numbers in found] == [{0}, {1}, {2}]


def test_the_loss_is_the_mean_over_lists_beside_the_mean_over_rows():
    columns = make_columns()
    batch = batch_of(columns)
    click = {"name": "click", "label": "clicked", "weight": 3.0}
    model = build(SCHEMA, make_config({**GRADED, "weight": 2.0}, click), TABLE)
    randomise(model)
    logits = model.logits(batch, batch[ITEM_ROW])[:, 0]
    gains = 2.0 ** columns[GRADE][:, 0] - 1
    mask, padded = by_list(batch[LIST][:, 0], [logits[:, 0], tf.constant(gains), tf.ones_like(logits[:, 0])])
    of_lists = softmax_loss(mask, *padded).numpy().mean()
    labels, scores = columns[CLICK][:, 0], logits[:, 1].numpy()
    of_rows = np.mean(np.logaddexp(0.0, scores) - labels * scores)
    assert float(model.compute_loss(batch)) == pytest.approx(2.0 * of_lists + 3.0 * of_rows, rel=1e-5)


@pytest.mark.parametrize("loss", ["softmax", "lambda"])
def test_training_finds_the_order(data, tmp_path, loss):
    config = make_config({**GRADED, "loss": loss}, training={"batch_size": 40, "epochs": 25, "learning_rate": 0.05})
    model, history = train(SCHEMA, TABLE, config, data, str(tmp_path))
    columns, scores = predict_all(model, read_rows(data, "test", config, 100))
    grades, lists = columns[GRADE], columns[LIST]
    assert mean_ndcg(scores[:, 0], grades, lists, 10) > 0.99 > mean_ndcg(np.zeros(len(grades)), grades, lists, 10)
    assert max(entry["monitor"] for entry in history) > 0.99, "the validation metric is NDCG, larger is better"
    found = evaluate_ranking(predict(model, read_rows(data, "test", config, 100)), config.tasks, (1, 10))
    assert found == {
        f"ranking/relevance/ndcg@{k}": pytest.approx(mean_ndcg(scores[:, 0], grades, lists, k)) for k in (1, 10)
    }


def test_what_is_served_grows_with_the_score_and_does_not_saturate(data):
    config = make_config()
    model = build(SCHEMA, config, TABLE)
    randomise(model)
    for weight in model.trainable_weights:
        weight.assign(weight * 6.0)
    dataset = read_rows(data, "validation", config, 100)
    _, before = predict_all(model, dataset)
    calibrate(model, dataset)
    columns, after = predict_all(model, dataset)
    logits = np.concatenate([model.logits(batch, batch[ITEM_ROW])[:, 0, 0].numpy() for batch in dataset])
    assert len(np.unique(before)) < len(np.unique(logits)), "these scores are too large for a plain sigmoid"
    odds = np.log(after[:, 0] / (1 - after[:, 0]))
    np.testing.assert_allclose(odds, (logits - logits.mean()) / logits.std(), atol=1e-3)
    assert len(columns[LIST]) == len(after)


def test_the_retrieval_score_counts_as_far_as_it_orders():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 8)
    gains = 2.0 ** rng.integers(0, 4, 320) - 1
    noise, signal = rng.normal(size=320), np.log1p(gains) + 0.1 * rng.normal(size=320)
    assert fit_graded_balance(signal, noise, gains, groups) <= 0.05
    assert fit_graded_balance(noise, signal, gains, groups, limit=5.0) > 1.0
    assert fit_graded_balance(noise, -signal, gains, groups, limit=5.0) == 0.0, "never against its own order"
    assert fit_graded_balance(noise, signal, 0.0 * gains, groups) == 0.0


def test_the_fusion_of_a_graded_task_keeps_the_order_of_its_sum(data):
    config = make_config(retrieval_score=True)
    model = build(SCHEMA, config, TABLE)
    randomise(model)
    dataset = read_rows(data, "validation", config, 100)
    fuse(model, dataset, config.negatives, limit=2.0)
    a, b, _ = model._fusion.numpy()[0]
    columns, found = predict_all(model, dataset)
    logits = np.concatenate([model.logits(batch, batch[ITEM_ROW])[:, 0, 0].numpy() for batch in dataset])
    joined = logits + b / a * columns[RETRIEVAL_SCORE]
    assert a > 0 and (np.argsort(joined, kind="stable") == np.argsort(found[:, 0], kind="stable")).all()


def test_standardise():
    scale, level = standardise(np.array([1.0, 3.0]))
    assert (scale, level) == (1.0, -2.0)
    assert standardise(np.ones(3)) == (1.0, 0.0) == standardise(np.zeros(0))


def test_lists_of_one_grade_are_told_of(tmp_path):
    columns = make_columns()
    columns[GRADE] = (columns[USER] % 3).astype(np.float32)
    data = TrainingData({"train": write_lists(tmp_path / "train", columns)}, spec_of(columns))
    with pytest.raises(DataError, match="ranking.tasks.relevance: no list of the training split has two different"):
        check_labels(data, make_config())
    longest = np.argmax(np.bincount(columns[USER][:, 0]))
    columns[GRADE][np.flatnonzero(columns[USER][:, 0] == longest)[0]] = 3.0
    data = TrainingData({"train": write_lists(tmp_path / "mended", columns)}, spec_of(columns))
    check_labels(data, make_config())


def test_sampled_negatives_have_no_part_in_the_reported_ndcg():
    columns = {
        GRADE: np.array([3, 0, 0]),
        LIST: np.zeros(3, int),
        RETRIEVED: np.array([0, 0, 1]),
        CANDIDATE: np.ones(3),
    }
    tasks = (TaskConfig(**GRADED),)
    scores = np.array([[0.5], [0.1], [0.9]])
    found = evaluate_ranking([Predicted(columns, scores, scores)], tasks, (10,))
    assert found == {"ranking/relevance/ndcg@10": 1.0}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"tasks": [{**GRADED, "positive_weight": 2.0}]}, "positive_weight is of binary tasks"),
        ({"tasks": [{"name": "click", "gain": "linear"}]}, "gain is of graded tasks"),
        ({"tasks": [{"name": "click", "loss": "lambda"}]}, "loss is of graded tasks"),
        ({"training": {"workers": 2}}, "needs whole lists. Set it to 1"),
        ({"features": [], "crosses": []}, "leave nothing to see"),
    ],
)
def test_what_cannot_work_is_refused(values, complaint):
    with pytest.raises(ValidationError, match=complaint):
        make_config(**values)
