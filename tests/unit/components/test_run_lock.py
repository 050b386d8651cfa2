import os
import re
import signal
import subprocess
import sys

import pytest

from crossrec.components.run_lock import LOCK_FILE, RunInProgressError, run_lock

HOLD = """
import sys, time
from crossrec.components.run_lock import run_lock
with run_lock(sys.argv[1]):
    print("holding", flush=True)
    time.sleep(600)
"""


def hold(root):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "holding\n"
    return process


def test_a_second_run_is_refused_and_told_who_and_what_to_do(tmp_path):
    holder = hold(tmp_path / "root")
    try:
        with pytest.raises(RunInProgressError) as error, run_lock(tmp_path / "root"):
            pytest.fail("two runs at once")
    finally:
        holder.kill()
        holder.wait()
    message = str(error.value)
    assert str(tmp_path / "root") in message
    assert re.search(rf"process {holder.pid} on {re.escape(os.uname().nodename)} since 20\d\d-", message)
    assert "--root" in message


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_goes_with_its_holder(tmp_path, how):
    holder = hold(tmp_path)
    holder.send_signal(how)
    holder.wait()
    with run_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK_FILE).read_text()


def test_the_lock_is_given_back_after_success_and_after_failure(tmp_path):
    with run_lock(tmp_path):
        pass
    with pytest.raises(ValueError, match="the run"), run_lock(tmp_path):
        raise ValueError("the run failed")
    with run_lock(tmp_path):
        pass


def test_a_publishing_timeout_inside_the_run_is_not_taken_for_a_busy_root(tmp_path):
    from crossrec.serving.releases.errors import LockTimeoutError

    with pytest.raises(LockTimeoutError), run_lock(tmp_path):
        raise LockTimeoutError("another publisher")


def test_roots_are_independent(tmp_path):
    with run_lock(tmp_path / "a"), run_lock(tmp_path / "b"):
        pass
