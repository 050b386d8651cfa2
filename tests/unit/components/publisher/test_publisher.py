import json
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
from tests.unit.serving.releases.make_bundle import make_bundle


def artifact(kind, path):
    made = kind()
    made.uri = str(path)
    return made


@pytest.fixture
def run(tmp_path):
    bundle = artifact(ServingBundle, make_bundle(tmp_path / "bundle"))

    def execute(blessed, infra_blessed=None, root="root"):
        inputs = {"bundle": [bundle], "blessing": [artifact(ModelBlessing, tmp_path / "blessing")]}
        write_blessing(inputs["blessing"][0], blessed, "" if blessed else "ndcg@10 is 0.1, below 0.2")
        if infra_blessed is not None:
            inputs["infra_blessing"] = [artifact(InfraBlessing, tmp_path / "infra")]
            write_blessing(inputs["infra_blessing"][0], infra_blessed)
        published = artifact(PushedModel, tmp_path / "published")
        Executor().Do(inputs, {"published": [published]}, {"serving_root": str(tmp_path / root), "model_name": "shop"})
        return published

    return execute


def test_blessed_bundle_becomes_a_version_with_the_properties_of_tfx(run, tmp_path):
    published = run(True)
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
    run(True)
    again = run(True, infra_blessed=True)
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
    run(True)
    assert current_release(tmp_path / "bundle", tmp_path / "root", "shop").version == 1
    change(tmp_path / "bundle", version)
    assert current_release(tmp_path / "bundle", tmp_path / "root", "shop") is None
    highest = max(list_versions(version.parent), default=1)
    published = run(True)
    assert published.get_string_custom_property("pushed_version") == str(highest + 1)
    assert not published.has_custom_property(ALREADY_PUBLISHED)
    assert current_release(tmp_path / "bundle", tmp_path / "root", "shop").version == highest + 1


@pytest.mark.parametrize("verdicts", [(False,), (False, True), (True, False), (False, False)])
def test_unblessed_bundle_is_not_published_and_the_log_says_why(run, tmp_path, caplog, verdicts):
    published = run(*verdicts)
    assert published.get_int_custom_property("pushed") == 0
    assert "pushed" in published.mlmd_artifact.custom_properties, "0 is written, not left out"
    assert not published.has_custom_property("pushed_version")
    assert not (tmp_path / "root").exists()
    assert "is not published" in caplog.text
    assert ("ndcg@10 is 0.1, below 0.2" in caplog.text) == (not verdicts[0])


def test_refused_publishing_fails_the_node(run, tmp_path):
    (tmp_path / "a_file").write_text("")
    with pytest.raises(ReleaseError, match="a_file"):
        run(True, root="a_file")


def test_a_blessing_without_a_verdict_does_not_bless(tmp_path):
    assert not is_blessed(artifact(ModelBlessing, tmp_path))


def test_blessings_are_the_ones_of_tfx(tmp_path):
    from tfx.components.util import model_utils

    blessing = artifact(ModelBlessing, tmp_path / "blessing")
    for verdict in (True, False, True):
        write_blessing(blessing, verdict, f"because {verdict}")
        assert is_blessed(blessing) is verdict is model_utils.is_model_blessed(blessing)
        assert blessing_message(blessing) == f"because {verdict}"
        names = [p.name for p in (tmp_path / "blessing").iterdir()]
        assert names == ["BLESSED" if verdict else "NOT_BLESSED"]


def test_the_component_declares_its_channels():
    component = Publisher(
        bundle=types.Channel(type=ServingBundle),
        blessing=types.Channel(type=ModelBlessing),
        serving_root="/models",
        model_name="shop",
    )
    assert component.outputs["published"].type is PushedModel
    assert component.exec_properties == {"serving_root": "/models", "model_name": "shop"}
    with pytest.raises(TypeError, match="bundle"):
        Publisher(
            bundle=types.Channel(type=standard_artifacts.Model),
            blessing=types.Channel(type=ModelBlessing),
            serving_root="/models",
            model_name="shop",
        )


def test_a_local_run_publishes_and_leaves_its_lineage(tmp_path):
    from tfx.dsl.components.common.importer import Importer
    from tfx.orchestration import metadata
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.pipeline import Pipeline

    make_bundle(tmp_path / "bundle")
    (tmp_path / "blessing").mkdir()
    bundle = Importer(source_uri=str(tmp_path / "bundle"), artifact_type=ServingBundle).with_id("bundle")
    blessing = Importer(
        source_uri=str(tmp_path / "blessing"), artifact_type=ModelBlessing, custom_properties={"blessed": 1}
    ).with_id("blessing")
    publisher = Publisher(
        bundle=bundle.outputs["result"],
        blessing=blessing.outputs["result"],
        serving_root=str(tmp_path / "root"),
        model_name="shop",
    )
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    pipeline = Pipeline(
        pipeline_name="publishing",
        pipeline_root=str(tmp_path / "pipeline"),
        components=[bundle, blessing, publisher],
        metadata_connection_config=connection,
    )
    LocalDagRunner().run(pipeline)
    assert list_versions(tmp_path / "root" / "shop") == [1]
    with metadata.Metadata(connection) as handle:
        (pushed,) = handle.store.get_artifacts_by_type("PushedModel")
        assert pushed.custom_properties["pushed"].int_value == 1
        assert pushed.custom_properties["pushed_version"].string_value == "1"
        assert len(handle.store.get_artifacts_by_type("crossrec.ServingBundle")) == 1
