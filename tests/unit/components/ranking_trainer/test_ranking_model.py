"""The ranking model by its public behaviour, on one device and on two."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from crossrec.components.errors import DataError
from crossrec.components.features.schema import ITEM_ROW, RETRIEVED, WEIGHT, label_key
from crossrec.components.modeling import inputs, saving
from crossrec.components.modeling.lazy_adam import LazyAdam
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.ranking_trainer.train import build, calibrate, check_labels
from tests.unit.components.records import write_records
from tests.unit.components.small_models import ITEMS, make_examples, make_query, make_schema, make_table, randomise

SCHEMA = make_schema()
EVERYTHING = ["user", "likes", "limit", "age", "recent_items", "item_id", "tags", "price"]


def make_model(seed=0, table=None, **values):
    config = RankingConfig.model_validate(
        {
            "features": EVERYTHING,
            "tasks": [{"name": "click", "label": "clicked"}, {"name": "buy", "label": "bought", "weight": 2.0}],
            "embedding_dimension": 4,
            "interactions": [{"type": "dcn_v2", "deep": {"layers": [6]}}],
            **values,
        }
    )
    model = build(SCHEMA, config, table or make_table())
    randomise(model, seed)
    return model, config


def probabilities(model, query, rows, scores=None):
    rows = tf.constant(rows, tf.int64)
    scores = tf.zeros(rows.shape) if scores is None else tf.constant(scores, tf.float32)
    return model.probabilities(query, rows, scores).numpy()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"crosses": []},
        {"crosses": ["user_x_likes"]},
        {"features": ["item_id"], "crosses": []},
        {"features": ["item_id"]},
        {"features": ["user", "limit"], "crosses": []},
        {"features": ["limit"], "crosses": []},
        {"position_bias": False},
        {"interactions": [{"type": "dcn_v2", "deep": {"layers": []}, "low_rank": 3}]},
    ],
)
def test_a_candidate_is_scored_the_same_alone_and_among_others(values):
    model, config = make_model(**values)
    query, rows = make_query(5), np.random.default_rng(0).integers(-1, ITEMS, (5, 7))
    whole = probabilities(model, query, rows)
    assert whole.shape == (5, 7, 2) and ((whole >= 0) & (whole <= 1)).all()
    for b, c in ((0, 0), (4, 6), (2, 3)):
        one = probabilities(model, {name: v[b : b + 1] for name, v in query.items()}, rows[b : b + 1, c : c + 1])
        np.testing.assert_allclose(one[0, 0], whole[b, c], rtol=1e-4)
    if "item_id" in config.features:
        assert np.ptp(whole, axis=1).max() > 1e-3


def test_an_unknown_item_is_the_last_row_of_the_table():
    model, _ = make_model()
    query = make_query(3)
    np.testing.assert_array_equal(
        probabilities(model, query, [[-1], [-5], [-1]]), probabilities(model, query, [[ITEMS]] * 3)
    )


def test_empty_batches_and_empty_candidate_lists():
    model, _ = make_model()
    assert probabilities(model, make_query(3), np.zeros((3, 0))).shape == (3, 0, 2)
    none = {name: values[:0] for name, values in make_query(3).items()}
    assert probabilities(model, none, np.zeros((0, 4))).shape == (0, 4, 2)


def test_the_score_is_the_weighted_sum_of_the_tasks():
    tasks = [
        {"name": "click", "label": "clicked", "score_weight": 0.5},
        {"name": "buy", "label": "bought", "score_weight": 3},
    ]
    model, _ = make_model(tasks=tasks)
    found = model.score(tf.constant([[[0.2, 0.1], [1.0, 0.0]]])).numpy()
    np.testing.assert_allclose(found, [[0.4, 0.5]], rtol=1e-6)


def test_position_moves_the_loss_and_not_the_order_of_what_is_served():
    model, _ = make_model()
    query, rows = make_query(4), np.tile(np.arange(ITEMS), (4, 1))
    logits = model.logits(query, tf.constant(rows)).numpy()
    later = model.logits(query, tf.constant(rows), tf.fill(rows.shape, tf.constant(5, tf.int64))).numpy()
    np.testing.assert_allclose(later - logits, np.broadcast_to((later - logits)[:1, :1], logits.shape), atol=1e-4)
    np.testing.assert_allclose(probabilities(model, query, rows), 1 / (1 + np.exp(-logits)), rtol=1e-4)


def test_the_loss_is_the_weighted_mean_of_the_tasks():
    model, config = make_model()
    examples = make_examples(30)
    rows = examples[ITEM_ROW]
    logits = model.logits(examples, rows, examples["@position"]).numpy()[:, 0].astype(np.float64)
    weights = examples[WEIGHT].numpy()[:, 0]
    expected = 0.0
    for place, task in enumerate(config.tasks):
        labels = examples[label_key(task.label_column)].numpy()[:, 0]
        entropy = np.log1p(np.exp(-logits[:, place])) + (1 - labels) * logits[:, place]
        expected += task.weight * (weights * entropy).sum() / 30
    assert float(model.compute_loss(examples)) == pytest.approx(expected, rel=1e-4)
    with_penalty, _ = make_model(l2=0.1)
    assert float(with_penalty.compute_loss(examples)) > expected


def field_weights(model):
    return [weight for weight in model.trainable_weights if "fields/" in weight.name]


def test_the_penalty_of_the_table_is_half_its_squared_length_whatever_the_batch():
    model, _ = make_model()
    regularised, _ = make_model(table_l2=0.3)
    weights = [weight.numpy() for weight in field_weights(regularised)]
    assert sum(w.shape[0] for w in weights) > 100
    expected = 0.15 * sum(float((w.astype(np.float64) ** 2).sum()) for w in weights)
    for rows in (3, 40):
        examples = make_examples(rows)
        found = float(regularised.compute_loss(examples)) - float(model.compute_loss(examples))
        assert found == pytest.approx(expected, rel=1e-4)


def test_a_row_that_no_batch_sees_shrinks_only_with_a_penalty_of_the_table():
    for factor in (0.0, 0.3):
        model, _ = make_model(table_l2=factor)
        model.compile(optimizer=LazyAdam(0.01))
        examples = make_examples(4)
        table = max(field_weights(model), key=lambda weight: weight.shape[0])
        before = table.numpy()
        model.fit(tf.data.Dataset.from_tensors(examples), epochs=2, verbose=0)
        same = (table.numpy() == before).all(-1)
        assert same.mean() > 0.5 if factor == 0.0 else not same.any()
        if factor:
            assert (np.abs(table.numpy()) < np.abs(before)).mean() > 0.9


def test_weighted_positives_leave_the_probabilities_those_of_the_rows():
    """The loss has its minimum where the logit is the log-odds of the rows as they are."""
    model, config = make_model()
    weighted = [task.model_copy(update={"positive_weight": 5.0}) for task in config.tasks]
    other, _ = make_model(tasks=weighted)
    examples = make_examples(30)
    rows = examples[ITEM_ROW]
    logits = model.logits(examples, rows, examples["@position"]).numpy()[:, 0].astype(np.float64)
    expected = 0.0
    for place, task in enumerate(config.tasks):
        labels = examples[label_key(task.label_column)].numpy()[:, 0]
        weights = examples[WEIGHT].numpy()[:, 0] * np.where(labels > 0, 5.0, 1.0)
        shifted = logits[:, place] + np.log(5.0)
        expected += task.weight * (weights * (np.log1p(np.exp(-shifted)) + (1 - labels) * shifted)).sum() / 30
    assert float(other.compute_loss(examples)) == pytest.approx(expected, rel=1e-4)
    np.testing.assert_array_equal(other.logits(examples, rows).numpy(), model.logits(examples, rows).numpy())
    rate = 0.1
    grid = np.linspace(-6, 2, 8001)
    losses = rate * 5.0 * np.log1p(np.exp(-grid - np.log(5.0))) + (1 - rate) * np.log1p(np.exp(grid + np.log(5.0)))
    assert grid[losses.argmin()] == pytest.approx(np.log(rate / (1 - rate)), abs=2e-3)


def test_calibration_without_retrieval_scores_fits_logged_rows_only():
    model, config = make_model()
    examples = {name: v for name, v in make_examples(4000, seed=1).items()}
    logits = model.logits(examples, examples[ITEM_ROW], examples["@position"]).numpy()[:, 0]
    rng = np.random.default_rng(0)
    drawn = rng.random(logits.shape) < 1 / (1 + np.exp(-(0.5 * logits - 1.0)))
    sampled = np.arange(4000) % 2 == 1
    for place, task in enumerate(config.tasks):
        labels = np.where(sampled, 0.0, drawn[:, place])
        examples[label_key(task.label_column)] = tf.constant(labels[:, None], tf.float32)
    examples[RETRIEVED] = tf.constant(sampled[:, None].astype(np.int64))
    calibrate(model, tf.data.Dataset.from_tensors(examples))
    found = probabilities(model, make_query(3), np.zeros((3, 1)))[:, 0]
    before = model.logits(make_query(3), tf.zeros([3, 1], tf.int64)).numpy()[:, 0]
    np.testing.assert_allclose(np.log(found / (1 - found)), 0.5 * before - 1.0, atol=0.3)


def test_training_lowers_the_loss():
    model, _ = make_model()
    model.compile(optimizer=tf_keras.optimizers.Adam(0.05))
    examples = make_examples(64)
    before = float(model.compute_loss(examples))
    model.fit(tf.data.Dataset.from_tensors(examples), epochs=8, verbose=0)
    assert float(model.compute_loss(examples)) < 0.8 * before


def test_a_model_comes_back_from_its_files_its_fusion_included(tmp_path):
    model, config = make_model(seed=3)
    model.set_fusion(np.array([[0.5, 2.0, -1.0], [1.5, 0.0, 0.25]], np.float32))
    saving.save(str(tmp_path), model, config, [])
    other = build(SCHEMA, saving.read_config(str(tmp_path), RankingConfig), make_table(seed=7))
    saving.restore(str(tmp_path), other)
    query, rows = make_query(4), np.random.default_rng(2).integers(-1, ITEMS, (4, 3))
    scores = np.random.default_rng(3).normal(size=(4, 3))
    np.testing.assert_array_equal(probabilities(other, query, rows, scores), probabilities(model, query, rows, scores))
    assert not np.allclose(probabilities(model, query, rows, scores), probabilities(model, query, rows))


def test_an_excluded_candidate_does_not_spoil_the_others():
    model, _ = make_model()
    model.set_fusion(np.array([[1.0, 0.5, 0.0]] * 2, np.float32))
    query, rows = make_query(1), [[3, -1, 4]]
    spoiled = probabilities(model, query, rows, [[0.5, -np.inf, 0.25]])
    assert np.isfinite(spoiled).all()
    np.testing.assert_array_equal(spoiled[:, [0, 2]], probabilities(model, query, rows, [[0.5, 0.0, 0.25]])[:, [0, 2]])


def test_a_task_whose_labels_are_all_equal_is_refused_with_field_value_and_mend(tmp_path):
    rows = [{label_key("clicked"): [float(n % 2)], label_key("bought"): [0.0]} for n in range(10)]
    spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in rows[0]}
    data = inputs.TrainingData({"train": write_records(tmp_path, rows)}, spec)
    _, config = make_model()
    with pytest.raises(DataError, match=r"ranking\.tasks\.buy: label 'bought' is 0\.0 in every training row. Choose"):
        check_labels(data, config)
    check_labels(data, config.model_copy(update={"tasks": config.tasks[:1]}))


@pytest.mark.parametrize(
    ("tasks", "complaint"),
    [
        ([], "at least 1"),
        ([{"name": "a"}, {"name": "a", "label": "b"}], "two tasks have one name"),
        ([{"name": "a", "score_weight": 0}], "Give one a weight"),
        ([{"name": "a b"}], "pattern"),
    ],
)
def test_impossible_tasks_are_refused(tasks, complaint):
    with pytest.raises(ValueError, match=complaint):
        RankingConfig(features=["user"], tasks=tasks)


PARTS = [
    *({"heads": {"type": kind}} for kind in ("shared_bottom", "mmoe", "ple")),
    *({"interest": [{"type": kind, "sequence": "recent_items"}]} for kind in ("din", "transformer", "lstm", "average")),
    {
        "interest": [
            {"type": "din", "sequence": "recent_items", "softmax": True},
            {"type": "lstm", "sequence": "recent_items", "features": ["tags", "price", "item_id"]},
            {"type": "transformer", "sequence": "recent_items", "readout": "last", "layers": 2},
        ],
        "heads": {"type": "ple", "tower_layers": [4]},
        "features": ["user", "item_id"],
        "crosses": [],
    },
]


@pytest.mark.parametrize("values", PARTS)
def test_heads_and_interest_give_one_value_alone_among_others_and_after_reload(values, tmp_path):
    model, config = make_model(**values)
    query, rows = make_query(6), np.random.default_rng(0).integers(-1, ITEMS, (6, 7))
    whole = probabilities(model, query, rows)
    for b, c in ((0, 0), (5, 6), (2, 3)):
        one = probabilities(model, {name: v[b : b + 1] for name, v in query.items()}, rows[b : b + 1, c : c + 1])
        np.testing.assert_allclose(one[0, 0], whole[b, c], rtol=1e-4, atol=1e-6)
    assert probabilities(model, query, np.zeros((6, 0))).shape == (6, 0, 2)
    saving.save(str(tmp_path), model, config, [])
    other = build(SCHEMA, saving.read_config(str(tmp_path), RankingConfig), make_table())
    assert not np.allclose(probabilities(other, query, rows), whole, atol=1e-3)
    saving.restore(str(tmp_path), other)
    np.testing.assert_array_equal(probabilities(other, query, rows), whole)


@pytest.mark.parametrize("values", PARTS)
def test_the_loss_reaches_every_weight_of_heads_and_interest(values):
    model, _ = make_model(**values)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(make_examples(64), training=True)
    for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights)):
        assert np.any(tf.convert_to_tensor(gradient).numpy()), weight.name


def test_training_with_heads_and_interest_lowers_the_loss():
    model, _ = make_model(**PARTS[-1])
    model.compile(optimizer=tf_keras.optimizers.Adam(0.05))
    examples = make_examples(64)
    before = float(model.compute_loss(examples))
    model.fit(tf.data.Dataset.from_tensors(examples), epochs=8, verbose=0)
    assert float(model.compute_loss(examples)) < 0.8 * before


def test_an_interest_counts_recent_items_wherever_padding_stands():
    values = {"features": ["user", "item_id"], "crosses": [], "interest": [{"type": "din", "sequence": "recent_items"}]}
    model, _ = make_model(**values)
    rows = np.tile(np.arange(ITEMS), (4, 1))
    query = {**make_query(1), "user": tf.zeros([4, 1], tf.int64)}
    query["recent_items"] = tf.constant([[3, 8], [8, 3], [3, -1], [-1, 3]])
    found = probabilities(model, query, rows)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    np.testing.assert_allclose(found[2], found[3], rtol=1e-4)
    assert not np.allclose(found[0], found[2], atol=1e-3)


def test_an_item_has_one_vector_as_candidate_and_as_recent_item():
    interest = [{"type": "average", "sequence": "recent_items", "features": ["item_id", "price"]}]
    model, config = make_model(
        features=["item_id", "price"],
        crosses=[],
        interest=interest,
        interactions=[{"type": "mlp", "deep": {"layers": []}}],
    )
    # What the heads see: the candidate's two fields of four numbers, then the interest's two.
    of_recent, of_candidate = (np.zeros((16, 2), np.float32) for _ in range(2))
    of_recent[8:], of_candidate[:8] = 1, 1
    kernel = next(weight for weight in model.trainable_weights if "heads" in weight.name and "kernel" in weight.name)
    table = next(weight for weight in model.trainable_weights if weight.shape[-1] == 6 and weight.shape[0] > 2)
    found = []
    linear = np.array(table)
    linear[:, 4:] = 0
    table.assign(linear)
    for vectors in (w for w in model.trainable_weights if w.shape == (1, 6)):
        vectors.assign(np.concatenate([vectors.numpy()[:, :4], np.zeros((1, 2))], 1))
    query = make_query(1)
    query["recent_items"] = tf.constant([[5, -1]])
    kernel.assign(of_recent)
    found.append(model.logits(query, tf.constant([[2]])).numpy())
    kernel.assign(of_candidate)
    found.append(model.logits(query, tf.constant([[5]])).numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert not np.allclose(found[1], model.logits(query, tf.constant([[2]])), atol=1e-3)


def test_an_interest_without_features_is_refused():
    with pytest.raises(DataError, match=r"ranking\.interest\.features: left out, .*\['user', 'tags'\].* Name"):
        make_model(features=["user", "tags"], crosses=[], interest=[{"type": "din", "sequence": "recent_items"}])


TWO_DEVICES = """
import json, numpy as np, tempfile
import crossrec, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tf_keras
from tests.unit.components.ranking_trainer.test_ranking_model import SCHEMA, make_examples, make_model, make_table
from crossrec.components.modeling.training import Monitor, TrainingConfig, fit
from crossrec.components.ranking_trainer.train import build

