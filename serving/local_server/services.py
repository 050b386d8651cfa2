"""The gRPC services over the models of a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from crossrec.serving.contract.names import DEFAULT_SIGNATURE, SIGNATURE_DEF_FIELD
from crossrec.serving.local_server.classification import run_classify
from crossrec.serving.local_server.core import ServerCore
from crossrec.serving.local_server.manager import VersionState
from crossrec.serving.local_server.multi_inference import run_multi_inference
from crossrec.serving.local_server.predict import run_predict
from crossrec.serving.local_server.regression import run_regress
from crossrec.serving.local_server.servable import Servable
from crossrec.serving.local_server.statuses import StatusError, invalid_argument, not_found


def _answer(context: grpc.ServicerContext, call: Callable[[Any], Any], request: Any) -> Any:
    # Whoever waits for a thread past its deadline has gone: work for it would only delay the others.
    if not context.is_active():
        return context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded before the request was run")
    try:
        return call(request)
    except StatusError as error:
        return context.abort(error.code, error.wire_message)


def _require_model_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


def _name(answered: Any, asked: Any, servable: Servable) -> None:
    answered.name = asked.name
    answered.signature_name = asked.signature_name or DEFAULT_SIGNATURE
    answered.version.value = servable.version


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify, Regress, MultiInference and GetModelMetadata.

    Args:
        core: Holds the loaded versions.
    """

    def __init__(self, core: ServerCore) -> None:
        self._core = core

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer PredictionService.Predict."""
        return _answer(context, self._predict, request)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer PredictionService.Classify."""
        return _answer(context, self._classify, request)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer PredictionService.Regress."""
        return _answer(context, self._regress, request)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer PredictionService.MultiInference."""
        return _answer(context, self._multi_inference, request)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer PredictionService.GetModelMetadata."""
        return _answer(context, self._metadata, request)

    def _predict(self, request: Any) -> Any:
        _require_model_spec(request)
        with self._core.held(request.model_spec) as servable:
            return run_predict(servable, request)

    def _classify(self, request: Any) -> Any:
        return self._examples(request, run_classify)

    def _regress(self, request: Any) -> Any:
        return self._examples(request, run_regress)

    def _examples(self, request: Any, run: Callable[[Servable, Any], Any]) -> Any:
        _require_model_spec(request)
        with self._core.held(request.model_spec) as servable:
            response = run(servable, request)
            _name(response.model_spec, request.model_spec, servable)
            return response

    def _multi_inference(self, request: Any) -> Any:
        # Without a task there is no ModelSpec either; an empty one names what is missing.
        spec = request.tasks[0].model_spec if request.tasks else type(request)().tasks.add().model_spec
        with self._core.held(spec) as servable:
            response = run_multi_inference(servable, request)
            for result, task in zip(response.results, request.tasks):
                _name(result.model_spec, task.model_spec, servable)
            return response

    def _metadata(self, request: Any) -> Any:
        _require_model_spec(request)
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_DEF_FIELD:
                raise invalid_argument(f"Metadata field {field} is not supported")
        with self._core.held(request.model_spec) as servable:
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for key, signature in servable.signatures.items():
                signatures.signature_def[key].CopyFrom(signature)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
        response.metadata[SIGNATURE_DEF_FIELD].Pack(signatures)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest.

    Args:
        core: Knows the versions' states, and takes new configurations.
    """

    def __init__(self, core: ServerCore) -> None:
        self._core = core

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer ModelService.GetModelStatus."""
        return _answer(context, self._status, request)

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer ModelService.HandleReloadConfigRequest."""
        return _answer(context, self._reload, request)

    def _status(self, request: Any) -> Any:
        _require_model_spec(request)
        spec = request.model_spec
        version: int | None = spec.version.value if spec.HasField("version") else None
        states = [state for state in self._core.states(spec.name) if version in (None, state.version)]
        if not states:
            missing = "any versions" if version is None else f"version {version}"
            raise not_found(f"Could not find {missing} of model {spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for state in states:
            _add_status(response, state)
        return response

    def _reload(self, request: Any) -> Any:
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is "
                "currently supported"
            )
        self._core.reload(request.config)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response


def _add_status(response: Any, state: VersionState) -> None:
    status = response.model_version_status.add()
    status.version = state.version
    status.state = int(state.state)
    status.status.SetInParent()
    if state.error is not None:
        status.status.error_code = state.error.code.value[0]
        status.status.error_message = state.error.message
