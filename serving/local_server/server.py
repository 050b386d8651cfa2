"""The server: source, manager and services put together."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from crossrec.serving.local_server.manager import Manager
from crossrec.serving.local_server.policies import State
from crossrec.serving.local_server.servable import Servable, load_saved_model
from crossrec.serving.local_server.services import ModelService, PredictionService
from crossrec.serving.local_server.sources import FileSystemSource, ModelSource
from crossrec.serving.local_server.warmup import run_warmup

_SHUTDOWN_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class ServerConfig:
    """What the command line says.

    Attributes:
        models: Models to serve.
        host: Address to bind.
        port: Port to bind; 0 takes a free one.
        poll_seconds: Time between two looks at the base paths; 0 looks once.
        max_threads: Requests that are answered at the same time.
        max_load_retries: How often a failed load is tried again.
        retry_seconds: Time between two tries.
    """

    models: tuple[ModelSource, ...]
    host: str
    port: int
    poll_seconds: float
    max_threads: int
    max_load_retries: int
    retry_seconds: float


def load_version(name: str, version: int, path: Path) -> Servable:
    """Load a version and warm it up.

    Args:
        name: Name of the model.
        version: Its number.
        path: The version's directory.

    Returns:
        The version, ready for requests.

    Raises:
        StatusError: It cannot be loaded, or a warm-up request failed.
    """
    servable = load_saved_model(name, version, path)
    try:
        run_warmup(servable, path)
    except BaseException:
        servable.close()
        raise
    return servable


def serve(config: ServerConfig, stopping: threading.Event, ready: Callable[[str], None]) -> int:
    """Serve until told to stop. The port stays closed until every model has a version.

    Args:
        config: What to serve and where.
        stopping: Ends the serving when set.
        ready: Called with the address once requests are answered.

    Returns:
        Exit code: 0 after a stop, 255 where a first version does not load, 1 where the port cannot be bound.
    """
    manager = Manager(load_version, config.max_load_retries, config.retry_seconds)
    source = FileSystemSource(config.models, config.poll_seconds, manager.set_aspired_versions)
    manager.start()
    source.start()
    try:
        failure = _wait_for_models(manager, config, stopping)
        if failure is not None:
            print(f"Failed to start server. Error: UNKNOWN: {failure}", file=sys.stderr, flush=True)
            return 255
        if stopping.is_set():
            return 0
        return _serve_grpc(manager, config, stopping, ready)
    finally:
        source.stop()
        manager.stop()


def _wait_for_models(manager: Manager, config: ServerConfig, stopping: threading.Event) -> str | None:
    failed = []
    for model in config.models:
        decided = manager.wait_until_decided(model.name, stopping)
        if decided is not None and decided.state is not State.AVAILABLE:
            failed.append(f"{{{{name: {model.name} version: {decided.version}}} due to error: {decided.error}}}, ")
    return f"{len(failed)} servable(s) did not become available: {{{''.join(failed)}}}" if failed else None


def _serve_grpc(manager: Manager, config: ServerConfig, stopping: threading.Event, ready: Callable[[str], None]) -> int:
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        # Two servers on one port would share its requests in silence.
        ("grpc.so_reuseport", 0),
    ]
    with ThreadPoolExecutor(config.max_threads, thread_name_prefix="grpc") as pool:
        server = grpc.server(pool, options=options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(manager), server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(manager), server)
        address = f"{config.host}:{config.port}"
        try:
            port = server.add_insecure_port(address)
        except RuntimeError:
            port = 0
        if port == 0:
            print(
                f"Cannot bind {address}: another process uses the port, or the host is not this machine's; "
                "choose another --port, or 0 for a free one",
                file=sys.stderr,
                flush=True,
            )
            return 1
        server.start()
        ready(f"{config.host}:{port}")
        stopping.wait()
        server.stop(_SHUTDOWN_GRACE_SECONDS).wait()
    return 0
