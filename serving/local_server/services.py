"""The gRPC services over a manager."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from crossrec.serving.contract.names import SIGNATURE_DEF_FIELD
from crossrec.serving.local_server.manager import Manager, VersionState
from crossrec.serving.local_server.predict import run_predict
from crossrec.serving.local_server.servable import Servable
from crossrec.serving.local_server.statuses import StatusError, invalid_argument, not_found


def _answer(context: grpc.ServicerContext, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except StatusError as error:
        return context.abort(error.code, error.wire_message)


def _unimplemented(_self: Any, _request: Any, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "The local server does not answer this method")


def _require_model_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


def _held(manager: Manager, spec: Any) -> AbstractContextManager[Servable]:
    if not spec.name:
        raise invalid_argument("ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    if choice == "version_label":
        raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
    return manager.servable(spec.name, spec.version.value if choice == "version" else None)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata.

    Args:
        manager: Holds the loaded versions.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer PredictionService.Predict."""
        return _answer(context, lambda: self._predict(request))

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer PredictionService.GetModelMetadata."""
        return _answer(context, lambda: self._metadata(request))

    Classify = _unimplemented
    Regress = _unimplemented
    MultiInference = _unimplemented

    def _predict(self, request: Any) -> Any:
        _require_model_spec(request)
        with _held(self._manager, request.model_spec) as servable:
            return run_predict(servable, request)

    def _metadata(self, request: Any) -> Any:
        _require_model_spec(request)
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_DEF_FIELD:
                raise invalid_argument(f"Metadata field {field} is not supported")
        with _held(self._manager, request.model_spec) as servable:
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for key, signature in servable.signatures.items():
                signatures.signature_def[key].CopyFrom(signature)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
        response.metadata[SIGNATURE_DEF_FIELD].Pack(signatures)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus.

    Args:
        manager: Knows the versions' states.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer ModelService.GetModelStatus."""
        return _answer(context, lambda: self._status(request))

    HandleReloadConfigRequest = _unimplemented

    def _status(self, request: Any) -> Any:
        _require_model_spec(request)
        spec = request.model_spec
        version: int | None = spec.version.value if spec.HasField("version") else None
        states = [state for state in self._manager.states(spec.name) if version in (None, state.version)]
        if not states:
            missing = "any versions" if version is None else f"version {version}"
            raise not_found(f"Could not find {missing} of model {spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for state in states:
            _add_status(response, state)
        return response


def _add_status(response: Any, state: VersionState) -> None:
    status = response.model_version_status.add()
    status.version = state.version
    status.state = int(state.state)
    if state.error is not None:
        status.status.error_code = state.error.code.value[0]
        status.status.error_message = state.error.message
