"""Partitioned search against numpy: the same items, the same order, whatever is excluded, filtered or equal."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.candidate_indexer.filters import Filters
from crossrec.components.candidate_indexer.index import ExactIndex
from crossrec.components.candidate_indexer.partitioned import PartitionedIndex
from crossrec.components.candidate_indexer.partitions import Partitions, capacity_for, partition
from crossrec.components.candidate_indexer.probing import Probing

ITEMS, WIDTH, CAPACITY = 3000, 12, 64
COLOURS = ("red", "green", "blue", "")


def clustered(count, seed, clusters=40):
    """Vectors of length one around centres of very different sizes."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(clusters, WIDTH))
    shares = np.random.default_rng(98).pareto(1.0, clusters) + 0.05
    drawn = centres[rng.choice(clusters, count, p=shares / shares.sum())] + 0.6 * rng.normal(size=(count, WIDTH))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


EMBEDDINGS = np.concatenate([clustered(ITEMS, 1), np.full((1, WIDTH), 9, np.float32)])
QUERIES = clustered(8, 2)
NOTHING = np.zeros((8, 0), np.int64)
COLUMNS = {
    "colour": np.array([COLOURS[n % 4] for n in range(ITEMS)], object),
    "rare": np.array(["yes" if n % 500 == 3 else "no" for n in range(ITEMS)], object),
}


PARTS = partition(EMBEDDINGS[:-1], CAPACITY)


def make(embeddings=EMBEDDINGS, probes=8, columns=None, parts=PARTS):
    exact = ExactIndex(embeddings, Filters(columns or {}))
    probing = probes if isinstance(probes, Probing) else Probing.fixed(probes, 0.5)
    return PartitionedIndex(exact, parts, probing, embeddings)


# Of the 8 queries each looks at another number of partitions, 4 to 16 of them.
NEARLY = Probing(8, 0.5, 4, 0.2)


@pytest.fixture(scope="module", params=[8, NEARLY], ids=["fixed", "nearly"])
def index(request):
    return make(columns=COLUMNS, probes=request.param)


def search(index, queries, exclude, k, probes=None, **accepted):
    def call(queries, exclude, probes, inputs):
        wanted = index.filters.wanted(inputs) if inputs else None
        return index.search(queries, exclude, k, probes, wanted)

    inputs = {f"filter_{name}": tf.constant(np.array(values, object), tf.string) for name, values in accepted.items()}
    for name in index.filters.names if inputs else ():
        inputs.setdefault(f"filter_{name}", tf.fill([len(queries), 0], ""))
    probes = None if probes is None else tf.constant(probes, tf.int64)
    graph = tf.function(call, autograph=False)
    scores, rows = graph(tf.constant(queries), tf.constant(exclude, tf.int64), probes, inputs)
    assert scores.dtype == tf.float32 and rows.dtype == tf.int64
    return scores.numpy(), rows.numpy()


def expected(embeddings, queries, k, allowed=None):
    """Rows by score, the lower one first among equals, of those allowed ``[B, N]``."""
    scores = queries.astype(np.float64) @ embeddings[:-1].astype(np.float64).T
    scores = np.round(scores, 9)
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def probed(index_parts, queries, probing):
    """Which items lie in the partitions that are looked at, bool ``[B, N]``."""
    if not isinstance(probing, Probing):
        probing = Probing.fixed(probing, 0.5)
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
    near = queries @ index_parts.centres.T + probing.spread_weight * lengths[:, None] * index_parts.spreads
    out = np.zeros((len(queries), ITEMS), bool)
    for row in range(len(queries)):
        best = np.argsort(-near[row], kind="stable")
        last = near[row, best[probing.rank - 1]] - probing.margin * lengths[row]
        count = max(probing.rank, int((near[row] >= last).sum()))
        held = index_parts.members[best[:count]]
        out[row, held[held >= 0]] = True
    return out


@pytest.mark.parametrize("seed", [0, 1])
def test_every_item_lies_in_one_partition_none_too_full(seed):
    parts = partition(EMBEDDINGS[:-1], CAPACITY, seed=seed)
    assert parts.members.shape[1] == CAPACITY
    held = parts.members[parts.members >= 0]
    assert sorted(held) == list(range(ITEMS))
    for members, centre, spread in zip(parts.members, parts.centres, parts.spreads):
        rows = members[members >= 0]
        assert (np.diff(rows) > 0).all()
        if len(rows):
            np.testing.assert_allclose(centre, EMBEDDINGS[rows].mean(0), atol=1e-5)
            distances = ((EMBEDDINGS[rows].astype(np.float64) - centre) ** 2).sum(1)
            np.testing.assert_allclose(spread, np.sqrt(distances.mean()), rtol=1e-4)
    again = partition(EMBEDDINGS[:-1], CAPACITY, seed=seed)
    np.testing.assert_array_equal(parts.members, again.members)
    np.testing.assert_array_equal(parts.centres, again.centres)


