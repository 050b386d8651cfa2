"""Two real local servers over loopback, with models that have golden requests, for the tests of releases."""

import contextlib
import shutil
import threading
import time

import grpc
import numpy as np

from crossrec.serving.contract import messages as wire
from crossrec.serving.contract.prediction_logs import predict_request, prediction_log, write_prediction_logs
from crossrec.serving.contract.tensors import to_array
from crossrec.serving.launch.ports import free_port
from crossrec.serving.releases.configure import configure
from crossrec.serving.releases.context import Context
from crossrec.serving.releases.release import Release
from tests.unit.serving.serve_here import PATIENCE, until

MODEL = "m"
SET = "m"
X = np.array([10.0, -1.0], np.float32)
LIMITS = {"load_timeout_seconds": 60.0, "call_timeout_seconds": 30.0, "requests": 10}


def release(version):
    return Release.of({MODEL: version})


def publish(adder_path, root, version, model=MODEL, source=None):
    """Publish an adder with its golden request; `source` is the adder that it really is."""
    base = root / model
    base.mkdir(parents=True, exist_ok=True)
    staged = shutil.copytree(adder_path / str(source or version), base / f".staged-{version}")
    write_golden(staged, version)
    return staged.rename(base / str(version))


def write_golden(path, version):
    request = predict_request({"x": X}, MODEL)
    outputs = {"y": X + version, "version": np.full(X.shape, version, np.int64)}
    write_prediction_logs(path / "assets.extra" / "golden_requests", [prediction_log(request, outputs)])


class Server:
    """A replica that can be stopped and started again at the same port; it runs in a thread."""

    def __init__(self, root, **changes):
        self.root = root
        self.changes = changes
        self.port = free_port()
        self.stopping = None
        self.thread = None
        self.exit_code = None

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    def start(self, config_text=None):
        """Start with models.config, or with another text."""
        from google.protobuf import text_format
        from tensorflow_serving.config import model_server_config_pb2

        from crossrec.serving.local_server.server import ServerConfig, serve

        file = self.root / "models.config"
        text = file.read_text() if config_text is None else config_text
        settings = {
            "poll_seconds": 0.05,
            "max_threads": 8,
            "max_load_retries": 0,
            "retry_seconds": 0.0,
            "labels_for_unavailable": True,
            "model_config_file": file,
            **self.changes,
        }
        config = ServerConfig(
            model_config=text_format.Parse(text, model_server_config_pb2.ModelServerConfig()),
            host="127.0.0.1",
            port=self.port,
            **settings,
        )
        self.stopping, opened = threading.Event(), threading.Event()

        def ready(address):
            self.port = int(address.rpartition(":")[2])
            opened.set()

        def main():
            self.exit_code = serve(config, self.stopping, ready)
            opened.set()

        self.exit_code = None
        self.thread = threading.Thread(target=main, daemon=True)
        self.thread.start()
        assert opened.wait(PATIENCE), "the server is not ready"
        return self

    def stop(self):
        if self.thread is not None:
            self.stopping.set()
            self.thread.join(PATIENCE)
            self.thread = None


def bare_config(root, versions, model=MODEL):
    numbers = "".join(f" versions: {version}" for version in versions)
    return (
        f'model_config_list {{ config {{ name: "{model}" base_path: "{root}/{model}" model_platform: "tensorflow" '
        f"model_version_policy {{ specific {{{numbers} }} }} }} }}"
    )


@contextlib.contextmanager
def fleet(root, count=2, first=1, context=None, limits=None, server=None, **fields):
    """Servers of version `first` and a state that knows them; nothing is released yet."""
    servers = [Server(root, **(server or {})) for _ in range(count)]
    try:
        for one in servers:
            one.start(bare_config(root, [first]))
        context = context or Context.for_root(root, actor="alice@desk")
        changes = {"replicas": tuple(one.target for one in servers), **fields}
        configure(context, {SET: [MODEL]}, changes, {**LIMITS, **(limits or {})})
        yield context, servers
    finally:
        for one in servers:
            one.stop()


class Traffic:
    """Clients that ask by label without a pause; every answer is checked against the version that it names."""

    def __init__(self, targets, labels=("stable", "canary"), model=MODEL, pause=0.002):
        self.pause = pause
        self.failures = []
        self.versions = set()
        self.answers = 0
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(target, label, model), daemon=True)
            for target in targets
            for label in labels
        ]

    def _run(self, target, label, model):
        channel = grpc.insecure_channel(target)
        call = channel.unary_unary(
            wire.PREDICT_METHOD,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=wire.PredictResponse.FromString,
        )
        request = predict_request({"x": X}, model)
        request.model_spec.version_label = label
        while not self._stop.is_set():
            try:
                response = call(request, timeout=PATIENCE)
            except grpc.RpcError as error:
                self.failures.append(f"{label} at {target}: {error.code().name} {error.details()}")
                continue
            version = response.model_spec.version.value
            self.versions.add((label, version))
            self.answers += 1
            if to_array(response.outputs["y"]).tolist() != (X + version).tolist():
                self.failures.append(f"{label} at {target}: version {version} answered {response.outputs['y']}")
            time.sleep(self.pause)
        channel.close()

    def wait_for(self, answers, *versions):
        """Go on until there are more answers than so many, among them of these (label, version)."""
        until(lambda: self.failures or (self.answers > answers and self.versions.issuperset(versions)))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.wait_for(0)
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)


def serves(server):
    """Available versions and labels of a server, asked from outside."""
    from crossrec.serving.releases.converge import observe
    from crossrec.serving.releases.replica import Replica
    from crossrec.serving.releases.wanted import WantedModel

    with Replica(server.target, 5.0) as replica:
        seen = observe(replica, {MODEL: WantedModel((), {})})
    return seen.available(MODEL), dict(seen.labels[MODEL])
