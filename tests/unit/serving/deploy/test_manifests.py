"""The manifests of every overlay: valid for several Kubernetes versions, whole, and in agreement with the code."""

import copy
import os
import re

import pytest

from crossrec.serving.contract.names import DEFAULT_MODEL_NAME, DEFAULT_PORT
from crossrec.serving.releases.state import STABLE
from crossrec.serving.releases.store import MODELS_CONFIG_FILE
from tests.unit.serving.deploy.rendered import (
    DEPLOY,
    OVERLAYS,
    RELEASES,
    SERVER,
    all_containers,
    arguments,
    build,
    container,
    environment,
    find,
    flags,
    mounted,
    of_kind,
    overlay,
    pod,
    volume,
)

# The paths that the REST server answers, as in tensorflow_serving/model_servers/http_rest_api_util.cc.
REST_PATH = re.compile(r"/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:/(metadata))?")
# Those flags of tensorflow_serving/model_servers/main.cc that a deployment may want.
TENSORFLOW_SERVING_FLAGS = {
    "allow_version_labels_for_unavailable_models",
    "batching_parameters_file",
    "enable_batching",
    "enable_model_warmup",
    "file_system_poll_wait_seconds",
    "flush_filesystem_caches",
    "grpc_channel_arguments",
    "grpc_max_threads",
    "load_retry_interval_micros",
    "max_num_load_retries",
    "model_base_path",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "model_name",
    "monitoring_config_file",
    "num_load_threads",
    "num_request_iterations_for_warmup",
    "num_unload_threads",
    "per_process_gpu_memory_fraction",
    "platform_config_file",
    "port",
    "rest_api_num_threads",
    "rest_api_port",
    "rest_api_timeout_in_ms",
    "ssl_config_file",
    "tensorflow_inter_op_parallelism",
    "tensorflow_intra_op_parallelism",
    "tensorflow_session_parallelism",
}


@pytest.fixture(params=OVERLAYS)
def objects(request):
    return overlay(request.param)


