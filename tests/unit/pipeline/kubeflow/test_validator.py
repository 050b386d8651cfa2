"""Each kind of reference, broken one by one, is refused by name, and what there is instead is told."""

import json

import pytest

from crossrec.pipeline.kubeflow.validator import SpecificationError, validate
from tests.unit.pipeline.kubeflow.compiled_marketplace import container, marketplace, task


def declare(spec, node, change):
    """Change what a component declares, and the copy of it in its command."""
    component = spec["components"][node]
    change(component)
    arguments = container(spec, node)["args"]
    place = arguments.index("--json_serialized_inputs_spec_args") + 1
    arguments[place] = json.dumps(component["inputDefinitions"])


def inputs(spec, node, kind="artifacts"):
    return task(spec, node)["inputs"][kind]


def source(spec, node, key):
    return inputs(spec, node)[key]["taskOutputArtifact"]


BREAKS = {
    "producer": (
        lambda spec, _: source(spec, "Publisher", "bundle").update(producerTask="Bundle"),
        "Publisher: input artifact 'bundle' comes from 'Bundle', which is no task. There is: CandidateIndexer,",
    ),
    "output key": (
        lambda spec, _: source(spec, "Publisher", "bundle").update(outputArtifactKey="model"),
        "Publisher: input artifact 'bundle' wants 'model' of ServingBundle, no output. There is: bundle",
    ),
    "type": (
        lambda spec, _: source(spec, "Publisher", "blessing").update(outputArtifactKey="report"),
        "Publisher: input artifact 'blessing' is of type tfx.ModelBlessing, and Evaluation's 'report' is of type "
        "crossrec.EvaluationReport",
    ),
    "no source": (
        lambda spec, _: inputs(spec, "Publisher").update(bundle={}),
        "Publisher: input artifact 'bundle' comes from no task.",
    ),
    "missing input": (
        lambda spec, _: inputs(spec, "Publisher").pop("bundle"),
        "Publisher: input artifact 'bundle' is not given. There is: blessing, infra_blessing",
    ),
    "undeclared input": (
        lambda spec, _: inputs(spec, "Publisher").update(model=inputs(spec, "Publisher")["bundle"]),
        "Publisher: input artifact 'model' is not declared by its component. There is: blessing, bundle,",
    ),
    "component": (
        lambda spec, _: task(spec, "Publisher")["componentRef"].update(name="Pusher"),
        "Publisher: component 'Pusher' is not defined. There is: CandidateIndexer,",
    ),
    "executor": (
        lambda spec, _: spec["components"]["Publisher"].update(executorLabel="Pusher_executor"),
        "Publisher: executor 'Pusher_executor' is not defined. There is: CandidateIndexer_executor,",
    ),
    "image": (
        lambda spec, _: container(spec, "Publisher").pop("image"),
        "Publisher: executor 'Publisher_executor' has no image",
    ),
    "driver": (
        lambda spec, _: container(spec, "ItemsExampleGen").update(lifecycle={"preCacheCheck": {}}),
        "ItemsExampleGen: has a driver, which KFP never runs",
    ),
    "importer": (
        lambda spec, _: spec["deploymentSpec"]["executors"].update(Publisher_executor={"importer": {}}),
        "Publisher: is an importer",
    ),
    "dependency": (
        lambda spec, _: task(spec, "Publisher")["dependentTasks"].append("Pusher"),
        "Publisher: depends on 'Pusher', which is no task. There is:",
    ),
    "order": (
        lambda spec, _: task(spec, "Publisher")["dependentTasks"].remove("ServingBundle"),
        "Publisher: input artifact 'bundle' comes from ServingBundle, which dependentTasks leaves out",
    ),
    "circle": (
        lambda spec, _: task(spec, "ServingBundle")["dependentTasks"].append("Publisher"),
        "these tasks wait for each other: Evaluation, Publisher, ServingBundle, ServingCheck",
    ),
    "runtime parameter": (
        lambda spec, _: spec["root"]["inputDefinitions"]["parameters"].pop("root"),
        "Publisher: parameter 'root' is the runtime parameter 'root', which is not defined. There is: data,",
    ),
    "type of a runtime parameter": (
        lambda spec, _: spec["root"]["inputDefinitions"]["parameters"]["root"].update(parameterType="STRUCT"),
        "Publisher: parameter 'root' is STRING, runtime parameter 'root' STRUCT",
    ),
    "missing parameter": (
        lambda spec, _: inputs(spec, "Publisher", "parameters").pop("model_name"),
        "Publisher: parameter 'model_name' is not given. There is: release_label, root, serving_root",
    ),
    "undeclared parameter": (
        lambda spec, _: inputs(spec, "Publisher", "parameters").update(name={"runtimeValue": {"constant": "x"}}),
        "Publisher: parameter 'name' is not declared by its component. There is: model_name,",
    ),
    "empty parameter": (
        lambda spec, _: inputs(spec, "Publisher", "parameters").update(model_name={"runtimeValue": {}}),
        "Publisher: parameter 'model_name' has no value",
    ),
    "placeholder in a constant": (
        lambda spec, _: inputs(spec, "Publisher", "parameters").update(
            model_name={"runtimeValue": {"constant": "{{$.inputs.parameters['x']}}"}}
        ),
        "Publisher: parameter 'model_name' holds a placeholder",
    ),
    "producer of a parameter": (
        lambda spec, _: inputs(spec, "Publisher", "parameters").update(
            model_name={"taskOutputParameter": {"producerTask": "Evaluation_task", "outputParameterKey": "name"}}
        ),
        "Publisher: parameter 'model_name' comes from 'Evaluation_task', which is no task",
    ),
    "output parameter": (
        lambda spec, _: inputs(spec, "Publisher", "parameters").update(
            model_name={"taskOutputParameter": {"producerTask": "Evaluation", "outputParameterKey": "name"}}
        ),
        "Publisher: parameter 'model_name' wants 'name' of Evaluation, no output. There is: nothing",
    ),
    "float output": (
        lambda spec, _: spec["components"]["Evaluation"]["outputDefinitions"].update(
            parameters={"score": {"parameterType": "NUMBER_DOUBLE"}}
        ),
        "Evaluation: output parameter 'score' is a float",
    ),
    "condition on an artifact": (
        lambda spec, _: task(spec, "Publisher").update(
            triggerPolicy={
                "condition": "inputs.artifacts['_Evaluation.blessing'].artifacts[0].metadata['blessed'] == 1.0"
            }
        ),
        "Publisher: its condition looks at artifacts '_Evaluation.blessing', which is no input of it. There is: bles",
    ),
    "condition on a parameter": (
        lambda spec, _: task(spec, "Publisher").update(
            triggerPolicy={"condition": "inputs.parameter_values['label'] == 'x'"}
        ),
        "Publisher: its condition looks at parameters 'label', which is no input of it. There is: model_name,",
    ),
    "command": (
        lambda spec, _: container(spec, "Publisher")["args"].append("{{$.inputs.artifacts['model'].uri}}"),
        "Publisher: its command looks at artifacts 'model', which is no input of it. There is: blessing,",
    ),
    "setting": (
        lambda spec, _: container(spec, "Publisher")["args"].extend(["--set", "serving={place}/x"]),
        "Publisher: --set serving={place}/x looks at parameter 'serving', which is no input of it. There is: model",
    ),
    "setting that is none": (
        lambda spec, _: container(spec, "Publisher")["args"].extend(["--set", "serving_root"]),
        "Publisher: --set: 'serving_root' is not PROPERTY=TEMPLATE",
    ),
    "declared inputs in the command": (
        lambda spec, _: spec["components"]["Publisher"]["inputDefinitions"]["parameters"].update(
            more={"parameterType": "STRING", "isOptional": True}
        ),
        "Publisher: --json_serialized_inputs_spec_args is not what the component declares",
    ),
    "artifact type": (
        lambda spec, _: spec["components"]["ServingBundle"]["outputDefinitions"]["artifacts"]["bundle"].update(
            artifactType={"schemaTitle": "crossrec.Bundle"}
        ),
        "ServingBundle: the type 'crossrec.Bundle' of artifact 'bundle' is no class that can be imported",
    ),
    "platform": (
        lambda _, platform: platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].update(
            Pusher_executor={}
        ),
        "platforms.kubernetes: executor 'Pusher_executor' is not defined. There is: CandidateIndexer_executor,",
    ),
}


def test_what_was_compiled_hangs_together():
    validate(*marketplace())


@pytest.mark.parametrize("kind", BREAKS)
def test_a_broken_reference_is_refused(kind):
    spec, platform = marketplace()
    breaks, message = BREAKS[kind]
    breaks(spec, platform)
    with pytest.raises(SpecificationError) as caught:
        validate(spec, platform)
    assert any(problem.startswith(message) for problem in caught.value.problems), caught.value.problems


def test_all_problems_are_told_at_once():
    spec, platform = marketplace()
    for kind in ("producer", "executor", "platform"):
        BREAKS[kind][0](spec, platform)
    with pytest.raises(SpecificationError) as caught:
        validate(spec, platform)
    for kind in ("producer", "executor", "platform"):
        assert BREAKS[kind][1] in str(caught.value)


def test_optional_inputs_may_be_left_out():
    spec, platform = marketplace()
    more = {"parameterType": "STRING", "isOptional": True}
    declare(spec, "Publisher", lambda component: component["inputDefinitions"]["parameters"].update(more=more))
    validate(spec, platform)
