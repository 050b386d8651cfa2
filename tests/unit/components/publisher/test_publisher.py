import itertools
import json
import re
import shutil

import pytest
from tfx import types
from tfx.types import standard_artifacts
from tfx.types.standard_artifacts import InfraBlessing, ModelBlessing, PushedModel

from crossrec.components.artifacts import ServingBundle
from crossrec.components.blessing import blessing_message, is_blessed, write_blessing
from crossrec.components.publisher.component import Publisher
from crossrec.components.publisher.current import current_release
from crossrec.components.publisher.executor import ALREADY_PUBLISHED, RECORD_FILE, Executor
from crossrec.serving.releases.errors import ReleaseError
from crossrec.serving.releases.publish import publish
from crossrec.serving.releases.versions import list_versions
from tests.unit.components.object_store import use_as_store
from tests.unit.serving.releases.make_bundle import make_bundle


def artifact(kind, path):
    made = kind()
    made.uri = str(path)
    return made


@pytest.fixture
def run(tmp_path):
    bundle = artifact(ServingBundle, make_bundle(tmp_path / "bundle"))

    def execute(blessed=True, infra_blessed=True, root="root"):
        inputs = {"bundle": [bundle]}
        for name, verdict, kind, reason in (
            ("blessing", blessed, ModelBlessing, "ndcg@10 is 0.1, below 0.2"),
            ("infra_blessing", infra_blessed, InfraBlessing, "p99 is 80.0 ms"),
        ):
            if verdict is not None:
                inputs[name] = [artifact(kind, tmp_path / name)]
            if verdict in (True, False):
                write_blessing(inputs[name][0], verdict, "" if verdict else reason)
        published = artifact(PushedModel, tmp_path / "published")
        Executor().Do(inputs, {"published": [published]}, {"serving_root": str(tmp_path / root), "model_name": "shop"})
        return published

    return execute


def test_blessed_bundle_becomes_a_version_with_the_properties_of_tfx(run, tmp_path):
    published = run()
    assert published.get_int_custom_property("pushed") == 1
    assert published.get_string_custom_property("pushed_version") == "1"
    assert published.get_string_custom_property("pushed_destination") == str(tmp_path / "root" / "shop" / "1")
    assert (tmp_path / "root" / "shop" / "1" / "saved_model.pb").is_file()
    assert json.loads((tmp_path / "published" / RECORD_FILE).read_text()) == {
        "pushed": 1,
        "pushed_version": "1",
        "pushed_destination": str(tmp_path / "root" / "shop" / "1"),
    }
    assert not published.has_custom_property(ALREADY_PUBLISHED)


def test_the_latest_version_is_not_published_twice(run, tmp_path):
    run()
    again = run()
    assert again.get_string_custom_property("pushed_version") == "1"
    assert again.get_string_custom_property("pushed_destination") == str(tmp_path / "root" / "shop" / "1")
    assert again.get_int_custom_property(ALREADY_PUBLISHED) == 1
    assert list_versions(tmp_path / "root" / "shop") == [1]


def edit_weights(bundle, version):
    (weights,) = (bundle / "variables").glob("variables.data-*")
    weights.write_bytes(b"\x00" + weights.read_bytes()[1:])


def edit_vocabulary(bundle, version):
    (bundle / "assets" / "user_id").write_text("u1\nu2\n")


def lose_the_version(bundle, version):
    shutil.rmtree(version)


def damage_the_version(bundle, version):
    (version / "saved_model.pb").write_bytes(b"")


def empty_the_version(bundle, version):
    for path in version.rglob("*"):
        if path.is_file():
            path.unlink()


def publish_another(bundle, version):
    publish(make_bundle(bundle.parent / "other", marker=b"another graph"), version.parents[1], version.parent.name)


@pytest.mark.parametrize(
    "change",
    [edit_weights, edit_vocabulary, lose_the_version, damage_the_version, empty_the_version, publish_another],
)
def test_anything_else_than_the_same_bundle_as_the_latest_version_is_published(run, tmp_path, change):
    version = tmp_path / "root" / "shop" / "1"
    run()
    assert current_release(tmp_path / "bundle", tmp_path / "root", "shop").version == 1
    change(tmp_path / "bundle", version)
    assert current_release(tmp_path / "bundle", tmp_path / "root", "shop") is None
    highest = max(list_versions(version.parent), default=1)
    published = run()
    assert published.get_string_custom_property("pushed_version") == str(highest + 1)
    assert not published.has_custom_property(ALREADY_PUBLISHED)
    assert current_release(tmp_path / "bundle", tmp_path / "root", "shop").version == highest + 1


NO_VERDICT = "an artifact that nobody wrote a verdict into"
REASONS = {
    ("blessing", False): "blessing .* says no (ndcg@10 is 0.1, below 0.2)",
    ("infra_blessing", False): "infra_blessing .* says no (p99 is 80.0 ms)",
    ("blessing", None): "there is no blessing",
    ("infra_blessing", None): "there is no infra_blessing",
    ("blessing", NO_VERDICT): "[^_]blessing .* says no",
    ("infra_blessing", NO_VERDICT): "infra_blessing .* says no",
}
VERDICTS = (True, False, None, NO_VERDICT)


