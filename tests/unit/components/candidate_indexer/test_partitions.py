"""Who gets a place in a partition, and that threads have no say in it; the best items by all scores."""

import numpy as np
import pytest

from crossrec.components import threads
from crossrec.components.candidate_indexer import partitions
from crossrec.components.candidate_indexer.index import ExactIndex
from crossrec.components.candidate_indexer.partitions import partition, reassign
from crossrec.components.candidate_indexer.tuning import best_items, nearest

RNG = np.random.default_rng(1)
ITEMS, CAPACITY = 20_000, 128
VECTORS = (RNG.normal(size=(50, 8))[RNG.integers(0, 50, ITEMS)] + 0.5 * RNG.normal(size=(ITEMS, 8))).astype(np.float32)
QUERIES = RNG.normal(size=(150, 8)).astype(np.float32)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_partitions_do_not_depend_on_the_number_of_threads(workers, monkeypatch):
    once = partition(VECTORS, CAPACITY)
    leaves = np.full(ITEMS, -1, np.int32)
    for part, members in enumerate(once.members):
        leaves[members[members >= 0][:60]] = part
    onward = reassign(VECTORS, leaves, once)
    monkeypatch.setattr(threads, "cores", lambda: workers)
    for name in ("members", "centres", "spreads"):
        np.testing.assert_array_equal(getattr(partition(VECTORS, CAPACITY), name), getattr(once, name))
        np.testing.assert_array_equal(getattr(reassign(VECTORS, leaves, once), name), getattr(onward, name))


def test_places_go_to_the_nearest_and_of_equal_ones_to_the_lower_row():
    waiting = np.sort(RNG.choice(1000, 300, replace=False))
    nearness = RNG.integers(0, 5, 300).astype(np.float32)
    places = RNG.integers(0, 10, 300).astype(np.int32)
    free = np.array([0, 1, 5, 29, 30, 31, 60, 300, 2, 3])
    leaves, left = np.full(1000, -1, np.int32), free.copy()
    who = partitions._settle(waiting, nearness, places, leaves, left)
    expected = np.full(1000, -1, np.int32)
    for place in range(10):
        wanting = sorted((-nearness[n], waiting[n]) for n in range(300) if places[n] == place)
        for _, row in wanting[: free[place]]:
            expected[row] = place
    np.testing.assert_array_equal(leaves, expected)
    assert who.tolist() == [row for row in waiting if expected[row] < 0]
    np.testing.assert_array_equal(left, free - np.bincount(expected[expected >= 0], minlength=10))


@pytest.mark.parametrize("removed", [None, RNG.random(ITEMS) < 0.3])
def test_the_best_items_are_those_of_exact_search(removed):
    # Whole numbers have exact products, and many ties.
    embeddings = np.concatenate([np.round(VECTORS), np.full((1, 8), 99, np.float32)])
    queries = np.round(QUERIES)
    present = np.arange(ITEMS) if removed is None else np.flatnonzero(~removed)
    found = best_items(embeddings, present, queries, 40)
    assert found.dtype == np.int64 and found.shape == (150, 40)
    scores = queries @ embeddings[:-1].T
    if removed is not None:
        scores[:, removed] = -np.inf
    np.testing.assert_array_equal(found, np.argsort(-scores, axis=1, kind="stable")[:, :40])
    np.testing.assert_array_equal(found, nearest(ExactIndex(embeddings, removed=removed), queries, 40))


def test_all_items_can_be_the_best():
    found = best_items(VECTORS[:8], np.arange(7), QUERIES[:3], 7)
    np.testing.assert_array_equal(found, np.argsort(-(QUERIES[:3] @ VECTORS[:7].T), axis=1))
