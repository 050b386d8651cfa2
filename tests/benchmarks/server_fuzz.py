"""Malformed requests against a running local server: each gets the right code, and the server lives.

    python -m tests.benchmarks.server_fuzz [--requests N] [--seed S] [--small]

Starts from sound requests of every method and spoils them: bytes on the wire (flipped, cut, repeated, random), or
the tensors, names and configurations inside. A request that cannot be parsed gets INTERNAL from gRPC itself, here
and in TensorFlow Serving; what can be parsed gets an answer, INVALID_ARGUMENT, or the code that names what is
missing. After every hundred requests a sound one must get the right answer. The last line is one flat JSON object.
"""

from __future__ import annotations

import argparse
import collections
import json
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from crossrec.serving.contract import messages as wire
from crossrec.serving.contract.tensors import to_array, to_tensor_proto
from crossrec.serving.local_server import LocalServer

SERVICE = "/tensorflow.serving.PredictionService/"
PARSED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}
METHODS = {
    wire.PREDICT_METHOD: "PredictRequest",
    wire.GET_MODEL_METADATA_METHOD: "GetModelMetadataRequest",
    wire.GET_MODEL_STATUS_METHOD: "GetModelStatusRequest",
    wire.RELOAD_CONFIG_METHOD: "ReloadConfigRequest",
    SERVICE + "Classify": "ClassificationRequest",
    SERVICE + "Regress": "RegressionRequest",
    SERVICE + "MultiInference": "MultiInferenceRequest",
}
NAMES = ["", "m", "x", "y", "serving_default", "nope", "a:0", "\u0000", "\u20ac" * 400, "../m", "x" * 3000]
SIZES = [0, 1, 2, 3, -1, 7, 2**31, 2**40, 2**62, -(2**63), 2**63 - 1]


