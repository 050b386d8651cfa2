"""Rows on their way to their partition: what is written comes back, whole and only once."""

import numpy as np
import pyarrow as pa

from crossrec.components.example_gen.ingest import partition
from crossrec.components.features.spill import Spill, read_places, read_records


def batch(start, rows):
    numbers = np.arange(start, start + rows)
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array([f"u{n % 7}" for n in numbers]),
            "n": pa.array(numbers),
            "text": pa.array([None] * rows, "string"),
        }
    )


def test_rows_of_two_workers_come_back_by_partition(tmp_path):
    places = {}
    for worker in range(2):
        spill = Spill(str(tmp_path / "spilled"))
        for start in (0, 50):
            for number, rows in partition(batch(worker * 100 + start, 50), "id", 3):
                spill.write(number, rows)
        for number, place in spill.close():
            places.setdefault(number, []).append(place)
    assert len(list((tmp_path / "spilled").iterdir())) == 2, "one file for each worker"
    tables = {number: read_places(each) for number, each in places.items()}
    assert sorted(n for table in tables.values() for n in table["n"].to_pylist()) == list(range(200))
    ids = [set(table["id"].to_pylist()) for table in tables.values()]
    assert sum(map(len, ids)) == 7, "no id is in two partitions"
    assert {column.type for table in tables.values() for column in table["text"].chunks} == {pa.string()}


def test_without_rows_there_is_no_file(tmp_path):
    assert list(Spill(str(tmp_path / "spilled")).close()) == []
    assert not (tmp_path / "spilled").exists()


def test_records_come_back_to_the_byte_whatever_tells_partitions_apart(tmp_path):
    written = {("train", 0): [b"", b"\x00\xff", b"a" * 70_000], ("test", 3): [b"one"]}
    spill = Spill(str(tmp_path / "spilled"))
    for key, records in written.items():
        for record in records:
            spill.write_records(key, [record])
    assert {key: read_records([place]) for key, place in spill.close()} == written
