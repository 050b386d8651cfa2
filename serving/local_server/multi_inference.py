"""MultiInference: several classifications and regressions of one model from one run."""

from __future__ import annotations

from typing import Any

import grpc
from tensorflow_serving.apis import inference_pb2

from crossrec.serving.contract.names import DEFAULT_SIGNATURE
from crossrec.serving.local_server.classification import (
    CLASSIFY_METHOD,
    classification_tensors,
    write_classifications,
)
from crossrec.serving.local_server.examples import find_signature, run_examples
from crossrec.serving.local_server.regression import REGRESS_METHOD, regression_tensors, write_regressions
from crossrec.serving.local_server.servable import Servable
from crossrec.serving.local_server.statuses import StatusError, invalid_argument


def run_multi_inference(servable: Servable, request: Any) -> Any:
    """Answer a MultiInferenceRequest.

    Args:
        servable: Version to ask, that of the first task.
        request: MultiInferenceRequest.

    Returns:
        MultiInferenceResponse without the results' model_spec.

    Raises:
        StatusError: A task does not fit its signature or the other tasks, the input is empty, or an op refused.
    """
    signatures = _signatures(servable, request.tasks)
    feed = ""
    fetches: set[str] = set()
    for task, signature in zip(request.tasks, signatures):
        tensors = _finder(task.method_name)
        task_feed, task_fetches = tensors(signature, servable.checks_method_names)
        if feed not in ("", task_feed):
            raise invalid_argument("Input tensor must be the same for all Signatures.")
        feed = task_feed
        fetches.update(task_fetches)
    count, results = run_examples(servable, request.input, feed, sorted(fetches))
    response = inference_pb2.MultiInferenceResponse()
    for task, signature in zip(request.tasks, signatures):
        result = response.results.add()
        if task.method_name == CLASSIFY_METHOD:
            write_classifications(signature, count, results, result.classification_result)
        else:
            write_regressions(signature, count, results, result.regression_result)
    return response


def _finder(method_name: str) -> Any:
    if method_name == CLASSIFY_METHOD:
        return classification_tensors
    if method_name == REGRESS_METHOD:
        return regression_tensors
    raise StatusError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported signature method_name: {method_name}")


def _signatures(servable: Servable, tasks: Any) -> list[Any]:
    signatures = []
    names: set[str] = set()
    for task in tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in names:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        names.add(name)
        signatures.append(find_signature(servable, name, "Requested signature not found in model graph"))
    return signatures
