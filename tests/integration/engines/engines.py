"""Beam's portable runner on this machine, and workers that are another user in another place."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PROCESSES = ("--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2")
_WORKERS = """
import sys, time
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
address, _ = BeamFnExternalWorkerPoolServicer.start(use_process=False)
print(address.rpartition(":")[2], flush=True)
sys.stdin.read()
"""
_NOBODY = 65534
# Another user, with a home and a place of its own. As on a bucket it may write into folders that this one made, which
# TensorFlow makes for their owner only, and the interpreter may lie in root's home.
_AS_NOBODY = (
    "setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups",
    "--inh-caps=-all,+dac_override", "--ambient-caps=+dac_override", "--bounding-set=-all,+dac_override",
)  # fmt: skip


def as_another_user() -> Sequence[str]:
    """What stands before a command that shall run as another user; nothing where that cannot be."""
    if os.geteuid() != 0:
        return ()
    tried = subprocess.run([*_AS_NOBODY, "true"], capture_output=True)
    return _AS_NOBODY if tried.returncode == 0 else ()


@contextlib.contextmanager
def job_service(folder: Path) -> Iterator[str]:
    """The portable runner's job service; gives its address."""
    port = folder / "port"
    command = [
        sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main",
        "--port_file", str(port), "--staging_dir", str(folder / "staging"),
    ]  # fmt: skip
    with _running(command, folder, "job_service"):
        while not port.exists() or not port.read_text():
            time.sleep(0.1)
        yield f"127.0.0.1:{port.read_text()}"


@contextlib.contextmanager
def workers(folder: Path) -> Iterator[str]:
    """A pool of workers in a folder of their own, as another user if that can be; gives its address."""
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    command = [*as_another_user(), sys.executable, "-c", _WORKERS]
    with _running(command, folder, "workers", cwd=folder) as process:
        yield f"127.0.0.1:{process.stdout.readline().decode().strip()}"


@contextlib.contextmanager
def _running(command: Sequence[str], folder: Path, name: str, cwd: Path | None = None) -> Iterator[subprocess.Popen]:
    with (
        open(folder / f"{name}.log", "wb") as log,
        subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "HOME": str(folder), "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def portable(service: str, kind: str, config: str = "") -> list[str]:
    """The options of Beam for the portable runner."""
    # Else a job that takes more than a minute is given up.
    wait = "--job_server_timeout=3600"
    options = ["--runner=PortableRunner", f"--job_endpoint={service}", wait, f"--environment_type={kind}"]
    return options + ([f"--environment_config={config}"] if config else [])
