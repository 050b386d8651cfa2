"""Items that left the catalogue, and partitions that go on from those of an earlier one."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.candidate_indexer.build import build_index, load_index, read_partitions, write_partitions
from crossrec.components.candidate_indexer.config import IndexConfig
from crossrec.components.candidate_indexer.divide import FormerPartitions, IndexedItems, divide
from crossrec.components.candidate_indexer.former import read_former
from crossrec.components.candidate_indexer.index import ExactIndex, write_index
from crossrec.components.candidate_indexer.partitioned import PartitionedIndex
from crossrec.components.candidate_indexer.partitions import partition
from crossrec.components.candidate_indexer.probing import Probing
from crossrec.components.candidate_indexer.tuning import nearest
from crossrec.components.features.item_table import ItemTable

CONFIG, ITEMS, SIZE, CAPACITY = IndexConfig(type="partitioned", recall_target=0.9), 3000, 8, 64


def vectors(count, seed):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(30, SIZE))
    made = centres[rng.integers(0, 30, count)] + 0.4 * rng.normal(size=(count, SIZE))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


EMBEDDINGS = np.concatenate([vectors(ITEMS, 1), np.zeros((1, SIZE), np.float32)])
QUERIES = vectors(60, 2)
REMOVED = np.random.default_rng(3).random(ITEMS) < 0.2


def best(rows, k):
    """The k best of the rows that are left, by sorting all scores."""
    scores = np.where(rows, -np.inf, QUERIES @ EMBEDDINGS[:-1].T)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("kind", ["exact", "partitioned"])
def test_what_was_removed_is_never_found_and_the_others_are(kind):
    exact = ExactIndex(EMBEDDINGS, removed=REMOVED)
    parts = divide(IndexedItems(EMBEDDINGS, REMOVED), CONFIG)
    missing = np.tile(REMOVED, (60, 1))
    index = exact
    if kind == "partitioned":
        index = PartitionedIndex(exact, parts, Probing.fixed(12, 0.0), EMBEDDINGS)
        for row, near in enumerate(np.argsort(-QUERIES @ parts.centres.T, axis=1)):
            others = parts.members[near[12:]]
            missing[row, others[others >= 0]] = True
    assert np.array_equal(nearest(index, QUERIES, 50), best(missing, 50))
    # Excluding one that is gone changes nothing.
    gone = np.flatnonzero(REMOVED)[:3]
    _, rows = index.search(tf.constant(QUERIES), tf.constant(np.tile(gone, (60, 1)), tf.int64), 50)
    assert np.array_equal(rows, best(missing, 50))


def test_fewer_items_than_wanted_are_padded():
    few = np.ones(ITEMS, bool)
    few[[5, 9]] = False
    scores, rows = ExactIndex(EMBEDDINGS, removed=few).search(QUERIES[:1], tf.zeros([1, 0], tf.int64), 4)
    assert set(rows.numpy()[0, :2]) == {5, 9} and rows.numpy()[0, 2:].tolist() == [-1, -1]
    assert np.isneginf(scores.numpy()[0, 2:]).all()


def test_the_report_counts_what_can_be_found(tmp_path):
    report, parts = build_index(IndexedItems(EMBEDDINGS, REMOVED), QUERIES, np.arange(60), CONFIG, 20)
    assert report.items == int((~REMOVED).sum()) and report.recall >= 0.8
    assert sorted(parts.members[parts.members >= 0]) == np.flatnonzero(~REMOVED).tolist()
    write_index(str(tmp_path), EMBEDDINGS)
    report.write(str(tmp_path))
    write_partitions(str(tmp_path), parts)
    found = nearest(load_index(str(tmp_path), {}, REMOVED), QUERIES, 20)
    assert not REMOVED[found].any()


def test_without_changes_the_partitions_stay_as_they_are():
    parts = partition(EMBEDDINGS[:-1], CAPACITY)
    again = divide(IndexedItems(EMBEDDINGS, None, FormerPartitions(parts, np.arange(ITEMS))), CONFIG)
    for name in ("members", "centres", "spreads"):
        np.testing.assert_array_equal(getattr(again, name), getattr(parts, name))


def test_new_items_go_where_they_are_nearest_and_the_others_stay():
    parts = partition(EMBEDDINGS[:-1], CAPACITY)
    added = vectors(40, 5)
    larger = np.concatenate([EMBEDDINGS[:-1], added, EMBEDDINGS[-1:]])
    rows = np.append(np.arange(ITEMS), np.full(40, -1))
    removed = np.zeros(ITEMS + 40, bool)
    removed[:10] = True
    again = divide(IndexedItems(larger, removed, FormerPartitions(parts, rows)), CONFIG)
    place = {int(row): leaf for leaf, members in enumerate(again.members) for row in members if row >= 0}
    former = {int(row): leaf for leaf, members in enumerate(parts.members) for row in members if row >= 0}
    assert sorted(place) == list(range(10, ITEMS + 40))
    assert all(place[row] == former[row] for row in range(10, ITEMS))
    kept = np.bincount([former[row] for row in range(10, ITEMS)], minlength=len(parts.members))
    roomy = np.flatnonzero(kept + 40 <= CAPACITY)
    distances = ((added[:, None] - parts.centres[None]) ** 2).sum(-1)
    nearest_part = distances.argmin(1)
    for number, leaf in enumerate(nearest_part):
        if leaf in roomy:
            assert place[ITEMS + number] == leaf
    assert (again.members >= 0).sum(1).max() <= CAPACITY


def test_too_much_that_is_new_makes_new_partitions():
    parts = partition(EMBEDDINGS[:-1], CAPACITY)
    rows = np.arange(ITEMS)
    rows[: ITEMS // 5] = -1
    again = divide(IndexedItems(EMBEDDINGS, None, FormerPartitions(parts, rows)), CONFIG)
    fresh = divide(IndexedItems(EMBEDDINGS), CONFIG)
    np.testing.assert_array_equal(again.members, fresh.members)


class _Towers:
    """Notes which rows it is asked for."""

    def __init__(self):
        self.asked = []

    def embed_catalogue(self, rows):
        self.asked += rows.tolist()
        return np.full((len(rows), SIZE), 7, np.float32)


def test_only_what_changed_is_embedded_anew(tmp_path):
    def table(ids, prices):
        names = np.array(ids, object)
        prices = np.array([*prices, 0], np.float32)[:, None]
        return ItemTable(names, {"price": prices}, np.zeros(len(ids), np.int64), {})

    write_index(str(tmp_path), EMBEDDINGS[:5])
    before, now = table(["a", "b", "c", "d"], [1, 2, 3, 4]), table(["d", "a", "new", "b"], [4, 1, 9, 2.5])
    former, towers = read_former(str(tmp_path), before, now), _Towers()
    found = former.embed(towers)
    assert towers.asked == [2, 3]
    np.testing.assert_array_equal(found[[0, 1, 4]], EMBEDDINGS[[3, 0, 4]])
    assert (found[[2, 3]] == 7).all() and former.partitions is None
    assert read_partitions(str(tmp_path)) is None
