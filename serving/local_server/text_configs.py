"""Configuration files of TensorFlow Serving: protocol buffers in text format.

tensorflow-serving-api carries the message of ``--model_config_file`` only. `SSLConfig` and
`BatchingParameters` are described here, with the names and numbers of TensorFlow Serving's own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from crossrec.serving.local_server.statuses import StatusError, invalid_argument, not_found

# A comment, so that a quote in it opens nothing, or a quoted string.
_QUOTED = re.compile(r"""#[^\n]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", re.DOTALL)
_PACKAGE = "tensorflow.serving"
_STRING, _BOOL, _INT64 = "string", "bool", "int64"
_INT64_VALUE, _STRING_VALUE, _BOOL_VALUE = "Int64Value", "StringValue", "BoolValue"
_SSL_FIELDS = (
    ("server_key", 1, _STRING),
    ("server_cert", 2, _STRING),
    ("custom_ca", 3, _STRING),
    ("client_verify", 4, _BOOL),
)
_BATCHING_FIELDS = (
    ("max_batch_size", 1, _INT64_VALUE),
    ("batch_timeout_micros", 2, _INT64_VALUE),
    ("max_enqueued_batches", 3, _INT64_VALUE),
    ("num_batch_threads", 4, _INT64_VALUE),
    ("thread_pool_name", 5, _STRING_VALUE),
    ("allowed_batch_sizes", 6, f"repeated {_INT64}"),
    ("pad_variable_length_inputs", 7, _BOOL),
    ("enable_large_batch_splitting", 8, _BOOL_VALUE),
    ("max_execution_batch_size", 9, _INT64_VALUE),
)


def _messages() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="crossrec/local_server_configs.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    plain = {_STRING: kinds.TYPE_STRING, _BOOL: kinds.TYPE_BOOL, _INT64: kinds.TYPE_INT64}
    for name, fields in (("SSLConfig", _SSL_FIELDS), ("BatchingParameters", _BATCHING_FIELDS)):
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            label = kinds.LABEL_REPEATED if kind.startswith("repeated ") else kinds.LABEL_OPTIONAL
            kind = kind.removeprefix("repeated ")
            added = message.field.add(name=field, number=number, label=label)
            if kind in plain:
                added.type = plain[kind]
            else:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".google.protobuf.{kind}"
    # A pool of their own: a program that has TensorFlow Serving's generated modules may import both.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    factory: Any = message_factory.MessageFactory(pool)
    get = getattr(message_factory, "GetMessageClass", None) or factory.GetPrototype
    ssl, batching = (
        get(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in ("SSLConfig", "BatchingParameters")
    )
    return ssl, batching


SSLConfig, BatchingParameters = _messages()


def read_text_config(path: Path, message_class: Any) -> Any:
    """Read a configuration file.

    Args:
        path: File in protocol buffers' text format.
        message_class: Class of the message that it must hold.

    Returns:
        The message.

    Raises:
        StatusError: The file cannot be read, or does not hold such a message.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise not_found(f"{path}; No such file or directory") from error
    except OSError as error:
        raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, f"{path}; {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from error
    try:
        return text_format.Parse(_join_strings(text), message_class())
    except text_format.ParseError as error:
        raise invalid_argument(f"Invalid protobuf file: '{path}' ({error})") from error


def _join_strings(text: str) -> str:
    """Escape the line breaks inside quotes: the C++ parser takes a PEM text as it is, Python's does not."""
    return _QUOTED.sub(lambda found: found.group().replace("\n", "\\n").replace("\r", ""), text)
