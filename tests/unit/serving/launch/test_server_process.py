"""A server never outlives the process that started it; its exit code and its log are kept."""

import os
import signal
import subprocess
import sys
import time

import pytest

from crossrec.serving.launch.plans import Plan
from crossrec.serving.launch.ports import HOST, free_port, is_taken
from crossrec.serving.launch.process import ServerProcess
from tests.unit.serving.serve_here import until


def plan(script, cleanup=()):
    return Plan("binary", "a server", ("/bin/sh", "-c", script), {"GREETING": "hello"}, cleanup)


def finished(process):
    until(lambda: process.exit_code() is not None)
    return process.exit_code()


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pids(log, count):
    """Process ids that a script wrote."""
    until(lambda: len(log.read_text().split()) == count)
    return [int(word) for word in log.read_text().split()]


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 255", 255), ("kill -KILL $$", 137), ("kill -SEGV $$", 139)]
)
def test_the_exit_code_is_the_server_s(tmp_path, script, code):
    with ServerProcess(plan(script), tmp_path / "log") as process:
        assert finished(process) == code
        assert process.stop() == code


def test_a_program_that_is_none_ends_with_a_word(tmp_path):
    with ServerProcess(Plan("binary", "b", (str(tmp_path / "nothing"),)), tmp_path / "log") as process:
        assert finished(process) == 127
        assert process.log_tail() == f"{tmp_path / 'nothing'}: cannot be started: No such file or directory"


def test_both_streams_go_to_the_log_and_its_end_is_told(tmp_path):
    script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; echo $GREETING $EXTRA >&2"
    with ServerProcess(plan(script), tmp_path / "log", {"EXTRA": "world"}) as process:
        finished(process)
        assert process.log_tail().endswith("line 1999\nhello world")
        assert len(process.log_tail()) <= 4000
        assert (tmp_path / "log").read_text().startswith("line 0\n")


def test_a_stop_lets_the_server_end_by_itself(tmp_path):
    log = tmp_path / "log"
    script = "trap 'echo bye; exit 3' TERM; echo $$; while :; do sleep 0.05; done"
    with ServerProcess(plan(script), log) as process:
        pids(log, 1)
    assert process.exit_code() == 3
    assert log.read_text().split()[1] == "bye"


def test_a_server_that_does_not_listen_is_killed_with_its_children(tmp_path):
    log = tmp_path / "log"
    script = "trap '' TERM INT HUP; sleep 1000 & echo $! $$; while :; do sleep 0.1; done"
    with ServerProcess(plan(script), log, grace_seconds=0.3) as process:
        found = pids(log, 2)
        assert all(map(is_alive, found))
    assert process.exit_code() == 137
    until(lambda: not any(map(is_alive, found)))


def test_children_of_a_server_that_ended_are_ended_too(tmp_path):
    log = tmp_path / "log"
    with ServerProcess(plan("sleep 1000 & echo $!; exit 0"), log) as process:
        (child,) = pids(log, 1)
        finished(process)
    until(lambda: not is_alive(child))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_parent_takes_the_server_with_it(tmp_path, number):
    log = tmp_path / "log"
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from crossrec.serving.launch.plans import Plan\nfrom crossrec.serving.launch.process import ServerProcess\n"
        "ServerProcess(Plan('binary', 'b', ('/bin/sh', '-c', sys.argv[1]), cleanup=('touch', sys.argv[3])),"
        " Path(sys.argv[2]), grace_seconds=0.3)\ntime.sleep(1000)"
    )
    script = "trap '' TERM; sleep 1000 & echo $! $$; while :; do sleep 0.1; done"
    removed = tmp_path / "cleaned up"
    parent = subprocess.Popen([sys.executable, "-c", program, script, str(log), str(removed)])
    until(log.exists)
    found = pids(log, 2)
    os.kill(parent.pid, number)
    parent.wait()
    until(lambda: not any(map(is_alive, found)))
    until(removed.exists)


def test_a_stop_cleans_up_once_the_server_has_ended(tmp_path):
    trace = tmp_path / "trace"
    cleanup = ("/bin/sh", "-c", f"echo cleaned >> '{trace}'")
    with ServerProcess(
        plan(f"trap 'echo ended >> \"{trace}\"; exit 0' TERM; echo $$; while :; do sleep 0.05; done", cleanup),
        tmp_path / "log",
    ):
        pids(tmp_path / "log", 1)
    assert trace.read_text().split() == ["ended", "cleaned"]


def test_a_free_port_is_one_that_nobody_uses():
    import socket

    port = free_port()
    assert not is_taken(port)
    with socket.socket() as listener:
        listener.bind((HOST, port))
        listener.listen()
        assert is_taken(port)
    begin = time.monotonic()
    assert not is_taken(port)
    assert time.monotonic() - begin < 30
