"""Records of whole lists: nothing is lost or mixed on the way through a file."""

import numpy as np
import pytest
import tensorflow as tf
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from crossrec.components.features.schema import REQUEST, TIMESTAMP, USER
from crossrec.components.ranking_examples import lists
from crossrec.components.ranking_examples.lists import list_batches, lists_of, parse_list


def make_columns(rows=200, requests=False, seed=0):
    rng = np.random.default_rng(seed)
    columns = {
        USER: rng.integers(0, 9, (rows, 1)),
        TIMESTAMP: rng.integers(0, 3, (rows, 1)),
        "words": rng.integers(-1, 50, (rows, 3)),
        "price": rng.normal(size=(rows, 1)).astype(np.float32),
        "number": np.arange(rows)[:, None],
    }
    return columns | ({REQUEST: rng.integers(0, 4, (rows, 1))} if requests else {})


@pytest.mark.parametrize("requests", [False, True])
def test_a_list_is_a_users_request_or_moment(requests):
    columns = make_columns(requests=requests)
    ordered, offsets = lists_of(columns)
    key = np.concatenate([columns[USER], columns[REQUEST if requests else TIMESTAMP]], 1)
    assert len(offsets) - 1 == len(np.unique(key, axis=0))
    for start, end in zip(offsets[:-1], offsets[1:]):
        rows = ordered["number"][start:end, 0]
        assert len(np.unique(key[rows], axis=0)) == 1 and (np.diff(rows) > 0).all()
        assert len(rows) == (key == key[rows[0]]).all(1).sum(), "all rows of the list"
    np.testing.assert_array_equal(ordered["words"], columns["words"][ordered["number"][:, 0]])


@pytest.mark.parametrize("lists_at_once", [1, 4, 256])
def test_records_give_back_every_row(monkeypatch, lists_at_once):
    monkeypatch.setattr(lists, "_LISTS", lists_at_once)
    columns = make_columns()
    spec = {
        name: tf.io.FixedLenFeature([values.shape[1]], tf.float32 if values.dtype == np.float32 else tf.int64)
        for name, values in columns.items()
    }
    encoder = RecordBatchToExamplesEncoder()
    records = [record for batch in list_batches(columns) for record in encoder.encode(batch)]
    found = [parse_list(record, spec) for record in records]
    ordered, offsets = lists_of(columns)
    assert [len(rows["number"]) for rows in found] == np.diff(offsets).tolist()
    for name in columns:
        np.testing.assert_array_equal(np.concatenate([rows[name].numpy() for rows in found]), ordered[name])
