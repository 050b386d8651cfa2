"""One pipeline run at a time under one root."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from crossrec.serving.releases.durable import make_directories
from crossrec.serving.releases.errors import LockTimeoutError
from crossrec.serving.releases.file_lock import file_lock, read_holder

LOCK_FILE = ".lock"


class RunInProgressError(RuntimeError):
    """Another run is using the pipeline root."""


@contextlib.contextmanager
def run_lock(root: str | Path) -> Iterator[None]:
    """Keep a pipeline root for one run, and refuse at once if another run has it.

    The lock file names the process, host and start time of its holder. The kernel gives the lock back when
    the holder ends, however it ends, so nothing has to be cleaned up after a crash.

    Args:
      root: The pipeline root; made if it does not exist.

    Yields:
      None.

    Raises:
      RunInProgressError: If another run holds the lock; the message names it.
      OSError: If the root cannot be made or written.

    Example:
      >>> import tempfile
      >>> with run_lock(tempfile.mkdtemp()):
      ...     pass  # run the pipeline
    """
    path = Path(root) / LOCK_FILE
    make_directories(path.parent)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path, 0.0, f"the pipeline root {root}"))
        except LockTimeoutError as error:
            raise RunInProgressError(
                f"root: {root} is in use by {read_holder(path)}; wait until that run has ended, end it, or "
                "give this run a root of its own with --root"
            ) from error
        yield
