"""Item tables that stay in memory from node to node, and when they do not."""

import numpy as np
import pytest

from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.kept import files_kept, find_kept, keep


def table(price):
    ids = np.array(["a", "b"], object)
    return ItemTable(ids, {"price": np.full([3, 1], price, np.float32)}, np.zeros(2, np.int64), {"title": ids.copy()})


def test_a_table_is_read_once_while_files_are_kept(tmp_path):
    table(1.0).write(str(tmp_path / "one"))
    with files_kept():
        first = ItemTable.read(str(tmp_path / "one"))
        assert ItemTable.read(str(tmp_path / "one")) is first
        made = table(2.0)
        made.write(str(tmp_path / "two"))
        assert ItemTable.read(str(tmp_path / "two")) is made
        with files_kept():
            pass
        assert ItemTable.read(str(tmp_path / "one")) is first, "the outer one still keeps it"
    again = ItemTable.read(str(tmp_path / "two"))
    assert again is not made
    np.testing.assert_array_equal(again.features["price"], made.features["price"])
    assert again.ids.tolist() == again.display["title"].tolist() == ["a", "b"]


def test_a_file_that_has_changed_is_read_again(tmp_path):
    with files_kept():
        table(1.0).write(str(tmp_path))
        kept = ItemTable.read(str(tmp_path))
        changed = np.full([3, 1], 5.0, np.float32)
        other = str(tmp_path / "other")
        ItemTable(kept.ids, {"price": changed}, kept.frequencies, {}).write(other)
        (tmp_path / "other" / "items.npz").replace(tmp_path / "items.npz")
        assert ItemTable.read(str(tmp_path)).features["price"].tolist() == changed.tolist()
        (tmp_path / "items.npz").unlink()
        assert find_kept(str(tmp_path / "items.npz")) is None


def test_what_is_kept_cannot_be_changed(tmp_path):
    with files_kept():
        table(1.0).write(str(tmp_path))
        kept = ItemTable.read(str(tmp_path))
        for array in (kept.ids, kept.frequencies, kept.features["price"], kept.display["title"]):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = array[1]


def test_nothing_is_kept_otherwise_nor_of_what_is_no_local_file(tmp_path):
    table(1.0).write(str(tmp_path))
    read = ItemTable.read(str(tmp_path))
    read.features["price"][0] = 7
    assert ItemTable.read(str(tmp_path)).features["price"][0] == 1
    with files_kept():
        assert not keep("gs://bucket/items.npz", read) and find_kept("gs://bucket/items.npz") is None
