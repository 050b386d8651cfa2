"""What differs between two catalogues, counted by hand."""

import numpy as np

from crossrec.components.catalogue_update.changes import compare
from crossrec.components.features.item_table import ItemTable, former_rows, places_in


def table(ids, prices, titles, removed=None):
    strings = np.array(ids, object), np.array(titles, object)
    price = np.array([*prices, 0.0], np.float32)[:, None]
    return ItemTable(
        ids=strings[0],
        features={"price": price, "tags": np.zeros((len(ids) + 1, 2), np.int64)},
        frequencies=np.zeros(len(ids), np.int64),
        display={"title": strings[1]},
        removed=None if removed is None else np.array(removed),
    )


BEFORE = table(["a", "b", "c", "gone"], [1, 2, 3, 4], ["A", "B", "C", "G"], [False, False, False, True])


def test_nothing_differs_whatever_the_order_of_the_rows():
    found = compare(BEFORE, table(["c", "a", "b"], [3, 1, 2], ["C", "A", "B"]))
    assert found.none and found.items == 3 and found.examples == {} and found.columns == {}
    assert str(found) == "3 items: 0 new, 0 removed, 0 changed"


def test_each_item_counts_once_and_each_column_for_itself():
    now = table(["a", "b", "d", "e"], [1.5, 2, 4, 5], ["Ah", "Bee", "D", "E"], [False, False, False, True])
    found = compare(BEFORE, now)
    assert (found.items, found.new, found.removed, found.changed) == (3, 1, 1, 2)
    assert found.columns == {"price": 1, "title": 2}
    assert found.examples == {"new": ("d",), "removed": ("c",), "changed": ("a", "b")}
    assert not found.none


def test_an_item_that_comes_back_is_new():
    back = table(["a", "b", "c", "gone"], [1, 2, 3, 4], ["A", "B", "C", "G"])
    assert compare(BEFORE, back).new == 1
    assert compare(back, BEFORE).removed == 1


def test_rows_follow_ids_where_both_have_the_item():
    now = table(["gone", "b", "x", "c"], [0] * 4, [""] * 4, [False, False, False, True])
    assert former_rows(BEFORE, now).tolist() == [-1, 1, -1, -1]
    assert places_in(now.ids, BEFORE.ids).tolist() == [3, 1, -1, 2]


def test_the_last_bit_of_a_number_is_no_change_and_more_is():
    now = table(["a", "b", "c"], [np.nextafter(np.float32(1), np.float32(2)), 2.0001, 3], ["A", "B", "C"])
    assert compare(BEFORE, now).examples == {"changed": ("b",)}
