"""Finding versions in the file system."""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossrec.serving.local_server.policies import VersionPolicy, latest

_VERSION_NAME = re.compile(r"[0-9]+")
_MAX_VERSION = 2**63 - 1


@dataclass(frozen=True)
class ModelSource:
    """Where a model's versions lie and which of them are wanted.

    Attributes:
        name: Name under which the model is served.
        base_path: Directory with one sub-directory per version.
        policy: Chooses the wanted versions among those found.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = latest(1)


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
        poll_seconds: Time between two looks; 0 looks once.
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
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="file-system-source", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking, and wait for the look under way."""
        self._stopping.set()
        self._thread.join()

    def poll(self) -> bool:
        """Look once.

        Returns:
            Whether all base paths could be read. One that is missing leaves all models as they are: a file
            system that is gone for a moment must not unload what serves.
        """
        found = {}
        for model in self._models:
            try:
                found[model.name] = model.policy(versions_in(model.base_path))
            except OSError:
                return False
        for name, versions in found.items():
            self._aspire(name, versions)
        return True

    def _run(self) -> None:
        self.poll()
        while self._poll_seconds > 0 and not self._stopping.wait(self._poll_seconds):
            self.poll()
