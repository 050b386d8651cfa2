import numpy as np
import pytest

from crossrec.components.ranking_examples.generate import _distinct


def test_each_row_finds_itself_among_the_distinct_ones():
    ids = np.array([[3, -1], [7, 2], [3, -1], [3, 2]], np.int64)
    numbers = np.array([[0.5], [0.5], [0.5], [0.5]], np.float32)
    first, places = _distinct([ids, numbers])
    assert len(first) == 3
    np.testing.assert_array_equal(ids[first][places], ids)
    assert places[0] == places[2]


@pytest.mark.parametrize("column", [0, 1])
def test_rows_that_differ_in_one_number_are_not_the_same(column):
    columns = [np.zeros((2, 3), np.int64), np.zeros((2, 2), np.float32)]
    columns[column][1, -1] = 1
    first, places = _distinct(columns)
    assert len(first) == 2 and places[0] != places[1]