def test_partitions_hold_what_is_near():
    """Hardly any centre is nearer than an item's own; by chance half of them would be."""
    parts = PARTS
    own = np.empty(ITEMS, int)
    held = parts.members >= 0
    own[parts.members[held]] = np.nonzero(held)[0]
    squares = (parts.centres**2).sum(1) - 2 * EMBEDDINGS[:-1] @ parts.centres.T
    nearer = (squares < squares[np.arange(ITEMS), own][:, None]).mean(1)
    assert nearer.mean() < 0.02


@pytest.mark.parametrize("items", [1, 2, 63, 64, 65, 200])
def test_small_catalogues_have_partitions_too(items):
    parts = partition(EMBEDDINGS[:items], CAPACITY)
    assert sorted(parts.members[parts.members >= 0]) == list(range(items))
    index = make(np.concatenate([EMBEDDINGS[:items], EMBEDDINGS[-1:]]), parts=parts, probes=1)
    scores, rows = search(index, QUERIES, NOTHING, 500)
    assert rows.shape == scores.shape == (8, items)
    np.testing.assert_array_equal(rows, expected(EMBEDDINGS[[*range(items), -1]], QUERIES, items))


def test_capacities_grow_with_the_catalogue():
    assert [capacity_for(items) for items in (1, 10_000, 100_000, 1_000_000, 100_000_000)] == [64, 64, 128, 512, 1024]


@pytest.mark.parametrize("probes", [1, 5, 11])
def test_the_best_items_of_the_partitions_looked_at(probes):
    scores, rows = search(make(probes=probes), QUERIES, NOTHING, 20)
    # One more partition than the list is long is looked at, so that a list is never short for that reason.
    truth = expected(EMBEDDINGS, QUERIES, 20, probed(PARTS, QUERIES, max(probes, 2)))
    np.testing.assert_array_equal(rows, truth)
    np.testing.assert_allclose(scores, np.einsum("bd,bkd->bk", QUERIES, EMBEDDINGS[truth]), atol=1e-6)


@pytest.mark.parametrize(("rank", "margin"), [(1, 0.3), (4, 0.2), (6, 0.1)])
@pytest.mark.parametrize("length", [0.01, 1, 30])
def test_each_query_looks_at_the_partitions_that_are_nearly_as_good(rank, margin, length):
    probing = Probing(8, 0.5, rank, margin)
    queries = QUERIES * np.float32(length)
    looked_at = probed(PARTS, queries, Probing(8, 0.5, max(rank, 2), margin))
    assert len(set(looked_at.sum(1))) > 3
    np.testing.assert_array_equal(
        search(make(probes=probing), queries, NOTHING, 20)[1], expected(EMBEDDINGS, queries, 20, looked_at)
    )


def test_a_batch_that_looks_at_more_than_half_of_the_partitions_is_searched_exactly():
    index = make(probes=Probing(8, 0.5, 4, 0.9))
    looked_at = probed(PARTS, QUERIES, Probing(8, 0.5, 4, 0.9)).mean(1)
    assert looked_at.mean() > 0.5 and looked_at.min() < 1
    _, rows = search(index, QUERIES, NOTHING, 300)
    np.testing.assert_array_equal(rows, expected(EMBEDDINGS, QUERIES, 300))


def test_queries_without_a_direction_or_a_value_do_no_harm_to_others(index):
    odd = QUERIES.copy()
    odd[3], odd[5] = 0, np.nan
    _, rows = search(index, odd, NOTHING, 20)
    assert rows[3].tolist() == list(range(20)), "all items are equal"
    best = expected(EMBEDDINGS, QUERIES, 20)
    assert all(len(set(rows[row]) & set(best[row])) > 15 for row in (0, 1, 2, 4, 6, 7))
    search(index, odd[5:6], NOTHING[:1], 20)


def test_a_query_too_long_for_a_number_is_searched_exactly(index):
    long = QUERIES[:1] * np.float32(1e20)
    for probes in (None, [5]):
        scores, rows = search(index, long, NOTHING[:1], 20, probes)
        np.testing.assert_array_equal(rows, expected(EMBEDDINGS, long, 20))
        assert np.isfinite(scores).all()


