"""What TFX writes wrong for stock KFP is there, is refused as it stands, and passes once it is mended."""

import copy

import pytest
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.experimental.conditionals.conditional import Cond
from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy
from tfx.types import Channel, standard_artifacts

from crossrec.pipeline.kubeflow.fixer import fix, tasks_of
from crossrec.pipeline.kubeflow.validator import SpecificationError, validate
from tests.unit.pipeline.kubeflow.small_pipelines import Judge, Release, Repeat, Say, compiled


@pytest.fixture(scope="module")
def conditional():
    """A release that is conditional on the blessing which it also takes."""
    judge = Judge()
    with Cond(judge.outputs["blessing"].future()[0].custom_property("blessed") == 1):
        release = Release(model_blessing=judge.outputs["blessing"])
    return compiled(judge, release)


@pytest.fixture(scope="module")
def dynamic():
    """A property that is another node's output."""
    say = Say()
    return compiled(say, Repeat(word=say.outputs["word"].future()[0].value))


def problems(spec):
    with pytest.raises(SpecificationError) as caught:
        validate(spec)
    return caught.value.problems


def mended(spec):
    spec = copy.deepcopy(spec)
    fix(spec)
    validate(spec)
    return spec


def test_a_condition_names_the_input_that_it_looks_at(conditional):
    (problem,) = problems(conditional)
    assert problem.startswith("Release: its condition looks at artifacts '_Judge.blessing'")
    assert "There is: model_blessing" in problem
    condition = tasks_of(mended(conditional))["Release"]["triggerPolicy"]["condition"]
    assert condition == "(inputs.artifacts['model_blessing'].artifacts[0].metadata['blessed'] == 1.0)"


def test_a_property_that_is_an_output_names_its_producer(dynamic):
    (problem,) = problems(dynamic)
    assert problem == "Repeat: parameter 'word' comes from 'Say_task', which is no task. There is: Repeat, Say"
    source = tasks_of(mended(dynamic))["Repeat"]["inputs"]["parameters"]["word"]["taskOutputParameter"]
    assert source == {"producerTask": "Say", "outputParameterKey": "word"}


def test_a_task_that_is_really_called_so_keeps_its_name():
    say = Say().with_id("Say_task")
    spec = compiled(say, Repeat(word=say.outputs["word"].future()[0].value))
    source = tasks_of(mended(spec))["Repeat"]["inputs"]["parameters"]["word"]["taskOutputParameter"]
    assert source["producerTask"] == "Say_task"


def test_options_of_beam_leave_nodes_without_beam(conditional):
    arguments = mended(conditional)["deploymentSpec"]["executors"]["Judge_executor"]["container"]["args"]
    assert conditional["deploymentSpec"]["executors"]["Judge_executor"]["container"]["args"] == [
        *arguments,
        "--runner=DirectRunner",
    ]


def test_every_producer_is_waited_for(conditional):
    spec = copy.deepcopy(conditional)
    del tasks_of(spec)["Release"]["dependentTasks"]
    assert any("dependentTasks leaves out" in problem for problem in problems(spec))
    assert tasks_of(mended(spec))["Release"]["dependentTasks"] == ["Judge"]


def test_mending_twice_changes_nothing(conditional, dynamic):
    for spec in (conditional, dynamic):
        once = mended(spec)
        assert mended(once) == once


def test_a_resolver_cannot_be_mended():
    resolver = Resolver(
        strategy_class=LatestArtifactStrategy, model_blessing=Channel(type=standard_artifacts.ModelBlessing)
    ).with_id("Latest")
    spec = compiled(resolver, Release(model_blessing=resolver.outputs["model_blessing"]))
    fix(spec)
    assert "Latest: is a resolver, which KFP does not implement. Look artifacts up in a component" in problems(spec)
