"""What the README shows is true: its spec, its commands and its code."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crossrec.pipeline.narrator import _DOES
from crossrec.pipeline.spec.load import parse_spec
from crossrec.serving.launch.ports import free_port
from tests.end_to_end.marketplace import COMMAND

README = Path(__file__).resolve().parents[2] / "README.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


def commands(name):
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    assert all(line.startswith("crossrec ") for line in lines)
    return [words[1:] for line in lines if (words := shlex.split(line))[1] == name]


def crossrec(folder, words, seconds=600):
    return subprocess.run([*COMMAND, *words], cwd=folder, capture_output=True, text=True, timeout=seconds)


@pytest.fixture(scope="module")
def folder(marketplace_run, tmp_path_factory):
    """A folder as the reader has it after the pipeline ran."""
    path = tmp_path_factory.mktemp("reader")
    (path / "data").symlink_to(marketplace_run.data)
    (path / "crossrec-run").symlink_to(marketplace_run.root)
    return path


@pytest.fixture(scope="module")
def target(folder):
    """Address of what the README's `crossrec serve` serves, on a free port."""
    port = free_port()
    (words,) = commands("serve")
    server = subprocess.Popen(
        [*COMMAND, *words, "--port", str(port), "--server", "local"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in server.stdout:
            if line.startswith("Ready"):
                break
        else:
            pytest.fail(server.communicate(timeout=180)[1])
        yield f"127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=180)


def test_the_spec_is_whole_and_valid():
    text = "\n".join(blocks("yaml"))
    spec = parse_spec(yaml.safe_load(text), "README.md")
    # Every section is explained; these have a chapter of their own, or a sentence.
    elsewhere = {"validation", "warm_start", "beam", "kubeflow"}
    assert set(yaml.safe_load(text)) == set(type(spec).model_fields) - elsewhere
    assert all(name in README.read_text(encoding="utf-8") for name in elsewhere)


def test_the_spec_fits_simulated_data(tmp_path):
    assert crossrec(tmp_path, [*commands("simulate")[0], "--rows", "5000"]).returncode == 0
    (tmp_path / "shop.yaml").write_text("\n".join(blocks("yaml")), encoding="utf-8")
    checked = crossrec(tmp_path, ["run", "shop.yaml", "--data", "data", "--check"])
    assert checked.returncode == 0, checked.stderr


def test_run_commands_fit_their_data(folder):
    found = commands("run")
    assert any("--check" in words for words in found)
    for words in found:
        checked = crossrec(folder, [*(word for word in words if word != "--check"), "--check"])
        assert checked.returncode == 0, checked.stderr


def test_queries_are_answered(folder, target):
    found = commands("query")
    assert len(found) >= 3
    for words in found:
        answered = crossrec(folder, [*words, "--target", target, "--deadline", "60"])
        assert answered.returncode == 0, answered.stderr
        assert "i0" in answered.stdout


def test_python_runs_as_it_stands(folder, target):
    (code,) = blocks("python")
    assert "127.0.0.1:8500" in code
    command = [sys.executable, "-c", code.replace("127.0.0.1:8500", target)]
    # A busy machine may not keep the second that a call may take where the code says nothing else.
    for _ in range(5):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
        if "DEADLINE_EXCEEDED" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5


def test_every_node_is_explained():
    section = README.read_text(encoding="utf-8").partition("## What each node")[2].partition("\n## ")[0]
    for node in _DOES:
        assert re.sub("^(Items|Interactions)(?=Stat|Schema|ExampleV)", "…", node) in section


def test_the_signatures_are_those_that_are_served(target):
    from crossrec.serving.client import RecommenderClient
    from crossrec.serving.contract import names

    with RecommenderClient(target) as client:
        signatures = client.metadata(deadline_seconds=60).signatures
    section = README.read_text(encoding="utf-8").partition("### From other languages")[2].partition("\n## ")[0]
    rows = {row.split("|")[1].strip(" `"): row.split("|")[2:4] for row in section.splitlines() if row.startswith("| `")}
    assert set(rows) == set(names.SIGNATURES) and names.DEFAULT_SIGNATURE in section
    for name, (inputs, outputs) in rows.items():
        own = {names.EXCLUDE_ITEMS, names.CANDIDATE_ITEMS} & set(signatures[name].inputs)
        assert all(f"`{one}`" in (inputs if name != names.RETRIEVE else rows[names.RECOMMEND][0]) for one in own)
        written = {one for one in re.findall(r"`([a-z_<>]+)`", outputs)}
        served = {
            "probability_<task>" if one.startswith(names.PROBABILITY_PREFIX) else one
            for one in signatures[name].outputs
        } - {"title"}
        assert written == served
