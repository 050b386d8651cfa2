"""The compiled pipeline: the same graph, with what the section asks for, the same bytes every time."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from kfp import components as kfp_components

from crossrec.pipeline import dag
from crossrec.pipeline.kubeflow.compile import compile_pipeline, with_images
from crossrec.pipeline.locations import Locations
from crossrec.pipeline.spec.errors import SpecError
from crossrec.pipeline.spec.load import parse_spec
from tests.unit.pipeline.kubeflow import compiled_marketplace
from tests.unit.pipeline.kubeflow.compiled_marketplace import SECTION, container, marketplace, spec_content, task


@pytest.fixture(scope="module")
def spec():
    return marketplace()[0]


@pytest.fixture(scope="module")
def pods():
    platform = marketplace()[1]
    return platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def arguments(spec, node, flag):
    given = container(spec, node)["args"]
    return [value for name, value in zip(given, given[1:]) if name == flag]


def test_the_graph_is_that_of_the_local_runner(spec, tmp_path):
    content = parse_spec({**spec_content(), "kubeflow": None})
    local = dag.build(content, Locations(str(tmp_path), str(tmp_path), data_is_here=False))
    edges = {node.id: {upstream.id for upstream in node.upstream_nodes} for node in local.components}
    tasks = spec["root"]["dag"]["tasks"]
    assert {name: set(entry.get("dependentTasks", ())) for name, entry in tasks.items()} == edges
    sources = {
        (node.id, key): (channel.producer_component_id, channel.output_key)
        for node in local.components
        for key, channel in node.inputs.items()
    }
    assert {
        (name, key): tuple(artifact["taskOutputArtifact"][part] for part in ("producerTask", "outputArtifactKey"))
        for name, entry in tasks.items()
        for key, artifact in entry["inputs"].get("artifacts", {}).items()
    } == sources


def test_images_and_resources(spec):
    gpu, other = container(spec, "RankingTrainer"), container(spec, "Evaluation")
    assert (gpu["image"], other["image"]) == (SECTION["gpu_image"], SECTION["image"])
    accelerator = {"type": "nvidia.com/gpu", "count": "2"}
    assert gpu["resources"] == {"cpuLimit": 8.0, "memoryLimit": 32.0, "accelerator": accelerator}
    assert other["resources"] == {"cpuLimit": 2.0, "memoryLimit": 8.0}


def test_what_only_kubernetes_knows(pods):
    assert set(pods) == {f"{node}_executor" for node in marketplace()[0]["root"]["dag"]["tasks"]}
    pod = pods["RankingTrainer_executor"]
    assert pod["pvcMount"] == [{"constant": "crossrec", "mountPath": "/mnt/crossrec"}]
    assert pod["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["imagePullSecret"] == [{"secretName": "registry"}]
    secret = {"secretName": "store", "keyToEnv": [{"secretKey": "token", "envVar": "STORE_TOKEN"}]}
    assert pod["secretAsEnv"] == [secret]
    assert not {"nodeSelector", "tolerations"} & set(pods["Evaluation_executor"])


def test_beam_options_by_node(spec):
    own = SECTION["beam"]["FeatureTransform"]
    assert container(spec, "FeatureTransform")["args"][-1 - len(own) :] == ["--remote", *own]
    for node in ("CrossSelector", "RankingTrainer", "Evaluation", "Publisher"):
        assert not {"--remote", *own} & set(container(spec, node)["args"])


def test_the_options_of_the_spec_hold_where_the_section_has_none():
    section = {key: value for key, value in SECTION.items() if key != "beam"}
    content = spec_content(section, beam={"all": ["--runner=DirectRunner", "--direct_num_workers=3"]})
    compiled = compile_pipeline(parse_spec(content))
    assert container(compiled.spec, "RankingExamples")["args"][-3:-1] == [
        "--runner=DirectRunner",
        "--direct_num_workers=3",
    ]


def test_retries_and_caching(spec):
    tasks = spec["root"]["dag"]["tasks"]
    assert {entry["retryPolicy"]["maxRetryCount"] for entry in tasks.values()} == {3}
    anew = {name for name, entry in tasks.items() if not entry.get("cachingOptions", {}).get("enableCache")}
    assert anew == {"ItemsExampleGen", "InteractionsExampleGen", "ServingCheck", "Publisher"}


def test_caching_switches():
    def anew(**cache):
        compiled = compile_pipeline(parse_spec(spec_content({**SECTION, "cache": cache})))
        tasks = compiled.spec["root"]["dag"]["tasks"]
        return {name for name, entry in tasks.items() if not entry.get("cachingOptions", {}).get("enableCache")}

    always = {"ServingCheck", "Publisher"}
    assert anew(ingestion=True) == always
    assert anew(ingestion=True, never=["Evaluation"]) == {*always, "Evaluation"}
    assert anew(enabled=False) == set(marketplace()[0]["root"]["dag"]["tasks"])


def test_runtime_parameters(spec):
    declared = spec["root"]["inputDefinitions"]["parameters"]
    defaults = {name: entry["defaultValue"] for name, entry in declared.items()}
    assert defaults == {
        "data": SECTION["data"],
        "root": SECTION["root"],
        "seed": "",
        "since": "",
        "until": "",
        "release_label": "",
        "data_version": "",
    }
    assert {entry["parameterType"] for entry in declared.values()} == {"STRING"}
    for node in ("ItemsExampleGen", "InteractionsExampleGen"):
        assert task(spec, node)["inputs"]["parameters"]["data_dir"] == {"componentInputParameter": "data"}
        (version,) = arguments(spec, node, "--set")
        assert version.startswith("input_fingerprint={data_version}-")
        assert task(spec, node)["inputs"]["parameters"]["until"] == {"componentInputParameter": "until"}
    assert task(spec, "InteractionsExampleGen")["inputs"]["parameters"]["since"] == {"componentInputParameter": "since"}
    assert task(spec, "Publisher")["inputs"]["parameters"]["release_label"] == {
        "componentInputParameter": "release_label"
    }
    assert arguments(spec, "Publisher", "--set") == ["serving_root={root}/serving"]
    assert arguments(spec, "RankingExamples", "--set") == ["config.seed={seed}"]
    for node in ("RetrievalTrainer", "RankingTrainer"):
        assert arguments(spec, node, "--set") == ["checkpoint_root={root}/checkpoints", "config.training.seed={seed}"]


def test_schemas_of_the_user_are_below_the_data():
    compiled = compile_pipeline(parse_spec(spec_content(validation={"items_schema": "schemas/items.pbtxt"})))
    assert arguments(compiled.spec, "ItemsSchemaGen", "--set") == ["schema_file={data}/schemas/items.pbtxt"]
    assert "cachingOptions" not in task(compiled.spec, "ItemsSchemaGen")


def test_the_release_depends_on_both_verdicts(spec):
    release = task(spec, "Publisher")
    verdicts = {
        name: artifact["taskOutputArtifact"]["producerTask"]
        for name, artifact in release["inputs"]["artifacts"].items()
    }
    assert verdicts == {"blessing": "Evaluation", "infra_blessing": "ServingCheck", "bundle": "ServingBundle"}
    assert release["triggerPolicy"]["condition"] == (
        "(inputs.artifacts['blessing'].artifacts[0].metadata['blessed'] == 1.0) && "
        "(inputs.artifacts['infra_blessing'].artifacts[0].metadata['blessed'] == 1.0)"
    )


def test_artifacts_on_a_volume_need_no_store():
    section = {**SECTION, "pipeline_root": "/mnt/crossrec/artifacts"}
    compiled = compile_pipeline(parse_spec(spec_content(section)))
    assert "defaultPipelineRoot" not in compiled.spec
    for node in compiled.nodes:
        assert arguments(compiled.spec, node, "--artifact_volume") == ["/mnt/crossrec/artifacts"]
    # Beam's workers mount the volume at the same path, so nothing has to stay an address.
    assert "--remote" not in container(compiled.spec, "FeatureTransform")["args"]


def test_the_root_of_the_artifacts(spec):
    assert spec["defaultPipelineRoot"] == "gs://bucket/runs"


def test_the_declared_inputs_travel_with_the_command(spec):
    for name, component in spec["components"].items():
        (declared,) = arguments(spec, name, "--json_serialized_inputs_spec_args")
        assert json.loads(declared) == component["inputDefinitions"]


def test_the_sdk_of_the_lock_file_loads_it(tmp_path):
    content = compiled_marketplace.spec_content()
    text = compile_pipeline(parse_spec(content)).text()
    loaded = kfp_components.load_component_from_text(text)
    assert loaded.name == "marketplace"
    assert set(loaded.component_spec.inputs) == {
        "data",
        "root",
        "seed",
        "since",
        "until",
        "release_label",
        "data_version",
    }
    assert all(parameter.optional for parameter in loaded.component_spec.inputs.values())


def test_another_process_writes_the_same_bytes(tmp_path):
    spec_file, file = tmp_path / "spec.yaml", tmp_path / "pipeline.yaml"
    spec_file.write_text(yaml.safe_dump(spec_content(), sort_keys=False), encoding="utf-8")
    # Sets and hashes of texts come in another order there.
    other_seed = "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2"
    subprocess.run(
        [sys.executable, "-m", "crossrec.pipeline.cli.main", "compile", str(spec_file), "-o", str(file)],
        env={**os.environ, "PYTHONHASHSEED": other_seed},
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    assert file.read_bytes() == compile_pipeline(parse_spec(spec_content())).text().encode("utf-8")


def test_a_name_that_kfp_does_not_take_is_changed():
    assert compile_pipeline(parse_spec(spec_content(name="online_retail"))).name == "online-retail"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({**SECTION, "resources": {"RankTrainer": {"cpu": 1}}}, "kubeflow.resources: 'RankTrainer' is no node"),
        ({**SECTION, "cache": {"never": ["Evaluator"]}}, "kubeflow.cache.never: 'Evaluator' is no node"),
        ({**SECTION, "pipeline_root": ""}, "beam: FeatureTransform runs on DataflowRunner, whose workers"),
        ({**SECTION, "pipeline_root": "minio://b/x"}, "cannot reach artifacts on 'minio://b/x'"),
    ],
)
def test_a_section_that_does_not_fit_the_graph_is_refused(section, message):
    with pytest.raises(SpecError) as caught:
        compile_pipeline(parse_spec(spec_content(section)), "shop.yaml")
    assert message in str(caught.value)
    if "is no node" in message:
        assert "Known: CandidateIndexer, CrossSelector," in str(caught.value)


def test_a_spec_without_the_section_is_refused():
    with pytest.raises(SpecError, match=r"kubeflow: missing. Add at least"):
        compile_pipeline(parse_spec({**spec_content(), "kubeflow": None}), "shop.yaml")


def test_images_from_the_command_line():
    changed = with_images(parse_spec(spec_content()), {"image": "other:2"})
    assert (changed.kubeflow.image, changed.kubeflow.gpu_image) == ("other:2", SECTION["gpu_image"])
    with pytest.raises(SpecError, match="image: 'no image'"):
        with_images(parse_spec(spec_content()), {"image": "no image"})
