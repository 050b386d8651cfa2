"""The kind of index, its probes and its measured recall, as a run gets them, and the bundle's view of them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.candidate_indexer.build import PARTITION_FROM, build_index, load_index, write_partitions
from crossrec.components.candidate_indexer.config import IndexConfig
from crossrec.components.candidate_indexer.divide import IndexedItems
from crossrec.components.candidate_indexer.index import ExactIndex, write_index
from crossrec.components.candidate_indexer.partitioned import PartitionedIndex
from crossrec.components.candidate_indexer.partitions import Partitions
from crossrec.components.candidate_indexer.probing import Probing
from crossrec.components.candidate_indexer.report import IndexReport
from crossrec.components.candidate_indexer.tuning import choose_probing, nearest, recall
from crossrec.components.errors import DataError
from tests.unit.components.candidate_indexer.test_partitioned_index import COLUMNS, EMBEDDINGS, ITEMS, PARTS, clustered

QUERIES, DEPTH = clustered(400, 7), 20
USERS = np.arange(400) // 2
PARTITIONED = IndexConfig(type="partitioned", recall_target=0.9, filters=("colour",))


@pytest.fixture(scope="module")
def built():
    return build_index(IndexedItems(EMBEDDINGS), QUERIES, USERS, PARTITIONED, DEPTH)


@pytest.fixture(scope="module")
def directory(built, tmp_path_factory):
    report, parts = built
    out = str(tmp_path_factory.mktemp("index"))
    write_index(out, EMBEDDINGS)
    report.write(out)
    write_partitions(out, parts)
    return out


def test_recall_is_that_of_users_that_probes_were_not_chosen_on(built, directory):
    report, _ = built
    held_out = QUERIES[USERS % 2 == 1]
    scores = held_out.astype(np.float64) @ EMBEDDINGS[:-1].T.astype(np.float64)
    truth = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    found = nearest(load_index(directory, COLUMNS), held_out, DEPTH)
    shares = [len(set(a) & set(b)) / DEPTH for a, b in zip(found, truth)]
    assert report.recall == pytest.approx(np.mean(shares), abs=1e-12)
    assert report.queries == len(held_out) == 200
    assert 0.9 <= report.recall < 1 and report.probes < report.partitions / 3
    assert report.metric == "index/recall@20"


def test_a_higher_target_takes_more_probes():
    truth = nearest(ExactIndex(EMBEDDINGS), QUERIES, DEPTH)
    probes = [choose_probing(PARTS, QUERIES, USERS, truth, target).probes for target in (0.5, 0.9, 0.99, 1.0)]
    assert probes == sorted(set(probes)) and probes[-1] <= len(PARTS.members)


def test_probes_are_the_fewest_that_are_enough_by_hand():
    """Four partitions in the order 0, 1, 2, 3 for both queries; the second item wanted lies in 1 and in 2."""
    members = np.array([[0], [1], [2], [3]], np.int32)
    parts = Partitions(members, np.array([[4.0], [3.0], [2.0], [1.0]], np.float32), np.zeros(4, np.float32))
    queries, truth = np.ones((2, 1), np.float32), np.array([[0, 1], [0, 2]])
    assert choose_probing(parts, queries, np.arange(2), truth, 0.5).probes == 1
    # Two find 3 of 4 in the mean, but not with confidence: the two queries differ.
    assert choose_probing(parts, queries, np.arange(2), truth, 0.75).probes == 3
    assert choose_probing(parts, queries, np.arange(2), truth, 1.0).probes == 3


def test_a_query_whose_best_partitions_stand_out_looks_at_fewer_by_hand():
    """The item wanted lies in the first partition along the one axis, in the third along the other."""
    members = np.arange(8).reshape(8, 1).astype(np.int32)
    centres = np.zeros((8, 2), np.float32)
    centres[:4, 0], centres[4:, 1] = [9, 1, 1, 1], [5, 4.75, 4.5, 1]
    parts = Partitions(members, centres, np.zeros(8, np.float32))
    queries, truth = np.array([[2, 0], [0, 3]], np.float32), np.array([[0], [6]])
    # From the best down to half a query's length below it: one partition for the first query, three for the other.
    assert choose_probing(parts, queries, np.arange(2), truth, 1.0) == Probing(2, 0.0, 1, 0.5)


def test_probes_by_query_are_no_more_than_the_same_number_for_all():
    truth = nearest(ExactIndex(EMBEDDINGS), QUERIES, DEPTH)
    places = np.empty((400, len(PARTS.members)), int)
    near = QUERIES @ PARTS.centres.T + 0.5 * PARTS.spreads
    np.put_along_axis(places, np.argsort(-near, axis=1), np.arange(len(PARTS.members))[None], axis=1)
    part = np.empty(ITEMS, int)
    part[PARTS.members[PARTS.members >= 0]] = np.nonzero(PARTS.members >= 0)[0]
    needed = np.sort(np.take_along_axis(places, part[truth], axis=1).reshape(-1)) + 1
    for target in (0.9, 0.95, 0.99):
        fixed = needed[int(np.ceil(target * needed.size)) - 1]
        # The confidence costs some, which the fixed number is spared here.
        assert choose_probing(PARTS, QUERIES, USERS, truth, target).probes <= fixed


def test_queries_that_a_user_repeats_say_nothing_more():
    truth = nearest(ExactIndex(EMBEDDINGS), QUERIES, DEPTH)
    for target in (0.8, 0.9, 0.95):
        once = choose_probing(PARTS, QUERIES[:60], USERS[:60], truth[:60], target)
        often = [np.repeat(part[:60], 20, axis=0) for part in (QUERIES, USERS, truth)]
        assert choose_probing(PARTS, *often, target) == once
        other_users = choose_probing(PARTS, often[0], np.arange(1200), often[2], target)
        assert other_users.probes < once.probes, "queries of as many users would"


def test_one_user_warrants_nothing():
    truth = nearest(ExactIndex(EMBEDDINGS), QUERIES, DEPTH)
    assert choose_probing(PARTS, QUERIES, np.zeros(400), truth, 0.5).probes == len(PARTS.members)


def test_recall_by_hand():
    assert recall(np.array([[1, 2, 3], [4, 5, -1]]), np.array([[3, 2, 9], [5, 4, 6]])) == pytest.approx(2 / 3)


def test_small_catalogues_are_searched_exactly_unless_the_spec_says_otherwise(tmp_path):
    report, parts = build_index(IndexedItems(EMBEDDINGS), QUERIES, USERS, IndexConfig(), DEPTH)
    assert ITEMS < PARTITION_FROM and parts is None
    assert (report.type, report.recall, report.queries, report.partitions) == ("exact", 1.0, 0, 0)
    write_index(str(tmp_path), EMBEDDINGS)
    report.write(str(tmp_path))
    assert isinstance(load_index(str(tmp_path), {}), ExactIndex)


def test_one_user_cannot_be_tuned_on_and_measured_on():
    with pytest.raises(DataError, match=r"index.type.*1 users.*'exact'"):
        build_index(IndexedItems(EMBEDDINGS), QUERIES, np.zeros(400), PARTITIONED, DEPTH)


def test_the_report_comes_back(built, tmp_path):
    built[0].write(str(tmp_path))
    assert IndexReport.read(str(tmp_path)) == built[0]
    figures = json.loads((tmp_path / "index.json").read_text())
    assert {"recall", "probes", "partitions", "seconds", "bytes", "recall_target"} <= set(figures)


def test_the_same_data_give_the_same_index(built):
    again, parts = build_index(IndexedItems(EMBEDDINGS), QUERIES, USERS, PARTITIONED, DEPTH)
    assert again.model_copy(update={"seconds": 0}) == built[0].model_copy(update={"seconds": 0})
    np.testing.assert_array_equal(parts.members, built[1].members)


_RELOAD = """
import sys, numpy as np, crossrec, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
given = np.load(sys.argv[2])
out = model.signatures["search"](
    queries=tf.constant(given["queries"]), exclude=tf.constant(given["exclude"]),
    probes=tf.constant(given["probes"]), filter_colour=tf.constant(given["colour"].astype(object), tf.string))
