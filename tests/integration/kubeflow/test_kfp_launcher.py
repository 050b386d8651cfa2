"""The stand-in for KFP itself: it takes nothing for granted that KFP would not."""

import copy
import json

import pytest
import yaml

from tests.integration.kubeflow.kfp_launcher import (
    Cluster,
    TaskFailedError,
    TaskResult,
    UnresolvedError,
    evaluate,
    fill,
    in_order,
    resolve_inputs,
    runtime_parameters,
)
from tests.unit.pipeline.kubeflow.compiled_marketplace import marketplace, task

# A container that writes the words of its inputs and its own, and tells of the world around it.
WRITE = """
import json, os, sys
given, disk = json.loads(sys.argv[1]), sys.argv[-1]
inputs, (out,) = given["inputs"], given["outputs"]["artifacts"]["word"]["artifacts"]
def path(artifact):
    return os.path.join(disk, artifact["uri"].replace("gs://", "gcs/"), "word")
words = [open(path(group["artifacts"][0])).read() for group in inputs.get("artifacts", {}).values()]
os.makedirs(os.path.dirname(path(out)))
open(path(out), "w").write(" ".join([*words, inputs["parameterValues"]["word"]]))
open("left-behind", "w").write("x")
world = {"listing": os.listdir("."), "home": os.environ["HOME"], "variables": sorted(os.environ)}
out["metadata"] = {"blessed": 1, "world": json.dumps(world)}
output_file = given["outputs"]["outputFile"]
os.makedirs(os.path.dirname(output_file))
json.dump({"artifacts": {"word": {"artifacts": [out]}}}, open(output_file, "w"))
"""
WORD = {"artifactType": {"instanceSchema": "title: tfx.ModelBlessing\ntype: object\n"}}


def small(code=WRITE, condition=""):
    """Two tasks: the second takes the first one's word, and adds that of the run."""
    parameters = {"word": {"parameterType": "STRING"}}
    components = {
        "First": {"executorLabel": "e", "inputDefinitions": {"parameters": parameters}},
        "Second": {"executorLabel": "e", "inputDefinitions": {"parameters": parameters, "artifacts": {"before": WORD}}},
    }
    for component in components.values():
        component["outputDefinitions"] = {"artifacts": {"word": WORD}}
    taken = {"taskOutputArtifact": {"producerTask": "First", "outputArtifactKey": "word"}}
    tasks = {
        "First": {"inputs": {"parameters": {"word": {"runtimeValue": {"constant": "hello"}}}}},
        "Second": {
            "dependentTasks": ["First"],
            "inputs": {"parameters": {"word": {"componentInputParameter": "word"}}, "artifacts": {"before": taken}},
            "triggerPolicy": {"condition": condition},
        },
    }
    for name, entry in tasks.items():
        entry["componentRef"] = {"name": name}
    return {
        "pipelineInfo": {"name": "small"},
        "defaultPipelineRoot": "gs://bucket/runs",
        "components": components,
        "deploymentSpec": {"executors": {"e": {"container": {"command": ["python", "-c"], "args": [code, "{{$}}"]}}}},
        "root": {
            "dag": {"tasks": tasks},
            "inputDefinitions": {"parameters": {"word": {"parameterType": "STRING", "defaultValue": "world"}}},
        },
    }


@pytest.fixture
def run(tmp_path):
    def execute(spec, **parameters):
        file = tmp_path / "pipeline.yaml"
        file.write_text(yaml.safe_dump(spec), encoding="utf-8")
        cluster = Cluster(tmp_path / "store", tmp_path / "work")
        return cluster, cluster.run(file, parameters)

    return execute


def test_artifacts_pass_through_the_store_and_nothing_else_does(run, tmp_path):
    cluster, results = run(small())
    made = results["Second"].artifacts["word"]
    assert (cluster.local_directory(made["uri"]) / "word").read_text() == "hello world"
    assert made["uri"].startswith("gs://bucket/runs/small/")
    first, second = (json.loads(results[name].artifacts["word"]["metadata"]["world"]) for name in ("First", "Second"))
    assert first["listing"] == second["listing"] == ["left-behind"]
    assert set(second["variables"]) - {"LC_CTYPE"} == {"HOME", "LANG", "PATH"}
    assert first["home"] != second["home"]
    assert not list((tmp_path / "work").iterdir())


