"""A server in the test's own process: real gRPC over loopback without the seconds that a new process takes."""

import threading
import time
from contextlib import contextmanager

import grpc
import numpy as np

from crossrec.serving.contract import messages as wire
from crossrec.serving.contract.tensors import to_array, to_tensor_proto

# Bounds of waiting only tell a hang from a slow machine.
PATIENCE = 60


def model(name, base_path, *, latest=None, all_versions=False, versions=None, labels=None, platform="tensorflow"):
    """An entry of a model configuration."""
    entry = wire.message_class("tensorflow.serving.ModelConfig")(
        name=name, base_path=str(base_path), model_platform=platform, version_labels=labels or {}
    )
    if latest is not None:
        entry.model_version_policy.latest.num_versions = latest
    if all_versions:
        entry.model_version_policy.all.SetInParent()
    if versions is not None:
        entry.model_version_policy.specific.versions.extend(versions)
        entry.model_version_policy.specific.SetInParent()
    return entry


def model_config(*models):
    config = wire.ModelServerConfig()
    config.model_config_list.SetInParent()
    config.model_config_list.config.extend(models)
    return config


class Caller:
    """Raw calls, as any language would make them."""

    def __init__(self, target, model="m"):
        self.target = target
        self.model = model
        self.channel = grpc.insecure_channel(target)

    def call(self, method, request, response):
        stub = self.channel.unary_unary(
            method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
        return stub(request, timeout=PATIENCE)

    def predict(self, inputs, signature="", version=None, label=None, **fields):
        request = wire.PredictRequest(**fields)
        request.model_spec.name = self.model
        request.model_spec.signature_name = signature
        if label is not None:
            request.model_spec.version_label = label
        if version is not None:
            request.model_spec.version.value = version
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(value if hasattr(value, "tensor_shape") else to_tensor_proto(value))
        return self.call(wire.PREDICT_METHOD, request, wire.PredictResponse)

    def outputs(self, *args, **kwargs):
        response = self.predict(*args, **kwargs)
        return {name: to_array(proto) for name, proto in response.outputs.items()}

    def statuses(self):
        request = wire.GetModelStatusRequest()
        request.model_spec.name = self.model
        response = self.call(wire.GET_MODEL_STATUS_METHOD, request, wire.GetModelStatusResponse)
        state = wire.ModelVersionStatus.State.Name
        return {one.version: state(one.state) for one in response.model_version_status}

    def status_of(self, version):
        request = wire.GetModelStatusRequest()
        request.model_spec.name = self.model
        request.model_spec.version.value = version
        response = self.call(wire.GET_MODEL_STATUS_METHOD, request, wire.GetModelStatusResponse)
        return response.model_version_status[0]

    def reload(self, *models, timeout=PATIENCE):
        """Ask for a configuration of models, see `model`."""
        request = wire.ReloadConfigRequest()
        request.config.CopyFrom(model_config(*models))
        stub = self.channel.unary_unary(
            wire.RELOAD_CONFIG_METHOD,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=wire.ReloadConfigResponse.FromString,
        )
        return stub(request, timeout=timeout)

    def of(self, model):
        """The same server, asked for another model."""
        other = Caller.__new__(Caller)
        other.target, other.model, other.channel = self.target, model, self.channel
        return other

    def wait_for(self, states, seconds=PATIENCE):
        until(lambda: self.statuses() == states, seconds, lambda: f"{self.statuses()} is not {states}")


def until(condition, seconds=PATIENCE, explain=lambda: "the condition"):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not in {seconds} s: {explain()}"
        time.sleep(0.01)


class Gate:
    """Holds chosen requests just before the graph is run until it opens; stands in a server where its batches would.

    Attributes:
        passed: First values of `x` whose run has begun, in their order.
    """

    HELD = 7.0

    def __init__(self):
        from crossrec.serving.local_server.batching import BatchingConfig

        self.config = BatchingConfig()
        self.passed = []
        self.reached = threading.Event()
        self._open = threading.Event()

    def run(self, key, feeds, run):
        (first, *_) = next(iter(feeds.values())).ravel().tolist()
        if first == self.HELD:
            self.reached.set()
            assert self._open.wait(PATIENCE), "nobody opened the gate"
        self.passed.append(first)
        return run(feeds)

    @contextmanager
    def holding(self, caller):
        """One request waits at the gate; yields the list that its outputs come to after the end of the context."""
        answers = []
        held = {"x": np.array([self.HELD], np.float32)}
        thread = threading.Thread(target=lambda: answers.append(caller.outputs(held)))
        thread.start()
        try:
            assert self.reached.wait(PATIENCE), "the request did not come to the gate"
            yield answers
        finally:
            self._open.set()
            thread.join(PATIENCE)


class RunningServer:
    """A server in a thread; `target` is empty until the port is open."""

    def __init__(self, base_path, model="m", **changes):
        from crossrec.serving.local_server.model_configs import single_model_config
        from crossrec.serving.local_server.server import ServerConfig, serve

        settings = {"poll_seconds": 0.05, "max_threads": 8, "max_load_retries": 0, "retry_seconds": 0.0, **changes}
        gate = settings.pop("gate", None)
        if gate is not None:
            from crossrec.serving.local_server.servable import LoadOptions

            settings["load_options"] = LoadOptions(scheduler=gate)
        self.target = ""
        self.exit_code = None
        self.model = model
        self.stopping = threading.Event()
        self.ready = threading.Event()
        settings.setdefault("model_config", single_model_config(model, base_path))
        config = ServerConfig(host="127.0.0.1", port=0, **settings)

        def main():
            self.exit_code = serve(config, self.stopping, self._open)
            self.ready.set()

        self.thread = threading.Thread(target=main, daemon=True)
        self.thread.start()

    def _open(self, address):
        self.target = address
        self.ready.set()

    def caller(self):
        assert self.ready.wait(PATIENCE), "the server is not ready"
        assert self.target, f"the server ended with {self.exit_code}"
        return Caller(self.target, self.model)

    def stop(self):
        self.stopping.set()
        self.thread.join(PATIENCE)


@contextmanager
def serve_here(base_path, model="m", **changes):
    server = RunningServer(base_path, model, **changes)
    try:
        yield server
    finally:
        server.stop()
