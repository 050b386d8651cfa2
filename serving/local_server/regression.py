"""Regress: tf.Examples in, one number each out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_serving.apis import regression_pb2

from crossrec.serving.local_server.examples import INPUTS, dtype_text, find_signature, run_examples, shape_text
from crossrec.serving.local_server.servable import Servable
from crossrec.serving.local_server.statuses import invalid_argument

REGRESS_METHOD = "tensorflow/serving/regress"
_OUTPUTS = "outputs"


def run_regress(servable: Servable, request: Any) -> Any:
    """Answer a RegressionRequest.

    Args:
        servable: Version to ask.
        request: RegressionRequest.

    Returns:
        RegressionResponse without its model_spec.

    Raises:
        StatusError: The signature is no regression, the input is empty, or an op refused.
    """
    signature = find_signature(servable, request.model_spec.signature_name, "No signature was found with the name")
    feed, fetches = regression_tensors(signature, servable.checks_method_names)
    count, results = run_examples(servable, request.input, feed, fetches)
    response = regression_pb2.RegressionResponse()
    write_regressions(signature, count, results, response.result)
    return response


def regression_tensors(signature: Any, checks_method_name: bool) -> tuple[str, list[str]]:
    """Find the tensors of a signature that is a regression.

    Args:
        signature: SignatureDef.
        checks_method_name: Whether it must also say that it is one.

    Returns:
        Name of the input's tensor, and a list with the name of the output's tensor.

    Raises:
        StatusError: INVALID_ARGUMENT, the signature is no regression.
    """
    if checks_method_name and signature.method_name != REGRESS_METHOD:
        raise invalid_argument(
            f"Expected regression signature method_name to be {REGRESS_METHOD}. Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {signature}")
    if _OUTPUTS not in signature.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs[INPUTS].name, [signature.outputs[_OUTPUTS].name]


def write_regressions(signature: Any, count: int, results: Mapping[str, Any], result: Any) -> None:
    """Check the array and write it into a RegressionResult.

    Args:
        signature: SignatureDef, see `regression_tensors`.
        count: Number of examples.
        results: Array by tensor name.
        result: RegressionResult to fill.

    Raises:
        StatusError: INVALID_ARGUMENT, the array has not the dtype or the shape [count] or [count, 1].
    """
    array = results[signature.outputs[_OUTPUTS].name]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{shape_text(array.shape)}"
        )
    if len(array) != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if array.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {dtype_text(array.dtype)}")
    for value in array.ravel().tolist():
        result.regressions.add().value = value