np.savez(sys.argv[3], **{name: values.numpy() for name, values in out.items()})
"""


def test_a_fresh_process_answers_the_same(directory, tmp_path):
    index = load_index(directory, COLUMNS)
    assert isinstance(index, PartitionedIndex)

    def search(queries, exclude, probes, filter_colour):
        wanted = index.filters.wanted({"filter_colour": filter_colour})
        scores, rows = index.search(queries, exclude, 15, probes, wanted)
        return {"scores": scores, "rows": rows}

    shapes = [
        tf.TensorSpec([None, EMBEDDINGS.shape[1]], tf.float32, "queries"),
        tf.TensorSpec([None, None], tf.int64, "exclude"),
        tf.TensorSpec([None], tf.int64, "probes"),
        tf.TensorSpec([None, None], tf.string, "filter_colour"),
    ]
    module = tf.Module()
    module.index = index
    call = tf.function(search, autograph=False).get_concrete_function(*shapes)
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"search": call})
    given = {
        "queries": QUERIES[:6],
        "exclude": np.tile(np.arange(0, 3000, 3), (6, 1)),
        "probes": np.array([0, 1, 4, 0, 900, 0]),
        "colour": np.array([["red", ""], ["", ""], ["green", "red"], ["none", ""], ["", ""], ["blue", "blue"]]),
    }
    np.savez(tmp_path / "given.npz", **given)
    command = [sys.executable, "-c", _RELOAD, str(tmp_path / "saved"), str(tmp_path / "given.npz")]
    subprocess.run([*command, str(tmp_path / "out.npz")], check=True, capture_output=True)
    inputs = [tf.constant(given[name]) for name in ("queries", "exclude", "probes")]
    here = search(*inputs, tf.constant(given["colour"].astype(object), tf.string))
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_array_equal(out["rows"], here["rows"].numpy())
        np.testing.assert_array_equal(out["scores"], here["scores"].numpy())
    assert (here["rows"].numpy() >= 0).sum(1).tolist() == [15, 15, 15, 0, 15, 15]


def test_only_core_operations(directory):
    index = load_index(directory, COLUMNS)
    graph = tf.function(lambda queries: index.search(queries, tf.zeros([1, 1], tf.int64), 10)).get_concrete_function(
        tf.TensorSpec([1, EMBEDDINGS.shape[1]], tf.float32)
    )
    definition = graph.graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    kinds = {node.op for node in nodes}
    assert "SparseTensorDenseMatMul" in kinds
    assert all(hasattr(tf.raw_ops, kind) for kind in kinds)
    assert not kinds & {"PyFunc", "EagerPyFunc", "PyFuncStateless"}
