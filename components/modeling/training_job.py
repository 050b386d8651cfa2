"""A training as a folder: what its workers, which start apart from each other, must know, and what comes of it.

``python -m crossrec.components.modeling.training_job --job FOLDER`` is one worker. Which one of how many, it takes
from ``TF_CONFIG``, as Kubeflow's training operator sets it. All workers must see the folder, the artifacts and the
checkpoints at the same paths.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.utils import json_utils

from crossrec.components.errors import DataError
from crossrec.components.modeling import runtime
from crossrec.components.modeling.replicas import is_chief, wait_for_all
from crossrec.components.progress import LOGGER

Artifacts = Mapping[str, list[types.Artifact]]

LOST_WORKER = 138
"""Exit code where another worker is gone. The training operator starts whoever ends with 128 or more again."""

_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)
_JOB, _OUTCOME = "job.json", "outcome.json"


@dataclass(frozen=True)
class TrainingJob:
    """One execution of a trainer.

    Attributes:
        executor: Module and class of the executor, ``package.module.Class``.
        inputs: Its input artifacts.
        outputs: Its output artifacts; the chief writes them.
        parameters: Its execution properties.
    """

    executor: str
    inputs: Artifacts
    outputs: Artifacts
    parameters: Mapping[str, Any]

    def write(self, folder: str) -> None:
        """Writes the job into a folder, and forgets the outcome of a former one."""
        fileio.makedirs(folder)
        if fileio.exists(f"{folder}/{_OUTCOME}"):
            fileio.remove(f"{folder}/{_OUTCOME}")
        _write(f"{folder}/{_JOB}", [self.executor, dict(self.inputs), dict(self.outputs), dict(self.parameters)])

    @classmethod
    def read(cls, folder: str) -> TrainingJob:
        """Reads the job of a folder.

        Raises:
            DataError: There is none.
        """
        if not fileio.exists(f"{folder}/{_JOB}"):
            raise DataError("--job", f"there is no {_JOB} in {folder}", "Name the folder that the trainer wrote.")
        return cls(*_read(f"{folder}/{_JOB}"))

    def make_executor(self) -> base_executor.BaseExecutor:
        """The executor."""
        module, _, name = self.executor.rpartition(".")
        executor: base_executor.BaseExecutor = getattr(importlib.import_module(module), name)()
        return executor


def read_outcome(folder: str) -> Artifacts | None:
    """The output artifacts as the chief left them; None as long as it has not finished."""
    path = f"{folder}/{_OUTCOME}"
    return _read(path) if fileio.exists(path) else None


def work(folder: str) -> None:
    """Does one worker's part of the job in a folder.

    Raises:
        DataError: The job, the data or ``TF_CONFIG`` cannot be used.
        tensorflow.errors.OpError: Another worker is gone.
    """
    if read_outcome(folder) is not None:
        # A worker that is started again after the end would wait for ever for the others.
        return
    job = TrainingJob.read(folder)
    if not os.environ.get("TF_CONFIG"):
        raise DataError("TF_CONFIG", "is not set", "Name all workers in it, and which one this is.")
    runtime.prepare()
    strategy = runtime.strategy()
    with tempfile.TemporaryDirectory() as aside:
        outputs = dict(job.outputs)
        if not is_chief(strategy):
            outputs = {name: [_elsewhere(artifact, aside) for artifact in of] for name, of in outputs.items()}
        job.make_executor().Do(dict(job.inputs), outputs, dict(job.parameters))
    if is_chief(strategy):
        _write(f"{folder}/{_OUTCOME}", outputs)
    # Whoever ends before the chief has written could not help it to begin again.
    wait_for_all(strategy)


def _elsewhere(artifact: types.Artifact, folder: str) -> types.Artifact:
    copy = type(artifact)()
    copy.uri = f"{folder}/{artifact.name or artifact.type_name}"
    fileio.makedirs(copy.uri)
    return copy


def _write(path: str, content: Any) -> None:
    with fileio.open(f"{path}.tmp", "w") as file:
        file.write(json_utils.dumps(content))
    fileio.rename(f"{path}.tmp", path, overwrite=True)


def _read(path: str) -> Any:
    with fileio.open(path, "r") as file:
        return json_utils.loads(file.read())


def main(arguments: Sequence[str] | None = None) -> int:
    """One worker; 0 well, 2 for what only a person can mend, 138 where another worker is gone."""
    parser = argparse.ArgumentParser(description="One worker of a training.")
    parser.add_argument("--job", metavar="FOLDER", required=True, help="folder of the job, the same for all workers")
    folder = parser.parse_args(arguments).job
    try:
        work(folder)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    except _LOST as error:
        if not runtime.several_workers(os.environ.get("TF_CONFIG", "")):
            raise
        print(
            f"another worker is gone ({type(error).__name__}): the training goes on from its checkpoint",
            file=sys.stderr,
        )
        return LOST_WORKER
    return 0


if __name__ == "__main__":
    # A pod's log is where one looks how far a training is.
    LOGGER.addHandler(logging.StreamHandler())
    LOGGER.setLevel(logging.INFO)
    sys.exit(main())
