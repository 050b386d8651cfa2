"""Keeps a server from outliving the process that started it. Run as a script by `ServerProcess`.

The guard starts the server and waits for it. When it gets SIGTERM, or when its standard input ends because its parent
has died in whatever way, it asks the server to end, and kills it after the time of grace. Its exit code is that of the
server, 128 + N for one that signal N ended, 127 if the server could not be started.

Usage: guard.py JSON, with the keys command, cleanup (a command that is run afterwards; may be empty) and grace_seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

CANNOT_START = 127
_CLEANUP_SECONDS = 30.0


def main(order: str) -> int:
    """Run a server until it ends or is to end.

    Args:
        order: See the module.

    Returns:
        Exit code.
    """
    what = json.loads(order)
    orphaned, stopping = threading.Event(), threading.Event()
    # Before there is a server, so that no signal can end the guard and leave a server behind.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        server = subprocess.Popen(what["command"], stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{what['command'][0]}: cannot be started: {error.strerror}", file=sys.stderr, flush=True)
        return CANNOT_START

    def stop_when_told() -> None:
        stopping.wait()
        server.terminate()
        try:
            server.wait(what["grace_seconds"])
        except subprocess.TimeoutExpired:
            server.kill()

    def stop_with_parent() -> None:
        while os.read(0, 4096):
            pass
        orphaned.set()
        stopping.set()

    for run in (stop_when_told, stop_with_parent):
        threading.Thread(target=run, daemon=True).start()
    code = server.wait()
    if what["cleanup"]:
        _clean_up(what["cleanup"])
    if orphaned.is_set():
        # Nobody else is left to end what the server itself has started; this process goes with it.
        os.killpg(0, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _clean_up(command: list[str]) -> None:
    try:
        subprocess.run(command, capture_output=True, timeout=_CLEANUP_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{' '.join(command)}: {error}; run it by hand", file=sys.stderr, flush=True)


if __name__ == "__main__":
    # The thread that still waits for standard input must not hold up the end.
    os._exit(main(sys.argv[1]))
