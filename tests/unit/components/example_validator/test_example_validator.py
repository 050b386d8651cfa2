"""Anomalies that TensorFlow Data Validation really finds, with inferred and with written schemas."""

import json
import os

import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import standard_artifacts

from crossrec.components.errors import DataError
from crossrec.components.example_validator.anomalies import Finding, findings
from crossrec.components.example_validator.executor import Executor

# One row is one list of values per column; an empty list is a missing value.
TRAIN = {
    "user": [["a"], ["b"], ["c"], ["a"]] * 25,
    "device": [["pc"], ["tv"], [], ["pc"]] * 25,
    "likes": [["x", "y"], [], ["x"], ["x", "y", "z"]] * 25,
    "price": [[1.0], [2.0], [3.0], [4.0]] * 25,
    "time": [[1], [2], [3], [4]] * 25,
}


def statistics(columns):
    """Statistics of a table, as StatisticsGen makes them of tf.Examples."""
    arrays = []
    for rows in columns.values():
        rows = [[v.encode() if isinstance(v, str) else v for v in row] or None for row in rows]
        kinds = {type(v) for row in rows for v in row or ()}
        kind = {bytes: pa.binary(), float: pa.float32(), int: pa.int64()}[kinds.pop() if kinds else bytes]
        arrays.append(pa.array(rows, pa.list_(kind)))
    batch = pa.RecordBatch.from_arrays(arrays, list(columns))
    return stats_impl.generate_statistics_in_memory(batch, tfdv.StatsOptions())


def inferred():
    """As SchemaGen infers it, shapes included."""
    return tfdv.infer_schema(statistics(TRAIN), infer_feature_shape=True)


def found_in(columns, schema=None, written=False):
    anomalies = tfdv.validate_statistics(statistics(columns), schema or inferred())
    return {finding.column: finding.stops for finding in findings("test", anomalies, not written)}


def changed(**columns):
    """The training table with other columns; None takes one away."""
    out = {name: rows for name, rows in {**TRAIN, **columns}.items() if rows is not None}
    return out


def test_the_data_that_the_schema_was_made_of_have_no_anomalies():
    assert found_in(TRAIN) == {}
    assert found_in(TRAIN, written=True) == {}


@pytest.mark.parametrize(
    "columns",
    [
        {"device": [["fridge"], ["pc"]] * 50},
        {"user": [["new"], ["a"]] * 50},
        {"device": [[]] * 60 + [["pc"]] * 40},
        {"price": [[1.0]] * 99 + [[]]},
        {"user": [["a"]] * 99 + [[]]},
        {"likes": [["x"] * 9, ["z"]] * 50},
        {"likes": [[]] * 99 + [["x"]]},
    ],
)
def test_later_data_may_drift_from_an_inferred_schema(columns):
    found = found_in(changed(**columns))
    assert not any(found.values()), found


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        ({"price": None}, "price"),
        ({"user": None}, "user"),
        ({"price": [["cheap"], ["dear"]] * 50}, "price"),
        ({"time": [[1.5], [2.5]] * 50}, "time"),
        ({"device": [[1], [2]] * 50}, "device"),
        ({"surprise": [["x"]] * 100}, "surprise"),
    ],
)
def test_a_missing_column_another_type_and_a_new_column_stop_the_run(columns, column):
    for written in (False, True):
        assert found_in(changed(**columns), written=written)[column] is True


@pytest.mark.parametrize(
    "columns",
    [{"device": [["fridge"], ["pc"]] * 50}, {"price": [[1.0]] * 50 + [[]] * 50}, {"user": [["a"]] * 99 + [[]]}],
)
def test_a_schema_that_the_user_wrote_is_strict(columns):
    schema = inferred()
    tfdv.get_feature(schema, "device").presence.min_fraction = 0.5
    (name,) = columns
    if name == "device":
        tfdv.get_feature(schema, "device").distribution_constraints.min_domain_mass = 1.0
    assert found_in(changed(**columns), schema, written=True) == {name: True}
    assert found_in(changed(**columns), schema, written=False) == {name: False}


def test_a_split_without_rows_stops_the_run():
    anomalies = anomalies_pb2.Anomalies(data_missing=True)
    assert findings("test", anomalies, True) == [Finding("test", "(all)", "there are no rows", stops=True)]


def run(tmp_path, columns, inferred_schema):
    """The executor on artifacts as TFX makes them."""
    artifacts = {
        "statistics": standard_artifacts.ExampleStatistics(),
        "schema": standard_artifacts.Schema(),
        "anomalies": standard_artifacts.ExampleAnomalies(),
    }
    for name, artifact in artifacts.items():
        artifact.uri = str(tmp_path / name)
        os.makedirs(artifact.uri)
    artifacts["statistics"].split_names = json.dumps(["train", "test"])
    for split, table in (("train", TRAIN), ("test", columns)):
        path = tmp_path / "statistics" / f"Split-{split}"
        path.mkdir()
        (path / "FeatureStats.pb").write_bytes(statistics(table).SerializeToString())
    tfdv.write_schema_text(inferred(), str(tmp_path / "schema" / "schema.pbtxt"))
    Executor().Do(
        {name: [artifacts[name]] for name in ("statistics", "schema")},
        {"anomalies": [artifacts["anomalies"]]},
        {"schema_is_inferred": int(inferred_schema), "table": "interactions", "code_digest": ""},
    )


def test_the_component_lets_good_data_pass(tmp_path):
    run(tmp_path, changed(device=[["fridge"], ["pc"]] * 50), True)


def test_the_component_names_table_split_column_and_mend(tmp_path):
    with pytest.raises(DataError) as error:
        run(tmp_path, changed(price=[["cheap"], ["dear"]] * 50, user=None), True)
    message = str(error.value)
    assert message.startswith("data.interactions: 2 anomalies against the schema")
    assert "test: column 'price'" in message and "test: column 'user'" in message and "train" not in message
    assert message.endswith("Mend the data, or give a schema that allows it in the spec's validation section.")
    assert (tmp_path / "anomalies" / "Split-test").exists()
