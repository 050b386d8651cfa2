"""The order in which records come to a partition has no part in what is drawn for its rows."""

import numpy as np

from crossrec.components.ranking_examples.generate import in_order


def make_rows(rows=5000):
    rng = np.random.default_rng(0)
    return {
        "user": rng.integers(0, 40, (rows, 1)),
        "likes": rng.integers(-1, 3, (rows, 2)),
        "price": rng.integers(0, 4, (rows, 1)).astype(np.float32),
    }


def in_batches(columns, order, size):
    ordered = {name: values[order] for name, values in columns.items()}
    return [{name: values[i : i + size] for name, values in ordered.items()} for i in range(0, len(order), size)]


def test_rows_are_the_same_and_in_one_order_however_they_come():
    columns = make_rows()
    first = in_order(in_batches(columns, np.arange(5000), 2048))
    shuffled = np.random.default_rng(1).permutation(5000)
    other = in_batches(columns, shuffled, 700)
    other = in_order([dict(reversed(batch.items())) for batch in other])
    assert [len(batch["user"]) for batch in first] == [2048, 2048, 904] == [len(batch["user"]) for batch in other]
    for one, same in zip(first, other, strict=True):
        for name in columns:
            np.testing.assert_array_equal(one[name], same[name])
    whole = np.concatenate([np.concatenate([b["user"], b["likes"], b["price"]], 1) for b in first])
    given = np.concatenate([columns["user"], columns["likes"], columns["price"]], 1)
    np.testing.assert_array_equal(whole[np.lexsort(whole.T)], given[np.lexsort(given.T)])


def test_no_rows_stay_none():
    assert in_order([]) == []
