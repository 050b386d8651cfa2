"""Warm-up and golden requests: Predict calls recorded as PredictionLog in a TFRecord file."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Optional, Union

from crossrec.serving.contract import names
from crossrec.serving.contract.messages import PredictionLog, PredictRequest
from crossrec.serving.contract.tensors import to_tensor_proto
from crossrec.serving.contract.tfrecord import RecordError, read_records, write_records


def predict_request(
    inputs: Mapping[str, Any],
    model_name: str = names.DEFAULT_MODEL_NAME,
    signature_name: str = names.DEFAULT_SIGNATURE,
) -> Any:
    """Build a request of PredictionService.Predict.

    Args:
        inputs: Array by input name, each with the leading batch dimension.
        model_name: Name under which the server knows the model.
        signature_name: Signature to call.

    Returns:
        PredictRequest.

    Raises:
        TensorError: An array cannot be sent.
    """
    request = PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature_name
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(to_tensor_proto(array, name))
    return request


def prediction_log(request: Any, outputs: Optional[Mapping[str, Any]] = None, model_version: int = 0) -> Any:
    """Record a request, and for a golden one the answer that it must get.

    Args:
        request: PredictRequest, see `predict_request`.
        outputs: Array by output name; None for a warm-up record.
        model_version: Version that gave the answer; 0 leaves it open.

    Returns:
        PredictionLog.

    Raises:
        TensorError: An array cannot be sent.
    """
    log = PredictionLog()
    log.predict_log.request.CopyFrom(request)
    if outputs is not None:
        response = log.predict_log.response
        response.model_spec.name = request.model_spec.name
        response.model_spec.signature_name = request.model_spec.signature_name
        if model_version:
            response.model_spec.version.value = model_version
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(to_tensor_proto(array, name))
    return log


def write_prediction_logs(path: Union[str, Path], logs: Iterable[Any]) -> int:
    """Write a warm-up or golden file; its folder is made where it is missing.

    Args:
        path: ``<version>/assets.extra/tf_serving_warmup_requests`` or ``golden_requests``.
        logs: PredictionLog messages, at most `names.MAX_WARMUP_RECORDS`.

    Returns:
        Number of records written.

    Raises:
        ValueError: More records than TensorFlow Serving replays.
    """
    records = [log.SerializeToString(deterministic=True) for log in logs]
    if len(records) > names.MAX_WARMUP_RECORDS:
        raise ValueError(
            f"{path}: {len(records)} records; TensorFlow Serving refuses a version with more than "
            f"{names.MAX_WARMUP_RECORDS}, so write fewer"
        )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return write_records(path, records)


def read_prediction_logs(path: Union[str, Path]) -> list[Any]:
    """Read a warm-up or golden file.

    Args:
        path: TFRecord of PredictionLog.

    Returns:
        PredictionLog messages in order.

    Raises:
        RecordError: The file is no TFRecord, is damaged, or holds something else than PredictionLog.
    """
    from google.protobuf.message import DecodeError

    logs = []
    for number, record in enumerate(read_records(path), start=1):
        try:
            logs.append(PredictionLog.FromString(record))
        except DecodeError as error:
            raise RecordError(f"{path}: record {number} is no PredictionLog ({error}); write the file again") from error
    return logs
