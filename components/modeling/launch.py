"""Starting the workers of a training: processes of this machine, or a TFJob where this is a pod of a cluster."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio

from crossrec.components.modeling import tf_job
from crossrec.components.modeling.training_job import LOST_WORKER, Artifacts, TrainingJob, read_outcome
from crossrec.components.progress import progress
from crossrec.serving.launch.ports import HOST, free_port

_TRIES = 3
_GRACE_SECONDS, _LOOK_SECONDS = 60.0, 0.2


def on_workers(
    executor: base_executor.BaseExecutor,
    inputs: Artifacts,
    outputs: Artifacts,
    parameters: Mapping[str, Any],
    workers: int,
) -> bool:
    """Trains on several workers, if it shall be several and this is none of them.

    Args:
        executor: The trainer's; each worker runs its like.
        inputs: Its input artifacts.
        outputs: Its output artifacts, which get the properties that the chief gave them.
        parameters: Its execution properties, ``checkpoint_root`` among them: a folder that all workers see.
        workers: How many.

    Returns:
        False if nothing was done, because this process shall train itself.

    Raises:
        RuntimeError: A worker failed, or was lost too often.
    """
    if workers == 1 or os.environ.get("TF_CONFIG"):
        return False
    kind = type(executor)
    job = TrainingJob(f"{kind.__module__}.{kind.__qualname__}", inputs, outputs, parameters)
    uris = [artifact.uri for artifacts in outputs.values() for artifact in artifacts]
    digest = hashlib.sha256("\n".join([job.executor, *uris]).encode("utf-8")).hexdigest()[:16]
    folder = f"{parameters['checkpoint_root']}/job-{digest}"
    job.write(folder)
    progress(f"{workers} workers")
    if tf_job.in_cluster():
        tf_job.run(*tf_job.connect(), f"crossrec-{digest}", folder, workers)
    else:
        run_here(folder, workers)
    made = read_outcome(folder)
    if made is None:
        raise RuntimeError(f"the workers of {folder} ended well, but its chief left no outcome")
    for name, artifacts in outputs.items():
        for artifact, of_chief in zip(artifacts, made[name]):
            artifact.mlmd_artifact.CopyFrom(of_chief.mlmd_artifact)
    fileio.rmtree(folder)
    return True


def run_here(folder: str, workers: int) -> None:
    """Runs a job on processes of this machine, which start again together if one of them is lost.

    Raises:
        RuntimeError: A worker failed, or was lost too often.
    """
    for attempt in range(1, _TRIES + 1):
        codes = _run_processes(folder, workers)
        if not any(codes):
            return
        if any(code > 0 and code != LOST_WORKER for code in codes):
            break
        progress(f"a worker was lost (exit codes {codes}), try {attempt} of {_TRIES}")
    raise RuntimeError(f"the workers of {folder} ended with exit codes {codes}. What they said is in the log")


def cluster_of(workers: int) -> list[str]:
    """A ``TF_CONFIG`` for each of some workers on free ports of this machine."""
    ports: set[int] = set()
    while len(ports) < workers:
        ports.add(free_port())
    addresses = [f"{HOST}:{port}" for port in sorted(ports)]
    return [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
        for index in range(workers)
    ]


def _run_processes(folder: str, workers: int) -> list[int]:
    command = [sys.executable, "-m", "crossrec.components.modeling.training_job", "--job", folder]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(_process(command, {**os.environ, "TF_CONFIG": one})) for one in cluster_of(workers)
        ]
        return _wait(processes)


@contextlib.contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Exit codes of all; where one failed the others get some time to notice, and are then ended as lost."""
    deadline = None
    while any(process.poll() is None for process in processes):
        if deadline is None and any(process.returncode for process in processes):
            deadline = time.monotonic() + _GRACE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            break
        time.sleep(_LOOK_SECONDS)
    return [-signal.SIGKILL if process.poll() is None else process.returncode for process in processes]
