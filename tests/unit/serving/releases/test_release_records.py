"""What is recorded and estimated around a release: ML Metadata, memory, load times, a SavedModel's own words."""

import pytest

from crossrec.serving.releases.context import Context
from crossrec.serving.releases.errors import InvalidBundleError, ReleaseError
from crossrec.serving.releases.memory import BASE_BYTES, estimate_bytes, plan_memory, require_memory
from crossrec.serving.releases.metadata import EXECUTION_TYPE, record_event
from crossrec.serving.releases.overview import load_estimate
from crossrec.serving.releases.release import Release
from crossrec.serving.releases.saved_model import describe_model
from tests.unit.serving.releases.make_bundle import make_bundle

MB = 2**20


def test_an_event_joins_the_published_model_in_ml_metadata(tmp_path):
    metadata_store = pytest.importorskip("ml_metadata.metadata_store")
    from ml_metadata.proto import metadata_store_pb2 as proto

    connection = proto.ConnectionConfig()
    connection.sqlite.filename_uri = str(tmp_path / "metadata.sqlite")
    connection.sqlite.connection_mode = proto.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = metadata_store.MetadataStore(connection)
    pushed = store.put_artifact_type(proto.ArtifactType(name="PushedModel"))
    identifiers = []
    for version in (1, 2):
        artifact = proto.Artifact(type_id=pushed)
        artifact.custom_properties["pushed_destination"].string_value = str(
            tmp_path / "serving" / "shop" / str(version)
        )
        identifiers += store.put_artifacts([artifact])
    event = {"event": "done", "kind": "promote", "set": "shop", "by": "ann", "reason": "better", "to": {"shop": 2}}
    identifier = record_event(tmp_path / "metadata.sqlite", tmp_path / "serving", {**event, "id": "7", "from": None})
    (execution,) = store.get_executions_by_type(EXECUTION_TYPE)
    assert execution.id == identifier and execution.last_known_state == proto.Execution.COMPLETE
    values = {name: value.string_value for name, value in execution.properties.items()}
    assert values["to"] == "shop=2" and values["by"] == "ann" and values["reason"] == "better" and values["from"] == ""
    (link,) = store.get_events_by_execution_ids([identifier])
    assert (link.artifact_id, link.type) == (identifiers[1], proto.Event.INPUT)
    record_event(tmp_path / "metadata.sqlite", tmp_path / "serving", {**event, "event": "withdrawn", "failure": "slow"})
    states = [one.last_known_state for one in store.get_executions_by_type(EXECUTION_TYPE)]
    assert states == [proto.Execution.COMPLETE, proto.Execution.FAILED]


def test_metadata_that_is_no_database_is_told(tmp_path):
    pytest.importorskip("ml_metadata")
    (tmp_path / "metadata.sqlite").write_text("nonsense" * 1000)
    with pytest.raises(ReleaseError, match="metadata.sqlite: the event could not be recorded"):
        record_event(tmp_path / "metadata.sqlite", tmp_path, {"event": "done", "to": {}})


def test_memory_counts_weights_graph_and_assets(tmp_path):
    version = make_bundle(tmp_path / "1", weight_bytes=100 * MB)
    (version / "saved_model.pb").write_bytes(b"g" * 10 * MB)
    (version / "assets" / "vocabulary").write_bytes(b"v" * MB)
    (version / "assets.extra" / "golden_requests").write_bytes(b"n" * 50 * MB)
    estimate = estimate_bytes(version)
    assert estimate == pytest.approx(1.1 * 100 * MB + (3 * 10 + 100) * MB + 3 * MB, rel=1e-4)
    assert estimate_bytes(tmp_path / "none") == 0
    # With a limit, what is loaded counts; two versions and the server itself need 300 + 2 * 243 MiB.
    for limit, fits in ((785 * MB, False), (787 * MB, True)):
        plan = plan_memory("pod:8500", [version], [version], limit)
        assert plan.fits is fits
        assert plan.needed_bytes == pytest.approx(BASE_BYTES + 2 * 243 * MB, rel=1e-4)
    with pytest.raises(ReleaseError, match="pod:8500: the versions do not fit into memory together: about 786 MiB"):
        require_memory("pod:8500", plan_memory("pod:8500", [version], [version], 785 * MB))
    assert plan_memory("pod:8500", [version], [version], None).available_bytes is None, "another machine's is unknown"
    here = plan_memory("127.0.0.1:8500", [version], [version], None)
    assert here.available_bytes > 0 and here.needed_bytes == estimate


def test_load_times_go_by_the_last_load_or_by_size(tmp_path):
    context = Context.for_root(tmp_path)
    make_bundle(tmp_path / "m" / "1", weight_bytes=1_000_000)
    (tmp_path / "m" / "1" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "m" / "1" / "assets" / "model_version.txt").write_bytes(b"")
    seconds, source = load_estimate(context, Release.of({"m": 1}))
    assert (seconds, source) == (pytest.approx(2.0 + 1.1 * 1_000_005 / 100e6), "its size")
    for times in ({"a": 3.0, "b": 5.0}, {"a": 7.0, "b": 4.0}):
        replicas = [{"target": target, "load_seconds": {"m/1": took}} for target, took in times.items()]
        context.ledger.append({"event": "loaded", "replicas": replicas})
    context.ledger.append({"event": "loaded", "replicas": [{"target": "a", "load_seconds": {"m/2": 99.0}}]})
    assert load_estimate(context, Release.of({"m": 1})) == (7.0, "its last load")


def test_a_saved_model_is_described_as_tensorflow_would(tensorflow, adder_path):
    model = describe_model(adder_path / "1")
    assert model.tensorflow_version == tensorflow.__version__
    assert model.signatures["serving_default"] == {
        "inputs": ("x float32 [?]",),
        "outputs": ("version int64 [?]", "y float32 [?]"),
    }
    assert model.signatures["matrix"]["inputs"] == ("a float32 [?, 3]", "b float32 [?, 3]")
    loaded = tensorflow.saved_model.load(str(adder_path / "1")).signatures["serving_default"].graph.as_graph_def()
    inner = {node.op for function in loaded.library.function for node in function.node_def}
    assert {"AddV2", "Fill", "MatMul"} <= inner | {"MatMul"} and {"AddV2", "Fill", "MatMul"} <= model.ops


def test_what_is_no_saved_model_is_told(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff" * 20)
    with pytest.raises(
        InvalidBundleError, match="saved_model.pb: cannot be read as a SavedModel.*publish the version again"
    ):
        describe_model(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(InvalidBundleError, match="holds no graph with the tag 'serve'"):
        describe_model(tmp_path)
