"""A check whose server was started ahead: the same verdicts, each server used once, none left behind."""

import os
import subprocess
import sys

import pytest
from tfx.types.standard_artifacts import InfraBlessing

from crossrec.components.artifacts import ServingBundle
from crossrec.components.serving_check.ahead import server_ahead, take_server
from crossrec.components.serving_check.config import ServingCheckConfig
from crossrec.components.serving_check.executor import Executor
from crossrec.components.serving_check.report import Report
from crossrec.serving.launch.ports import is_taken
from tests.unit.components.serving_check.test_component import artifact, processes_with
from tests.unit.serving.make_models import corrupt
from tests.unit.serving.serve_here import until

CONFIG = ServingCheckConfig(server="local", requests=4)


def check(bundle, out, model="shop", config=CONFIG):
    Executor().Do(
        {"bundle": [artifact(ServingBundle, bundle)]},
        {"blessing": [artifact(InfraBlessing, out)]},
        {"config": config.model_dump_json(), "model_name": model, "code_digest": "", "refusals": 0},
    )
    return Report.read(str(out))


def standbys(folder):
    """Ids of the processes that look into a standby's folder: a guard and a server."""
    return processes_with(f"{folder}/crossrec-standby-")


def started(folder):
    """The same, once the system shows what was started."""
    until(lambda: standbys(folder))
    return standbys(folder)


def gone(folder):
    """Whether there are none any more; the system may show what was killed for a moment."""
    until(lambda: not standbys(folder))
    return True


def test_the_server_that_was_started_ahead_is_the_one_that_is_asked(bundle, tmp_path):
    with server_ahead(CONFIG, "shop"):
        assert started(tmp_path)
        report = check(bundle, tmp_path / "out")
        assert report.blessed and report.server == "the local server" and report.version == 1
        assert [answer.deviation for answer in report.golden] == [0.0] and report.latency.requests == 4
        assert gone(tmp_path), "it ends with the check"
        assert take_server("shop") is None, "and serves one only"
    # A server of the check's own would have been told the folder of the bundle's copy.
    assert not list(tmp_path.glob("crossrec-*"))
    assert (tmp_path / "out" / "server.log").is_file()
    assert (bundle / "assets" / "model_version.txt").read_text() == "version\t0\n"


def test_what_does_not_load_is_refused_in_the_same_words(bundle, tmp_path):
    corrupt(bundle)
    with server_ahead(CONFIG, "shop"):
        (failure,) = check(bundle, tmp_path / "out").failures
    assert failure.startswith("the server ended with code 255 while it loaded the model: ")
    assert "DATA_LOSS: Can't parse saved_model.pb" in failure
    assert check(bundle, tmp_path / "alone").failures == (failure,)
    assert "DATA_LOSS" in (tmp_path / "out" / "server.log").read_text()
    assert gone(tmp_path) and not list(tmp_path.glob("crossrec-*"))


def test_a_server_that_has_ended_meanwhile_is_replaced(bundle, tmp_path):
    with server_ahead(CONFIG, "shop"):
        os.killpg(os.getpgid(started(tmp_path)[0]), 9)
        assert gone(tmp_path) and check(bundle, tmp_path / "out").blessed


def test_it_is_gone_whatever_happens_before_the_check(tmp_path):
    with pytest.raises(RuntimeError, match="the bundle"), server_ahead(CONFIG, "shop"):
        port = take_server("shop").started.port
        assert started(tmp_path) and not is_taken(port)
        raise RuntimeError("the bundle could not be made")
    assert gone(tmp_path) and not list(tmp_path.glob("crossrec-*"))


def test_it_waits_for_its_own_model_in_its_own_context_only(tmp_path):
    assert take_server("shop") is None
    with server_ahead(CONFIG, "shop"):
        assert take_server("other") is None
        assert take_server("shop").model == "shop" and take_server("shop") is None
    with server_ahead(CONFIG, "shop"):
        pass
    assert take_server("shop") is None


def test_tensorflow_serving_starts_in_no_time_and_not_ahead(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "tensorflow_model_server"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\ntouch $0.started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with server_ahead(ServingCheckConfig(), "shop"):
        assert take_server("shop") is None
    with server_ahead(ServingCheckConfig(server="docker"), "shop"):
        assert take_server("shop") is None
    assert not program.with_name("tensorflow_model_server.started").exists()


_HOLDS_ONE = """
import time
from crossrec.components.serving_check.ahead import server_ahead
from crossrec.components.serving_check.config import ServingCheckConfig

with server_ahead(ServingCheckConfig(server="local"), "shop"):
    print("started", flush=True)
    time.sleep(300)
"""


def test_it_does_not_outlive_a_process_that_is_killed(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", _HOLDS_ONE], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == b"started\n"
        assert started(tmp_path)
        process.kill()
    assert gone(tmp_path)
