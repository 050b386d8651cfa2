"""The server: models and services put together."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

from crossrec.serving.local_server.core import ServerCore
from crossrec.serving.local_server.manager import Loader, Manager
from crossrec.serving.local_server.servable import LoadOptions, Servable, load_saved_model
from crossrec.serving.local_server.services import ModelService, PredictionService
from crossrec.serving.local_server.statuses import StatusError, invalid_argument
from crossrec.serving.local_server.text_configs import read_text_config
from crossrec.serving.local_server.tls import server_credentials
from crossrec.serving.local_server.warmup import run_warmup

_LOG = logging.getLogger(__name__)
_SHUTDOWN_GRACE_SECONDS = 5.0
# TensorFlow Serving takes messages up to the largest 32-bit number.
_MAX_MESSAGE_BYTES = 2**31 - 1


@dataclass(frozen=True)
class ServerConfig:
    """What the command line says.

    Attributes:
        model_config: ModelServerConfig with the models to serve.
        host: Address to bind.
        port: Port to bind; 0 takes a free one.
        poll_seconds: Time between two looks at the base paths; 0 looks once.
        max_threads: Requests that are answered at the same time; more of them wait.
        max_load_retries: How often a failed load is tried again.
        retry_seconds: Time between two tries.
        model_config_file: File that is read again every `model_config_poll_seconds`.
        model_config_poll_seconds: 0 never reads it again.
        labels_for_unavailable: Whether a new label may name a version that is not available.
        ssl_config_file: File with keys and certificates; None serves without TLS.
        warmup_iterations: How often each warm-up request is replayed; 0 loads versions without warm-up.
        load_options: How versions are loaded and run.
        channel_options: Further options of the gRPC server.
    """

    model_config: Any
    host: str
    port: int
    poll_seconds: float
    max_threads: int
    max_load_retries: int
    retry_seconds: float
    model_config_file: Path | None = None
    model_config_poll_seconds: float = 0.0
    labels_for_unavailable: bool = False
    ssl_config_file: Path | None = None
    warmup_iterations: int = 1
    load_options: LoadOptions = field(default_factory=LoadOptions)
    channel_options: tuple[tuple[str, int | str], ...] = ()


def version_loader(options: LoadOptions, warmup_iterations: int = 1) -> Loader:
    """Make the function that loads a version and warms it up.

    Args:
        options: How the session runs.
        warmup_iterations: How often each warm-up request is replayed; 0 leaves the warm-up out.

    Returns:
        A function of a model's name, a version number and its directory, that raises StatusError where the
        version cannot be loaded or a warm-up request fails.
    """

    def load(name: str, version: int, path: Path) -> Servable:
        servable = load_saved_model(name, version, path, options)
        try:
            if warmup_iterations:
                run_warmup(servable, path, warmup_iterations)
        except BaseException:
            servable.close()
            raise
        return servable

    return load


def serve(config: ServerConfig, stopping: threading.Event, ready: Callable[[str], None]) -> int:
    """Serve until told to stop. The port stays closed until every model has a version.

    Args:
        config: What to serve and where.
        stopping: Ends the serving when set.
        ready: Called with the address once requests are answered.

    Returns:
        Exit code: 0 after a stop, 255 where the configuration is refused or a first version does not load,
        1 where the port cannot be bound.
    """
    loader = version_loader(config.load_options, config.warmup_iterations)
    manager = Manager(loader, config.max_load_retries, config.retry_seconds)
    core = ServerCore(manager, config.poll_seconds, stopping, config.labels_for_unavailable)
    try:
        credentials = server_credentials(config.ssl_config_file) if config.ssl_config_file is not None else None
        core.start(config.model_config)
    except StatusError as error:
        print(f"Failed to start server. Error: {error}", file=sys.stderr, flush=True)
        core.stop()
        return 255
    try:
        if stopping.is_set():
            return 0
        if config.model_config_file is not None and config.model_config_poll_seconds > 0:
            threading.Thread(target=_poll_config, args=(core, config, stopping), daemon=True).start()
        return _serve_grpc(core, config, credentials, stopping, ready)
    finally:
        core.stop()


def read_model_config(path: Path) -> Any:
    """Read the file that ``--model_config_file`` names.

    Args:
        path: ModelServerConfig as text.

    Returns:
        ModelServerConfig.

    Raises:
        StatusError: The file cannot be read, or holds no list of models.
    """
    config = read_text_config(path, model_server_config_pb2.ModelServerConfig)
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(f"Invalid protobuf file: '{path}' (it holds no model_config_list)")
    return config


def _poll_config(core: ServerCore, config: ServerConfig, stopping: threading.Event) -> None:
    # As in TensorFlow Serving, every look replaces the configuration, whether or not the file has changed: what
    # HandleReloadConfigRequest has set meanwhile is gone.
    assert config.model_config_file is not None
    while not stopping.wait(config.model_config_poll_seconds):
        try:
            core.reload(read_model_config(config.model_config_file))
        except StatusError as error:
            _LOG.warning("PollFilesystemAndReloadConfig failed to ReloadConfig: %s", error)


def _serve_grpc(
    core: ServerCore, config: ServerConfig, credentials: Any, stopping: threading.Event, ready: Callable[[str], None]
) -> int:
    options = [
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        # Two servers on one port would share its requests in silence.
        ("grpc.so_reuseport", 0),
        *config.channel_options,
    ]
    with ThreadPoolExecutor(config.max_threads, thread_name_prefix="grpc") as pool:
        server = grpc.server(pool, options=options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(core), server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(core), server)
        address = f"{config.host}:{config.port}"
        try:
            port = (
                server.add_insecure_port(address)
                if credentials is None
                else server.add_secure_port(address, credentials)
            )
        except RuntimeError:
            port = 0
        if port == 0:
            print(
                f"Cannot bind {address}: another process uses the port, the host is not this machine's, or the key "
                "and certificate do not fit each other; choose another --port, or 0 for a free one",
                file=sys.stderr,
                flush=True,
            )
            return 1
        server.start()
        ready(f"{config.host}:{port}")
        stopping.wait()
        server.stop(_SHUTDOWN_GRACE_SECONDS).wait()
    return 0
