"""The components in a real pipeline: metadata, the stock components after them, the cache, a run that fails."""

from __future__ import annotations

from pathlib import Path

import ml_metadata as mlmd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import tensorflow_data_validation as tfdv
from ml_metadata.proto import metadata_store_pb2
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.util import tfxio_utils
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.types import artifact_utils, standard_artifacts
from tfx_bsl.tfxio import dataset_options

from crossrec.components.errors import DataError
from crossrec.components.example_gen.component import InteractionsExampleGen, ItemsExampleGen
from crossrec.components.example_gen.config import RawColumn
from crossrec.components.example_gen.files import fingerprint
from crossrec.components.example_gen.report import read_report
from tests.unit.components.example_gen.support import interactions_frame, make_config, write_tables

COLUMNS = (RawColumn(name="price", kind="float"), RawColumn(name="device", kind="string"))


def run(root: Path, statistics: bool = False) -> mlmd.MetadataStore:
    config, data = make_config(), str(root / "data")
    items = ItemsExampleGen(data, config.items, (RawColumn(name="tags", kind="strings"),),
                            fingerprint(config.items, data))  # fmt: skip
    interactions = InteractionsExampleGen(items.outputs["examples"], data, config, COLUMNS, fingerprint(config, data))
    nodes = [items, interactions]
    if statistics:
        nodes.append(StatisticsGen(interactions.outputs["examples"]))
    connection = metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))
    LocalDagRunner().run(
        pipeline.Pipeline(
            pipeline_name="ingest",
            pipeline_root=str(root / "artifacts"),
            components=nodes,
            enable_cache=True,
            metadata_connection_config=connection,
        )
    )
    return mlmd.MetadataStore(connection)


@pytest.fixture(scope="session")
def ran(tmp_path_factory) -> tuple[Path, mlmd.MetadataStore]:
    root = tmp_path_factory.mktemp("pipeline")
    write_tables(root / "data")
    return root, run(root, statistics=True)


def states(store: mlmd.MetadataStore) -> list[tuple[str, str]]:
    kinds = {kind.id: kind.name.rsplit(".", 1)[-1] for kind in store.get_execution_types()}
    name = metadata_store_pb2.Execution.State.Name
    return [(kinds[one.type_id], name(one.last_known_state)) for one in store.get_executions()]


def examples(store: mlmd.MetadataStore, splits: str) -> standard_artifacts.Examples:
    kind = store.get_artifact_type("Examples")
    found = [
        one for one in store.get_artifacts_by_type("Examples") if one.properties["split_names"].string_value == splits
    ]
    return artifact_utils.deserialize_artifact(kind, found[0])


def test_the_artifacts_are_what_stock_components_read(ran):
    _, store = ran
    assert states(store) == [("ItemsExampleGen", "COMPLETE"), ("InteractionsExampleGen", "COMPLETE"),
                             ("StatisticsGen", "COMPLETE")]  # fmt: skip
    interactions = examples(store, '["train", "validation", "test"]')
    assert interactions.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"
    assert read_report(interactions.uri).rows_read == len(interactions_frame())
    assert read_report(examples(store, '["train"]').uri).items == 10


def test_statistics_of_every_split_agree_with_the_report(ran):
    root, store = ran
    report = read_report(examples(store, '["train", "validation", "test"]').uri)
    (found,) = store.get_artifacts_by_type("ExampleStatistics")
    for split, part in report.splits.items():
        statistics = tfdv.load_stats_binary(str(Path(found.uri, f"Split-{split}", "FeatureStats.pb")))
        assert statistics.datasets[0].num_examples == part.rows
    kinds = {feature.path.step[0]: feature.type for feature in statistics.datasets[0].features}
    names = {name: statistics.datasets[0].features[0].Type.Name(kind) for name, kind in kinds.items()}
    assert names == {"user_id": "STRING", "item_id": "STRING", "recent_items": "STRING", "device": "STRING",
                     "timestamp": "INT", "clicked": "FLOAT", "price": "FLOAT"}  # fmt: skip


def test_tfxio_reads_every_row(ran):
    _, store = ran
    interactions = examples(store, '["train", "validation", "test"]')
    (found,) = store.get_artifacts_by_type("ExampleStatistics")
    schema = tfdv.infer_schema(tfdv.load_stats_binary(str(Path(found.uri, "Split-train", "FeatureStats.pb"))))
    make = tfxio_utils.get_tfxio_factory_from_artifact([interactions], ["test"], schema)
    for split, part in read_report(interactions.uri).splits.items():
        tfxio = make(str(Path(interactions.uri, f"Split-{split}", "*")))
        batches = list(tfxio.RecordBatches(dataset_options.RecordBatchesOptions(batch_size=7, num_epochs=1)))
        assert sum(batch.num_rows for batch in batches) == part.rows
        items = pa.concat_arrays([batch.column(batch.schema.get_field_index("item_id")) for batch in batches])
        assert set(pc.list_value_length(items).to_pylist()) == {1}


def test_an_unchanged_input_comes_from_the_cache_and_a_changed_one_does_not(tmp_path):
    write_tables(tmp_path / "data")
    run(tmp_path)
    assert [state for _, state in states(run(tmp_path))] == ["COMPLETE"] * 2 + ["CACHED"] * 2
    frame = interactions_frame(80)
    write_tables(tmp_path / "data", frame)
    store = run(tmp_path)
    assert states(store)[-1] == ("InteractionsExampleGen", "COMPLETE")
    newest = max(store.get_artifacts_by_type("Examples"), key=lambda one: one.id)
    assert read_report(newest.uri).rows_read == 80


def test_bad_data_fails_the_run_with_its_own_words_and_leaves_nothing(tmp_path):
    frame = interactions_frame()
    frame.loc[5, "timestamp"] = -1
    write_tables(tmp_path / "data", frame)
    with pytest.raises(DataError) as caught:
        run(tmp_path)
    assert str(caught.value).startswith("data.interactions.timestamp: column 'timestamp' is zero or negative in 1 row")
    assert caught.value.__cause__ is None
    files = [path for path in (tmp_path / "artifacts" / "InteractionsExampleGen").rglob("*") if path.is_file()]
    assert files == []
    store = mlmd.MetadataStore(metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite")))
    assert states(store) == [("ItemsExampleGen", "COMPLETE"), ("InteractionsExampleGen", "FAILED")]
