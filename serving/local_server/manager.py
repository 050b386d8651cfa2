"""The state machine of versions: loads, swaps without a gap, unloads after the last request."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from crossrec.serving.local_server.policies import Action, State, VersionView, next_action
from crossrec.serving.local_server.servable import Servable
from crossrec.serving.local_server.statuses import StatusError, not_found

_LOG = logging.getLogger(__name__)

Loader = Callable[[str, int, Path], Servable]


@dataclass(frozen=True)
class VersionState:
    """A version's state for GetModelStatus."""

    version: int
    state: State
    error: Optional[StatusError]


@dataclass
class _Version:
    path: Path
    aspired: bool = True
    state: State = State.START
    servable: Optional[Servable] = None
    in_flight: int = 0
    error: Optional[StatusError] = None
    attempts: int = 0
    last_error: Optional[StatusError] = None
    retry_at: float = 0.0


class Manager:
    """Owns the versions of all models. One thread loads and unloads; requests come from any thread.

    Args:
        loader: Loads the version of a model from a path; raises StatusError where it cannot.
        max_load_retries: How often a failed load is tried again, with the version LOADING meanwhile. A version
            whose load has failed for good is never tried again, not even after its files were mended.
        retry_seconds: Time between two tries; other versions and models load meanwhile.
    """

    def __init__(self, loader: Loader, max_load_retries: int = 0, retry_seconds: float = 1.0) -> None:
        self._loader = loader
        self._max_load_retries = max_load_retries
        self._retry_seconds = retry_seconds
        self._models: dict[str, dict[int, _Version]] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="manager", daemon=True)

    def start(self) -> None:
        """Begin to load what is wanted."""
        self._thread.start()

    def stop(self) -> None:
        """Stop loading; versions stay as they are until the process ends."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():  # not so where the first configuration was refused
            self._thread.join()

    def set_aspired_versions(self, model: str, wanted: Mapping[int, Path]) -> None:
        """Say which versions of a model are wanted.

        Args:
            model: Name of the model.
            wanted: Path by version number; versions left out are unloaded when that leaves no gap.
        """
        with self._changed:
            versions = self._models.setdefault(model, {})
            for number, version in list(versions.items()):
                version.aspired = number in wanted
                if not version.aspired and version.state is State.START:
                    del versions[number]
            for number, path in wanted.items():
                known = versions.get(number)
                if known is None or (known.state is State.END and known.error is None):
                    versions[number] = _Version(path)
            self._changed.notify_all()

    @contextmanager
    def servable(self, model: str, version: Optional[int] = None) -> Iterator[Servable]:
        """Hold a version for the time of a request; it is not unloaded before it is given back.

        Args:
            model: Name of the model.
            version: Version number; None for the highest that is available.

        Yields:
            The loaded version.

        Raises:
            StatusError: NOT_FOUND, no such version is available.
        """
        with self._changed:
            held = self._available(model, version)
            held.in_flight += 1
        try:
            assert held.servable is not None
            yield held.servable
        finally:
            with self._changed:
                held.in_flight -= 1
                if held.in_flight == 0 and held.state is State.UNLOADING:
                    self._changed.notify_all()

    def states(self, model: str) -> list[VersionState]:
        """List what is known of a model's versions, ended ones included.

        Args:
            model: Name of the model.

        Returns:
            The versions, the highest first.
        """
        with self._changed:
            versions = self._models.get(model, {})
            return [
                VersionState(number, versions[number].state, versions[number].error)
                for number in sorted(versions, reverse=True)
            ]

    def is_available(self, model: str, version: int) -> bool:
        """Tell whether requests for a version would be answered.

        Args:
            model: Name of the model.
            version: Version number.

        Returns:
            Whether it is AVAILABLE.
        """
        with self._changed:
            known = self._models.get(model, {}).get(version)
            return known is not None and known.state is State.AVAILABLE

    def wait_until_decided(self, model: str, stopping: threading.Event) -> Optional[VersionState]:
        """Wait for a version of a model that has been wanted lately.

        Args:
            model: Name of the model.
            stopping: Ends the waiting when set.

        Returns:
            The version that became available, or the highest where all that are wanted failed; None when stopped.
        """
        with self._changed:
            while not stopping.is_set():
                wanted = {n: one for n, one in self._models.get(model, {}).items() if one.aspired}
                available = [number for number, one in wanted.items() if one.state is State.AVAILABLE]
                if available or (wanted and all(one.error is not None for one in wanted.values())):
                    number = max(available or wanted)
                    return VersionState(number, wanted[number].state, wanted[number].error)
                self._changed.wait(0.1)
        return None

    def _available(self, model: str, version: Optional[int]) -> _Version:
        versions = self._models.get(model, {})
        if version is None:
            available = [number for number, one in versions.items() if one.state is State.AVAILABLE]
            if not available:
                raise not_found(f"Servable not found for request: Latest({model})")
            return versions[max(available)]
        held = versions.get(version)
        if held is None or held.state is not State.AVAILABLE:
            raise not_found(f"Servable not found for request: Specific({model}, {version})")
        return held

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                step = self._next_step()
                closing = self._take_drained()
                if not closing and step is None:
                    self._changed.wait(self._seconds_to_retry())
                    continue
            for servable in closing:
                servable.close()
            if step is not None:
                self._load(*step)

    def _take_drained(self) -> list[Servable]:
        drained = []
        for versions in self._models.values():
            for version in versions.values():
                if version.state is State.UNLOADING and version.in_flight == 0:
                    if version.servable is not None:
                        drained.append(version.servable)
                    version.servable = None
                    version.state = State.END
        return drained

    def _next_step(self) -> Optional[tuple[str, int, _Version]]:
        """Return the next version to load; mark versions to unload on the way."""
        for model, versions in self._models.items():
            for number, version in versions.items():
                if version.state is State.LOADING and not version.aspired:
                    self._fail(version)
                elif version.state is State.LOADING and version.retry_at <= time.monotonic():
                    return model, number, version
            while True:
                action = next_action(
                    VersionView(number, version.state, version.aspired) for number, version in versions.items()
                )
                if action is None:
                    break
                kind, number = action
                if kind is Action.LOAD:
                    versions[number].state = State.LOADING
                    return model, number, versions[number]
                versions[number].state = State.UNLOADING
                _LOG.info("Unloading {name: %s version: %d}", model, number)
        return None

    def _seconds_to_retry(self) -> Optional[float]:
        due = [
            version.retry_at
            for versions in self._models.values()
            for version in versions.values()
            if version.state is State.LOADING
        ]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _load(self, model: str, number: int, version: _Version) -> None:
        try:
            servable = self._loader(model, number, version.path)
        except StatusError as error:
            _LOG.warning("Servable {name: %s version: %d} cannot be loaded: %s", model, number, error)
            with self._changed:
                version.attempts += 1
                version.last_error = error
                version.retry_at = time.monotonic() + self._retry_seconds
                if version.attempts > self._max_load_retries:
                    self._fail(version)
            return
        with self._changed:
            version.servable, version.state = servable, State.AVAILABLE
            self._changed.notify_all()
        _LOG.info("Successfully loaded servable version {name: %s version: %d}", model, number)

    def _fail(self, version: _Version) -> None:
        version.error, version.state = version.last_error, State.END
        self._changed.notify_all()
