"""Small TFX pipelines, as TFX itself compiles them for Kubeflow."""

from typing import Any

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts


@component
def Judge(blessing: OutputArtifact[standard_artifacts.ModelBlessing]):  # noqa: N802
    blessing.set_int_custom_property("blessed", 1)


@component
def Say(word: OutputArtifact[standard_artifacts.String]):  # noqa: N802
    word.value = "yes"


@component
def Release(  # noqa: N802
    model_blessing: InputArtifact[standard_artifacts.ModelBlessing],
    done: OutputArtifact[standard_artifacts.String],
):
    done.value = str(model_blessing.get_int_custom_property("blessed"))


@component
def Repeat(word: Parameter[str], done: OutputArtifact[standard_artifacts.String]):  # noqa: N802
    done.value = word


def compiled(*components: Any) -> dict[str, Any]:
    """The specification of a pipeline of these components."""
    pipeline = Pipeline(
        pipeline_name="small",
        pipeline_root="gs://bucket/root",
        components=list(components),
        beam_pipeline_args=["--runner=DirectRunner"],
    )
    config = KubeflowV2DagRunnerConfig(default_image="image", use_pipeline_spec_2_1=True)
    return KubeflowV2DagRunner(config).run(pipeline, write_out=False)["pipelineSpec"]
