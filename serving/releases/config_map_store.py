"""The state in a Kubernetes ConfigMap, changed only if nobody else has changed it meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
from collections.abc import Iterator
from typing import Any

from crossrec.serving.releases.errors import ConflictError, ReleaseError, UsageError
from crossrec.serving.releases.state import ReleaseState, state_from_text, state_to_text
from crossrec.serving.releases.store import MODELS_CONFIG_FILE, STATE_FILE, TRAFFIC_FILE
from crossrec.serving.releases.wanted import models_config_text, traffic

_NOT_FOUND, _CONFLICT = 404, 409


class ConfigMapStore:
    """The state, models.config and traffic.json as keys of one ConfigMap, so that they change in one step.

    Kubernetes refuses a write that does not carry the resourceVersion of the last one: of two operators one wins and
    the other is told. There is no lock that a killed process gives back; the operation has a lease instead.

    Args:
      name: Name of the ConfigMap.
      namespace: Its namespace.
      api: ``kubernetes.client.CoreV1Api``; None takes the configuration of the pod, or else of ``kubectl``.
    """

    is_locking = False

    def __init__(self, name: str, namespace: str = "default", api: Any = None) -> None:
        self._name = name
        self._namespace = namespace
        self._api = api if api is not None else _default_api()
        self._config_map: Any = None
        self.place = f"configmap {namespace}/{name}"
        self.models_config = f"{self.place}, key {MODELS_CONFIG_FILE}"

    @contextlib.contextmanager
    def exclusive(self, purpose: str) -> Iterator[None]:
        """See `StateStore.exclusive`; here the writes themselves keep others out."""
        yield

    def read(self) -> ReleaseState | None:
        """See `StateStore.read`."""
        self._config_map = self._call(
            "read", _NOT_FOUND, self._api.read_namespaced_config_map, self._name, self._namespace
        )
        data = (self._config_map.data or {}) if self._config_map is not None else {}
        return state_from_text(data[STATE_FILE], self.place) if STATE_FILE in data else None

    def write(self, state: ReleaseState) -> ReleaseState:
        """See `StateStore.write`."""
        written = dataclasses.replace(state, generation=state.generation + 1)
        data = {
            STATE_FILE: state_to_text(written),
            MODELS_CONFIG_FILE: models_config_text(written),
            TRAFFIC_FILE: json.dumps(traffic(written), indent=2) + "\n",
        }
        if self._config_map is None:
            body = {"metadata": {"name": self._name}, "data": data}
            done = self._call("create", _CONFLICT, self._api.create_namespaced_config_map, self._namespace, body)
        else:
            body = self._config_map
            body.data = {**(body.data or {}), **data}
            done = self._call(
                "replace", _CONFLICT, self._api.replace_namespaced_config_map, self._name, self._namespace, body
            )
        if done is None:
            raise ConflictError(
                f"{self.place}: somebody else changed it meanwhile; look with `crossrec release show` and try again"
            )
        self._config_map = done
        return written

    def show(self, state: ReleaseState) -> None:
        """See `StateStore.show`; `write` has done it."""

    def _call(self, what: str, expected: int, method: Any, *arguments: Any) -> Any:
        """Call the API server; None for the one error that the caller expects."""
        api_error = importlib.import_module("kubernetes.client.exceptions").ApiException
        transport_error = importlib.import_module("urllib3.exceptions").HTTPError
        try:
            return method(*arguments)
        except api_error as error:
            if error.status == expected:
                return None
            mend = (
                "give this account the verbs get, create and update on configmaps"
                if error.status == 403
                else "see to it"
            )
            raise ReleaseError(f"{self.place}: cannot {what}: {error.status} {error.reason}; {mend}") from error
        except transport_error as error:
            raise ReleaseError(f"{self.place}: cannot {what}: {error}; see that the API server answers") from error


def _default_api() -> Any:
    try:
        client, config = (importlib.import_module(f"kubernetes.{name}") for name in ("client", "config"))
    except ImportError as error:
        raise UsageError("--config-map: needs the package kubernetes: pip install 'crossrec[kubernetes]'") from error
    try:
        config.load_incluster_config()
    except config.ConfigException:
        try:
            config.load_kube_config()
        except config.ConfigException as error:
            raise UsageError(f"--config-map: no cluster is configured: {error}; see that `kubectl` works") from error
    return client.CoreV1Api()
