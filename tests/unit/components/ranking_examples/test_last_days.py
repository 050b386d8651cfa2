import numpy as np

from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP
from crossrec.components.ranking_examples.generate import since


def test_only_rows_after_a_moment_stay_and_empty_batches_go():
    batches = [
        {TIMESTAMP: np.array(moments)[:, None], ITEM_ROW: np.array(moments)[:, None] * 10}
        for moments in ([1, 5, 3], [2, 1], [9, 4])
    ]
    kept = since(batches, 3)
    assert [batch[TIMESTAMP][:, 0].tolist() for batch in kept] == [[5], [9, 4]]
    assert [batch[ITEM_ROW][:, 0].tolist() for batch in kept] == [[50], [90, 40]]
