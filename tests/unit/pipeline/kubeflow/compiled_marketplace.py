"""The marketplace's pipeline, compiled for a cluster that is asked for everything."""

from __future__ import annotations

import copy
import functools
from typing import Any

import yaml

from crossrec.pipeline.spec.load import EXAMPLES, parse_spec

SECTION = yaml.safe_load("""
image: registry.example.com/crossrec:0.1.0
gpu_image: registry.example.com/crossrec:0.1.0-cuda
root: /mnt/crossrec/shop
data: gs://bucket/shop
pipeline_root: gs://bucket/runs
volumes: [{claim: crossrec, path: /mnt/crossrec}]
resources:
  all: {cpu: 2, memory_gb: 8}
  RankingTrainer: {cpu: 8, memory_gb: 32, gpu: {count: 2}, node_selector: {pool: gpu}}
beam:
  FeatureTransform: [--runner=DataflowRunner, --project=shop]
retries: 3
secrets: [{name: store, variables: {token: STORE_TOKEN}}]
image_pull_secrets: [registry]
""")


def spec_content(section: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The marketplace's spec with a ``kubeflow`` section."""
    content = yaml.safe_load((EXAMPLES / "marketplace" / "spec.yaml").read_text(encoding="utf-8"))
    return {**content, "kubeflow": SECTION if section is None else section, **changes}


@functools.cache
def _marketplace() -> Any:
    from crossrec.pipeline.kubeflow.compile import compile_pipeline

    return compile_pipeline(parse_spec(spec_content()))


def marketplace() -> tuple[dict[str, Any], dict[str, Any]]:
    """Both documents, to do with as one likes."""
    made = _marketplace()
    return copy.deepcopy(made.spec), copy.deepcopy(made.platform)


def container(spec: dict[str, Any], node: str) -> dict[str, Any]:
    """The container of a node."""
    found: dict[str, Any] = spec["deploymentSpec"]["executors"][f"{node}_executor"]["container"]
    return found


def task(spec: dict[str, Any], node: str) -> dict[str, Any]:
    """The task of a node."""
    found: dict[str, Any] = spec["root"]["dag"]["tasks"][node]
    return found
