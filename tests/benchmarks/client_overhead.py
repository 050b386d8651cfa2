"""The client's own time per call against building the same request with ``tf.make_tensor_proto``.

    python -m tests.benchmarks.client_overhead [--small]

Own time is the whole of `RecommenderClient.rank` (checks, policies, encoding, decoding to typed results) with a
transport that returns a recorded answer at once, so neither network nor server nor gRPC counts. The peer builds and
serializes the same request with TensorFlow's and TensorFlow Serving's own classes, and does not read the answer.
`recommend` asks for a list as long, with a title per item; `rows` are the results as `Item` objects. The calls take
turns, so that other work on the machine meets all alike. Figures are medians over calls, of wall time and of the
thread's CPU time. The last line is one flat JSON object; `rank_ms` should be below 0.2 and `ratio` below 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import google.protobuf
import grpc
import numpy as np

from crossrec.serving.client import RecommenderClient, Request
from crossrec.serving.client.exchange import Attempt, Plan, Reply, T
from crossrec.serving.contract import messages, names

CANDIDATES = 500
CALLS_PER_ROUND = 20
QUERY = {
    "user_id": "u0001234",
    "query": "red running shoes",
    "device": "phone",
    "price_max": 80.0,
    "timestamp": 1_700_000_000,
    "recent_items": [f"i{number:06d}" for number in range(10)],
}
DTYPES = {"price_max": (1, "float32"), "timestamp": (9, "int64")}
STRING = 7


def model_metadata() -> bytes:
    """The GetModelMetadataResponse of a bundle that takes `QUERY`."""
    response = messages.GetModelMetadataResponse()
    response.model_spec.name = names.DEFAULT_MODEL_NAME
    response.model_spec.version.value = 1
    signatures = messages.SignatureDefMap()
    for key, items in ((names.RECOMMEND, names.EXCLUDE_ITEMS), (names.RANK, names.CANDIDATE_ITEMS)):
        for name in (*QUERY, items):
            info = signatures.signature_def[key].inputs[name]
            info.dtype = DTYPES[name][0] if name in DTYPES else STRING
            info.tensor_shape.dim.add().size = -1
            if name in (items, "recent_items"):
                info.tensor_shape.dim.add().size = -1
    response.metadata[names.SIGNATURE_DEF_FIELD].Pack(signatures)
    return bytes(response.SerializeToString())


def answer(floats: tuple[str, ...], texts: dict[str, list[str]]) -> bytes:
    """A PredictResponse in the form that TensorFlow Serving sends: typed fields."""
    response = messages.PredictResponse()
    response.model_spec.version.value = 1
    version = response.outputs[names.MODEL_VERSION]
    version.dtype = 9
    version.tensor_shape.dim.add().size = 1
    version.int64_val.append(1)
    scores = -np.sort(-np.random.default_rng(0).normal(size=CANDIDATES)).astype(np.float32)
    for name in (*floats, *texts):
        tensor = response.outputs[name]
        tensor.dtype = STRING if name in texts else 1
        for size in (1, CANDIDATES):
            tensor.tensor_shape.dim.add().size = size
        if name in texts:
            tensor.string_val.extend([text.encode("utf-8") for text in texts[name]])
        else:
            tensor.float_val.extend(scores.tolist())
    return bytes(response.SerializeToString())


class RecordedTransport:
    """Answers at once with the same bytes."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self._answers = answers

    def run(self, plan: Plan[T]) -> T:
        """Carry out a plan of attempts."""
        try:
            command = next(plan)
            while True:
                assert isinstance(command, Attempt)
                command = plan.send(Reply(command, grpc.StatusCode.OK, self._answers[command.method], ""))
        except StopIteration as end:
            return cast(T, end.value)

    def close(self) -> None:
        """Nothing to close."""


def recorded_client(predict: bytes) -> RecommenderClient:
    """A client whose transport answers at once."""
    client = RecommenderClient("recorded:1")
    answers = {messages.GET_MODEL_METADATA_METHOD: model_metadata(), messages.PREDICT_METHOD: predict}
    client._transport = RecordedTransport(answers)  # type: ignore[assignment]
    return client


def tensorflow_request(candidates: list[str]) -> bytes:
    """Build the same request as `rank` sends, as users of tensorflow-serving-api do."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = names.DEFAULT_MODEL_NAME
    request.model_spec.signature_name = names.RANK
    for name, value in {**QUERY, names.CANDIDATE_ITEMS: candidates}.items():
        dtype = DTYPES[name][1] if name in DTYPES else None
        request.inputs[name].CopyFrom(tf.make_tensor_proto([value], dtype=dtype))
    return bytes(request.SerializeToString())


def measure(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Time the calls in turns: milliseconds of wall and of CPU for each call."""
    times: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            for _ in range(CALLS_PER_ROUND):
                wall, cpu = time.perf_counter(), time.thread_time()
                call()
                cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
                if turn:  # the first round warms up
                    times[name]["cpu"].append(cpu * 1e3)
                    times[name]["wall"].append(wall * 1e3)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.client_overhead")
    parser.add_argument("--small", action="store_true", help="fewer rounds, for CI")
    args = parser.parse_args()
    candidates = [f"i{number * 7919 % 10**6}" for number in range(CANDIDATES)]
    titles = [f"Chaussures d'été n° {number}" for number in range(CANDIDATES)]
    ranked = recorded_client(answer((names.SCORES, "probability_click"), {}))
    listed = recorded_client(answer((names.SCORES,), {names.ITEM_IDS: candidates, "title": titles}))
    request = Request(QUERY, candidate_items=candidates)
    calls: dict[str, Callable[[], Any]] = {
        "rank": lambda: ranked.rank(request),
        "rank_with_rows": lambda: ranked.rank(request).items,
        "recommend": lambda: listed.recommend(QUERY),
        "recommend_with_rows": lambda: listed.recommend(QUERY).items,
        "make_tensor_proto": lambda: tensorflow_request(candidates),
    }
    first = ranked.rank(request)
    assert first.ids == tuple(candidates) and len(listed.recommend(QUERY).items) == CANDIDATES
    times = measure(calls, 25 if args.small else 250)
    import tensorflow as tf

    figures: dict[str, Any] = {
        "benchmark": "client_overhead",
        "candidates": CANDIDATES,
        "calls": len(times["rank"]["cpu"]),
    }
    for name, kinds in times.items():
        figures[f"{name}_ms"] = round(statistics.median(kinds["wall"]), 4)
        figures[f"{name}_cpu_ms"] = round(statistics.median(kinds["cpu"]), 4)
        print(f"{name:20} wall {figures[f'{name}_ms']:7.4f} ms   cpu {figures[f'{name}_cpu_ms']:7.4f} ms")
    figures["ratio"] = round(figures["rank_ms"] / figures["make_tensor_proto_ms"], 4)
    figures["ratio_cpu"] = round(figures["rank_cpu_ms"] / figures["make_tensor_proto_cpu_ms"], 4)
    figures |= {"tensorflow": tf.__version__, "grpcio": grpc.__version__, "protobuf": google.protobuf.__version__}
    figures |= {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count()}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
