"""Exceptions of the client: what went wrong, where, and what to do about it."""

from typing import Any

import grpc

_MAX_VALUE_LENGTH = 120


class RecommenderError(Exception):
    """Base of everything that the client raises.

    Attributes:
        mend: What the caller can do.
    """

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(f"{message}. {mend}" if mend else message)
        self.mend = mend


class RequestError(RecommenderError, ValueError):
    """A request does not fit the model; it was not sent.

    Attributes:
        field: Name of the feature or argument.
        value: Its value.
    """

    def __init__(self, field: str, value: Any, problem: str, mend: str) -> None:
        shown = repr(value)
        if len(shown) > _MAX_VALUE_LENGTH:
            shown = shown[: _MAX_VALUE_LENGTH - 1] + "…"
        super().__init__(f"{field}={shown}: {problem}", mend)
        self.field = field
        self.value = value


class ContractError(RecommenderError):
    """The model that answers is not a bundle of this contract, or its answer cannot be read."""


class ClientStateError(RecommenderError):
    """The client cannot be used here: it is closed, or belongs to another process or event loop."""


class CallError(RecommenderError):
    """The server answered with an error, or did not answer.

    Attributes:
        code: gRPC status code.
        target: Address that was called last.
        details: The server's own message.
        attempts: How often the call was tried.
    """

    default_mend = "Look into the server's log"

    def __init__(self, code: grpc.StatusCode, details: str, target: str, attempts: int = 1) -> None:
        tried = "" if attempts == 1 else f" (attempt {attempts})"
        super().__init__(f"{code.name} from {target}{tried}: {details}", self.default_mend)
        self.code = code
        self.target = target
        self.details = details
        self.attempts = attempts


class UnavailableError(CallError):
    """No server answers at the target, or its queue is full."""

    default_mend = "Check that a server runs there (start one with `crossrec serve`) and that the address is right"


class DeadlineExceededError(CallError):
    """The answer did not come within the deadline."""

    default_mend = "Give the call a longer deadline_seconds, or look at the server's load"


class NotFoundError(CallError):
    """The server does not serve that model, version or label."""

    default_mend = "Check the model's name and version; `status()` lists the versions that the server knows"


class RequestRefusedError(CallError):
    """The server refused the request: inputs, signature or label do not fit the model."""

    default_mend = "Compare the request with `metadata()`; a new version may have changed the inputs"


class OverloadedError(CallError):
    """A limit of the server, or of a proxy before it, is reached."""

    default_mend = "Ask less often or add replicas; where the limit is per replica, add the code to RetryConfig.codes"


class AccessError(CallError):
    """The server, or a proxy before it, does not know or does not admit the caller."""

    default_mend = "Check the client's headers (a token may be stale) and its certificate"


_BY_CODE: dict[grpc.StatusCode, type[CallError]] = {
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.INVALID_ARGUMENT: RequestRefusedError,
    grpc.StatusCode.FAILED_PRECONDITION: RequestRefusedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.UNAUTHENTICATED: AccessError,
    grpc.StatusCode.PERMISSION_DENIED: AccessError,
}


def call_error(code: grpc.StatusCode, details: str, target: str, attempts: int = 1) -> CallError:
    """Make the exception for a status.

    Args:
        code: gRPC status code.
        details: The server's own message.
        target: Address that was called.
        attempts: How often the call was tried.

    Returns:
        An exception of the class that stands for the code; `CallError` for the rest.
    """
    return _BY_CODE.get(code, CallError)(code, details, target, attempts)
