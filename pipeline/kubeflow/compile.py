"""From a spec to a specification that stock Kubeflow Pipelines runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from pydantic import ValidationError
from tfx.dsl.components.base import executor_spec
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner, pipeline_builder

from crossrec.pipeline import dag
from crossrec.pipeline.kubeflow.cluster import add_cluster, check_nodes, platform, reachable_cache
from crossrec.pipeline.kubeflow.config import KubeflowConfig
from crossrec.pipeline.kubeflow.fixer import fix, tasks_of
from crossrec.pipeline.kubeflow.release_condition import blessed
from crossrec.pipeline.kubeflow.runtime_parameters import DATA, ROOT, add_runtime_parameters, runtime_parameters
from crossrec.pipeline.kubeflow.validator import validate
from crossrec.pipeline.locations import Locations
from crossrec.pipeline.spec.beam import arguments
from crossrec.pipeline.spec.errors import SpecError, describe
from crossrec.pipeline.spec.spec import Spec

ENTRY = ("python", "-m", "crossrec.pipeline.kubeflow.entry")
RELEASE_STEP = "Publisher"


@dataclass(frozen=True)
class Compiled:
    """A specification.

    Attributes:
        name: Name of the pipeline on Kubeflow.
        spec: The first document of the file: KFP's PipelineSpec.
        platform: The second one: what only Kubernetes knows; empty if nothing.
        config: The section that it was made with.
    """

    name: str
    spec: Mapping[str, Any]
    platform: Mapping[str, Any]
    config: KubeflowConfig

    @property
    def nodes(self) -> list[str]:
        """Ids of the nodes."""
        return sorted(tasks_of(self.spec))

    def text(self) -> str:
        """The file: the same bytes for the same spec, code and section, whenever and wherever."""
        documents = [self.spec, *([self.platform] if self.platform else [])]
        return _header(self) + yaml.dump_all(documents, Dumper=_Dumper, sort_keys=True, width=float("inf"))


def compile_pipeline(spec: Spec, source: str = "spec") -> Compiled:
    """Compiles the graph of a spec, mends what TFX wrote, and checks every reference.

    Args:
        spec: A spec with a ``kubeflow`` section.
        source: Its name, for messages.

    Raises:
        SpecError: The section is missing, or names what is not there.
        SpecificationError: The outcome does not hang together.
    """
    config = spec.kubeflow
    if config is None:
        raise SpecError(
            source,
            [
                "kubeflow: missing. Add at least 'kubeflow: {image: IMAGE, root: /mnt/crossrec, "
                "data: gs://BUCKET/DATA, volumes: [{claim: CLAIM, path: /mnt/crossrec}]}'"
            ],
        )
    name = spec.name.replace("_", "-")
    changed = {"name": name, "beam": spec.beam if config.beam is None else config.beam}
    spec = spec.model_copy(update=changed)
    cache = reachable_cache(config, arguments(spec.beam, "TextEmbedder"))
    pipeline = dag.build(spec, Locations(DATA, ROOT, data_is_here=False, cache=cache))
    nodes = [node.id for node in pipeline.components]
    beam = {
        node.id: node.executor_spec.beam_pipeline_args
        for node in pipeline.components
        if isinstance(node.executor_spec, executor_spec.BeamExecutorSpec)
    }
    check_nodes(config, nodes, beam, source)
    images = {pipeline_builder.DEFAULT_IMAGE_PATH_KEY: config.image, **{node: config.image_of(node) for node in nodes}}
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            default_image=images, default_commands=list(ENTRY), use_pipeline_spec_2_1=True
        )
    )
    written: dict[str, Any] = runner.run(pipeline, write_out=False)["pipelineSpec"]
    fix(written)
    add_runtime_parameters(written, runtime_parameters(config))
    add_cluster(written, config, beam, dag.never_cached(spec))
    _add_release_condition(written)
    compiled = Compiled(name, written, platform(config, nodes), config)
    validate(compiled.spec, compiled.platform)
    # Strict: a field that KFP does not know would be dropped in silence by its servers.
    json_format.ParseDict(written, pipeline_spec_pb2.PipelineSpec())
    return compiled


def with_images(spec: Spec, images: Mapping[str, str]) -> Spec:
    """The spec with other images: ``image`` and ``gpu_image`` of its ``kubeflow`` section.

    Raises:
        SpecError: One is no name of an image.
    """
    if spec.kubeflow is None or not images:
        return spec
    try:
        config = KubeflowConfig.model_validate({**spec.kubeflow.model_dump(), **images})
    except ValidationError as error:
        raise SpecError("images", describe(error, KubeflowConfig)) from error
    return spec.model_copy(update={"kubeflow": config})


def _add_release_condition(spec: dict[str, Any]) -> None:
    task = tasks_of(spec)[RELEASE_STEP]
    task["triggerPolicy"] = {"condition": blessed(spec["components"][task["componentRef"]["name"]])}


def _header(compiled: Compiled) -> str:
    lines = [
        f"# Pipeline {compiled.name}, compiled by crossrec for Kubeflow Pipelines (KFP v2).",
        "# Parameters of a run:",
        *(f"#   {p.name}: {p.description} Default: {p.default!r}" for p in runtime_parameters(compiled.config)),
    ]
    return "\n".join([*lines, ""])


class _Dumper(yaml.SafeDumper):
    """YAML without anchors, and with texts of several lines as they are."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
