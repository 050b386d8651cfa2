"""Warm-up: replay the requests that a version brings along before it becomes available."""

from __future__ import annotations

from pathlib import Path

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from crossrec.serving.contract.names import EXTRA_ASSETS_DIRECTORY, MAX_WARMUP_RECORDS, WARMUP_FILE
from crossrec.serving.contract.tfrecord import RecordError, read_records
from crossrec.serving.local_server.classification import run_classify
from crossrec.serving.local_server.multi_inference import run_multi_inference
from crossrec.serving.local_server.predict import run_predict
from crossrec.serving.local_server.regression import run_regress
from crossrec.serving.local_server.servable import Servable
from crossrec.serving.local_server.statuses import StatusError, invalid_argument

_RUNS = {
    "predict_log": run_predict,
    "classify_log": run_classify,
    "regress_log": run_regress,
    "multi_inference_log": run_multi_inference,
}


def run_warmup(servable: Servable, path: Path, iterations: int = 1) -> int:
    """Replay a version's warm-up requests; the model name in them is ignored.

    Args:
        servable: The loaded version.
        path: The version's directory.
        iterations: How often each record is replayed.

    Returns:
        Number of records read.

    Raises:
        StatusError: A request failed, a record cannot be read, or there are too many.
    """
    file = path / EXTRA_ASSETS_DIRECTORY / WARMUP_FILE
    if not file.exists():
        return 0
    count = 0
    try:
        for count, record in enumerate(read_records(file), start=1):
            _replay(servable, record, file, iterations)
            if count > MAX_WARMUP_RECORDS:
                raise invalid_argument(f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS}) at {file}")
    except RecordError as error:
        raise StatusError(
            grpc.StatusCode.DATA_LOSS, f"{error}. Please verify your warmup data is in TFRecord format."
        ) from error
    except OSError as error:
        raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, f"{file}: {error.strerror}") from error
    return count


def _replay(servable: Servable, record: bytes, file: Path, iterations: int) -> None:
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        raise invalid_argument(f"Failed to parse warmup record: {record!r} from {file}") from error
    kind = log.WhichOneof("log_type")
    if kind is None:
        return
    run = _RUNS.get(kind)
    if run is None:
        raise StatusError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
    for _ in range(iterations):
        run(servable, getattr(log, kind).request)
