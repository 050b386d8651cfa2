"""Classify: tf.Examples in, classes with scores out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_serving.apis import classification_pb2

from crossrec.serving.local_server.examples import INPUTS, dtype_text, find_signature, run_examples, shape_text
from crossrec.serving.local_server.servable import Servable
from crossrec.serving.local_server.statuses import invalid_argument

CLASSIFY_METHOD = "tensorflow/serving/classify"
_CLASSES, _SCORES = "classes", "scores"


def run_classify(servable: Servable, request: Any) -> Any:
    """Answer a ClassificationRequest.

    Args:
        servable: Version to ask.
        request: ClassificationRequest.

    Returns:
        ClassificationResponse without its model_spec.

    Raises:
        StatusError: The signature does not classify, the input is empty, or an op refused.
    """
    signature = find_signature(servable, request.model_spec.signature_name, "No signature was found with the name")
    feed, fetches = classification_tensors(signature, servable.checks_method_names)
    count, results = run_examples(servable, request.input, feed, fetches)
    response = classification_pb2.ClassificationResponse()
    write_classifications(signature, count, results, response.result)
    return response


def classification_tensors(signature: Any, checks_method_name: bool) -> tuple[str, list[str]]:
    """Find the tensors of a signature that classifies.

    Args:
        signature: SignatureDef.
        checks_method_name: Whether it must also say that it classifies.

    Returns:
        Name of the input's tensor, and names of the outputs' tensors.

    Raises:
        StatusError: INVALID_ARGUMENT, the signature does not classify.
    """
    if checks_method_name and signature.method_name != CLASSIFY_METHOD:
        raise invalid_argument(
            f"Expected classification signature method_name to be {CLASSIFY_METHOD}. Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUTS not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {signature}")
    fetches = [signature.outputs[alias].name for alias in (_CLASSES, _SCORES) if alias in signature.outputs]
    if not fetches:
        raise invalid_argument(
            "Expected classification signature outputs to contain at least one of "
            f'"{_CLASSES}" or "{_SCORES}". Signature was: {signature}'
        )
    return signature.inputs[INPUTS].name, fetches


def write_classifications(signature: Any, count: int, results: Mapping[str, Any], result: Any) -> None:
    """Check the arrays and write them into a ClassificationResult.

    Args:
        signature: SignatureDef, see `classification_tensors`.
        count: Number of examples.
        results: Array by tensor name.
        result: ClassificationResult to fill.

    Raises:
        StatusError: INVALID_ARGUMENT, an array has not the dtype or the shape [count, classes].
    """
    arrays = {
        alias: results[signature.outputs[alias].name] for alias in (_CLASSES, _SCORES) if alias in signature.outputs
    }
    for alias, array in arrays.items():
        _check(alias, array, count)
    if len({array.shape[1] for array in arrays.values()}) > 1:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). Got "
            f"{arrays[_CLASSES].shape[1]} vs. {arrays[_SCORES].shape[1]}"
        )
    columns = {alias: array.tolist() for alias, array in arrays.items()}
    for row in range(count):
        classifications = result.classifications.add()
        for column in range(next(iter(arrays.values())).shape[1]):
            added = classifications.classes.add()
            if _CLASSES in columns:
                added.label = columns[_CLASSES][row][column].decode("utf-8", "replace")
            if _SCORES in columns:
                added.score = columns[_SCORES][row][column]


def _check(alias: str, array: np.ndarray[Any, Any], count: int) -> None:
    if array.ndim != 2:
        raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array.shape)}")
    expected, name = (np.dtype(object), "DT_STRING") if alias == _CLASSES else (np.dtype(np.float32), "DT_FLOAT")
    if array.dtype != expected:
        raise invalid_argument(f"Expected {alias} Tensor of {name}. Got: {dtype_text(array.dtype)}")
    if len(array) != count:
        raise invalid_argument(f"Expected {alias} output batch size of {count}. Got: {len(array)}")
