"""Finding versions in the file system."""

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossrec.serving.local_server.policies import VersionPolicy, latest

_LOG = logging.getLogger(__name__)
_VERSION_NAME = re.compile(r"[0-9]+")
_MAX_VERSION = 2**63 - 1


@dataclass(frozen=True)
class ModelSource:
    """Where a model's versions lie, which of them are wanted, and their labels.

    Attributes:
        name: Name under which the model is served.
        base_path: Directory with one sub-directory per version.
        policy: Chooses the wanted versions among those found.
        labels: Version number by label.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = latest(1)
    labels: Mapping[str, int] = field(default_factory=dict)


def versions_in(base_path: Path) -> dict[int, Path]:
    """List the versions in a directory.

    Args:
        base_path: Directory of a model.

    Returns:
        Path by version number. ``007`` is version 7; names that are no number are ignored.

    Raises:
        OSError: The directory is missing or cannot be read.
    """
    versions = {}
    for child in sorted(base_path.iterdir()):
        if _VERSION_NAME.fullmatch(child.name) and int(child.name) <= _MAX_VERSION:
            versions[int(child.name)] = child
    return versions


class FileSystemSource:
    """Looks at the directories of all models from time to time and says which versions are wanted.

    Args:
        models: Models to watch.
        poll_seconds: Time between two looks; 0 looks once, and once after every `update`.
        aspire: Called with a model's name and its wanted versions after every look.
    """

    def __init__(
        self,
        models: Sequence[ModelSource],
        poll_seconds: float,
        aspire: Callable[[str, Mapping[int, Path]], None],
    ) -> None:
        self._models = tuple(models)
        self._poll_seconds = poll_seconds
        self._aspire = aspire
        self._lock = threading.Lock()
        self._stopping = False
        self._wake = threading.Event()
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="file-system-source", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking, and wait for the look under way."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():  # not so where the first configuration was refused
            self._thread.join()

    def update(self, models: Sequence[ModelSource]) -> None:
        """Watch other models from now on; those left out are wanted in no version.

        Args:
            models: All models to watch.
        """
        with self._lock:
            gone = {model.name for model in self._models} - {model.name for model in models}
            self._models = tuple(models)
            for name in sorted(gone):
                self._aspire(name, {})
        self._wake.set()

    def poll(self) -> bool:
        """Look once.

        Returns:
            Whether all base paths could be read. One that is missing leaves all models as they are: a file
            system that is gone for a moment must not unload what serves.
        """
        # The lock spans the look and its consequences, or a model that `update` drops meanwhile came back.
        with self._lock:
            found = {}
            for model in self._models:
                try:
                    found[model.name] = model.policy(versions_in(model.base_path))
                except OSError:
                    self._report(f"Could not find base path {model.base_path} for servable {model.name}")
                    return False
            self._report("")
            for name, versions in found.items():
                self._aspire(name, versions)
        return True

    def _report(self, problem: str) -> None:
        if problem and problem != self._problem:
            _LOG.warning("FileSystemStoragePathSource encountered a filesystem access error: %s", problem)
        self._problem = problem

    def _run(self) -> None:
        while not self._stopping:
            self.poll()
            self._wake.wait(self._poll_seconds or None)
            self._wake.clear()
