import numpy as np
import tensorflow as tf

from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP
from crossrec.components.ranking_examples.generate import Logged, since


def test_only_rows_after_a_moment_stay_and_empty_batches_go():
    batches = [
        {TIMESTAMP: np.array(moments)[:, None], ITEM_ROW: np.array(moments)[:, None] * 10}
        for moments in ([1, 5, 3], [2, 1], [9, 4])
    ]
    kept = since(batches, 3)
    assert [batch[TIMESTAMP][:, 0].tolist() for batch in kept] == [[5], [9, 4]]
    assert [batch[ITEM_ROW][:, 0].tolist() for batch in kept] == [[50], [90, 40]]


def write(path, moments, items):
    def values(number):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[number]))

    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for moment, item in zip(moments, items):
            row = {TIMESTAMP: values(moment), ITEM_ROW: values(item)}
            writer.write(tf.train.Example(features=tf.train.Features(feature=row)).SerializeToString())
    return Logged.read(str(path))


def test_what_all_rows_say_is_joined_of_files_in_any_order(tmp_path):
    parts = [write(tmp_path / "a", [5, 9], [3, 3]), write(tmp_path / "b", [7], [1]), write(tmp_path / "c", [], [])]
    for order in (parts, parts[::-1], [Logged.joined(parts[:2]), parts[2]]):
        whole = Logged.joined(order)
        assert (whole.latest, whole.items.tolist()) == (9, [1, 3])
