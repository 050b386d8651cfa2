import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.candidate_indexer.index import ExactIndex, read_embeddings, write_index

RNG = np.random.default_rng(0)
ITEMS = 50
EMBEDDINGS = RNG.normal(size=(ITEMS + 1, 8)).astype(np.float32)
QUERIES = RNG.normal(size=(6, 8)).astype(np.float32)
NOTHING = np.zeros((6, 0), np.int64)


def search(embeddings, queries, exclude, k):
    graph = tf.function(ExactIndex(embeddings).search)
    scores, rows = graph(tf.constant(queries), tf.constant(exclude, tf.int64), k)
    assert scores.dtype == tf.float32 and rows.dtype == tf.int64
    return scores.numpy(), rows.numpy()


def exact(exclude, k):
    """The same by numpy: rows by score, the lower row first among equals, excluded ones gone."""
    out_scores, out_rows = [], []
    for query, gone in zip(QUERIES.astype(np.float64), exclude):
        scores = EMBEDDINGS[:-1].astype(np.float64) @ query
        rows = [row for row in np.argsort(-scores, kind="stable") if row not in set(gone)][:k]
        missing = min(k, ITEMS) - len(rows)
        out_rows.append(rows + [-1] * missing)
        out_scores.append([scores[row] for row in rows] + [-np.inf] * missing)
    return np.array(out_scores), np.array(out_rows)


@pytest.mark.parametrize("k", [1, 7, ITEMS])
def test_search_is_exact(k):
    scores, rows = search(EMBEDDINGS, QUERIES, NOTHING, k)
    expected_scores, expected_rows = exact(NOTHING, k)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-6)


def test_excluded_items_never_come_back_whatever_the_padding_and_repetition():
    _, best = search(EMBEDDINGS, QUERIES, NOTHING, 4)
    exclude = np.concatenate([best[:, :3], np.full((6, 2), -1), best[:, :1], best[:, 2:3]], 1)
    exclude[5] = -1
    scores, rows = search(EMBEDDINGS, QUERIES, exclude, 10)
    expected_scores, expected_rows = exact(exclude, 10)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-6)
    assert rows[0, 0] == best[0, 3]


def test_ties_go_to_the_lower_row():
    same = np.ones((ITEMS + 1, 3), np.float32)
    scores, rows = search(same, np.ones((2, 3), np.float32), [[0, 2], [-1, -1]], 5)
    assert rows.tolist() == [[1, 3, 4, 5, 6], [0, 1, 2, 3, 4]]
    assert (scores == 3).all()


def test_the_unknown_item_is_never_found_even_where_it_would_win():
    embeddings = EMBEDDINGS.copy()
    embeddings[-1] = QUERIES[0] * 100
    _, rows = search(embeddings, QUERIES, NOTHING, ITEMS)
    assert sorted(rows[0].tolist()) == list(range(ITEMS))


def test_more_than_there_is():
    scores, rows = search(EMBEDDINGS, QUERIES, NOTHING, ITEMS + 30)
    assert rows.shape == scores.shape == (6, ITEMS) and (rows >= 0).all()
    scores, rows = search(EMBEDDINGS, QUERIES, np.tile(np.arange(ITEMS), (6, 1)), 5)
    assert (rows == -1).all() and np.isneginf(scores).all()
    exclude = np.full((6, ITEMS), -1)
    exclude[:, : ITEMS - 2] = np.arange(2, ITEMS)
    scores, rows = search(EMBEDDINGS, QUERIES, exclude, 5)
    assert set(rows[0].tolist()) == {0, 1, -1} and np.isneginf(scores[:, 2:]).all()


def test_scores_of_given_rows_and_of_the_unknown_item():
    rows = np.array([[0, 3, -1, 3]] * 6)
    found = ExactIndex(EMBEDDINGS).score(tf.constant(QUERIES), tf.constant(rows)).numpy()
    expected = np.einsum("bd,bcd->bc", QUERIES, EMBEDDINGS[np.where(rows < 0, ITEMS, rows)])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_an_index_comes_back_from_its_files(tmp_path):
    write_index(str(tmp_path / "index"), EMBEDDINGS)
    np.testing.assert_array_equal(read_embeddings(str(tmp_path / "index")), EMBEDDINGS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_no_numbers_are_refused_and_nothing_is_written(tmp_path, value):
    broken = EMBEDDINGS.copy()
    broken[4, 2] = broken[9, 0] = value
    with pytest.raises(FloatingPointError, match=r"2 item embeddings are not finite, the first that of row 4.*Lower"):
        write_index(str(tmp_path / "index"), broken)
    assert not (tmp_path / "index").exists()


def test_an_index_may_hold_other_embeddings_to_serve(tmp_path):
    write_index(str(tmp_path / "one"), EMBEDDINGS)
    np.testing.assert_array_equal(read_embeddings(str(tmp_path / "one"), served=True), EMBEDDINGS)
    write_index(str(tmp_path / "two"), EMBEDDINGS, -EMBEDDINGS)
    np.testing.assert_array_equal(read_embeddings(str(tmp_path / "two")), EMBEDDINGS)
    np.testing.assert_array_equal(read_embeddings(str(tmp_path / "two"), served=True), -EMBEDDINGS)
