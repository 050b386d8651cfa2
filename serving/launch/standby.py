"""A server that is started ahead: it loads its libraries while the version that it is to load is still being made."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crossrec.serving.launch.errors import LaunchError
from crossrec.serving.launch.models import one_model
from crossrec.serving.launch.plans import choose
from crossrec.serving.launch.trial_process import TrialProcess, start

_LOG_FILE = "server.log"
# How soon it sees the version.
_LOOK = "--file_system_poll_wait_seconds=0.1"


@dataclass(frozen=True)
class Standby:
    """A server that looks at an empty folder.

    Attributes:
      model: Name of its model.
      started: The process.
      log: File for what it writes.
      versions: The folder.
    """

    model: str
    started: TrialProcess
    log: Path
    versions: Path

    def show(self, version_dir: Path) -> None:
        """Let it load a version, which stays where it is.

        Args:
          version_dir: ``<directory>/<version>``.
        """
        self.place(version_dir).symlink_to(version_dir.absolute(), target_is_directory=True)

    def place(self, version_dir: Path) -> Path:
        """Where the server sees a version."""
        return self.versions / version_dir.name


@contextlib.contextmanager
def standby_server(choice: str, model: str) -> Iterator[Standby | None]:
    """Start a server ahead; it is gone afterwards, however this ends.

    Only crossrec's own server is: importing TensorFlow takes it seconds. The others start in a moment.

    Args:
      choice: See `plans.choose`.
      model: Name of the model.

    Yields:
      The server. None where that of the choice is another one or cannot be started, which is then for the trial to say.
    """
    with tempfile.TemporaryDirectory(prefix="crossrec-standby-") as folder, contextlib.ExitStack() as stack:
        versions, log = Path(folder, "versions"), Path(folder, _LOG_FILE)
        versions.mkdir()
        standby, served = None, one_model(model, versions)
        with contextlib.suppress(LaunchError, OSError):
            if choose(choice, served, 0).kind == "local":
                standby = Standby(model, start("local", served, log, (_LOOK,)), log, versions)
                stack.enter_context(standby.started.process)
        yield standby
