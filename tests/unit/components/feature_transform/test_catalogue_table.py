"""The item table, the item vocabulary, and what crosses cover."""

import collections

import numpy as np
import pytest

from crossrec.components.errors import DataError
from crossrec.components.feature_transform import catalogue
from crossrec.components.features import preprocessing
from tests.unit.components.records import write_records
from tests.unit.components.transformed import CONFIG, ITEMS, NEVER_CLICKED, TRAIN

CLICKS = collections.Counter(row["item"] for row in TRAIN if row["clicked"])


def test_rows_of_the_table_are_the_items_in_order(transformed):
    table = transformed.table
    assert table.ids.tolist() == [item["item_id"] for item in ITEMS]
    assert all(len(values) == len(ITEMS) + 1 for values in table.features.values())
    assert table.features["price"][:-1, 0].tolist() == [item["price"] or 0.0 for item in ITEMS]
    assert table.display["title"].tolist() == [item["title"] or "" for item in ITEMS]
    assert table.display["tags"].tolist() == [", ".join(item["tags"]) for item in ITEMS]


def test_frequencies_count_the_positives_of_training_only(transformed):
    assert transformed.counts == dict(CLICKS)
    assert transformed.table.frequencies.tolist() == [CLICKS[item["item_id"]] for item in ITEMS]


def test_rare_items_share_the_unknown_id_and_the_others_have_their_own(transformed):
    ids = transformed.table.features["item_id"][:-1, 0]
    rare = np.array([CLICKS[item["item_id"]] < CONFIG.item_id_min_count for item in ITEMS])
    assert rare.sum() == 2 and rare[-1] and ITEMS[-1]["item_id"] == NEVER_CLICKED
    assert (ids[rare] == preprocessing.UNKNOWN_ID).all()
    assert len(set(ids[~rare])) == (~rare).sum() and ids[~rare].min() > preprocessing.UNKNOWN_ID


def test_the_last_row_is_an_item_of_which_nothing_is_known(transformed):
    last = {name: values[-1].tolist() for name, values in transformed.table.features.items()}
    assert last == {
        "item_id": [preprocessing.UNKNOWN_ID],
        "brand": [preprocessing.MISSING_ID],
        "tags": [-1, -1],
        "price": [0.0],
    }


@pytest.mark.parametrize("item", ["", "two\nlines", "re\rturn"])
def test_ids_that_the_vocabulary_file_cannot_hold_are_refused(tmp_path, item):
    ids = np.array(["fine", item], object)
    with pytest.raises(DataError, match=r"data\.items\.item: the id .* of item 1 is empty or holds a line break"):
        catalogue.write_item_vocabulary(ids, str(tmp_path / "ids.txt"))
    assert not (tmp_path / "ids.txt").exists()


def test_raw_columns_are_read_over_several_files_and_missing_is_empty(tmp_path):
    rows = [{"id": f"i{n}", "t": ["ä", "b"] if n % 2 else None} for n in range(7)]
    columns = catalogue.read_item_columns(write_records(tmp_path, rows, 3), ["id", "t", "id"])
    assert columns["id"].tolist() == [row["id"] for row in rows]
    assert columns["t"].tolist() == ["ä, b" if n % 2 else "" for n in range(7)]
