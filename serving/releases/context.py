"""What every release command needs: where the models lie, where the state is kept, who acts."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossrec.serving.releases.errors import UsageError
from crossrec.serving.releases.ledger import Ledger
from crossrec.serving.releases.release import Release
from crossrec.serving.releases.state import ReleaseState
from crossrec.serving.releases.store import LEDGER_FILE, RELEASES_DIRECTORY, FileStore, StateStore
from crossrec.serving.releases.versions import find_version, list_versions


def _nothing(_: Any) -> None:
    return None


def this_user() -> str:
    """Return USER@HOST of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True)
class Context:
    """Where and by whom a command is carried out.

    Attributes:
      serving_root: The directory that holds the model directories, as this machine sees it.
      store: Keeps the state.
      ledger: Keeps the events.
      actor: Who acts, as USER@HOST.
      progress: Called with a line for people after each step that they may wait for.
      on_step: Called with the name of each step when it is done, for tests.
      on_event: Called with each event of the ledger that ends an operation.
    """

    serving_root: Path
    store: StateStore
    ledger: Ledger
    actor: str = field(default_factory=this_user)
    progress: Callable[[str], None] = _nothing
    on_step: Callable[[str], None] = _nothing
    on_event: Callable[[Mapping[str, Any]], None] = _nothing

    @staticmethod
    def for_root(serving_root: Path, **others: Any) -> Context:
        """Make a context with the state in files beside the models.

        Args:
          serving_root: The directory that holds the model directories.
          **others: Further fields.

        Returns:
          The context.
        """
        root = serving_root.absolute()
        fields = {"store": FileStore(root), "ledger": Ledger(root / RELEASES_DIRECTORY / LEDGER_FILE), **others}
        return Context(serving_root=root, **fields)

    def require_state(self) -> ReleaseState:
        """Read the state.

        Returns:
          The state.

        Raises:
          UsageError: If there is none yet.
          ReleaseError: If it cannot be read.
        """
        state = self.store.read()
        if state is None:
            raise UsageError(
                f"{self.store.place}: there is no release state yet; name the servers once with "
                "`crossrec release configure --replica HOST:PORT`"
            )
        return state

    def version_dir(self, model: str, version: int) -> Path:
        """Find the directory of a version.

        Args:
          model: Name of the model.
          version: The version.

        Returns:
          Its directory.

        Raises:
          UsageError: If there is none; the message names those that are there.
        """
        model_dir = self.serving_root / model
        found = find_version(model_dir, version)
        if found is None:
            there = ", ".join(map(str, list_versions(model_dir))) if model_dir.is_dir() else ""
            raise UsageError(
                f"{model} {version}: {model_dir} holds no such version, only {there or 'none'}; publish it first, or "
                "name one of these"
            )
        return found

    def require_release(self, release: Release) -> None:
        """Make sure that every version of a release is there.

        Args:
          release: The release.

        Raises:
          UsageError: If one is missing.
        """
        for model, version in release.versions:
            self.version_dir(model, version)
