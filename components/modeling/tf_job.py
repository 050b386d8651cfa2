"""The workers of a training as a TFJob of Kubeflow's training operator, made like the pod that asks for them."""

from __future__ import annotations

import importlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from crossrec.components.errors import DataError

GROUP, VERSION, PLURAL = "kubeflow.org", "v1", "tfjobs"
_NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
# What a launcher adds to its pods (scratch space, tokens) is not for others.
_SHARED_VOLUMES = ("persistentVolumeClaim", "secret", "configMap")
_OF_POD = ("nodeSelector", "tolerations", "imagePullSecrets", "serviceAccountName", "securityContext")
_OF_CONTAINER = ("image", "imagePullPolicy", "env", "envFrom", "resources")
_LOOK_SECONDS = 10.0
_MENDS = {
    403: "Give the pod's account get on pods, and get, create and delete on tfjobs.kubeflow.org.",
    404: "Install Kubeflow's training operator, or set workers to 1.",
    409: "An earlier try left it: delete it, and start the node again.",
}


def in_cluster() -> bool:
    """Whether this process runs in a pod."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def manifest(pod: Mapping[str, Any], name: str, folder: str, workers: int) -> dict[str, Any]:
    """The TFJob: workers with the pod's image, volumes, variables, resources and place.

    Args:
        pod: The pod as the API server gives it; its container with crossrec is called ``main``, or is the only one.
        name: Name of the TFJob.
        folder: The job's folder.
        workers: How many.
    """
    containers = {container["name"]: container for container in pod["spec"]["containers"]}
    own = containers.get("main") or next(iter(containers.values()))
    volumes = [
        volume for volume in pod["spec"].get("volumes") or () if any(volume.get(kind) for kind in _SHARED_VOLUMES)
    ]
    names = {volume["name"] for volume in volumes}
    container = {
        # The name that the operator looks for.
        "name": "tensorflow",
        "command": ["python", "-m", "crossrec.components.modeling.training_job", "--job", folder],
        "volumeMounts": [mount for mount in own.get("volumeMounts") or () if mount["name"] in names],
        **{key: own[key] for key in _OF_CONTAINER if own.get(key)},
    }
    of_pod = {key: pod["spec"][key] for key in _OF_POD if pod["spec"].get(key)}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TFJob",
        "metadata": {"name": name},
        "spec": {
            "successPolicy": "AllWorkers",
            "runPolicy": {"cleanPodPolicy": "None"},
            "tfReplicaSpecs": {
                "Worker": {
                    "replicas": workers,
                    # A worker that lost another ends with 138, and is started again; bad data end with 2.
                    "restartPolicy": "ExitCode",
                    "template": {
                        "metadata": {"annotations": {"sidecar.istio.io/inject": "false"}},
                        "spec": {**of_pod, "containers": [container], "volumes": volumes},
                    },
                }
            },
        },
    }


def connect() -> tuple[Any, str]:
    """A client of the cluster that this pod is in, with its account, and its namespace."""
    client, config = (importlib.import_module(f"kubernetes.{name}") for name in ("client", "config"))
    config.load_incluster_config()
    with open(_NAMESPACE_FILE, encoding="utf-8") as file:
        return client.ApiClient(), file.read().strip()


def run(api: Any, namespace: str, name: str, folder: str, workers: int) -> None:
    """Creates the TFJob and waits for its end; its owner is this pod, so that they go together.

    Args:
        api: ``kubernetes.client.ApiClient``.
        namespace: Of this pod.
        name: Name of the TFJob.
        folder: The job's folder.
        workers: How many.

    Raises:
        DataError: The API server refuses.
        RuntimeError: The TFJob failed.
    """
    client, exceptions = (importlib.import_module(f"kubernetes.{name}") for name in ("client", "client.exceptions"))
    jobs = client.CustomObjectsApi(api)
    place = (GROUP, VERSION, namespace, PLURAL)
    try:
        own = client.CoreV1Api(api).read_namespaced_pod(socket.gethostname(), namespace)
        pod = api.sanitize_for_serialization(own)
        body = manifest(pod, name, folder, workers)
        owner = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        body["metadata"]["ownerReferences"] = [owner]
        jobs.create_namespaced_custom_object(*place, body)
        while (ended := end_of(jobs.get_namespaced_custom_object(*place, name))) is None:
            time.sleep(_LOOK_SECONDS)
        if ended == "Succeeded":
            jobs.delete_namespaced_custom_object(*place, name)
    except exceptions.ApiException as error:
        raise DataError(
            "training.workers",
            f"{workers}, and the API server answers {error.status} {error.reason} about TFJob {namespace}/{name}",
            _MENDS.get(error.status, "See that it can, or set workers to 1."),
        ) from error
    if ended != "Succeeded":
        raise RuntimeError(f"TFJob {namespace}/{name} failed. What its workers said is in the logs of its pods")


def end_of(job: Mapping[str, Any]) -> str | None:
    """``Succeeded`` or ``Failed``, or None while a TFJob runs."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("Succeeded", "Failed") and condition["status"] == "True":
            return str(condition["type"])
    return None