def test_parameters_of_the_run(run):
    cluster, results = run(small(), word="moon")
    made = results["Second"].artifacts["word"]
    assert (cluster.local_directory(made["uri"]) / "word").read_text() == "hello moon"
    with pytest.raises(UnresolvedError, match="'moon' is not there, only word"):
        run(small(), moon="word")


@pytest.mark.parametrize(("bound", "state"), [("1.0", "succeeded"), ("0.0", "skipped")])
def test_a_condition_decides(run, bound, state):
    condition = f"(inputs.artifacts['before'].artifacts[0].metadata['blessed'] == {bound})"
    assert run(small(condition=condition))[1]["Second"].state == state


def test_a_container_that_fails_ends_the_run(run):
    with pytest.raises(TaskFailedError, match="First ended with 3:\nno luck"):
        run(small(code="import sys; print('no luck'); sys.exit(3)"))


BREAKS = {
    "producer": lambda spec: spec["root"]["dag"]["tasks"]["Second"]["inputs"]["artifacts"]["before"].update(
        taskOutputArtifact={"producerTask": "Third", "outputArtifactKey": "word"}
    ),
    "output": lambda spec: spec["root"]["dag"]["tasks"]["Second"]["inputs"]["artifacts"]["before"].update(
        taskOutputArtifact={"producerTask": "First", "outputArtifactKey": "verb"}
    ),
    "order": lambda spec: spec["root"]["dag"]["tasks"]["First"].update(dependentTasks=["Second"]),
    "dependency": lambda spec: spec["root"]["dag"]["tasks"]["First"].update(dependentTasks=["Third"]),
    "component": lambda spec: spec["root"]["dag"]["tasks"]["First"]["componentRef"].update(name="Third"),
    "executor": lambda spec: spec["components"]["First"].update(executorLabel="f"),
    "runtime parameter": lambda spec: spec["root"]["inputDefinitions"]["parameters"].pop("word"),
    "type": lambda spec: spec["root"]["inputDefinitions"]["parameters"]["word"].update(defaultValue=1),
    "placeholder": lambda spec: spec["deploymentSpec"]["executors"]["e"]["container"]["args"].append("{{$.other}}"),
    "condition": lambda spec: spec["root"]["dag"]["tasks"]["Second"].update(
        triggerPolicy={"condition": "(inputs.artifacts['after'].artifacts[0].metadata['blessed'] == 1.0)"}
    ),
    "scheme": lambda spec: spec.update(defaultPipelineRoot="/tmp/runs"),
}


@pytest.mark.parametrize("kind", BREAKS)
def test_what_leads_nowhere_ends_the_run(run, kind):
    spec = small()
    BREAKS[kind](spec)
    with pytest.raises(UnresolvedError):
        run(spec)


@pytest.mark.parametrize("refusing", ["Evaluation", "ServingCheck"])
def test_one_refusal_keeps_a_release_back(refusing):
    """The condition that was compiled, over what the tasks before it give."""
    spec, _ = marketplace()
    results = {}
    for name, component in spec["components"].items():
        made = component.get("outputDefinitions", {}).get("artifacts", {})
        results[name] = TaskResult(
            "succeeded",
            artifacts={
                key: {"uri": f"gs://b/{name}/{key}", "type": entry["artifactType"], "metadata": {"blessed": 1.0}}
                for key, entry in made.items()
            },
        )
    release = task(spec, "Publisher")
    component = spec["components"]["Publisher"]

    def triggered(results):
        inputs = resolve_inputs("Publisher", release, component, runtime_parameters(spec, {}), results)
        return evaluate(release["triggerPolicy"]["condition"], inputs)

    assert triggered(results)
    refused = copy.deepcopy(results)
    refused[refusing].artifacts["blessing"]["metadata"]["blessed"] = 0.0
    assert not triggered(refused)


def test_order_is_that_of_the_dependencies():
    tasks = {"a": {"dependentTasks": ["c"]}, "b": {}, "c": {"dependentTasks": ["b"]}}
    assert [name for name, _ in in_order(tasks)] == ["b", "c", "a"]


def test_placeholders():
    assert fill("x {{$}} y", {"{{$}}": json.dumps({})}) == "x {} y"
