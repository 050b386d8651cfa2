import numpy as np
import pytest

from crossrec.components.features.item_table import ItemTable


def strings(*texts):
    out = np.empty(len(texts), object)
    out[:] = texts
    return out


def assert_same(found, table):
    assert found.ids.tolist() == table.ids.tolist()
    assert found.frequencies.tolist() == table.frequencies.tolist() and found.frequencies.dtype == np.int64
    assert found.features.keys() == table.features.keys() and found.display.keys() == table.display.keys()
    for name, values in table.features.items():
        np.testing.assert_array_equal(found.features[name], values)
        assert found.features[name].dtype == values.dtype
    for name, values in table.display.items():
        assert found.display[name].tolist() == values.tolist()


@pytest.mark.parametrize(
    "ids",
    [
        strings(),
        strings("a"),
        strings("a", "b\0c", "Ünïcode 商品 \U0001f600", " spaces "),
        strings(*(f"item-{i}" * (i % 7 + 1) for i in range(5000))),
    ],
)
def test_a_table_comes_back_as_it_was_written(tmp_path, ids):
    items = len(ids)
    rng = np.random.default_rng(items)
    table = ItemTable(
        ids=ids,
        features={"brand": rng.integers(0, 9, (items + 1, 1)), "price": rng.random((items + 1, 3)).astype(np.float32)},
        frequencies=rng.integers(0, 99, items),
        display={"title": strings(*("" for _ in ids)), "a/b": strings(*(f"Títle {i}" for i in ids))},
    )
    table.write(str(tmp_path / "new" / "folder"))
    found = ItemTable.read(str(tmp_path / "new" / "folder"))
    assert found.items == items
    assert_same(found, table)


def test_a_table_without_display_columns_comes_back(tmp_path):
    table = ItemTable(strings("x"), {"f": np.zeros((2, 1), np.int64)}, np.array([3]), {})
    table.write(str(tmp_path))
    assert_same(ItemTable.read(str(tmp_path)), table)
