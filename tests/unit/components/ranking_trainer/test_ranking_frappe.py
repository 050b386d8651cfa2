"""The data of the benchmark on Frappe: what the model sees of it, and what it must not see."""

import os

import numpy as np
import pytest

from crossrec.components.features.schema import ITEM_ROW, label_key
from crossrec.components.modeling.crosses import Crosses, row_of
from tests.benchmarks import ranking_frappe_data as frappe

ROWS = 20_000
LABEL = label_key(frappe.LABEL)


@pytest.fixture(scope="module")
def data():
    if not os.environ.get("CROSSREC_DATA"):
        pytest.skip("CROSSREC_DATA is not set")
    try:
        return frappe.load(frappe.find_data(None), ROWS)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_ids_are_those_of_the_training_split_and_strangers_are_marked(data):
    for name in frappe.CONTEXT:
        ids = data.splits["train"][name]
        assert ids.min() == 1 and ids.max() == data.schema.feature(name).cardinality - 1
        assert len(np.unique(ids)) == ids.max()
    assert data.splits["train"][ITEM_ROW].min() == 0 and data.table.items == data.splits["train"][ITEM_ROW].max() + 1
    # Of 20,000 rows not every app and user of the other splits is known.
    assert (data.splits["valid"][ITEM_ROW] == -1).any() and (data.splits["valid"]["user"] == 0).any()


def test_a_pass_has_every_row_once_in_an_order_of_its_own_and_whole_batches(data):
    epochs = data.epochs(512, seed=1)
    passes = [[batch["@user"].numpy()[:, 0] for batch in epochs] for _ in range(2)]
    for batches in passes:
        assert {len(batch) for batch in batches} == {512}
        seen = np.concatenate(batches)
        assert len(np.unique(seen)) == len(seen) == ROWS // 512 * 512
    assert not np.array_equal(passes[0][0], passes[1][0])


def test_redrawn_negatives_are_apps_that_the_user_never_used_and_positives_stay(data):
    train = data.splits["train"]
    positive = train[LABEL][:, 0] > 0
    used = set(zip(train["user"][positive, 0], train[ITEM_ROW][positive, 0]))
    own = dict(zip(train["@user"][:, 0], train[ITEM_ROW][:, 0]))
    passes = []
    epochs = data.epochs(1000, seed=1, redrawn=True)
    for _ in range(2):
        rows = {name: [] for name in ("@user", "user", ITEM_ROW, LABEL)}
        for batch in epochs:
            for name, values in rows.items():
                values.append(batch[name].numpy()[:, 0])
        passes.append({name: np.concatenate(values) for name, values in rows.items()})
    for rows in passes:
        before = np.array([own[row] for row in rows["@user"]])
        negative = rows[LABEL] == 0
        np.testing.assert_array_equal(rows[ITEM_ROW][~negative], before[~negative])
        assert not used & set(zip(rows["user"][negative], rows[ITEM_ROW][negative]))
        assert (rows[ITEM_ROW][negative] != before[negative]).mean() > 0.99
    first, second = (rows[ITEM_ROW][np.argsort(rows["@user"])] for rows in passes)
    negative = train[LABEL][np.argsort(train["@user"][:, 0]), 0] == 0
    assert (first[negative] != second[negative]).mean() > 0.99


def test_a_row_of_training_does_not_see_its_own_label(data):
    """A positive pair that occurs once is, for its own row, a pair that never occurred."""
    train = data.splits["train"]
    pairs = train["user"][:, 0] * 10_000 + train[ITEM_ROW][:, 0]
    _, where, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    once = np.flatnonzero((counts[where] == 1) & (train[LABEL][:, 0] > 0))[:100]
    batch = {name: values[once] for name, values in train.items()}
    batch["item"] = data.table.features["item"][batch[ITEM_ROW][:, 0]]
    crosses = Crosses(data.schema, [frappe.CROSSES[0].name])
    name = frappe.CROSSES[0].name
    np.testing.assert_allclose(crosses(batch, row=row_of(batch, training=True))[name], 0.0, atol=1e-6)
    later = crosses(batch, row=row_of(batch, training=False))[name].numpy()
    np.testing.assert_allclose(later[:, 0], np.log(2.0), rtol=1e-6)
    assert (later[:, 1] > 0.5).all()
