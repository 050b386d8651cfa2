"""Errors as TensorFlow Serving states them: gRPC code and message."""

from collections.abc import Iterable

import grpc

from crossrec.serving.contract.names import MAX_ERROR_MESSAGE, TRUNCATION_MARK

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class StatusError(Exception):
    """An error that goes to the caller, or into a version's status.

    Attributes:
        code: gRPC status code.
        message: The server's message, in full.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def wire_message(self) -> str:
        """The message as it goes over the wire: long ones are cut."""
        if len(self.message) <= MAX_ERROR_MESSAGE:
            return self.message
        return self.message[:MAX_ERROR_MESSAGE] + TRUNCATION_MARK

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def status_code(number: int) -> grpc.StatusCode:
    """Translate TensorFlow's error code, which has gRPC's numbers.

    Args:
        number: Such as ``tf.errors.OpError.error_code``.

    Returns:
        The gRPC code; UNKNOWN for a number that gRPC does not have.
    """
    return _CODES.get(number, grpc.StatusCode.UNKNOWN)


def invalid_argument(message: str) -> StatusError:
    """Make an INVALID_ARGUMENT error."""
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> StatusError:
    """Make a NOT_FOUND error."""
    return StatusError(grpc.StatusCode.NOT_FOUND, message)


def joined(keys: Iterable[str]) -> str:
    """Join names as TensorFlow Serving prints a set: sorted, by commas, without spaces."""
    return ",".join(sorted(keys))
