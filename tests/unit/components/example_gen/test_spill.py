"""Rows on their way to their partition: what is written comes back, whole and only once."""

import numpy as np
import pyarrow as pa

from crossrec.components.example_gen.ingest import partition
from crossrec.components.example_gen.spill import Spill, read_places
from tests.unit.components.example_gen.support import make_config, run_interactions, run_items, write_tables


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


def test_nothing_of_it_is_left_beside_the_examples(tmp_path):
    write_tables(tmp_path)
    items = run_items(make_config(), tmp_path, tmp_path / "items")
    examples = run_interactions(make_config(), tmp_path, tmp_path / "interactions", items)
    for artifact in (items, examples):
        assert not [path for path in (tmp_path / artifact.uri).iterdir() if "spill" in path.name]
