"""`crossrec serve` where `crossrec release` manages the model: one command starts what was released."""

import re
import signal
import subprocess
import sys

import pytest

from crossrec.pipeline.cli.main import main
from crossrec.serving.launch.ports import free_port
from tests.unit.serving.releases.serving_fleet import X, publish
from tests.unit.serving.serve_here import Caller

COMMAND = [sys.executable, "-m", "crossrec.pipeline.cli.main"]


class Served:
    """`crossrec serve` on a port of its own, ready."""

    def __init__(self, port, *arguments):
        self.said = []
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port), "--server", "local", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.caller = Caller(f"127.0.0.1:{port}")
        for line in self.process.stdout:
            self.said.append(line.strip())
            if "Stop with Ctrl-C" in line:
                return
        pytest.fail(self.process.communicate(timeout=60)[1])

    def answers(self):
        """Version by label, from real answers."""
        found = {}
        for label in ("stable", "canary"):
            outputs = self.caller.outputs({"x": X}, label=label)
            (version,) = set(outputs["version"].tolist())
            assert outputs["y"].tolist() == (X + version).tolist()
            found[label] = version
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.caller.channel.close()
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=120)
        assert (self.process.returncode, out[-9:], err) == (0, "Stopped.\n", "")


@pytest.fixture
def root(adder_path, tmp_path):
    """A run's root with two published versions."""
    for version in (1, 2):
        publish(adder_path, tmp_path / "run" / "serving", version)
    return tmp_path / "run"


@pytest.fixture
def release(root, capsys):
    def run(*arguments, code=0):
        capsys.readouterr()
        assert main(["release", *map(str, arguments), "--root", str(root)]) == code
        return capsys.readouterr()

    return run


def serve_wrongly(*arguments, capsys):
    capsys.readouterr()
    code = main(["serve", "--server", "local", *map(str, arguments)])
    return code, capsys.readouterr().err


def test_from_the_first_release_to_a_rollback_and_over_a_restart(root, release, adder_path):
    port = free_port()
    release("configure", "--replica", f"127.0.0.1:{port}", "--requests", "4")
    release("promote", "1")
    with Served(port, "--root", root) as served:
        assert served.said[0].startswith(f"Serving m from {root / 'serving' / 'models.config'} with the local server")
        assert served.said[1].startswith(f"Ready: m version 1, which has the label stable, at 127.0.0.1:{port}.")
        assert served.answers() == {"stable": 1, "canary": 1}
        assert "in sync" in release("reconcile").out
        release("canary", "2", "--percent", "10")
        assert served.answers() == {"stable": 1, "canary": 2}
    # The server that is started anew has both versions and both labels at once, without a release command.
    with Served(port, "--model-config-file", root / "serving" / "models.config") as served:
        assert served.answers() == {"stable": 1, "canary": 2}
        # A version that was published, but not released, is not loaded.
        publish(adder_path, root / "serving", 3)
        release("promote", "2")
        assert served.answers() == {"stable": 2, "canary": 2}
        release("rollback", "--reason", "clicks fell")
        assert served.answers() == {"stable": 1, "canary": 1}
        assert 3 not in served.caller.statuses()
        assert release("show").out.count("in sync") == 1


def test_what_is_configured_and_not_released_is_not_served(root, release, capsys):
    release("configure", "--replica", "127.0.0.1:8500")
    code, error = serve_wrongly("--root", root, "--port", free_port(), capsys=capsys)
    assert code == 2
    assert re.search("models.config: names no model.*crossrec release promote VERSION", error)


def test_a_model_that_the_releases_do_not_manage_is_served_as_before(root, release, adder_path):
    from crossrec.pipeline.cli.serve import _models_config

    serving = root / "serving"
    assert _models_config(serving, None) is None, "nothing is configured"
    release("configure", "--replica", "127.0.0.1:8500")
    publish(adder_path, serving, 1, model="other")
    assert _models_config(serving, None) == serving / "models.config"
    assert _models_config(serving, "m") == serving / "models.config"
    assert _models_config(serving, "other") is None


def test_every_model_is_told_with_what_it_is_ready_by(tmp_path):
    from crossrec.pipeline.cli.serve import _ready_text
    from crossrec.serving.launch.models import Served as WhatIsServed
    from crossrec.serving.launch.models import ServedModel, one_model

    models = (ServedModel("a", tmp_path, "/m/a", "stable"), ServedModel("b", tmp_path, "/m/b"))
    first, second, query = _ready_text(WhatIsServed(models, tmp_path), {"a": 4, "b": 7}, "h:1").splitlines()
    assert first == "Ready: a version 4, which has the label stable, at h:1."
    assert second.startswith("Ready: b version 7 at h:1. It has no label stable: ") and "reconcile" in second
    assert query.strip() == "crossrec query --target h:1 --model a --label stable --user ID"
    alone = _ready_text(one_model("b", tmp_path), {"b": 7}, "h:1")
    assert alone.startswith("Ready: b version 7 at h:1. Stop with Ctrl-C.") and "label" not in alone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model-config-file", "FILE", "--model", "m"], "--model: names no part of --model-config-file"),
        (["--model-config-file", "NOWHERE"], "NOWHERE: cannot be read: No such file"),
        (["--model-config-file", "FILE"], "model a has the base path /models/nowhere, which is no directory"),
    ],
)
def test_a_configuration_that_cannot_be_served_is_refused(tmp_path, capsys, arguments, message):
    file = tmp_path / "FILE"
    file.write_text(
        'model_config_list { config { name: "a" base_path: "/models/nowhere" model_platform: "tensorflow" } }'
    )
    places = {"FILE": file, "NOWHERE": tmp_path / "NOWHERE"}
    code, error = serve_wrongly(*(places.get(one, one) for one in arguments), capsys=capsys)
    assert code == 2
    assert message in error and error.startswith("crossrec serve: ")


def test_a_file_and_a_base_path_exclude_each_other(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--model-config-file", "a", "--model-base-path", "b"])
    assert "not allowed with" in capsys.readouterr().err


def test_a_broken_state_of_the_releases_is_no_reason_to_serve_something_else(root, release, capsys):
    release("configure", "--replica", "127.0.0.1:8500")
    (root / "serving" / ".releases" / "state.json").write_text("{")
    code, error = serve_wrongly("--root", root, "--port", free_port(), capsys=capsys)
    assert code == 1 and "is no release state" in error
