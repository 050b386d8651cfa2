"""The process of a server that is to be tried for a short time: a free port, a log, no second try to load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossrec.serving.launch.models import Served
from crossrec.serving.launch.plans import Plan, choose
from crossrec.serving.launch.ports import free_port
from crossrec.serving.launch.process import ServerProcess

_GRACE_SECONDS = 3.0
# Trainings may hold the graphics card while this server runs, and the stock image does not use one.
_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "-1"}
_FLAGS = ("--max_num_load_retries=0",)


@dataclass(frozen=True)
class TrialProcess:
    """A server that has been started.

    Attributes:
      plan: What was started.
      port: Port that it will listen on.
      process: The process; a context that stops it.
    """

    plan: Plan
    port: int
    process: ServerProcess


def start(choice: str, served: Served, log: Path, flags: Sequence[str] = ()) -> TrialProcess:
    """Start a server.

    Args:
      choice: See `plans.choose`.
      served: What it is to serve.
      log: File for what it writes; emptied first.
      flags: Further flags.

    Raises:
      NoServerError: If this machine has no such server.
    """
    port = free_port()
    plan = choose(choice, served, port, (*_FLAGS, *flags))
    log.write_bytes(b"")
    return TrialProcess(plan, port, ServerProcess(plan, log, _ENVIRONMENT, _GRACE_SECONDS))
