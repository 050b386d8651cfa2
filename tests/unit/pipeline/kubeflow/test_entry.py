"""The containers' entry point: addresses and runtime parameters become what an executor of TFX can use."""

import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.components.base import base_beam_executor, base_executor

from crossrec.pipeline.kubeflow import entry

SCHEMA = {"instanceSchema": "title: crossrec.RankingModel\ntype: object\n"}
DECLARED = {
    "artifacts": {"model": {"artifactType": SCHEMA}},
    "parameters": {
        "config": {"parameterType": "STRING"},
        "rows": {"parameterType": "NUMBER_INTEGER"},
        "place": {"parameterType": "STRING"},
        "seed": {"parameterType": "STRING"},
    },
}
SEEN = {}


class Executor(base_executor.BaseExecutor):
    """Copies its input, and keeps what it was given."""

    def Do(self, input_dict, output_dict, exec_properties):  # noqa: N802
        model, copy = input_dict["model"][0], output_dict["copy"][0]
        SEEN.update(properties=exec_properties, model=model, copy=copy, temporary=self._get_tmp_dir())
        SEEN["left"] = sorted(path.name for path in Path(copy.uri).iterdir())
        Path(copy.uri, "weights").write_text(Path(model.uri, "weights").read_text())
        copy.set_int_custom_property("blessed", 1)


class RemoteExecutor(base_beam_executor.BaseBeamExecutor):
    """Keeps what it was given."""

    def Do(self, input_dict, output_dict, exec_properties):  # noqa: N802
        SEEN.update(model=input_dict["model"][0], copy=output_dict["copy"][0], temporary=self._get_tmp_dir())
        SEEN["options"] = list(self._beam_pipeline_args)


@pytest.fixture(autouse=True)
def arguments_of_no_other_program(monkeypatch):
    """Beam executors hand the process's arguments to absl, which knows none of pytest's."""
    monkeypatch.setattr("sys.argv", ["entry"])


def executor_input(folder, model, copy, type_of_input=None, **parameters):
    """ExecutorInput as KFP's launcher gives it."""
    values = {"config": '{"training":{"seed":0}}', "rows": 3, "place": "nowhere", "seed": "", **parameters}
    artifact = {"name": "17", "uri": model, "metadata": {"score": 2.0}}
    return json.dumps(
        {
            "inputs": {
                "parameterValues": values,
                "artifacts": {"model": {"artifacts": [{**artifact, "type": type_of_input or SCHEMA}]}},
            },
            "outputs": {
                "artifacts": {"copy": {"artifacts": [{"name": "copy", "uri": copy, "type": SCHEMA}]}},
                "outputFile": str(folder / "kfp_outputs" / "output.json"),
            },
        }
    )


def run(folder, content, *options, executor=Executor, settings=("config.training.seed={seed}",)):
    """Run the entry point; its exit code, and what it handed over."""
    SEEN.clear()
    arguments = ["--executor_class_path", f"{__name__}.{executor.__name__}"]
    arguments += ["--json_serialized_invocation_args", content]
    arguments += ["--json_serialized_inputs_spec_args", json.dumps(DECLARED)]
    arguments += [part for setting in settings for part in ("--set", setting)]
    code = entry.main([*arguments, *options])
    output, parsed = folder / "kfp_outputs" / "output.json", pipeline_spec_pb2.ExecutorOutput()
    if output.exists():
        json_format.Parse(output.read_text(), parsed)
    return code, json_format.MessageToDict(parsed)


@pytest.fixture
def staged(tmp_path):
    """A model where the launcher stages what lies at gs://bucket/run/model."""
    folder = tmp_path / "gcs" / "bucket" / "run" / "model"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("1 2 3")
    return tmp_path


def test_addresses_are_paths_inside_and_addresses_outside(staged):
    content = executor_input(staged, "gs://bucket/run/model", "minio://other/run/copy")
    code, output = run(staged, content, "--staging_root", str(staged))
    assert code == 0
    assert SEEN["model"].uri == str(staged / "gcs/bucket/run/model")
    copy = staged / "minio/other/run/copy"
    assert SEEN["copy"].uri == str(copy) and (copy / "weights").read_text() == "1 2 3"
    (artifact,) = output["artifacts"]["copy"]["artifacts"]
    assert artifact["uri"] == "minio://other/run/copy" and artifact["metadata"]["blessed"] == 1


