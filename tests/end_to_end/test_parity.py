"""The served `rank` gives the trainer's own scores: same raw rows, other process, other way in."""

import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.modeling.inputs import read_batches
from crossrec.components.ranking_trainer.executor import ranking_data
from tests.end_to_end.raw_rows import as_request, read_rows
from tests.unit.components.predicted import predict_all

ROWS = 1000
TOLERANCE = 1e-5
UNKNOWN_ITEM = "an item that no catalogue has"
SCRIPT = Path(__file__).with_name("serve_alone.py")


def odd_rows(rows, schema):
    """For each column every kind of value that training did not see: absent, unknown, too much."""
    odd = [{}, {name: values for name, values in rows[0].items() if name == "user_id"}]
    strange = {
        "string": [[], [b"nobody knows this"], ["Größe 中文 🙂".encode()], [b"x" * 5000]],
        "strings": [[], [b"nobody knows this"], [b"tents"] * 50, [b"tents", b"nobody knows this", b"phones"]],
        "float": [[], [0.0], [-5.0], [3.0e38], [1e-30]],
        "int": [[], [1], [-1], [2**40]],
    }
    for place, (name, kind) in enumerate(schema.raw_query.items()):
        for values in strange[kind]:
            row = dict(rows[place % len(rows)])
            odd.append({**row, name: values})
    return [{**row, "item_id": row.get("item_id", [b"i0000001"])} for row in odd]


@pytest.fixture(scope="module")
def rows(marketplace_run, trained):
    """Rows of the test split, some with unknown items, and after them rows with odd values: at least 1,000."""
    real = read_rows(marketplace_run.uris["InteractionsExampleGen"]["examples"], "test", ROWS)
    assert len(real) == ROWS
    odd = odd_rows(real, trained.schema)
    for row in real[::50] + odd[::5]:
        row["item_id"] = [UNKNOWN_ITEM.encode()]
    return real + odd


@pytest.fixture(scope="module")
def candidates(rows):
    return np.array([[row["item_id"][0].decode()] for row in rows], object)


@pytest.fixture(scope="module")
def own(trained, rows, candidates):
    """The trainer's own scores."""
    return trained.rank(rows, candidates)


@pytest.fixture(scope="module")
def alone(marketplace_run, trained, rows, candidates, tmp_path_factory):
    """Answers of the bundle in a process that imported TensorFlow and TensorFlow Text only, and what it says."""
    folder = tmp_path_factory.mktemp("alone")
    feed = {**as_request(rows, trained.schema), "candidate_items": np.char.encode(candidates.astype(str), "utf-8")}
    np.savez(folder / "inputs.npz", **{n: v.astype("S") if v.dtype == object else v for n, v in feed.items()})
    # Started elsewhere, so that not even this repository is on its path.
    arguments = [sys.executable, str(SCRIPT), marketplace_run.version, folder / "inputs.npz", folder / "outputs.npz"]
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, cwd=folder, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "outputs.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}, json.loads(done.stdout.splitlines()[-1])


def assert_equal_scores(served, own):
    for name, values in own.items():
        assert np.isfinite(values).all()
        np.testing.assert_allclose(served[name], values, rtol=0, atol=TOLERANCE, err_msg=name)
    # Equal because right, not because constant.
    assert np.unique(own["scores"].round(4)).size > 100


def test_rows_hold_all_that_may_be_missing(rows, trained):
    for name in trained.schema.raw_query:
        lengths = {len(row.get(name, ())) for row in rows}
        assert 0 in lengths and len(lengths) > 1, name
    assert sum(row["item_id"] == [UNKNOWN_ITEM.encode()] for row in rows) > 20


def test_a_fresh_process_gives_the_trainer_s_scores(alone, own):
    assert_equal_scores(alone[0], own)


def test_that_process_knew_tensorflow_alone(alone):
    foreign = {"crossrec", "tfx", "tfx_bsl", "tensorflow_transform", "tensorflow_recommenders", "transformers"}
    assert foreign.isdisjoint(alone[1]["modules"])


def test_the_graph_holds_operations_of_the_stock_server_only(alone):
    told = alone[1]
    assert told["functions"] > 10 and len(told["operations"]) > 30
    assert told["unknown"] == []
    python = [name for name in told["operations"] if "PyFunc" in name or "Python" in name]
    assert python == []


def test_the_server_gives_the_trainer_s_scores_over_grpc(served, trained, rows, candidates, own):
    feed = {**as_request(rows, trained.schema), "candidate_items": candidates}
    assert_equal_scores(served.outputs(feed, "rank"), own)


def test_several_candidates_score_as_each_alone(served, trained, rows):
    some = rows[:40] + rows[-40:]
    wide = np.array([[*trained.table.ids[i * 7 : i * 7 + 9], UNKNOWN_ITEM] for i in range(len(some))], object)
    own = trained.rank(some, wide)
    assert_equal_scores(served.outputs({**as_request(some, trained.schema), "candidate_items": wide}, "rank"), own)


def test_infinite_requests_count_as_missing(served, trained, rows):
    some = rows[:20]
    feed = as_request([{**row, "price_max": []} for row in some], trained.schema)
    feed["candidate_items"] = np.array([[row["item_id"][0]] for row in some], object)
    answers = []
    for value in (math.nan, math.inf, -math.inf):
        feed["price_max"] = np.full(len(some), value, np.float32)
        answers.append(served.outputs(feed, "rank")["scores"])
    np.testing.assert_array_equal(answers[1], answers[0])
    np.testing.assert_array_equal(answers[2], answers[0])


def keys_of(users, times, item_rows):
    return list(zip(users.tolist(), times.tolist(), item_rows.tolist()))


def test_beam_s_own_rows_score_as_the_same_rows_sent_raw(marketplace_run, trained, served):
    """What the trainer reads was computed by Beam and written to files; what is served begins at raw values."""
    from tfx.types import standard_artifacts

    examples = standard_artifacts.Examples()
    examples.uri = marketplace_run.uris["RankingExamples"]["ranking_examples"]
    examples.split_names = '["train", "validation", "test"]'
    data = ranking_data(marketplace_run.uris["FeatureTransform"]["transform_graphs"], examples)
    columns, probabilities = predict_all(trained.ranker, read_batches(data.patterns["test"], data.spec, 512))
    logged = columns["@retrieved"] == 0
    keys = keys_of(*(columns[name][logged] for name in ("@user", "@timestamp", "@item_row")))
    materialised = dict(zip(keys, probabilities[logged]))

    rows = read_rows(marketplace_run.uris["InteractionsExampleGen"]["examples"], "test")
    items = np.array([row["item_id"][0].decode() for row in rows], object)
    users = tf.strings.to_hash_bucket_fast([row["user_id"][0] for row in rows], 2**62).numpy()
    keys = keys_of(users, np.array([row["timestamp"][0] for row in rows]), trained.item_rows(items))
    assert sum(logged) == len(rows) and set(materialised) == set(keys)
    # A user may ask twice in one second and see an item twice.
    twice = {key for key, count in Counter(keys).items() if count > 1}
    chosen = [place for place, key in enumerate(keys) if key not in twice]
    assert len(chosen) >= ROWS
    rows, items, keys = [rows[i] for i in chosen], items[chosen], [keys[i] for i in chosen]
    feed = {**as_request(rows, trained.schema), "candidate_items": items[:, None]}
    answers = served.outputs(feed, "rank")
    for column, task in enumerate(trained.ranker.tasks):
        expected = np.array([materialised[key][column] for key in keys])
        np.testing.assert_allclose(answers[f"probability_{task.name}"][:, 0], expected, rtol=0, atol=TOLERANCE)