def test_more_items_are_wanted_than_there_are_places():
    left = np.sort(np.random.default_rng(0).permutation(ITEMS)[:100])
    parts = partition(EMBEDDINGS[left], CAPACITY)
    members = np.where(parts.members < 0, -1, left[np.maximum(parts.members, 0)]).astype(np.int32)
    gone = np.ones(ITEMS, bool)
    gone[left] = False
    exact = ExactIndex(EMBEDDINGS, removed=gone)
    index = PartitionedIndex(exact, dataclasses.replace(parts, members=members), Probing.fixed(1, 0.5), EMBEDDINGS)
    assert members.size < 200
    queries = QUERIES[:2].copy()
    # Looks at nothing, so that the batch looks at half of the partitions only.
    queries[1] = np.nan
    _, rows = search(index, queries, NOTHING[:2], 200)
    allowed = np.zeros((1, ITEMS), bool)
    allowed[:, left] = True
    np.testing.assert_array_equal(rows[0, :100], expected(EMBEDDINGS, queries[:1], 100, allowed)[0])
    assert (rows[0, 100:] == -1).all()


def test_all_partitions_are_exact_search(index):
    _, rows = search(index, QUERIES, NOTHING, 50, probes=np.full(8, 10**6))
    np.testing.assert_array_equal(rows, expected(EMBEDDINGS, QUERIES, 50))


def test_each_request_has_its_own_number_of_probes(index):
    probes = np.array([0, 1, 2, 3, 5, 8, 10, -4])
    together = search(index, QUERIES, NOTHING, 20, probes)
    for row in range(8):
        for given, alone in zip(
            together, search(index, QUERIES[row : row + 1], NOTHING[:1], 20, probes[row : row + 1])
        ):
            np.testing.assert_array_equal(given[row], alone[0])
    default = search(index, QUERIES, NOTHING, 20)
    for given, by_default in zip(together, default):
        np.testing.assert_array_equal(given[[0, 5, 7]], by_default[[0, 5, 7]])


def test_a_batch_of_one_equals_its_row_of_a_batch(index):
    whole = search(index, QUERIES, NOTHING, 30)
    for row in range(8):
        alone = search(index, QUERIES[row : row + 1], NOTHING[:1], 30)
        np.testing.assert_array_equal(alone[1][0], whole[1][row])
        np.testing.assert_array_equal(alone[0][0], whole[0][row])
    empty = search(index, QUERIES[:0], NOTHING[:0], 30)
    assert empty[0].shape == empty[1].shape == (0, 30)


def test_excluded_items_are_gone_before_the_cut(index):
    _, best = search(index, QUERIES, NOTHING, 40)
    exclude = np.concatenate([best[:, :25], np.full((8, 3), -1), best[:, :2]], 1)
    exclude[7] = -1
    _, rows = search(index, QUERIES, exclude, 15)
    np.testing.assert_array_equal(rows[:7], best[:7, 25:40])
    np.testing.assert_array_equal(rows[7], best[7, :15])


def test_k_items_come_back_though_all_that_was_looked_at_is_excluded(index):
    truth = expected(EMBEDDINGS, QUERIES, ITEMS)
    _, rows = search(index, QUERIES, truth[:, : ITEMS - 30], 20)
    np.testing.assert_array_equal(rows, truth[:, ITEMS - 30 : ITEMS - 10])
    scores, rows = search(index, QUERIES, truth[:, : ITEMS - 5], 20)
    np.testing.assert_array_equal(rows[:, :5], truth[:, ITEMS - 5 :])
    assert (rows[:, 5:] == -1).all() and np.isneginf(scores[:, 5:]).all()


@pytest.mark.parametrize("make_index", [make, lambda columns: ExactIndex(EMBEDDINGS, Filters(columns))])
def test_filters_leave_k_items_that_pass(make_index):
    accepted = [["red"], ["green", "blue"], [""], ["red", "red"], ["no such colour"], ["blue"], [""], [""]]
    colour = np.array([row + [""] * (2 - len(row)) for row in accepted], object)
    rare = np.array([[""], [""], ["yes"], [""], [""], ["yes"], [""], ["yes"]], object)
    scores, rows = search(make_index(columns=COLUMNS), QUERIES, NOTHING, 100, colour=colour, rare=rare)
    for row in range(8):
        colours, rares = set(colour[row]) - {""}, set(rare[row]) - {""}
        allowed = np.array(
            [
                (not colours or a in colours) and (not rares or b in rares)
                for a, b in zip(COLUMNS["colour"], COLUMNS["rare"])
            ]
        )
        found = rows[row][rows[row] >= 0]
        assert len(found) == min(100, allowed.sum()) and allowed[found].all()
        assert np.isneginf(scores[row, len(found) :]).all()
        if len(found) < 100:
            truth = expected(EMBEDDINGS, QUERIES[row : row + 1], len(found), allowed[None])
            np.testing.assert_array_equal(found, truth[0])


