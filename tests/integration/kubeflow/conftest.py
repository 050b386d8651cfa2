"""One run of a whole pipeline as Kubeflow would run it, and the same by the local runner."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from crossrec.pipeline.spec.load import parse_spec
from tests.end_to_end import marketplace
from tests.integration.kubeflow.kfp_launcher import Cluster, TaskResult

ROWS = 4_000
# As little as still uses every node: what counts is that both runners do the same.
SMALL = {
    "crosses.auto": None,
    "retrieval.training": {"epochs": 1, "batch_size": 512},
    "ranking.training": {"epochs": 1, "patience": 0, "batch_size": 512},
    "serving.check": {"requests": 20, "warm_up_requests": 2},
}


@dataclass(frozen=True)
class Runs:
    """The two runs.

    Attributes:
        spec: The spec's file, without a ``kubeflow`` section.
        data: Folder of the raw data.
        local: Root of the local run.
        file: The compiled specification.
        root: The directory on the volume where Kubeflow's run left checkpoints and models.
        results: What became of each task there.
        cluster: Where it ran.
    """

    spec: Path
    data: Path
    local: Path
    file: Path
    root: Path
    results: dict[str, TaskResult]
    cluster: Cluster

    def directory(self, task: str, key: str) -> Path:
        """Where the object store keeps an output of a task."""
        return self.cluster.local_directory(self.results[task].artifacts[key]["uri"])

    def local_directory(self, task: str, key: str) -> Path:
        """Where the local run keeps it."""
        (directory,) = (self.local / "artifacts" / task / key).iterdir()
        return directory


def kubeflow_section(data: Path, volume: Path) -> dict[str, Any]:
    """The section of a spec for a cluster with volumes and MinIO."""
    return {
        "image": "registry.example.com/crossrec:test",
        "root": f"{volume}/root",
        "data": str(data),
        "pipeline_root": "minio://mlpipeline/crossrec",
        "volumes": [{"claim": "crossrec", "path": str(volume)}, {"claim": "data", "path": str(data)}],
    }


def compile_to(file: Path, spec_file: Path, section: dict[str, Any]) -> Path:
    """Compile a spec with this ``kubeflow`` section."""
    from crossrec.pipeline.kubeflow.compile import compile_pipeline

    content = yaml.safe_load(spec_file.read_text(encoding="utf-8"))
    file.write_text(compile_pipeline(parse_spec({**content, "kubeflow": section})).text(), encoding="utf-8")
    return file


def make(folder: Path) -> Runs:
    """Simulate, run locally, compile, and run that."""
    data, volume, local = folder / "data", folder / "volume", folder / "local"
    simulated = marketplace.command("simulate", data, "--rows", ROWS, "--days", 20)
    assert simulated.returncode == 0, simulated.stderr
    spec = marketplace.write_spec(folder / "spec.yaml", SMALL)
    ran = marketplace.command("run", spec, "--data", data, "--root", local, seconds=1800)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    cluster = Cluster(folder / "store", folder / "work")
    file = compile_to(folder / "pipeline.yaml", spec, kubeflow_section(data, volume))
    results = cluster.run(file, {"release_label": "first"})
    seconds = {name: round(result.seconds, 1) for name, result in results.items()}
    (folder / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")
    return Runs(spec, data, local, file, volume / "root", results, cluster)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Some minutes of work: every node is a process that imports TensorFlow and TFX."""
    return make(tmp_path_factory.mktemp("kubeflow"))
