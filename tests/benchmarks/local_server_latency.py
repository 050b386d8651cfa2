"""Latency of Predict over loopback against calling the same SavedModel in the process.

    python -m tests.benchmarks.local_server_latency [--small]

The model looks a user's vector up, multiplies it with 100,000 item vectors of 64 numbers and takes the best 100, with
their ids and titles. Short rounds of both kinds of calls alternate, so that other work on the machine meets both
alike. The last line is one flat JSON object; `ratio_p50`, of the medians of all calls, and `ratio_of_rounds`, the
median of the rounds' own ratios, should be at most 1.5.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from crossrec.serving.client import RecommenderClient
from crossrec.serving.contract import messages, names
from crossrec.serving.contract.prediction_logs import predict_request
from crossrec.serving.contract.tensors import to_array
from crossrec.serving.local_server import LocalServer

DIMENSIONS = 64
USERS = 1_000
LIST_SIZE = 100
CALLS_PER_ROUND = 5
WARM_UP_ROUNDS = 5


def save_model(path: Path, items: int) -> None:
    """Save the model; `items` is the size of its catalogue."""
    import tensorflow as tf

    rng = np.random.default_rng(0)

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.users = tf.Variable(rng.normal(size=(USERS, DIMENSIONS)).astype(np.float32))
            self.items = tf.Variable(rng.normal(size=(items, DIMENSIONS)).astype(np.float32))
            self.ids = tf.Variable(tf.strings.as_string(tf.range(items)), trainable=False)
            self.titles = tf.Variable("Title of item " + tf.strings.as_string(tf.range(items)), trainable=False)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=names.USER_ID)])
        def recommend(self, user_id: Any) -> Any:
            user = tf.gather(self.users, tf.strings.to_hash_bucket_fast(user_id, USERS))
            scores, places = tf.math.top_k(tf.matmul(user, self.items, transpose_b=True), LIST_SIZE)
            version = tf.fill(tf.shape(user_id), tf.constant(1, tf.int64))
            texts = {names.ITEM_IDS: tf.gather(self.ids, places), "title": tf.gather(self.titles, places)}
            return {**texts, names.SCORES: scores, names.MODEL_VERSION: version}

    model = Model()
    tf.saved_model.save(model, str(path / "1"), signatures={names.DEFAULT_SIGNATURE: model.recommend})


def direct_call(path: Path) -> Callable[[], Any]:
    """Return a call of the SavedModel's function that takes the outputs as numpy, as a Python program would."""
    import tensorflow as tf

    model = tf.saved_model.load(str(path / "1"))
    function = model.signatures[names.DEFAULT_SIGNATURE]
    user = tf.constant(["u17"])
    keep = [model]  # the function alone does not keep the variables

    def call() -> Any:
        assert keep
        return {name: value.numpy() for name, value in function(user_id=user).items()}

    return call


def predict_call(target: str) -> Callable[[], Any]:
    """Return a call over gRPC that decodes the outputs to numpy."""
    channel = grpc.insecure_channel(target)
    stub = channel.unary_unary(
        messages.PREDICT_METHOD,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=messages.PredictResponse.FromString,
    )
    request = predict_request({names.USER_ID: ["u17"]})
    return lambda: {name: to_array(proto) for name, proto in stub(request).outputs.items()}


def measure(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
    """Time the calls in alternating rounds; milliseconds [rounds, calls] by name."""
    times: dict[str, list[list[float]]] = {name: [] for name in calls}
    order = list(calls)
    for turn in range(rounds + WARM_UP_ROUNDS):
        for name in order:
            taken = []
            for _ in range(CALLS_PER_ROUND):
                start = time.perf_counter()
                calls[name]()
                taken.append((time.perf_counter() - start) * 1e3)
            if turn >= WARM_UP_ROUNDS:
                times[name].append(taken)
        order.append(order.pop(0))  # no kind always comes after the same other
    return {name: np.array(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.local_server_latency")
    parser.add_argument("--small", action="store_true", help="fewer calls, for CI")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    items, rounds = 100_000, 20 if args.small else 200
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        save_model(path, items)
        with LocalServer(path) as server, RecommenderClient(server.target) as client:
            calls = {
                "direct": direct_call(path),
                "predict": predict_call(server.target),
                "client": lambda: client.recommend({names.USER_ID: "u17"}, deadline_seconds=10).items,
            }
            left, right = calls["direct"](), calls["predict"]()
            np.testing.assert_array_equal(left[names.ITEM_IDS], right[names.ITEM_IDS])
            times = measure(calls, rounds)
    import tensorflow as tf

    figures: dict[str, Any] = {"benchmark": "local_server_latency", "items": items, "calls": times["direct"].size}
    for name, values in times.items():
        for percent in (50, 99):
            figures[f"{name}_p{percent}_ms"] = round(float(np.percentile(values, percent)), 3)
    figures["ratio_p50"] = round(figures["predict_p50_ms"] / figures["direct_p50_ms"], 3)
    by_round = np.median(times["predict"], axis=1) / np.median(times["direct"], axis=1)
    figures["ratio_of_rounds"] = round(float(np.median(by_round)), 3)
    figures["ratio_p99"] = round(figures["predict_p99_ms"] / figures["direct_p99_ms"], 3)
    figures |= {"tensorflow": tf.__version__, "grpcio": grpc.__version__, "python": platform.python_version()}
    figures |= {"machine": platform.machine(), "cpus": os.cpu_count()}
    for name in times:
        print(f"{name:8} p50 {figures[f'{name}_p50_ms']:7.3f} ms   p99 {figures[f'{name}_p99_ms']:7.3f} ms")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
