"""The TFJob that a trainer asks for, and the file that shows one."""

import copy
import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from kubernetes import client

from crossrec.components.errors import DataError
from crossrec.components.modeling import tf_job, training_job

TRAINING = Path(__file__).resolve().parents[4] / "pipeline" / "kubeflow" / "training"
SHOWN = yaml.safe_load((TRAINING / "tfjob.yaml").read_text(encoding="utf-8"))
JOB_FOLDER = "/mnt/crossrec/checkpoints/job-0123456789abcdef"
# Every field of the custom resource `tfjobs.kubeflow.org`, version v1, beside the pods' own.
FIELDS = {
    "": {"apiVersion", "kind", "metadata", "spec"},
    "spec": {"enableDynamicWorker", "runPolicy", "successPolicy", "tfReplicaSpecs"},
    "replica": {"replicas", "restartPolicy", "template"},
}


def pod():
    """A pod of Kubeflow Pipelines whose trainer would ask for the TFJob of the file."""
    template = copy.deepcopy(SHOWN["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"])
    (own,) = template.pop("containers")
    scratch = {"name": "scratch", "mountPath": "/tmp"}
    token = {"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    own |= {"name": "main", "command": ["/kfp-launcher/launch"], "volumeMounts": [*own["volumeMounts"], scratch, token]}
    template["containers"] = [{"name": "wait", "image": "argoexec", "volumeMounts": [scratch]}, own]
    template["volumes"] += [{"name": "scratch", "emptyDir": {}}, {"name": "kube-api-access", "projected": {}}]
    template |= {"nodeName": "node-7", "restartPolicy": "Never"}
    return {"metadata": {"name": "trainer-1", "uid": "u"}, "spec": template}


def test_the_workers_are_like_the_pod_that_asks_and_the_file_shows_them():
    made = tf_job.manifest(pod(), SHOWN["metadata"]["name"], JOB_FOLDER, 2)
    assert made == SHOWN


def test_the_manifest_has_the_fields_that_the_operator_knows():
    assert SHOWN["apiVersion"] == f"{tf_job.GROUP}/{tf_job.VERSION}" and SHOWN["kind"] == "TFJob"
    assert SHOWN.keys() == FIELDS[""] and SHOWN["spec"].keys() <= FIELDS["spec"]
    # The strategy knows workers and a chief; parameter servers and evaluators are refused.
    assert SHOWN["spec"]["tfReplicaSpecs"].keys() == {"Worker"}
    worker = SHOWN["spec"]["tfReplicaSpecs"]["Worker"]
    assert worker.keys() == FIELDS["replica"] and worker["restartPolicy"] == "ExitCode"
    (container,) = worker["template"]["spec"]["containers"]
    # The operator sets TF_CONFIG in the container of this name only, and takes 128 and above as worth another try.
    assert container["name"] == "tensorflow" and training_job.LOST_WORKER >= 128
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in worker["template"]["spec"]["volumes"]}


def test_the_command_of_the_workers_is_one_that_runs(capsys):
    (container,) = SHOWN["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
    module, *arguments = container["command"][2:]
    assert module == training_job.__name__
    assert training_job.main(arguments) == 2
    assert f"there is no job.json in {JOB_FOLDER}" in capsys.readouterr().err


def test_the_role_allows_what_the_trainer_asks():
    role, binding = yaml.safe_load_all((TRAINING / "role.yaml").read_text(encoding="utf-8"))
    rights = {
        (group, thing): rule["verbs"]
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for thing in rule["resources"]
    }
    assert rights == {("", "pods"): ["get"], (tf_job.GROUP, tf_job.PLURAL): ["get", "create", "delete"]}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


@pytest.mark.parametrize(
    ("conditions", "ended"),
    [
        (None, None),
        ([("Created", "True"), ("Running", "True")], None),
        ([("Running", "False"), ("Succeeded", "True")], "Succeeded"),
        ([("Restarting", "True"), ("Failed", "False")], None),
        ([("Running", "False"), ("Failed", "True")], "Failed"),
    ],
)
def test_the_end_of_a_job_is_read_from_its_conditions(conditions, ended):
    status = {} if conditions is None else {"status": {"conditions": [{"type": t, "status": s} for t, s in conditions]}}
    assert tf_job.end_of({"metadata": {}, **status}) == ended


class Cluster:
    """Answers the calls of a trainer as the API server does: the pod, and its TFJobs.

    Attributes:
        looks: Conditions that are true, look by look; the last ones stay.
        refusal: Status of every answer about TFJobs; 0 where they are answered.
        jobs: TFJobs by name.
        created: All that ever were.
        calls: What was asked.
    """

    def __init__(self, looks=(), refusal=0):
        self.looks, self.refusal = list(looks), refusal
        self.jobs, self.created, self.calls = {}, [], []

    def answer(self, method, path, body):
        self.calls.append(method)
        if path == f"/api/v1/namespaces/shop/pods/{socket.gethostname()}":
            return 200, pod()
        assert path.startswith("/apis/kubeflow.org/v1/namespaces/shop/tfjobs")
        if self.refusal:
            return self.refusal, {"kind": "Status"}
        if method == "POST":
            self.created.append(body)
            self.jobs[body["metadata"]["name"]] = body
            return 201, body
        job = self.jobs[path.rpartition("/")[2]]
        if method == "DELETE":
            return 200, self.jobs.pop(job["metadata"]["name"])
        seen = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return 200, {**job, "status": {"conditions": [{"type": seen, "status": "True"}]}}

    @contextmanager
    def serving(self):
        """Gives a client."""
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, content = cluster.answer(self.command, self.path, json.loads(body or "null"))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            do_POST = do_DELETE = do_GET

            def log_message(self, *_):
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            config = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
            config.no_proxy = "127.0.0.1"
            with client.ApiClient(config) as api:
                yield api
            server.shutdown()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(tf_job, "_LOOK_SECONDS", 0.01)


def test_the_trainer_waits_for_its_workers_and_takes_them_away():
    cluster = Cluster(["Created", "Running", "Restarting", "Succeeded"])
    with cluster.serving() as api:
        tf_job.run(api, "shop", "crossrec-ranking", JOB_FOLDER, 2)
    assert cluster.calls == ["GET", "POST", "GET", "GET", "GET", "GET", "DELETE"] and not cluster.jobs
    (body,) = cluster.created
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "trainer-1", "uid": "u"}
    assert body["metadata"].pop("ownerReferences") == [owner] and body == SHOWN


def test_workers_that_fail_stay_to_be_looked_at():
    cluster = Cluster(["Running", "Failed"])
    with cluster.serving() as api, pytest.raises(RuntimeError, match="TFJob shop/j failed. What its workers said"):
        tf_job.run(api, "shop", "j", JOB_FOLDER, 2)
    assert list(cluster.jobs) == ["j"]


@pytest.mark.parametrize(
    ("refusal", "mend"),
    [
        (403, "Give the pod's account get on pods"),
        (404, "Install Kubeflow's training operator"),
        (409, "delete it"),
        (500, "See that it can"),
    ],
)
def test_a_refusal_says_what_to_do(refusal, mend):
    message = rf"training\.workers: 2, and the API server answers {refusal} .* about TFJob shop/j\. .*{mend}"
    with Cluster(refusal=refusal).serving() as api, pytest.raises(DataError, match=message):
        tf_job.run(api, "shop", "j", JOB_FOLDER, 2)