def test_a_filter_that_few_items_pass_costs_no_recall():
    index = make(columns=COLUMNS)
    queries = clustered(100, 5)
    nothing = np.zeros((100, 0), np.int64)
    allowed = COLUMNS["colour"] == "red"
    truth = expected(EMBEDDINGS, queries, 20, np.tile(allowed, (100, 1)))
    _, rows = search(index, queries, nothing, 20, colour=[["red"]] * 100)
    assert np.mean([len(set(a) & set(b)) / 20 for a, b in zip(rows, truth)]) > 0.95


def test_an_item_without_a_value_passes_no_filter_of_its_column(index):
    _, rows = search(index, QUERIES, NOTHING, ITEMS, colour=[["red", "green", "blue", "", "none"]] * 8)
    assert set(COLUMNS["colour"][rows[rows >= 0]]) == {"red", "green", "blue"}
    assert ((rows >= 0).sum(1) == ITEMS * 3 // 4).all()


def test_filters_and_exclusions_go_together(index):
    _, best = search(index, QUERIES, NOTHING, 60, colour=[["green"]] * 8)
    _, rows = search(index, QUERIES, best[:, :30], 30, colour=[["green"]] * 8)
    np.testing.assert_array_equal(rows, best[:, 30:])


@pytest.mark.parametrize("k", [1, 4, 30, 200])
@pytest.mark.parametrize("probes", [3, 10, NEARLY])
def test_ties_go_to_the_lower_row_also_at_the_cut(k, probes):
    """Every item is there ten times, far from its copies, so that copies lie in several partitions."""
    base = clustered(ITEMS // 10, 6)
    embeddings = np.concatenate([np.tile(base, (10, 1)), EMBEDDINGS[-1:]])
    parts = partition(embeddings[:-1], CAPACITY)
    _, rows = search(make(embeddings, probes, parts=parts), QUERIES, NOTHING, k)
    least = -(-k // CAPACITY) + 1
    probing = probes if probes is NEARLY else Probing.fixed(probes, 0.5)
    probing = dataclasses.replace(probing, rank=max(probing.rank, least))
    truth = expected(embeddings, QUERIES, k, probed(parts, QUERIES, probing))
    np.testing.assert_array_equal(rows, truth)


def test_items_that_are_all_the_same():
    embeddings = np.ones((ITEMS + 1, WIDTH), np.float32)
    parts = partition(embeddings[:-1], CAPACITY)
    assert sorted(parts.members[parts.members >= 0]) == list(range(ITEMS))
    index = make(embeddings, parts=parts, probes=10**6)
    scores, rows = search(index, np.ones((2, WIDTH), np.float32), [[0, 2], [-1, -1]], 5)
    assert rows.tolist() == [[1, 3, 4, 5, 6], [0, 1, 2, 3, 4]]
    assert (scores == WIDTH).all()


def test_the_unknown_item_and_empty_partitions_are_never_found():
    parts = PARTS
    none = np.full((3, CAPACITY), -1, np.int32)
    more = Partitions(
        np.concatenate([none, parts.members]),
        np.concatenate([QUERIES[:3], parts.centres]),
        np.concatenate([np.zeros(3, np.float32), parts.spreads]),
    )
    _, rows = search(make(parts=more, probes=6), QUERIES, NOTHING, 20)
    _, without = search(make(parts=parts, probes=5), QUERIES[:3], NOTHING[:3], 20)
    assert (rows < ITEMS).all() and (rows >= 0).all()
    assert all(len(set(row)) == 20 for row in rows)
    np.testing.assert_array_equal(rows[:3], without)


def test_negative_scores_are_not_beaten_by_places_without_an_item():
    embeddings = -np.abs(EMBEDDINGS)
    queries = np.abs(QUERIES)
    scores, rows = search(make(embeddings, probes=4), queries, NOTHING, 40)
    assert (rows >= 0).all() and (scores < 0).all()


def test_scores_of_given_rows(index):
    rows = np.array([[0, 3, -1, 3]] * 8)
    found = index.score(tf.constant(QUERIES), tf.constant(rows)).numpy()
    wanted = np.einsum("bd,bcd->bc", QUERIES, EMBEDDINGS[np.where(rows < 0, ITEMS, rows)])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
