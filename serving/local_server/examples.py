"""What Classify, Regress and MultiInference share: tf.Examples in, one run of the session, float results out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from crossrec.serving.contract.names import DEFAULT_SIGNATURE
from crossrec.serving.local_server.servable import Servable
from crossrec.serving.local_server.statuses import invalid_argument

INPUTS = "inputs"


def serialized_examples(message: Any) -> np.ndarray[Any, Any]:
    """Turn an Input into the tensor that a graph parses.

    Args:
        message: tensorflow.serving.Input.

    Returns:
        Object array [N] of serialized tf.Examples, each with the features of the context, if there is one, first.

    Raises:
        StatusError: INVALID_ARGUMENT, there is no example.
    """
    kind = message.WhichOneof("kind")
    values: list[bytes] = []
    if kind == "example_list":
        values = [example.SerializeToString() for example in message.example_list.examples]
    elif kind == "example_list_with_context":
        listed = message.example_list_with_context
        # Two serialized messages in a row parse as their merger.
        context = listed.context.SerializeToString()
        values = [context + example.SerializeToString() for example in listed.examples]
    if not values:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def find_signature(servable: Servable, name: str, missing: str) -> Any:
    """Find a signature for Classify, Regress or MultiInference.

    Args:
        servable: Version to ask.
        name: Key of the signature; empty for the default.
        missing: The message's text before the key.

    Returns:
        SignatureDef.

    Raises:
        StatusError: INVALID_ARGUMENT, there is none.
    """
    key = name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(key)
    if signature is None:
        raise invalid_argument(f"{missing}: {key}")
    return signature


def run_examples(servable: Servable, message: Any, feed: str, fetches: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """Run the graph on the examples of a request.

    Args:
        servable: Version to ask.
        message: tensorflow.serving.Input.
        feed: Name of the tensor that takes the serialized examples.
        fetches: Names of tensors to compute.

    Returns:
        Number of examples, and array by tensor name.

    Raises:
        StatusError: There is no example, or an op refused.
    """
    examples = serialized_examples(message)
    tensors = [servable.tensor(name) for name in fetches]
    results = servable.run({servable.tensor(feed): examples}, tensors)
    return len(examples), {name: np.asarray(result) for name, result in zip(fetches, results)}


def shape_text(shape: Sequence[int]) -> str:
    """Print a shape as TensorFlow does: ``[2,3]``."""
    return f"[{','.join(map(str, shape))}]"


def dtype_text(dtype: np.dtype[Any]) -> str:
    """Print a dtype as the DataType enum's name."""
    import tensorflow as tf
    from tensorflow.core.framework import types_pb2

    return str(types_pb2.DataType.Name(tf.as_dtype(dtype).as_datatype_enum))
