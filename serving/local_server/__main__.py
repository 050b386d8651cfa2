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
from typing import Optional

from crossrec.serving.contract.names import DEFAULT_MODEL_NAME, DEFAULT_PORT
from crossrec.serving.local_server.process import READY_LINE


def _flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m crossrec.serving.local_server",
        description="Serve the versions in a directory over gRPC, as TensorFlow Serving does.",
        allow_abbrev=False,
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port to listen on; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: this machine only)")
    parser.add_argument("--model_name", default=DEFAULT_MODEL_NAME, help="name under which the model is served")
    parser.add_argument(
        "--model_base_path", type=Path, required=True, help="directory with one sub-directory per version"
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
    parser.add_argument("--stop_with_stdin", action="store_true", help="stop when standard input ends")
    parser.add_argument("--verbose", action="store_true", help="log loads and unloads to standard error")
    return parser


def _problem(flags: argparse.Namespace) -> Optional[str]:
    if not flags.model_name:
        return "--model_name is empty: give the name under which the model is served"
    if not 0 <= flags.port <= 65535:
        return f"--port={flags.port}: give a port between 0 and 65535"
    for name, least in (
        ("grpc_max_threads", 1),
        ("file_system_poll_wait_seconds", 0),
        ("max_num_load_retries", 0),
        ("load_retry_interval_micros", 0),
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
    from crossrec.serving.local_server.server import ServerConfig, serve
    from crossrec.serving.local_server.sources import ModelSource

    return serve(
        ServerConfig(
            models=(ModelSource(flags.model_name, flags.model_base_path),),
            host=flags.host,
            port=flags.port,
            poll_seconds=flags.file_system_poll_wait_seconds,
            max_threads=flags.grpc_max_threads,
            max_load_retries=flags.max_num_load_retries,
            retry_seconds=flags.load_retry_interval_micros / 1e6,
        ),
        stopping,
        lambda address: print(f"{READY_LINE}{address} ...", flush=True),
    )


if __name__ == "__main__":
    raise SystemExit(main())
