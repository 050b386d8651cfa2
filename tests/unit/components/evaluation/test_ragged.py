import numpy as np
import pytest
import scipy.sparse as sparse

from crossrec.components.evaluation.ragged import RaggedItems


def as_lists(rows):
    return [rows.items[a:b].tolist() for a, b in zip(rows.offsets[:-1], rows.offsets[1:])]


def test_all_ways_of_building_agree():
    lists = [[3, 1], [], [2, 2, 0], []]
    expected = [[1, 3], [], [0, 2], []]
    matrix = sparse.csr_matrix(np.array([[0, 5, 0, 1], [0, 0, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]))
    assert as_lists(RaggedItems.from_lists(lists)) == expected
    assert as_lists(RaggedItems.from_pairs([2, 0, 2, 0, 2], [2, 3, 0, 1, 2], 4)) == expected
    assert as_lists(RaggedItems.from_sparse(matrix)) == expected
    assert as_lists(RaggedItems.from_sparse(matrix.tocsc())) == expected


def test_explicit_zeros_are_no_items():
    matrix = sparse.csr_matrix((np.array([0.0, 1.0]), ([0, 0], [1, 2])), shape=(1, 3))
    assert as_lists(RaggedItems.from_sparse(matrix)) == [[2]]


def test_rows_can_be_cut_out():
    rows = RaggedItems.from_lists([[1], [2, 3], [], [4]])
    assert as_lists(rows.rows(1, 3)) == [[2, 3], []]
    assert rows.row_of_item.tolist() == [0, 1, 1, 3]
    assert len(rows.rows(2, 2)) == 0


def test_no_rows_at_all():
    assert len(RaggedItems.from_lists([])) == 0
    assert len(RaggedItems.from_pairs([], [], 0)) == 0


@pytest.mark.parametrize(
    ("items", "offsets", "message"),
    [
        ([1, 2], [0, 1], "end with the number of items, 2"),
        ([1, 2], [1, 2], "begin with 0"),
        ([1, 2], [0, 2, 1, 2], "never fall"),
        ([-1], [0, 1], "leave padding out"),
        ([], [], "one entry more"),
    ],
)
def test_inconsistent_arrays_are_refused(items, offsets, message):
    with pytest.raises(ValueError, match=message):
        RaggedItems(np.array(items, np.int64), np.array(offsets, np.int64))


def test_rows_out_of_range_are_refused():
    with pytest.raises(ValueError, match="rows: from 0 to 3; every row must be in 0 to 2"):
        RaggedItems.from_pairs([0, 3], [1, 1], 3)
