"""Where a training keeps its checkpoints: a folder that only a run of the same work finds again."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from crossrec.components.modeling import runtime
from crossrec.components.modeling.replicas import is_chief, wait_for_all


@contextmanager
def checkpoint_directory(root: str, name: str, identity: Sequence[str]) -> Iterator[str]:
    """The folder for one piece of work; it goes when the work is done, and stays when it is broken off.

    Args:
        root: Folder of all checkpoints.
        name: What is trained.
        identity: All that the result depends on: configuration, code, inputs.
    """
    digest = hashlib.sha256("\n".join(identity).encode("utf-8")).hexdigest()[:16]
    directory = Path(root) / f"{name}-{digest}"
    yield str(directory)
    strategy = runtime.strategy()
    wait_for_all(strategy)
    if is_chief(strategy):
        shutil.rmtree(directory, ignore_errors=True)
