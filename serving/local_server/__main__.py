"""Command line of the local server; flags are named as TensorFlow Serving's."""

import argparse
import importlib.util
import logging
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, Optional, Union

from crossrec.serving.contract.names import DEFAULT_MODEL_NAME, DEFAULT_PORT
from crossrec.serving.local_server.process import READY_LINE


def _bool(text: str) -> bool:
    if text.lower() in ("true", "1", "t"):
        return True
    if text.lower() in ("false", "0", "f"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r}: give true or false")


def _channel_arguments(text: str) -> tuple[tuple[str, Union[int, str]], ...]:
    arguments: list[tuple[str, Union[int, str]]] = []
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not (key and equals):
            raise argparse.ArgumentTypeError(f"{part!r}: give key=value")
        arguments.append((key, int(value) if value.lstrip("-").isdecimal() else value))
    return tuple(arguments)


# --flag alone is true, as with TensorFlow Serving.
_BOOL: dict[str, Any] = {"type": _bool, "nargs": "?", "const": True, "default": False, "metavar": "BOOL"}


def _flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m crossrec.serving.local_server",
        description="Serve the versions in a directory over gRPC, as TensorFlow Serving does.",
        allow_abbrev=False,
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port to listen on; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: this machine only)")
    parser.add_argument("--model_name", default=DEFAULT_MODEL_NAME, help="name under which the model is served")
    parser.add_argument("--model_base_path", type=Path, help="directory with one sub-directory per version")
    parser.add_argument(
        "--model_config_file",
        type=Path,
        help="ModelServerConfig as text: several models, version policies, labels; --model_name and "
        "--model_base_path are ignored then",
    )
    parser.add_argument(
        "--model_config_file_poll_wait_seconds",
        type=float,
        default=0.0,
        help="time between two reads of --model_config_file; 0 reads it once",
    )
    parser.add_argument(
        "--allow_version_labels_for_unavailable_models",
        **_BOOL,
        help="let a new label name a version that is not available yet",
    )
    parser.add_argument(
        "--file_system_poll_wait_seconds",
        type=float,
        default=1.0,
        help="time between two looks for versions; 0 looks once",
    )
    parser.add_argument(
        "--grpc_max_threads",
        type=int,
        default=4 * (os.cpu_count() or 1),
        help="requests answered at the same time",
    )
    parser.add_argument("--max_num_load_retries", type=int, default=5, help="tries after a failed load")
    parser.add_argument(
        "--load_retry_interval_micros",
        type=int,
        default=1_000_000,
        help="time between two tries (TensorFlow Serving: a minute; here a second)",
    )
    parser.add_argument(
        "--ssl_config_file", type=Path, help="SSLConfig as text: server_key, server_cert, custom_ca, client_verify"
    )
    parser.add_argument("--enable_batching", **_BOOL, help="run requests that wait together as one batch")
    parser.add_argument("--batching_parameters_file", type=Path, help="BatchingParameters as text")
    parser.add_argument(
        "--enable_model_warmup", **{**_BOOL, "default": True}, help="replay the warm-up requests of a version"
    )
    parser.add_argument(
        "--num_request_iterations_for_warmup", type=int, default=1, help="how often each warm-up request is replayed"
    )
    parser.add_argument(
        "--enable_signature_method_name_check",
        **_BOOL,
        help="refuse Classify and Regress where the signature's method_name is another",
    )
    parser.add_argument(
        "--tensorflow_session_parallelism", type=int, default=0, help="threads of a session; 0 chooses by itself"
    )
    parser.add_argument("--tensorflow_intra_op_parallelism", type=int, default=0, help="threads within an operation")
    parser.add_argument("--tensorflow_inter_op_parallelism", type=int, default=0, help="operations at the same time")
    parser.add_argument(
        "--grpc_channel_arguments",
        type=_channel_arguments,
        default=(),
        help="such as grpc.max_connection_age_ms=2000; several by commas",
    )
    parser.add_argument("--stop_with_stdin", action="store_true", help="stop when standard input ends")
    parser.add_argument("--verbose", action="store_true", help="log loads and unloads to standard error")
    return parser


