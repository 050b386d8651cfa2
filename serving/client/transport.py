"""The gRPC calls, without generated stubs."""

from typing import Any, cast

import grpc

from crossrec.serving.client.errors import call_error
from crossrec.serving.contract import messages

# Lists of candidates with their texts pass gRPC's default of 4 MB.
_CHANNEL_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_METHODS = {
    messages.PREDICT_METHOD: messages.PredictResponse,
    messages.GET_MODEL_METADATA_METHOD: messages.GetModelMetadataResponse,
    messages.GET_MODEL_STATUS_METHOD: messages.GetModelStatusResponse,
}


class Transport:
    """One channel to one target."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._channel = grpc.insecure_channel(target, options=_CHANNEL_OPTIONS)
        self._calls = {
            method: self._channel.unary_unary(
                method,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=response.FromString,
            )
            for method, response in _METHODS.items()
        }

    def call(self, method: str, request: Any, timeout_seconds: float) -> Any:
        """Send one request.

        Args:
            method: Full name of the method, see `contract.messages`.
            request: Message to send.
            timeout_seconds: Deadline.

        Returns:
            The answer.

        Raises:
            CallError: The server answered with an error, or not in time.
        """
        try:
            # A deadline of zero would mean none at all to some versions of gRPC.
            return self._calls[method](request, timeout=max(timeout_seconds, 1e-3))
        except grpc.RpcError as error:
            status = cast(grpc.Call, error)
            raise call_error(status.code(), status.details() or "", self.target) from error

    def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        self._channel.close()
