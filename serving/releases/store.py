"""Where the state lives: one interface, and files beside the models behind it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from crossrec.serving.releases.durable import make_directories, write_file
from crossrec.serving.releases.errors import ConflictError, LockTimeoutError, ReleaseError, describe_os_error
from crossrec.serving.releases.file_lock import file_lock
from crossrec.serving.releases.state import ReleaseState, state_from_text, state_to_text
from crossrec.serving.releases.wanted import models_config_text, traffic

RELEASES_DIRECTORY = ".releases"
STATE_FILE = "state.json"
MODELS_CONFIG_FILE = "models.config"
TRAFFIC_FILE = "traffic.json"
LEDGER_FILE = "ledger.jsonl"
_LOCK_FILE = "lock"


class StateStore(Protocol):
    """Keeps the state and shows it to servers and clients.

    Attributes:
      place: Where the state lies, for people.
      models_config: Where servers find their configuration, for people.
      is_locking: Whether `exclusive` proves that nobody else is at work, also after a kill.
    """

    place: str
    models_config: str
    is_locking: bool

    def exclusive(self, purpose: str) -> AbstractContextManager[None]:
        """Keep others out while the block runs.

        Args:
          purpose: What is done, for others.

        Raises:
          ConflictError: If somebody else is at work.
        """
        ...

    def read(self) -> ReleaseState | None:
        """Read the state; None before the first write.

        Raises:
          ReleaseError: If it cannot be read.
        """
        ...

    def write(self, state: ReleaseState) -> ReleaseState:
        """Replace the state, durably and whole, if it is still the one that was read.

        Args:
          state: The new state, with the generation of the one that it was made from.

        Returns:
          The state as written, with its new generation.

        Raises:
          ConflictError: If somebody else wrote meanwhile.
          ReleaseError: If it could not be written; then the former state stands.
        """
        ...

    def show(self, state: ReleaseState) -> None:
        """Make sure that models.config and the shares of the traffic say what the state says.

        Args:
          state: The state as written.

        Raises:
          ReleaseError: If they could not be written.
        """
        ...


class FileStore:
    """The state in files beside the models.

    ``<serving root>/.releases/state.json`` is the state; ``<serving root>/models.config`` and ``traffic.json`` follow
    from it and are written anew with every change.

    Args:
      serving_root: The directory that holds the model directories.
    """

    is_locking = True

    def __init__(self, serving_root: Path) -> None:
        self._root = serving_root
        self._directory = serving_root / RELEASES_DIRECTORY
        self._path = self._directory / STATE_FILE
        self.place = str(self._path)
        self.models_config = str(serving_root / MODELS_CONFIG_FILE)

    @contextlib.contextmanager
    def exclusive(self, purpose: str) -> Iterator[None]:
        """See `StateStore.exclusive`."""
        with contextlib.ExitStack() as stack:
            try:
                make_directories(self._directory)
                stack.enter_context(file_lock(self._directory / _LOCK_FILE, 0.0, purpose))
            except LockTimeoutError as error:
                raise ConflictError(f"{error}. Nothing was changed") from error
            except OSError as error:
                raise ReleaseError(f"cannot lock: {describe_os_error(error, self._directory)}") from error
            yield

    def read(self) -> ReleaseState | None:
        """See `StateStore.read`."""
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ReleaseError(f"cannot read the state: {describe_os_error(error, self._directory)}") from error
        return state_from_text(text, self.place)

    def write(self, state: ReleaseState) -> ReleaseState:
        """See `StateStore.write`."""
        current = self.read()
        if current is not None and current.generation != state.generation:
            raise ConflictError(
                f"{self.place}: was changed meanwhile (generation {current.generation} instead of "
                f"{state.generation}); look with `crossrec release show` and try again"
            )
        written = dataclasses.replace(state, generation=state.generation + 1)
        self._write_file(self._path, state_to_text(written))
        return written

    def show(self, state: ReleaseState) -> None:
        """See `StateStore.show`."""
        self._write_file(self._root / MODELS_CONFIG_FILE, models_config_text(state))
        self._write_file(self._directory / TRAFFIC_FILE, json.dumps(traffic(state), indent=2) + "\n")

    def _write_file(self, path: Path, text: str) -> None:
        try:
            if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
                return
            make_directories(path.parent)
            write_file(path, text)
        except OSError as error:
            raise ReleaseError(
                f"cannot write {path.name}: {describe_os_error(error, path.parent, len(text.encode()))}"
            ) from error