def _problem(flags: argparse.Namespace) -> Optional[str]:
    if flags.model_config_file is None and flags.model_base_path is None:
        return "neither --model_base_path nor --model_config_file is given: name what to serve"
    if flags.model_config_file is None and not flags.model_name:
        return "--model_name is empty: give the name under which the model is served"
    if flags.batching_parameters_file is not None and not flags.enable_batching:
        return f"--batching_parameters_file={flags.batching_parameters_file} works with --enable_batching only: add it"
    if flags.tensorflow_session_parallelism and (
        flags.tensorflow_intra_op_parallelism or flags.tensorflow_inter_op_parallelism
    ):
        return "--tensorflow_session_parallelism is given beside the intra-op or inter-op flag: give one kind"
    if not 0 <= flags.port <= 65535:
        return f"--port={flags.port}: give a port between 0 and 65535"
    for name, least in (
        ("grpc_max_threads", 1),
        ("file_system_poll_wait_seconds", 0),
        ("max_num_load_retries", 0),
        ("load_retry_interval_micros", 0),
        ("model_config_file_poll_wait_seconds", 0),
        ("num_request_iterations_for_warmup", 1),
        ("tensorflow_session_parallelism", 0),
        ("tensorflow_intra_op_parallelism", 0),
        ("tensorflow_inter_op_parallelism", 0),
    ):
        if not getattr(flags, name) >= least:
            return f"--{name}={getattr(flags, name)}: give {least} or more"
    return None


def _silence_libraries() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    # protobuf only warns of this damage; TensorFlow Serving refuses the message.
    warnings.filterwarnings("error", "Unexpected end-group tag")
    # gRPC logs a traceback for every message that cannot be parsed; its sender is told anyway.
    logging.getLogger("grpc").setLevel(logging.CRITICAL)
    import tensorflow as tf

    tf.get_logger().setLevel(logging.ERROR)
    # The stock binary links TensorFlow Text's ops; importing the package registers them.
    if importlib.util.find_spec("tensorflow_text") is not None:
        importlib.import_module("tensorflow_text")


def _stop_with_stdin(stopping: threading.Event) -> None:
    # os.read, since a daemon thread inside sys.stdin's lock makes the interpreter abort at its end.
    while os.read(0, 4096):
        pass
    stopping.set()


def main(arguments: Optional[list[str]] = None) -> int:
    """Run the server until SIGINT or SIGTERM.

    Args:
        arguments: Command-line arguments; the process's own where None.

    Returns:
        Exit code.
    """
    parser = _flags()
    flags = parser.parse_args(arguments)
    problem = _problem(flags)
    if problem is not None:
        parser.error(problem)
    # Until the libraries are loaded, which takes seconds, a signal may end the process where it stands.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    stopping = threading.Event()
    if flags.stop_with_stdin:
        threading.Thread(target=_stop_with_stdin, args=(stopping,), daemon=True).start()
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    logging.getLogger("crossrec").setLevel(logging.INFO if flags.verbose else logging.WARNING)
    _silence_libraries()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    from crossrec.serving.local_server.server import serve
    from crossrec.serving.local_server.statuses import StatusError

    try:
        config = _server_config(flags)
    except StatusError as error:
        print(f"Failed to start server. Error: {error}", file=sys.stderr, flush=True)
        return 255
    return serve(config, stopping, lambda address: print(f"{READY_LINE}{address} ...", flush=True))


def _server_config(flags: argparse.Namespace) -> Any:
    from crossrec.serving.local_server.batching import BatchScheduler, read_batching_config
    from crossrec.serving.local_server.model_configs import single_model_config
    from crossrec.serving.local_server.servable import LoadOptions
    from crossrec.serving.local_server.server import ServerConfig, read_model_config

    if flags.model_config_file is None:
        model_config = single_model_config(flags.model_name, flags.model_base_path.absolute())
    else:
        model_config = read_model_config(flags.model_config_file)
    scheduler = BatchScheduler(read_batching_config(flags.batching_parameters_file)) if flags.enable_batching else None
    return ServerConfig(
        model_config=model_config,
        host=flags.host,
        port=flags.port,
        poll_seconds=flags.file_system_poll_wait_seconds,
        max_threads=flags.grpc_max_threads,
        max_load_retries=flags.max_num_load_retries,
        retry_seconds=flags.load_retry_interval_micros / 1e6,
        model_config_file=flags.model_config_file,
        model_config_poll_seconds=flags.model_config_file_poll_wait_seconds,
        labels_for_unavailable=flags.allow_version_labels_for_unavailable_models,
        ssl_config_file=flags.ssl_config_file,
        warmup_iterations=flags.num_request_iterations_for_warmup if flags.enable_model_warmup else 0,
        load_options=LoadOptions(
            checks_method_names=flags.enable_signature_method_name_check,
            scheduler=scheduler,
            intra_op_threads=flags.tensorflow_intra_op_parallelism or flags.tensorflow_session_parallelism,
            inter_op_threads=flags.tensorflow_inter_op_parallelism or flags.tensorflow_session_parallelism,
        ),
        channel_options=flags.grpc_channel_arguments,
    )


if __name__ == "__main__":
    raise SystemExit(main())
