"""Records by partitions of users: every row once, each user in one partition, whatever the bundles."""

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.testing.util import assert_that

from crossrec.components.features.schema import USER
from crossrec.components.ranking_examples.partitions import by_user, read_partition
from tests.unit.components.records import write_records

SPLITS = ("train", "validation", "test")
PARTITIONS = 3


def test_every_row_comes_once_and_a_users_rows_come_together(tmp_path):
    rng = np.random.default_rng(0)
    users = rng.integers(0, 2**62, 9)
    rows, patterns = {}, {}
    for split, count in zip(SPLITS, (600, 40, 0)):
        rows[split] = [(int(user), n) for n, user in enumerate(rng.choice(users, count))]
        patterns[split] = write_records(tmp_path / split, [{USER: user, "n": n} for user, n in rows[split]], 3)

    def read(record):
        features = tf.train.Example.FromString(record).features.feature
        return features[USER].int64_list.value[0], features["n"].int64_list.value[0]

    def check(groups):
        seen = {split: [] for split in SPLITS}
        assert sorted(part for part, _ in groups) == sorted({user % PARTITIONS for user in users})
        for part, files in groups:
            for split, records in read_partition(files, SPLITS).items():
                found = [read(record) for record in records]
                assert {user % PARTITIONS for user, _ in found} <= {part}
                seen[split] += found
        assert {split: sorted(found) for split, found in seen.items()} == {s: sorted(r) for s, r in rows.items()}

    with beam.Pipeline() as pipeline:
        assert_that(by_user(pipeline, patterns, PARTITIONS, str(tmp_path / "files")), check)
