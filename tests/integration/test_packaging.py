"""What a wheel holds, and that its light core runs where no TFX does."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("setup.py", "pyproject.toml", "README.md", "crossrec", "pipeline", "components", "serving")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # From a copy, since setuptools leaves build folders beside what it builds.
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(out), str(source)], check=True, timeout=900)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_module_and_data_file(names):
    for folder in ("pipeline", "components", "serving"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            assert f"crossrec/{path.relative_to(REPOSITORY).as_posix()}" in names
    for path in (REPOSITORY / "pipeline" / "examples").glob("*/spec.yaml"):
        assert f"crossrec/{path.relative_to(REPOSITORY).as_posix()}" in names
    assert "crossrec/pipeline/examples/marketplace/spec.yaml" in names
    assert {"crossrec/serving/contract/messages.binpb", "crossrec/py.typed"} <= names


def test_wheel_shadows_nobody(names):
    assert {name.partition("/")[0] for name in names} == {
        "crossrec",
        next(name.partition("/")[0] for name in names if ".dist-info/" in name),
    }
    assert not any("/tests/" in name for name in names)


def test_core_requires_three_packages(wheel, names):
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode("utf-8")
    lines = [line.partition(": ")[2] for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    core = {line.split(">")[0].split("=")[0].strip() for line in lines if "extra ==" not in line}
    assert core == {"grpcio", "protobuf", "numpy"}
    extras = {line.partition(": ")[2] for line in metadata.splitlines() if line.startswith("Provides-Extra: ")}
    assert extras == {"pipeline", "text", "telemetry", "kubernetes", "dev"}


def interpreter(version):
    """A Python of that version that really runs; a version manager's shim on PATH may not."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for candidate in (shutil.which(f"python{version}"), *map(str, pyenv.glob(f"{version}.*/bin/python{version}"))):
        if candidate and not subprocess.run([candidate, "-c", "import venv"], capture_output=True).returncode:
            return candidate
    pytest.skip(f"there is no Python {version} here")


@pytest.mark.parametrize("version", ["3.9", "3.13"])
def test_light_core_in_another_python(wheel, tmp_path, version):
    venv = tmp_path / "venv"
    subprocess.run([interpreter(version), "-m", "venv", str(venv)], check=True, timeout=600)
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", str(wheel)]
    subprocess.run(command, check=True, timeout=900)
    crossrec = str(venv / "bin" / "crossrec")

    def run(*arguments):
        return subprocess.run([crossrec, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=240)

    help_text = run("query", "--help")
    assert help_text.returncode == 0 and "--user" in help_text.stdout
    nobody = run("query", "--target", "127.0.0.1:1", "--user", "u1", "--deadline", "30")
    assert nobody.returncode == 1 and "crossrec serve" in nobody.stderr and "Traceback" not in nobody.stderr
    for words in (["run", "marketplace"], ["simulate", "out"], ["demo"]):
        refused = run(*words)
        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1 and "crossrec[pipeline]" in refused.stderr
    lines = "import sys, crossrec, crossrec.serving.client; print(sorted(m for m in sys.modules if 'tensorflow' in m))"
    imported = subprocess.run(
        [str(venv / "bin" / "python"), "-c", lines], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert imported.stdout.strip() == "[]"
