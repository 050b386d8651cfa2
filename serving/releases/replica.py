"""One server: the calls that a release needs, with errors that name the server and the mend."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import grpc

from crossrec.serving.contract import messages as wire
from crossrec.serving.contract.names import SIGNATURE_DEF_FIELD
from crossrec.serving.releases.errors import ReplicaDownError, ReplicaError, UsageError
from crossrec.serving.releases.fleet import Fleet, Tls

_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_DOWN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
# A server that was found down is not waited for as long in each further step.
_CONNECT_SECONDS, _RECONNECT_SECONDS = 1.5, 0.3
_DNS = "dns:///"


@dataclass(frozen=True)
class VersionStatus:
    """What GetModelStatus says of a version.

    Attributes:
      state: START, LOADING, AVAILABLE, UNLOADING or END.
      error: Code and message of a failed load; empty without one.
    """

    state: str
    error: str


class Replica:
    """Calls to one server.

    Args:
      target: ``HOST:PORT``.
      timeout_seconds: Deadline of a call.
      tls: Files for TLS; None for a plain connection.
      name: Name that the server's certificate must have; empty for the host of `target`.
    """

    def __init__(self, target: str, timeout_seconds: float, tls: Tls | None = None, name: str = "") -> None:
        self.target = target
        self._timeout_seconds = timeout_seconds
        self._seems_up = True
        if tls is None:
            self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        else:
            named = (("grpc.ssl_target_name_override", name),) if name else ()
            self._channel = grpc.secure_channel(target, _credentials(tls), options=(*_OPTIONS, *named))

    def require_up(self) -> None:
        """Wait shortly for a connection.

        Raises:
          ReplicaDownError: If there is none.
        """
        request = wire.GetModelStatusRequest()
        request.model_spec.name = "is anybody there"
        seconds = min(_CONNECT_SECONDS if self._seems_up else _RECONNECT_SECONDS, self._timeout_seconds)
        try:
            self._call(wire.GET_MODEL_STATUS_METHOD, request, wire.GetModelStatusResponse, seconds, wait=True)
        except grpc.RpcError as error:
            # Any answer will do, and "no such model" is one.
            if _code(error) in _DOWN:
                self._seems_up = False
                raise ReplicaDownError(
                    f"{self.target}: nobody answers; start the server, or see to the network"
                ) from error
        self._seems_up = True

    def statuses(self, model: str) -> dict[int, VersionStatus]:
        """Ask for the versions of a model.

        Args:
          model: Name of the model.

        Returns:
          Status by version; empty if the server does not know the model.

        Raises:
          ReplicaDownError: If the server does not answer.
          ReplicaError: If it refuses.
        """
        request = wire.GetModelStatusRequest()
        request.model_spec.name = model
        try:
            response = self._call(wire.GET_MODEL_STATUS_METHOD, request, wire.GetModelStatusResponse)
        except grpc.RpcError as error:
            if _code(error) is grpc.StatusCode.NOT_FOUND:
                return {}
            raise self._failure(error, f"GetModelStatus of {model}") from error
        name = wire.ModelVersionStatus.State.Name
        return {
            one.version: VersionStatus(name(one.state), _status_text(one.status))
            for one in response.model_version_status
        }

    def labelled_version(self, model: str, label: str) -> int | None:
        """Find the version that a label resolves to.

        GetModelStatus ignores labels; GetModelMetadata resolves them as Predict does.

        Args:
          model: Name of the model.
          label: The label.

        Returns:
          The version; None if the label does not answer.

        Raises:
          ReplicaDownError: If the server does not answer.
        """
        request = wire.GetModelMetadataRequest(metadata_field=[SIGNATURE_DEF_FIELD])
        request.model_spec.name = model
        request.model_spec.version_label = label
        try:
            response = self._call(wire.GET_MODEL_METADATA_METHOD, request, wire.GetModelMetadataResponse)
        except grpc.RpcError as error:
            if _code(error) in _DOWN:
                raise self._failure(error, "GetModelMetadata") from error
            return None
        return int(response.model_spec.version.value)

    def predict(self, request: Any) -> Any:
        """Send a PredictRequest as it is.

        Args:
          request: The request.

        Returns:
          PredictResponse.

        Raises:
          grpc.RpcError: If the server refuses or does not answer; the caller judges that.
        """
        return self._call(wire.PREDICT_METHOD, request, wire.PredictResponse)

    def reload(self, config: Any, timeout_seconds: float | None = None) -> None:
        """Give the server a whole new configuration.

        Args:
          config: ModelServerConfig.
          timeout_seconds: Deadline; the call waits for models that are new to the server.

        Raises:
          ReplicaDownError: If the server does not answer.
          ReplicaError: If it refuses the configuration.
        """
        request = wire.ReloadConfigRequest()
        request.config.CopyFrom(config)
        try:
            response = self._call(wire.RELOAD_CONFIG_METHOD, request, wire.ReloadConfigResponse, timeout_seconds)
        except grpc.RpcError as error:
            raise self._failure(error, "HandleReloadConfigRequest") from error
        if response.status.error_code:
            raise ReplicaError(f"{self.target}: refused the configuration: {_status_text(response.status)}")

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Replica:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(
        self, method: str, request: Any, response: Any, timeout_seconds: float | None = None, wait: bool = False
    ) -> Any:
        call = self._channel.unary_unary(
            method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
        return call(request, timeout=timeout_seconds or self._timeout_seconds, wait_for_ready=wait)

    def _failure(self, error: grpc.RpcError, what: str) -> ReplicaDownError | ReplicaError:
        code, details = _code(error), cast(grpc.Call, error).details() or ""
        if code in _DOWN:
            return ReplicaDownError(
                f"{self.target}: {what}: {code.name}: {details}; start the server, or see to the network"
            )
        return ReplicaError(f"{self.target}: {what} was refused: {code.name}: {details}")


def connect(fleet: Fleet) -> list[Replica]:
    """Make a connection to each replica of a fleet; none is used yet.

    Args:
      fleet: The fleet.

    Returns:
      Replicas in the order of the fleet; a ``dns:///`` name becomes every address that it resolves to now.

    Raises:
      UsageError: If the fleet names no replica, or a TLS file cannot be read.
    """
    if not fleet.replicas:
        raise UsageError(
            "fleet.replicas: is empty; name the servers with `crossrec release configure --replica HOST:PORT`"
        )
    targets = {target: name for replica in fleet.replicas for target, name in _resolve(replica).items()}
    return [Replica(target, fleet.limits.call_timeout_seconds, fleet.tls, name) for target, name in targets.items()]


def error_text(error: grpc.RpcError) -> str:
    """Put an RPC error into words.

    Args:
      error: What a call raised.

    Returns:
      Code and the server's message.
    """
    return f"{_code(error).name}: {cast(grpc.Call, error).details() or ''}"


def _resolve(replica: str) -> dict[str, str]:
    """Return the name for the certificate by address."""
    if not replica.startswith(_DNS):
        return {replica: ""}
    host, _, port = replica[len(_DNS) :].rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except socket.gaierror:
        # The call then fails with the name in its message, as for any server that is down.
        return {f"{host}:{port}": ""}
    addresses = sorted({str(entry[4][0]) for entry in found})
    return {f"[{one}]:{port}" if ":" in one else f"{one}:{port}": host for one in addresses}


def _credentials(tls: Tls) -> Any:
    files: Mapping[str, str] = {"authority": tls.authority, "certificate": tls.certificate, "key": tls.key}
    contents: dict[str, bytes | None] = {}
    for name, path in files.items():
        try:
            contents[name] = Path(path).read_bytes() if path else None
        except OSError as error:
            raise UsageError(
                f"tls.{name}: {path} cannot be read: {error.strerror}; correct the path or its mode"
            ) from error
    return grpc.ssl_channel_credentials(contents["authority"], contents["key"], contents["certificate"])


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    return cast(grpc.StatusCode, cast(grpc.Call, error).code())


def _status_text(status: Any) -> str:
    if not status.error_code:
        return ""
    names = {code.value[0]: code.name for code in grpc.StatusCode}
    return f"{names.get(status.error_code, status.error_code)}: {status.error_message}"