def test_properties_and_metadata_come_as_their_types(staged):
    content = executor_input(staged, "gs://bucket/run/model", "gs://bucket/run/copy", seed="7")
    run(staged, content, "--staging_root", str(staged))
    assert SEEN["properties"] == {"config": '{"training":{"seed":7}}', "rows": 3, "place": "nowhere"}
    assert isinstance(SEEN["properties"]["rows"], int)
    assert SEEN["model"].get_float_custom_property("score") == 2.0


def test_an_empty_parameter_leaves_the_property(staged):
    content = executor_input(staged, "gs://bucket/run/model", "gs://bucket/run/copy")
    run(staged, content, "--staging_root", str(staged))
    assert SEEN["properties"]["config"] == '{"training":{"seed":0}}'


@pytest.mark.parametrize("given", [{"schemaTitle": "system.Artifact"}, {"schemaTitle": "crossrec.RankingModel"}])
def test_the_type_of_an_input_is_what_the_component_declares(staged, given):
    content = executor_input(staged, "gs://bucket/run/model", "gs://bucket/run/copy", type_of_input=given)
    run(staged, content, "--staging_root", str(staged))
    assert SEEN["model"].type_name == "crossrec.RankingModel"


def test_artifacts_on_a_volume(tmp_path):
    volume = tmp_path / "volume"
    (volume / "bucket" / "run" / "model").mkdir(parents=True)
    (volume / "bucket" / "run" / "model" / "weights").write_text("4")
    content = executor_input(tmp_path, "minio://bucket/run/model", "minio://bucket/run/copy")
    code, output = run(tmp_path, content, "--artifact_volume", str(volume))
    assert code == 0 and (volume / "bucket" / "run" / "copy" / "weights").read_text() == "4"
    assert output["artifacts"]["copy"]["artifacts"][0]["uri"] == "minio://bucket/run/copy"


def test_what_a_broken_try_left_is_gone(tmp_path):
    volume = tmp_path / "volume"
    for name in ("model", "copy"):
        (volume / "bucket" / "run" / name).mkdir(parents=True)
        (volume / "bucket" / "run" / name / "weights").write_text("5")
    (volume / "bucket" / "run" / "copy" / "half").write_text("of a file")
    content = executor_input(tmp_path, "minio://bucket/run/model", "minio://bucket/run/copy")
    assert run(tmp_path, content, "--artifact_volume", str(volume))[0] == 0
    assert SEEN["left"] == []
    assert [path.name for path in (volume / "bucket" / "run" / "copy").iterdir()] == ["weights"]


def test_workers_elsewhere_get_addresses_and_temporary_files_that_they_reach(tmp_path):
    # A directory stands for the store that remote workers reach, and its path for an address.
    store = tmp_path / "store"
    content = executor_input(tmp_path, f"{store}/run/model", f"{store}/run/1/copy")
    code, output = run(tmp_path, content, "--remote", "--runner=FlinkRunner", executor=RemoteExecutor)
    assert code == 0
    assert SEEN["copy"].uri == f"{store}/run/1/copy"
    assert SEEN["temporary"].startswith(f"{store}/run/1/")
    assert "--runner=FlinkRunner" in SEEN["options"]
    assert output["artifacts"]["copy"]["artifacts"][0]["uri"] == f"{store}/run/1/copy"


@pytest.mark.parametrize(
    ("settings", "parameters", "message"),
    [
        (["config.training.seed={seed}"], {"seed": "many"}, "seed: 'many' is no whole number"),
        (["place={other}"], {}, "--set: parameter 'other' is not given, only config, place, rows, seed"),
        (["place"], {}, "is not PROPERTY=TEMPLATE"),
    ],
)
def test_a_parameter_that_does_not_fit_ends_the_node(staged, capsys, settings, parameters, message):
    content = executor_input(staged, "gs://bucket/run/model", "gs://bucket/run/copy", **parameters)
    assert run(staged, content, "--staging_root", str(staged), settings=settings)[0] == 2
    assert message in capsys.readouterr().err and not SEEN


def test_an_image_with_other_code_is_told(caplog):
    parameters = pipeline_spec_pb2.ExecutorInput().inputs.parameter_values
    name = "crossrec.components.publisher.executor.Executor"
    entry._compare_code(parameters, name)
    parameters["code_digest"].string_value = entry.code_digest("publisher")
    entry._compare_code(parameters, name)
    assert not caplog.records
    parameters["code_digest"].string_value = "0123456789abcdef"
    with caplog.at_level("WARNING", logger="absl"):
        entry._compare_code(parameters, name)
    assert "code of publisher" in caplog.text and "0123456789abcdef" in caplog.text