class Fuzzer:
    """Makes spoiled requests for a model `m` with the float input `x` of shape [None].

    Args:
        seed: The same seed makes the same requests.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def request(self) -> tuple[str, bytes]:
        """Return a method and the bytes to send."""
        method = self._choose(list(METHODS))
        if method == wire.PREDICT_METHOD or self._rng.random() < 0.5:
            method = wire.PREDICT_METHOD
            content = self._predict().SerializeToString(deterministic=True)
        else:
            content = self._other(method).SerializeToString(deterministic=True)
        if method == wire.RELOAD_CONFIG_METHOD or self._rng.random() < 0.6:
            return method, content
        return method, self._spoil(content)

    def _choose(self, values: list[Any]) -> Any:
        return values[int(self._rng.integers(len(values)))]

    def _predict(self) -> Any:
        request = wire.PredictRequest()
        self._spec(request.model_spec)
        others = [self._choose(NAMES) for _ in range(self._rng.integers(0, 3))] if self._rng.random() < 0.3 else []
        for name in [*others, "x"] if self._rng.random() < 0.9 else others:
            request.inputs[name].CopyFrom(self._tensor())
        for _ in range(self._rng.integers(0, 3) if self._rng.random() < 0.3 else 0):
            request.output_filter.append(self._choose(["y", "version", *NAMES]))
        return request

    def _spec(self, spec: Any) -> None:
        spec.name = "m"
        if self._rng.random() < 0.7:  # so that most requests come as far as their tensors
            return
        spec.name = self._choose(["m", "m", "m", *NAMES])
        spec.signature_name = self._choose(["", "", "serving_default", *NAMES])
        kind = self._rng.integers(4)
        if kind == 1:
            spec.version.value = self._choose([1, 2, *SIZES[:8]])
        if kind == 2:
            spec.version_label = self._choose(NAMES)

    def _tensor(self) -> Any:
        tensor = wire.TensorProto(dtype=int(self._choose([1, 1, 1, *range(24), 99, 101, 2**31 - 1])))
        for _ in range(self._rng.integers(0, 4) if self._rng.random() < 0.95 else 300):
            tensor.tensor_shape.dim.add().size = self._choose([1, 1, 2, *SIZES])
        tensor.tensor_shape.unknown_rank = bool(self._rng.random() < 0.05)
        if self._rng.random() < 0.4:
            tensor.tensor_content = self._rng.bytes(int(self._choose([0, 1, 3, 4, 8, 12, 100])))
        for _ in range(self._rng.integers(0, 3)):
            field = self._choose(
                ["float_val", "int_val", "int64_val", "double_val", "string_val", "half_val", "bool_val"]
            )
            value: Any = {"string_val": b"\xff\x00", "bool_val": True}.get(field, 1)
            getattr(tensor, field).extend([value] * int(self._rng.integers(0, 5)))
        return tensor

    def _other(self, method: str) -> Any:
        request = wire.message_class(f"tensorflow.serving.{METHODS[method]}")()
        if method == wire.RELOAD_CONFIG_METHOD:
            return self._refused_config(request)
        if method.endswith("MultiInference"):
            for _ in range(self._rng.integers(0, 3)):
                kind = self._choose(["tensorflow/serving/classify", "tensorflow/serving/regress", *NAMES])
                self._spec(request.tasks.add(method_name=kind).model_spec)
        elif self._rng.random() < 0.95:
            self._spec(request.model_spec)
        if hasattr(request, "metadata_field"):
            request.metadata_field.extend(self._choose([[], ["signature_def"], ["nope"], ["signature_def"] * 2]))
        if hasattr(request, "input"):
            for _ in range(self._rng.integers(0, 3)):
                feature = request.input.example_list.examples.add().features.feature[self._choose(NAMES)]
                feature.float_list.value.append(1.0)
        return request

    def _refused_config(self, request: Any) -> Any:
        # Every one is wrong in itself: a sound one with a base path that is not there waits for it, as in
        # TensorFlow Serving, and would leave this server without models.
        for _ in range(self._rng.integers(0, 3)):
            entry = request.config.model_config_list.config.add(name=self._choose(NAMES), base_path="not/absolute")
            entry.model_platform = self._choose(["", "tensorflow", "other"])
            entry.version_labels[self._choose(NAMES)] = self._choose(SIZES)
        if not request.config.model_config_list.config:
            request.config.ClearField("model_config_list")
        return request

    def _spoil(self, content: bytes) -> bytes:
        spoiled = bytearray(content or b"\x0a")
        kind = self._rng.integers(4)
        if kind == 0:
            for place in self._rng.integers(0, len(spoiled), self._rng.integers(1, 6)):
                spoiled[place] = self._rng.integers(256)
        elif kind == 1:
            del spoiled[int(self._rng.integers(len(spoiled))) :]
        elif kind == 2:
            place = int(self._rng.integers(len(spoiled)))
            spoiled[place:place] = spoiled[: int(self._rng.integers(len(spoiled)))]
        else:
            spoiled = bytearray(self._rng.bytes(int(self._rng.integers(1, 64))))
        return bytes(spoiled)


def is_right(code: str, method: str, content: bytes) -> bool:
    """Tell whether a code is right: INTERNAL for bytes that are no such message, else one of PARSED."""
    return code in PARSED or (code == "INTERNAL" and not _parses(method, content))


def _parses(method: str, content: bytes) -> bool:
    with warnings.catch_warnings(record=True) as damage:
        warnings.simplefilter("always")
        try:
            wire.message_class(f"tensorflow.serving.{METHODS[method]}").FromString(content)
        except DecodeError:
            return False
    return not damage


def fuzz(target: str, count: int, seed: int, sound: Callable[[], bool]) -> dict[str, Any]:
    """Send spoiled requests.

    Args:
        target: Address of a server of the model `m`.
        count: Number of requests.
        seed: See `Fuzzer`.
        sound: Sends a sound request; tells whether its answer is right.

    Returns:
        Number of answers by code under ``code_<NAME>``, ``wrong``: requests with a wrong code, ``unsound``: sound
        requests without the right answer.
    """
    fuzzer = Fuzzer(seed)
    codes: collections.Counter[str] = collections.Counter()
    wrong: list[tuple[str, str, str]] = []
    unsound = 0
    with grpc.insecure_channel(target) as channel:
        calls = {method: channel.unary_unary(method) for method in METHODS}
        for number in range(count):
            method, content = fuzzer.request()
            try:
                calls[method](content, timeout=20)
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name
            codes[code] += 1
            if not is_right(code, method, content):
                wrong.append((method, code, content.hex()))
            if number % 100 == 99:
                unsound += not sound()
    return {**{f"code_{name}": number for name, number in sorted(codes.items())}, "wrong": wrong, "unsound": unsound}


def sound_request(target: str, model: str) -> Callable[[], bool]:
    """Make the check that the server still answers `x` + 2 for version 2 of the adder."""

    def ask() -> bool:
        request = wire.PredictRequest()
        request.model_spec.name = model
        request.inputs["x"].CopyFrom(to_tensor_proto(np.array([1.0, 2.5], np.float32)))
        with grpc.insecure_channel(target) as channel:
            stub = channel.unary_unary(wire.PREDICT_METHOD, response_deserializer=wire.PredictResponse.FromString)
            outputs = stub(request.SerializeToString(), timeout=20).outputs
        return bool(to_array(outputs["y"]).tolist() == [3.0, 4.5])

    return ask


def main() -> None:
    from tests.unit.serving.make_models import save_adder

    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.server_fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="1,000 requests, for CI")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    count = 1_000 if args.small else args.requests
    with tempfile.TemporaryDirectory() as folder:
        save_adder(Path(folder), 2)
        with LocalServer(folder, "m") as server:
            sound = sound_request(server.target, "m")
            start = time.perf_counter()
            found = fuzz(server.target, count, args.seed, sound)
            seconds = time.perf_counter() - start
            alive = sound()
    for method, code, content in found["wrong"][:20]:
        print(f"{code} for {method}: {content}")
    figures: dict[str, Any] = {"benchmark": "server_fuzz", "requests": count, "seed": args.seed, "alive": alive}
    figures |= {**found, "wrong": len(found["wrong"]), "seconds": round(seconds, 1)}
    figures |= {"grpcio": grpc.__version__, "python": platform.python_version(), "machine": platform.machine()}
    print(json.dumps(figures))
    raise SystemExit(1 if found["wrong"] or found["unsound"] else 0)


if __name__ == "__main__":
    main()
