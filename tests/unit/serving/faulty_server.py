"""A gRPC server that fails on demand, and both clients behind one blocking surface. No TensorFlow."""

import asyncio
import collections
import inspect
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np

from crossrec.serving.client import AsyncRecommenderClient, ClientConfig, RecommenderClient, RetryConfig
from crossrec.serving.contract import messages as wire
from crossrec.serving.contract import names
from crossrec.serving.contract.tensors import to_array, to_tensor_proto

CODE = grpc.StatusCode
ITEMS = ("a", "b", "c")


class Received:
    """One RPC as the server saw it."""

    def __init__(self, payload, context):
        self.payload = payload
        self.headers = dict(context.invocation_metadata())
        self.time = time.monotonic()
        self.seconds_left = context.time_remaining()
        self.ended = threading.Event()
        self.done = False

    def request(self):
        return wire.PredictRequest.FromString(self.payload)

    def inputs(self):
        return {name: to_array(proto).tolist() for name, proto in self.request().inputs.items()}


def fail(code, details="on demand"):
    """An action: end with a code."""
    return lambda received, context: context.abort(code, details)


def late(seconds, then=None):
    """An action: answer late."""

    def act(received, context):
        time.sleep(seconds)
        if then is not None:
            then(received, context)

    return act


def hang(received, context):
    """An action: never answer; ends when the caller gives up."""
    received.ended.wait(30)
    # After a pause of the whole process this may reach the caller before its own clock tells it the same.
    context.abort(CODE.DEADLINE_EXCEEDED, "given up")


class FaultyServer:
    """Serves a made-up bundle. `script` holds the actions of the next Predict calls, `always` that of all others."""

    def __init__(self, credentials=None, address="127.0.0.1:0"):
        self.version = 1
        self.inputs = {"user_id": ("string", 1), "recent_items": ("string", 2)}
        self.script = collections.deque()
        self.always = None
        self.predicts = []
        self.metadata_calls = []
        self.status_calls = []
        self.server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        service = "tensorflow.serving."
        self.server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    service + "PredictionService",
                    {
                        "Predict": grpc.unary_unary_rpc_method_handler(self._predict),
                        "GetModelMetadata": grpc.unary_unary_rpc_method_handler(self._metadata),
                    },
                ),
                grpc.method_handlers_generic_handler(
                    service + "ModelService", {"GetModelStatus": grpc.unary_unary_rpc_method_handler(self._status)}
                ),
            )
        )
        if credentials is None:
            self.port = self.server.add_insecure_port(address)
        else:
            self.port = self.server.add_secure_port(address, credentials)
        self.target = f"127.0.0.1:{self.port}"
        self.server.start()

    def stop(self):
        self.server.stop(0).wait()

    def _note(self, calls, payload, context):
        received = Received(payload, context)
        context.add_callback(received.ended.set)
        calls.append(received)
        return received

    def _predict(self, payload, context):
        received = self._note(self.predicts, payload, context)
        action = self.script.popleft() if self.script else self.always
        if action is not None:
            action(received, context)
        request = received.request()
        rows = len(to_array(next(iter(request.inputs.values()))))
        response = wire.PredictResponse()
        response.model_spec.version.value = self.version
        if request.model_spec.signature_name == names.RANK:
            count = to_array(request.inputs[names.CANDIDATE_ITEMS]).shape[1]
            outputs = {names.SCORES: np.tile(np.arange(count, dtype=np.float32), (rows, 1))}
        else:
            scores = np.tile(-np.arange(len(ITEMS), dtype=np.float32), (rows, 1))
            outputs = {names.ITEM_IDS: np.tile(np.array(ITEMS, object), (rows, 1)), names.SCORES: scores}
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(to_tensor_proto(array))
        received.done = True
        return response.SerializeToString()

    def _metadata(self, payload, context):
        self._note(self.metadata_calls, payload, context)
        response = wire.GetModelMetadataResponse()
        response.model_spec.name = "m"
        response.model_spec.version.value = self.version
        signatures = wire.SignatureDefMap()
        for key, items in (("recommend", "exclude_items"), ("retrieve", "exclude_items"), ("rank", "candidate_items")):
            for name, (dtype, rank) in {**self.inputs, items: ("string", 2)}.items():
                info = signatures.signature_def[key].inputs[name]
                info.dtype = {"string": 7, "float32": 1}[dtype]
                for _ in range(rank):
                    info.tensor_shape.dim.add().size = -1
        response.metadata[names.SIGNATURE_DEF_FIELD].Pack(signatures)
        return response.SerializeToString()

    def _status(self, payload, context):
        self._note(self.status_calls, payload, context)
        response = wire.GetModelStatusResponse()
        response.model_version_status.add(version=self.version, state=30)
        return response.SerializeToString()


class BlockingTwin:
    """The asyncio client on a loop of its own thread, called like the blocking one."""

    def __init__(self, *args, **settings):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.client = AsyncRecommenderClient(*args, **settings)

    def __getattr__(self, name):
        value = getattr(self.client, name)
        if not inspect.iscoroutinefunction(value):
            return value
        return lambda *args, **settings: self.wait(value(*args, **settings))

    def wait(self, coroutine, seconds=60):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)

    def close(self):
        if self.thread.is_alive():
            self.wait(self.client.close())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(20)
            self.loop.close()


TWINS = {"sync": RecommenderClient, "async": BlockingTwin}
QUICK = RetryConfig(initial_backoff_seconds=0.001, max_backoff_seconds=0.002)


class Connector:
    """Makes clients of one kind that retry quickly and have time, and closes them."""

    def __init__(self, kind):
        self.kind = kind
        self._clients = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for client in self._clients:
            client.close()

    def __call__(self, targets, fallback=None, observers=(), **settings):
        config = ClientConfig(**{"deadline_seconds": 30.0, "retry": QUICK, **settings})
        client = TWINS[self.kind](targets, "m", config, fallback=fallback, observers=observers)
        self._clients.append(client)
        return client
