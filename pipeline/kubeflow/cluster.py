"""What the ``kubeflow`` section asks of the cluster, written into a specification."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from crossrec.pipeline.kubeflow.config import KubeflowConfig
from crossrec.pipeline.kubeflow.fixer import tasks_of
from crossrec.pipeline.spec.beam import is_remote, runner
from crossrec.pipeline.spec.errors import SpecError

_INGESTION = ("ItemsExampleGen", "InteractionsExampleGen")
# What a server answers, and how fast, says something of the machine too: a refusal must not be taken for ever.
_MEASURES_MACHINES = ("ServingCheck",)
_BACKOFF_SECONDS, _MOST_BACKOFF_SECONDS = 30, 600


BeamOptions = Mapping[str, Sequence[str]]
"""Beam's options of the nodes that run Beam, by node id."""


def check_nodes(config: KubeflowConfig, nodes: Collection[str], beam: BeamOptions, source: str) -> None:
    """Refuses a section that names nodes which are not there, or workers that could not reach the artifacts.

    Args:
        config: The section.
        nodes: Ids of all nodes.
        beam: Options of Beam.
        source: Name of the spec, for the message.

    Raises:
        SpecError: With all problems.
    """
    problems = [
        f"{field}: {name!r} is no node of this pipeline. Known: {', '.join(sorted(nodes))}"
        for field, names in config.named_nodes().items()
        for name in names
        if name not in nodes
    ]
    problems += [
        f"beam: {name} runs on {runner(options)}, whose workers elsewhere cannot reach artifacts on "
        f"{config.pipeline_root or 'the root of the cluster'!r}. Set kubeflow.pipeline_root to gs://…, or to a "
        "directory on a volume that the workers mount at the same path"
        for name, options in sorted(beam.items())
        if is_remote(options) and not config.pipeline_root.startswith(("gs://", "/"))
    ]
    if problems:
        raise SpecError(source, problems)


def add_cluster(spec: dict[str, Any], config: KubeflowConfig, beam: BeamOptions, never_cached: Collection[str]) -> None:
    """Writes resources, Beam's options, caching and retries.

    Args:
        spec: The specification; changed in place.
        config: What is asked for.
        beam: Options of Beam.
        never_cached: Ids of the nodes that must look at the world each time.
    """
    if config.pipeline_root.startswith("/"):
        spec.pop("defaultPipelineRoot", None)
    elif config.pipeline_root:
        spec["defaultPipelineRoot"] = config.pipeline_root
    unseen = () if config.cache.ingestion else _INGESTION
    never = {*never_cached, *_MEASURES_MACHINES, *config.cache.never, *unseen}
    for name, task in tasks_of(spec).items():
        executor = spec["components"][task["componentRef"]["name"]]["executorLabel"]
        container = spec["deploymentSpec"]["executors"][executor]["container"]
        container["args"] = _arguments(container["args"], config, beam.get(name, ()))
        resources = _resources(config, name)
        if resources:
            container["resources"] = resources
        task.pop("cachingOptions", None)
        if config.cache.enabled and name not in never:
            task["cachingOptions"] = {"enableCache": True}
        if config.retries:
            task["retryPolicy"] = {
                "maxRetryCount": config.retries,
                "backoffDuration": f"{_BACKOFF_SECONDS}s",
                "backoffFactor": 2.0,
                "backoffMaxDuration": f"{_MOST_BACKOFF_SECONDS}s",
            }


def platform(config: KubeflowConfig, nodes: Collection[str]) -> dict[str, Any]:
    """The second document of the file: what only Kubernetes knows; empty if nothing is asked for.

    Field names are those of kfp-kubernetes' KubernetesExecutorConfig that every KFP v2 backend reads.

    Args:
        config: What is asked for.
        nodes: Ids of all nodes.
    """
    executors = {f"{node}_executor": _pod(config, node) for node in sorted(nodes)}
    executors = {name: pod for name, pod in executors.items() if pod}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}} if executors else {}


def reachable_cache(config: KubeflowConfig, beam: Sequence[str]) -> str:
    """Where workers elsewhere keep vectors of texts: beside the artifacts, since they may not see the root's volume.

    Args:
        config: The section.
        beam: Options of the node that keeps them.

    Returns:
        The directory; "" where the root's own does.
    """
    if is_remote(beam) and config.pipeline_root.startswith("gs://"):
        return f"{config.pipeline_root.rstrip('/')}/cache"
    return ""


def _arguments(arguments: Sequence[str], config: KubeflowConfig, beam: Sequence[str]) -> list[str]:
    place = []
    if config.pipeline_root.startswith("/"):
        place = ["--artifact_volume", config.pipeline_root]
    elif is_remote(beam):
        place = ["--remote"]
    return [*arguments, *place, *beam]


def _resources(config: KubeflowConfig, node: str) -> dict[str, Any]:
    """Old names of the fields: new backends read them too, and old ones read no others."""
    wanted = config.resources_of(node)
    found: dict[str, Any] = {}
    if wanted.cpu is not None:
        found["cpuLimit"] = wanted.cpu
    if wanted.memory_gb is not None:
        found["memoryLimit"] = wanted.memory_gb
    if wanted.gpu is not None:
        found["accelerator"] = {"type": wanted.gpu.type, "count": str(wanted.gpu.count)}
    return found


def _pod(config: KubeflowConfig, node: str) -> dict[str, Any]:
    wanted = config.resources_of(node)
    pod: dict[str, Any] = {}
    if config.volumes:
        pod["pvcMount"] = [{"constant": volume.claim, "mountPath": volume.path} for volume in config.volumes]
    if config.secrets:
        pod["secretAsEnv"] = [
            {
                "secretName": secret.name,
                "keyToEnv": [{"secretKey": key, "envVar": name} for key, name in sorted(secret.variables.items())],
            }
            for secret in config.secrets
        ]
    if config.image_pull_secrets:
        pod["imagePullSecret"] = [{"secretName": name} for name in config.image_pull_secrets]
    if wanted.node_selector:
        pod["nodeSelector"] = {"labels": wanted.node_selector}
    if wanted.gpu is not None:
        pod["tolerations"] = [{"key": wanted.gpu.type, "operator": "Exists", "effect": "NoSchedule"}]
    return pod
