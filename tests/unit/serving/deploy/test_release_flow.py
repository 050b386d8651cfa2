"""The manifests at work: an API server, `crossrec release` with the rights of its Role, a server with its arguments."""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from google.protobuf import text_format

from crossrec.pipeline.cli import release
from crossrec.serving.contract import messages as wire
from crossrec.serving.contract.prediction_logs import predict_request, prediction_log, write_prediction_logs
from crossrec.serving.launch.ports import free_port
from crossrec.serving.local_server.process import LocalServer
from crossrec.serving.releases.replica import Replica
from tests.unit.serving.deploy.rendered import (
    DEPLOY,
    RELEASES,
    arguments,
    container,
    find,
    mounted,
    of_kind,
    overlay,
    volume,
)
from tests.unit.serving.deploy.test_manifests import REST_PATH
from tests.unit.serving.releases.api_server import ApiServer
from tests.unit.serving.serve_here import until

pytest.importorskip("kubernetes")

MODEL, NAMESPACE = "recommender", "shop"
# The local server has no REST port.
WITHOUT_REST = ("--rest_api_port=", "--rest_api_num_threads=")


class Cluster:
    """What the manifests meet: an API server, a volume at /models and a mounted ConfigMap.

    Args:
        folder: For the files.
        api: ApiServer.
    """

    def __init__(self, folder, api):
        self.objects = overlay("production")
        self.api = api
        self.root = folder / "models"
        self.mount = folder / "releases"
        self.refused = []
        self.kubeconfig = folder / "kubeconfig.json"
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "clusters": [{"name": "here", "cluster": {"server": api.address}}],
                    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "releases"}}],
                    "users": [{"name": "releases", "user": {}}],
                    "current-context": "here",
                }
            )
        )
        self._limit_rights()
        applied = find(self.objects, "ConfigMap", RELEASES)
        metadata = {**applied["metadata"], "namespace": NAMESPACE, "resourceVersion": "1"}
        api.objects[NAMESPACE, RELEASES] = {**applied, "metadata": metadata}
        self.port = free_port()
        self.target = f"127.0.0.1:{self.port}"

    def _limit_rights(self):
        """Answer 403 to everything that the Role does not allow."""
        (role,) = of_kind(self.objects, "Role")
        refused, everything = self.refused, self.api.server.RequestHandlerClass

        def limited(verb, handle):
            def checked(handler):
                kind, name = handler.path.partition("?")[0].split("/")[5:7] + [None][len(handler.path.split("/")) > 6 :]
                allowed = any(
                    verb in rule["verbs"] and kind in rule["resources"] and name in rule["resourceNames"]
                    for rule in role["rules"]
                )
                if allowed:
                    return handle(handler)
                refused.append(f"{verb} {handler.path}")
                if "Content-Length" in handler.headers:
                    handler.body()
                return handler.status(403, "Forbidden")

            return checked

        self.api.server.RequestHandlerClass = type(
            "Limited",
            (everything,),
            {
                "do_GET": limited("get", everything.do_GET),
                "do_PUT": limited("update", everything.do_PUT),
                "do_POST": limited("create", everything.do_POST),
            },
        )

    def data(self):
        return self.api.objects[NAMESPACE, RELEASES].get("data") or {}

    def sync(self):
        """Bring the mounted files up to the ConfigMap, as the kubelet does after a while."""
        server = container(self.objects)
        for item in volume(self.objects, "releases")["configMap"]["items"]:
            path = self.mount / item["path"]
            path.parent.mkdir(exist_ok=True)
            path.write_text(self.data()[item["key"]])
        return server

    def here(self, argument):
        """An argument of a container with the paths of this machine."""
        server = container(self.objects)
        config = mounted(server, "/etc/releases/models.config")["mountPath"]
        return argument.replace(config, str(self.mount)).replace("=/models", f"={self.root}")

    def server(self):
        """The server with the arguments of the Deployment."""
        own = [self.here(text) for text in arguments(container(self.objects)) if not text.startswith(WITHOUT_REST)]
        assert "--port=8500" in own
        flags = [text.replace("=8500", f"={self.port}") for text in own]
        return LocalServer(None, MODEL, startup_seconds=600, flags=flags)

    def command(self, *texts):
        return subprocess.Popen(
            [sys.executable, "-m", "crossrec.pipeline.cli.main", *texts],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def release(self, action, *texts):
        """`crossrec release`, as the README runs it in the console; returns code and output."""
        where = [f"--serving-root={self.root}", f"--config-map={NAMESPACE}/{RELEASES}"]
        done = self.command("release", action, *texts, *where)
        out, error = done.communicate(timeout=240)
        return done.returncode, out + error

    def reconciler(self):
        """The container `reconcile` with its arguments."""
        return self.command(*map(self.here, arguments(container(self.objects, RELEASES, "reconcile"), NAMESPACE)))

    def ready(self):
        """What the readiness probe finds: the version behind the label of its path, or None."""
        path = container(self.objects)["readinessProbe"]["httpGet"]["path"]
        model, _, label, subresource = REST_PATH.fullmatch(path).groups()
        assert subresource == "metadata"  # GetModelMetadata, which the next line calls
        with Replica(self.target, 30.0) as replica:
            return replica.labelled_version(model, label)


@pytest.fixture
def cluster(adder_path, tmp_path):
    with ApiServer() as api:
        made = Cluster(tmp_path, api)
        for version in (1, 2):
            path = shutil.copytree(adder_path / str(version), made.root / MODEL / str(version))
            x = np.array([10.0, -1.0], np.float32)
            outputs = {"y": x + version, "version": np.full(x.shape, version, np.int64)}
            log = prediction_log(predict_request({"x": x}, MODEL), outputs)
            write_prediction_logs(path / "assets.extra" / "golden_requests", [log])
        yield made


def test_a_directory_for_an_image(cluster):
    """Without any server: models.config with the label, for servers that see the directory as /models."""
    where = f"--serving-root={cluster.root}"
    for texts in (
        ("configure", "--server-root=/models", "--replica=127.0.0.1:1"),
        ("promote", "2"),
    ):
        done = cluster.command("release", *texts, where)
        out, error = done.communicate(timeout=240)
        assert done.returncode == 0, out + error
    config = text_format.Parse((cluster.root / "models.config").read_text(), wire.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == (MODEL, f"/models/{MODEL}")
    assert list(model.model_version_policy.specific.versions) == [2]
    assert model.version_labels["stable"] == 2


def commands():
    """The commands of the README, without comments, continued lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", (DEPLOY / "README.md").read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("crossrec ") for line in lines if re.match(r"(crossrec )?release [a-z]", line)]


@pytest.mark.parametrize("line", commands())
def test_commands_of_the_readme(line):
    parser = argparse.ArgumentParser()
    release.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(shlex.split(line))
    assert parsed.act


def test_from_apply_to_release(cluster):
    # Applied, but not configured: the servers wait for the key, and the reconciler ends and says what to do.
    assert cluster.data() == {}
    waiting = cluster.reconciler()
    _, error = waiting.communicate(timeout=240)
    assert waiting.returncode == 2 and "crossrec release configure" in error

    code, text = cluster.release(
        "configure", f"--server-root={cluster.root}", f"--replica={cluster.target}", "--requests=5"
    )
    assert code == 0, text
    code, text = cluster.release("promote", "1")
    assert code == 0 and "stable 1" in text, text
    assert cluster.data().keys() == {"state.json", "models.config", "traffic.json"}

    cluster.sync()
    with cluster.server():
        assert cluster.ready() == 1
        code, text = cluster.release("promote", "2")
        assert code == 0, text
        assert cluster.ready() == 2

    # A server that starts with a node's old copy of the ConfigMap is brought up to date by the reconciler.
    with cluster.server():
        assert cluster.ready() == 1
        running = cluster.reconciler()
        try:
            until(lambda: cluster.ready() == 2, 180)
        finally:
            running.terminate()
            running.communicate(timeout=240)
    assert cluster.refused == []