_, config = make_model()
many = make_examples(40)
once = {name: values[:32] for name, values in many.items()}
out = []
# On two devices the second batch, of 8 rows, leaves one device without rows.
for strategy in tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]):
    with strategy.scope():
        tf_keras.utils.set_random_seed(1)
        model = build(SCHEMA, config, make_table())
        model.compile(optimizer=tf_keras.optimizers.SGD(0.5))
    data = tf.data.Dataset.from_tensor_slices(many).batch(32)
    config_ = TrainingConfig(epochs=1, batch_size=32, averaging={"decay": 0.5})
    history = fit(model, data, Monitor("m", True, lambda: 1.0), config_, tempfile.mkdtemp())
    out.append(history[0]["loss"])
    out.append([float(np.abs(w.numpy()).sum()) for w in model.trainable_weights])
    out.append(float(model.compute_loss(once)))
print(json.dumps(out))
"""


def test_two_devices_learn_what_one_learns():
    root = Path(__file__).resolve().parents[4]
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, timeout=900, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    reported_by_one, one, loss_of_one, reported_by_two, two, loss_of_two = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(one, two, rtol=1e-3)
    assert loss_of_two == pytest.approx(loss_of_one, rel=1e-3)
    assert reported_by_two == pytest.approx(reported_by_one, rel=1e-4)
