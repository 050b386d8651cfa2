"""The ``kubeflow`` section of the spec: where the pipeline runs, and with what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic import Field, model_validator

from crossrec.components.features.frozen import Frozen
from crossrec.pipeline.spec.beam import BeamConfig, check_beam

ALL = "all"
"""What stands for every node that ``resources`` does not name."""

ARTIFACT_SCHEMES = ("gs://", "s3://", "minio://")
_IMAGE = r"^[a-z0-9][A-Za-z0-9._/:@-]*$"
_NAME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"


class Gpu(Frozen):
    """The accelerators of a node.

    Attributes:
        type: Name of the Kubernetes resource; a taint of that name is tolerated.
        count: How many.
    """

    type: str = Field(default="nvidia.com/gpu", pattern=r"^[A-Za-z0-9.-]+/[A-Za-z0-9._-]+$")
    count: int = Field(default=1, ge=1, le=64)


class NodeResources(Frozen):
    """What one node of the pipeline gets.

    Attributes:
        cpu: Cores, the limit; the request too unless the cluster says otherwise.
        memory_gb: Memory in gigabytes (10⁹ bytes), the limit.
        gpu: Accelerators; the node then runs ``gpu_image``.
        node_selector: Labels of the machines that may run it.
    """

    cpu: float | None = Field(default=None, gt=0)
    memory_gb: float | None = Field(default=None, gt=0)
    gpu: Gpu | None = None
    node_selector: dict[str, str] = {}


class Volume(Frozen):
    """A volume that every node mounts.

    Attributes:
        claim: Name of the PersistentVolumeClaim, which must allow many writers (ReadWriteMany).
        path: Where it is mounted.
    """

    claim: str = Field(pattern=_NAME)
    path: str = Field(pattern=r"^/[^\s{}]*[^\s{}/]$")


class CacheConfig(Frozen):
    """What is taken from earlier runs. The Publisher, and whatever looks at the world, runs every time.

    Attributes:
        enabled: Whether anything is.
        ingestion: Whether the ExampleGens are too. Nothing on Kubeflow sees that files changed under the same path:
            change the runtime parameter ``data_version`` when they do.
        never: Further nodes that run every time.
    """

    enabled: bool = True
    ingestion: bool = False
    never: tuple[str, ...] = ()


class SecretVariables(Frozen):
    """Keys of a Kubernetes secret that every node sees as environment variables.

    Attributes:
        name: Name of the secret.
        variables: Environment variable by key of the secret.
    """

    name: str = Field(pattern=_NAME)
    variables: dict[str, str] = Field(min_length=1)


class KubeflowConfig(Frozen):
    """Where the pipeline runs on Kubeflow, and with what.

    Attributes:
        image: Container image with crossrec.
        gpu_image: The image with CUDA, for nodes with accelerators.
        root: Directory of checkpoints (``checkpoints/``) and published models (``serving/``): below a volume's path.
            Default of the runtime parameter ``root``.
        data: Directory that the spec's relative paths start from: ``gs://…`` or below a volume's path.
            Default of the runtime parameter ``data``.
        pipeline_root: Root of the artifacts: ``gs://``, ``s3://`` or ``minio://``, or a directory below a volume's
            path; the cluster's own root if left out.
        volumes: Volumes that all nodes mount.
        resources: Resources by node id; ``all`` for those that are not named.
        beam: Beam's options on Kubeflow, in place of the spec's section of that name.
        cache: What is taken from earlier runs.
        retries: How often a failed node is tried again.
        secrets: Secrets as environment variables.
        image_pull_secrets: Secrets for the image's registry.
    """

    image: str = Field(pattern=_IMAGE)
    gpu_image: str = Field(default="", pattern=f"{_IMAGE}|^$")
    root: str
    data: str
    pipeline_root: str = ""
    volumes: tuple[Volume, ...] = ()
    resources: dict[str, NodeResources] = {}
    beam: BeamConfig | None = None
    cache: CacheConfig = CacheConfig()
    retries: int = Field(default=2, ge=0, le=20)
    secrets: tuple[SecretVariables, ...] = ()
    image_pull_secrets: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _together(self) -> KubeflowConfig:
        problem = next(_problems(self), None)
        if problem:
            raise ValueError(problem)
        return self

    def resources_of(self, node: str) -> NodeResources:
        """The resources of a node."""
        return self.resources.get(node) or self.resources.get(ALL) or NodeResources()

    def image_of(self, node: str) -> str:
        """The image that a node runs."""
        return self.gpu_image if self.resources_of(node).gpu is not None else self.image

    def named_nodes(self) -> Mapping[str, Iterable[str]]:
        """The node ids that the section names, by field."""
        return {
            "kubeflow.resources": [node for node in self.resources if node != ALL],
            "kubeflow.cache.never": self.cache.never,
        }


def _problems(config: KubeflowConfig) -> Iterator[str]:
    yield from check_beam(config.beam or {})
    with_gpu = [node for node, resources in config.resources.items() if resources.gpu is not None]
    if with_gpu and not config.gpu_image:
        yield f"resources.{with_gpu[0]} asks for a GPU, and gpu_image is missing. Name the image with CUDA"
    mounted = ", ".join(volume.path for volume in config.volumes) or "(none)"
    if "://" in config.root or not _is_mounted(config.root, config.volumes):
        yield (
            f"root {config.root!r} is no directory on a volume, where models can be published in one step. "
            f"Give a path below that of a volume under 'volumes'. Mounted: {mounted}"
        )
    if not config.data.startswith("gs://") and not _is_mounted(config.data, config.volumes):
        yield (
            f"data {config.data!r} is neither on gs:// nor on a volume. "
            f"Mount the data, and give the path below that of the volume. Mounted: {mounted}"
        )
    on_volume = _is_mounted(config.pipeline_root, config.volumes)
    if config.pipeline_root and not on_volume and not config.pipeline_root.startswith(ARTIFACT_SCHEMES):
        yield (
            f"pipeline_root {config.pipeline_root!r} cannot hold artifacts. "
            f"Give {', '.join(ARTIFACT_SCHEMES)}, or a path below that of a volume. Mounted: {mounted}"
        )


def _is_mounted(path: str, volumes: Iterable[Volume]) -> bool:
    return any(path == volume.path or path.startswith(f"{volume.path}/") for volume in volumes)