@pytest.mark.parametrize("version", ["1.27", "1.31", "1.37"])
def test_valid_for_kubernetes(objects, version):
    validate = pytest.importorskip("kubernetes_validate")
    for one in objects:
        validate.validate(one, version, strict=True)
    broken = copy.deepcopy(find(objects, "Deployment", SERVER))
    broken["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(validate.ValidationError, match="readinesProbe"):
        validate.validate(broken, version, strict=True)


def test_selectors_match_labels(objects):
    templates = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in of_kind(objects, "Deployment")
    }

    def selected(labels):
        assert labels, "would select everything"
        return {name for name, own in templates.items() if labels.items() <= own.items()}

    for one in of_kind(objects, "Deployment"):
        name = one["metadata"]["name"]
        assert selected(one["spec"]["selector"]["matchLabels"]) == {name}
        for constraint in one["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            assert selected(constraint["labelSelector"]["matchLabels"]) == {name}
    assert {one["metadata"]["name"] for one in of_kind(objects, "Service")} >= {SERVER, f"{SERVER}-headless"}
    for one in of_kind(objects, "Service"):
        assert selected(one["spec"]["selector"]) == {SERVER}
    for one in of_kind(objects, "PodDisruptionBudget"):
        assert selected(one["spec"]["selector"]["matchLabels"]) == {SERVER}
    for one in of_kind(objects, "NetworkPolicy"):
        assert selected(one["spec"]["podSelector"]["matchLabels"]) == {SERVER}
        assert [
            selected(peer["podSelector"]["matchLabels"])
            for rule in one["spec"]["ingress"]
            for peer in rule["from"]
            if "podSelector" in peer
        ] == [{RELEASES}]


def test_what_is_named_exists(objects):
    names = {(one["kind"], one["metadata"]["name"]) for one in objects}
    assert len(names) == len(objects)
    assert {one["metadata"]["namespace"] for one in objects if one["kind"] != "Namespace"} == {"recommender"}
    for deployment in of_kind(objects, "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        assert ("ServiceAccount", spec["serviceAccountName"]) in names
        containers = [*spec.get("initContainers", []), *spec["containers"]]
        mounts = {mount["name"] for one in containers for mount in one["volumeMounts"]}
        assert mounts == {one["name"] for one in spec["volumes"]}
        for one in spec["volumes"]:
            if "persistentVolumeClaim" in one:
                assert ("PersistentVolumeClaim", one["persistentVolumeClaim"]["claimName"]) in names
            if "configMap" in one:
                assert ("ConfigMap", one["configMap"]["name"]) in names
        for one in containers:
            ports = {port["name"] for port in one.get("ports", [])}
            probes = [one[name]["httpGet"]["port"] for name in one if name.endswith("Probe")]
            assert set(probes) <= ports
    for one in of_kind(objects, "Service"):
        assert {port["targetPort"] for port in one["spec"]["ports"]} == {"grpc"}
    for one in of_kind(objects, "NetworkPolicy"):
        assert {port["port"] for rule in one["spec"]["ingress"] for port in rule["ports"]} == {"grpc"}
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in names
        assert target["apiVersion"] == find(objects, target["kind"], target["name"])["apiVersion"]
        assert "replicas" not in find(objects, target["kind"], target["name"])["spec"]
    for one in of_kind(objects, "RoleBinding"):
        assert (one["roleRef"]["kind"], one["roleRef"]["name"]) in names
        (subject,) = one["subjects"]
        assert (subject["kind"], subject["name"]) in names
        assert subject["namespace"] == one["metadata"]["namespace"]


def test_probes_ask_what_they_should(objects):
    server = container(objects)

    def asked(probe):
        # (model, version, label, subresource)
        return REST_PATH.fullmatch(server[probe]["httpGet"]["path"]).groups()

    # GetModelStatus takes no notice of labels, GetModelMetadata resolves them as Predict does.
    assert asked("readinessProbe") == (DEFAULT_MODEL_NAME, None, STABLE, "metadata")
    assert asked("startupProbe") == asked("livenessProbe") == (DEFAULT_MODEL_NAME, None, None, None)
    own = flags(arguments(server))
    ports = {port["name"]: str(port["containerPort"]) for port in server["ports"]}
    assert ports == {"grpc": own["port"], "rest": own["rest_api_port"]}
    assert ports["grpc"] == str(DEFAULT_PORT)
    assert {p["port"] for one in of_kind(objects, "Service") for p in one["spec"]["ports"]} == {DEFAULT_PORT}
    # Nobody but the kubelet asks over REST: no service leads there.
    startup = server["startupProbe"]
    assert (
        startup["periodSeconds"] * startup["failureThreshold"]
        <= find(objects, "Deployment", SERVER)["spec"]["progressDeadlineSeconds"]
    )


def test_arguments(objects):
    own = flags(arguments(container(objects)))
    assert own.keys() <= TENSORFLOW_SERVING_FLAGS
    assert own["allow_version_labels_for_unavailable_models"] == ""
    # A polled file would undo what a release has told a server over gRPC.
    assert "model_config_file_poll_wait_seconds" not in own
    assert own["tensorflow_session_parallelism"] == container(objects)["resources"]["requests"]["cpu"]
    for _, one in all_containers(objects):
        used = set(re.findall(r"\$\((\w+)\)", " ".join(one.get("args", []))))
        assert used <= environment(one, "recommender").keys()


def test_pods_keep_the_restricted_profile(objects):
    """The rules of the Pod Security Standard "restricted", and a root file system that cannot be written."""
    for deployment, one in all_containers(objects):
        spec = deployment["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        own = one["securityContext"]
        assert own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} == one["resources"]["requests"].keys() and one["resources"]["limits"]["memory"]
        name, _, tag = one["image"].rpartition(":")
        assert name and re.fullmatch(r"[0-9][0-9.]*", tag), one["image"]
    assert of_kind(objects, "Secret") == []
    # Only the releases talk to the API server.
    for deployment in of_kind(objects, "Deployment"):
        expected = deployment["metadata"]["name"] == RELEASES
        assert deployment["spec"]["template"]["spec"]["automountServiceAccountToken"] is expected


def test_an_update_takes_no_server_away(objects):
    spec = find(objects, "Deployment", SERVER)["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    (_, seconds) = container(objects)["lifecycle"]["preStop"]["exec"]["command"]
    probe = container(objects)["readinessProbe"]
    assert (
        probe["periodSeconds"] * probe["failureThreshold"]
        < int(seconds)
        < pod(objects)["terminationGracePeriodSeconds"]
    )
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    assert scaler["spec"]["minReplicas"] > budget["spec"]["maxUnavailable"] == 1
    limits = container(objects)["resources"]
    assert limits["requests"]["memory"] == limits["limits"]["memory"]


def test_servers_read_what_the_release_store_writes():
    objects = overlay("production")
    server = container(objects)
    path = flags(arguments(server))["model_config_file"]
    mount = mounted(server, path)
    source = volume(objects, mount["name"])["configMap"]
    # Not a subPath, which would never change while the pod lives.
    assert "subPath" not in mount
    (item,) = source["items"]
    assert (item["key"], f"{mount['mountPath']}/{item['path']}") == (MODELS_CONFIG_FILE, path)
    config_map = find(objects, "ConfigMap", source["name"])
    # An apply must not own a key that `crossrec release` writes.
    assert not config_map.keys() & {"data", "binaryData", "immutable"}
    reconcile = arguments(container(objects, RELEASES, "reconcile"), "shop")
    assert f"--config-map=shop/{source['name']}" in reconcile
    # The reconciler reads versions and writes its ledger there; the servers only read.
    models = mounted(server, "/models/recommender")
    assert models["readOnly"] is True
    own = mounted(container(objects, RELEASES, "reconcile"), "/models/recommender")
    assert not own.get("readOnly")
    claims = [
        volume(objects, models["name"])["persistentVolumeClaim"]["claimName"],
        volume(objects, own["name"], RELEASES)["persistentVolumeClaim"]["claimName"],
    ]
    assert claims[0] == claims[1]
    replicas = find(objects, "Service", "recommender-replicas")["spec"]
    assert replicas["publishNotReadyAddresses"] is True and replicas["clusterIP"] == "None"
    assert f"dns:///recommender-replicas:{replicas['ports'][0]['port']}" in (DEPLOY / "README.md").read_text()


@pytest.mark.parametrize("name", ["image", "bucket"])
def test_models_without_a_volume(name):
    objects = overlay(name)
    assert flags(arguments(container(objects)))["model_config_file"] == f"/models/{MODELS_CONFIG_FILE}"
    assert of_kind(objects, "PersistentVolumeClaim", "ConfigMap", "Role") == []
    if name == "bucket":
        (copying,) = pod(objects)["initContainers"]
        operation, source, target = arguments(copying)[:3]
        assert (operation, target) == ("copy", "/models") and source.startswith("models:")
        assert mounted(copying, "/models/x")["name"] == mounted(container(objects), "/models/x")["name"]


def test_names_and_images_are_parameters(tmp_path):
    """A second fleet beside the first, by kustomize's own means."""
    production = os.path.relpath(DEPLOY / "overlays" / "production", tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(
        f"""
namePrefix: second-
namespace: shop
resources: [{production}]
images:
  - {{name: tensorflow/serving, newName: shop/serving, newTag: 2.16.1-gpu}}
"""
    )
    objects = build(tmp_path)
    server = container(objects, f"second-{SERVER}")
    assert server["image"] == "shop/serving:2.16.1-gpu"
    reconcile = container(objects, f"second-{RELEASES}", "reconcile")
    assert f"--config-map=shop/second-{RELEASES}" in arguments(reconcile, "shop")
    (role,) = of_kind(objects, "Role")
    assert role["rules"][0]["resourceNames"] == [f"second-{RELEASES}"]
    (binding,) = of_kind(objects, "RoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": f"second-{RELEASES}", "namespace": "shop"}]
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == f"second-{SERVER}"
    assert environment(reconcile, "shop") == {"NAMESPACE": "shop", "CONFIG_MAP": f"second-{RELEASES}"}