@pytest.mark.parametrize(
    "verdicts", [pair for pair in itertools.product(VERDICTS, VERDICTS) if pair != (True, True)], ids=str
)
def test_without_both_blessings_nothing_is_published_and_the_log_says_why(run, tmp_path, caplog, verdicts):
    published = run(*verdicts)
    assert published.get_int_custom_property("pushed") == 0
    assert "pushed" in published.mlmd_artifact.custom_properties, "0 is written, not left out"
    assert not published.has_custom_property("pushed_version")
    assert not (tmp_path / "root").exists()
    assert "is not published" in caplog.text
    for name, verdict in zip(("blessing", "infra_blessing"), verdicts):
        for (which, case), reason in REASONS.items():
            if which == name and case == verdict:
                assert re.search(reason.replace("(", "[(]").replace(")", "[)]"), caplog.text)
            elif which == name and case in (False, None):
                assert not re.search(reason.replace("(", "[(]").replace(")", "[)]"), caplog.text)


def test_a_bundle_in_an_object_store_is_published_like_any_other(tmp_path, monkeypatch):
    use_as_store(tmp_path, monkeypatch)
    make_bundle(tmp_path / "bundle")
    inputs = {"bundle": [artifact(ServingBundle, "store://bundle")]}
    for name, kind in (("blessing", ModelBlessing), ("infra_blessing", InfraBlessing)):
        inputs[name] = [artifact(kind, f"store://{name}")]
        write_blessing(inputs[name][0], True)
    for already in (0, 1):
        published = artifact(PushedModel, "store://published")
        place = {"serving_root": str(tmp_path / "root"), "model_name": "shop"}
        Executor().Do(inputs, {"published": [published]}, place)
        assert published.get_int_custom_property("pushed") == 1
        assert published.get_int_custom_property(ALREADY_PUBLISHED) == already
    assert list_versions(tmp_path / "root" / "shop") == [1]
    assert json.loads((tmp_path / "published" / RECORD_FILE).read_text())["pushed_version"] == "1"


def test_refused_publishing_fails_the_node(run, tmp_path):
    (tmp_path / "a_file").write_text("")
    with pytest.raises(ReleaseError, match="a_file"):
        run(root="a_file")


def test_a_blessing_without_a_verdict_does_not_bless(tmp_path):
    assert not is_blessed(artifact(ModelBlessing, tmp_path))


@pytest.mark.parametrize(("kind", "prefix"), [(ModelBlessing, ""), (InfraBlessing, "INFRA_")])
def test_blessings_are_the_ones_of_tfx(tmp_path, kind, prefix):
    from tfx.components.util import model_utils

    blessing = artifact(kind, tmp_path / "blessing")
    judge = model_utils.is_infra_validated if prefix else model_utils.is_model_blessed
    for verdict in (True, False, True):
        write_blessing(blessing, verdict, f"because {verdict}")
        assert is_blessed(blessing) is verdict is judge(blessing)
        assert blessing_message(blessing) == f"because {verdict}"
        names = [p.name for p in (tmp_path / "blessing").iterdir()]
        assert names == [prefix + ("BLESSED" if verdict else "NOT_BLESSED")]


def test_the_component_declares_its_channels():
    component = Publisher(
        bundle=types.Channel(type=ServingBundle),
        blessing=types.Channel(type=ModelBlessing),
        infra_blessing=types.Channel(type=InfraBlessing),
        serving_root="/models",
        model_name="shop",
    )
    assert component.outputs["published"].type is PushedModel
    assert component.exec_properties["serving_root"] == "/models"
    assert component.exec_properties["model_name"] == "shop"
    with pytest.raises(TypeError, match="bundle"):
        Publisher(
            bundle=types.Channel(type=standard_artifacts.Model),
            blessing=types.Channel(type=ModelBlessing),
            infra_blessing=types.Channel(type=InfraBlessing),
            serving_root="/models",
            model_name="shop",
        )


def test_a_local_run_publishes_and_leaves_its_lineage(tmp_path):
    from tfx.dsl.components.common.importer import Importer
    from tfx.orchestration import metadata
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.pipeline import Pipeline

    make_bundle(tmp_path / "bundle")
    for name in ("blessing", "infra"):
        (tmp_path / name).mkdir()
    bundle = Importer(source_uri=str(tmp_path / "bundle"), artifact_type=ServingBundle).with_id("bundle")
    blessing = Importer(
        source_uri=str(tmp_path / "blessing"), artifact_type=ModelBlessing, custom_properties={"blessed": 1}
    ).with_id("blessing")
    infra = Importer(
        source_uri=str(tmp_path / "infra"), artifact_type=InfraBlessing, custom_properties={"blessed": 1}
    ).with_id("infra")
    publisher = Publisher(
        bundle=bundle.outputs["result"],
        blessing=blessing.outputs["result"],
        infra_blessing=infra.outputs["result"],
        serving_root=str(tmp_path / "root"),
        model_name="shop",
    )
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    pipeline = Pipeline(
        pipeline_name="publishing",
        pipeline_root=str(tmp_path / "pipeline"),
        components=[bundle, blessing, infra, publisher],
        metadata_connection_config=connection,
    )
    LocalDagRunner().run(pipeline)
    assert list_versions(tmp_path / "root" / "shop") == [1]
    with metadata.Metadata(connection) as handle:
        (pushed,) = handle.store.get_artifacts_by_type("PushedModel")
        assert pushed.custom_properties["pushed"].int_value == 1
        assert pushed.custom_properties["pushed_version"].string_value == "1"
        assert len(handle.store.get_artifacts_by_type("crossrec.ServingBundle")) == 1
