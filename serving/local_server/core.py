"""What the server serves: configuration, versions and labels together, and how a reload changes them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import grpc

from crossrec.serving.local_server.manager import Manager, VersionState
from crossrec.serving.local_server.model_configs import check_model_config, model_sources
from crossrec.serving.local_server.policies import State
from crossrec.serving.local_server.servable import Servable
from crossrec.serving.local_server.sources import FileSystemSource, ModelSource
from crossrec.serving.local_server.statuses import StatusError, invalid_argument

_Labels = Mapping[str, Mapping[str, int]]


class ServerCore:
    """The models of a server.

    Args:
        manager: Loads versions; started and stopped by this object.
        poll_seconds: Time between two looks at the base paths.
        stopping: Ends every waiting when set.
        labels_for_unavailable: Whether a new label may name a version that is not available.
    """

    def __init__(
        self, manager: Manager, poll_seconds: float, stopping: threading.Event, labels_for_unavailable: bool = False
    ) -> None:
        self._manager = manager
        self._source = FileSystemSource((), poll_seconds, manager.set_aspired_versions)
        self._stopping = stopping
        self._labels_for_unavailable = labels_for_unavailable
        self._platforms: Mapping[str, str] = {}
        self._labels: _Labels = {}
        # A reload that waits for a new model makes the next reload wait, as in TensorFlow Serving.
        self._reloading = threading.Lock()

    def start(self, config: Any) -> None:
        """Serve a first configuration.

        Args:
            config: ModelServerConfig.

        Raises:
            StatusError: The configuration is refused, or a model does not load.
        """
        with self._reloading:
            sources = self._accept(config)
            self._source.update(sources)
            self._manager.start()
            self._source.start()
            self._wait([source.name for source in sources], "servable(s)")

    def stop(self) -> None:
        """Stop looking and loading; versions stay as they are until the process ends."""
        self._source.stop()
        self._manager.stop()

    def reload(self, config: Any) -> None:
        """Replace the configuration. Waits for models that are new; changes to the others go on afterwards.

        Args:
            config: ModelServerConfig.

        Raises:
            StatusError: The configuration is refused, and nothing changes; or UNKNOWN, a new model does not load.
        """
        with self._reloading:
            before = set(self._platforms)
            sources = self._accept(config)
            self._source.update(sources)
            self._wait([source.name for source in sources if source.name not in before], "model(s)")

    def held(self, spec: Any) -> AbstractContextManager[Servable]:
        """Hold the version that a ModelSpec names for the time of a request.

        Args:
            spec: ModelSpec.

        Returns:
            A context with the loaded version.

        Raises:
            StatusError: INVALID_ARGUMENT, no name or no such label; NOT_FOUND, no such version, when entered.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            return self._manager.servable(spec.name)
        if choice == "version":
            return self._manager.servable(spec.name, spec.version.value)
        version = self._labels.get(spec.name, {}).get(spec.version_label)
        if version is None:
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        return self._manager.servable(spec.name, version)

    def states(self, model: str) -> list[VersionState]:
        """List what is known of a model's versions, see `Manager.states`."""
        return self._manager.states(model)

    def _accept(self, config: Any) -> tuple[ModelSource, ...]:
        platforms = check_model_config(config, self._platforms)
        sources = model_sources(config)
        # Before the models of this configuration are added: a label cannot come with its version.
        labels = self._checked_labels(sources)
        self._platforms, self._labels = platforms, labels
        return sources

    def _checked_labels(self, sources: Sequence[ModelSource]) -> _Labels:
        for source in sources:
            current = self._labels.get(source.name, {})
            for label, version in source.labels.items():
                moves = current.get(label, version) != version
                if self._labels_for_unavailable and not moves:
                    continue
                if not self._manager.is_available(source.name, version):
                    raise StatusError(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {source.name}, which is not "
                        "currently available for inference",
                    )
        return {source.name: source.labels for source in sources if source.labels}

    def _wait(self, models: Sequence[str], noun: str) -> None:
        failed = []
        for model in sorted(models):
            decided = self._manager.wait_until_decided(model, self._stopping)
            if decided is not None and decided.state is not State.AVAILABLE:
                failed.append(f"{{{{name: {model} version: {decided.version}}} due to error: {decided.error}}}, ")
        if failed:
            raise StatusError(
                grpc.StatusCode.UNKNOWN, f"{len(failed)} {noun} did not become available: {{{''.join(failed)}}}"
            )
