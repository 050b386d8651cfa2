"""`crossrec release` as an operator uses it, against two real servers."""

import json
import os
import re
import subprocess
import sys

import pytest

from crossrec.pipeline.cli.main import main
from tests.unit.serving.releases.serving_fleet import MODEL, Server, bare_config, publish, serves


@pytest.fixture(scope="module")
def servers(adder_path, tmp_path_factory):
    root = tmp_path_factory.mktemp("cli") / "serving"
    for version in (1, 2, 3):
        publish(adder_path, root, version)
    publish(adder_path, root, 4, source=3)
    running = [Server(root), Server(root)]
    for server in running:
        server.start(bare_config(root, [1]))
    yield running
    for server in running:
        server.stop()


@pytest.fixture
def release(servers, capsys):
    def run(*arguments, code=0):
        # --root names the run; models lie in its folder "serving".
        capsys.readouterr()
        assert main(["release", *arguments, "--root", str(servers[0].root.parent)]) == code
        return capsys.readouterr()

    return run


def test_a_day_of_an_operator(release, servers):
    assert "no release state yet; name the servers once with `crossrec release configure" in release("list", code=2).err
    replicas = [part for server in servers for part in ("--replica", server.target)]
    out = release("configure", *replicas, "--requests", "4", "--p99-ms", "10000", "--memory-limit", "4G").out
    assert f"replicas: {servers[0].target}, {servers[1].target}" in out and "sets: m (m)" in out
    assert f"--model_config_file={servers[0].root / 'models.config'} --allow_version_labels_for" in out
    out = release("promote", "1", "--reason", "first").out
    assert "m: stable 1" in out and "m/1: 1 golden answers right" in out and "m:canary = 1, " not in out
    out = release("canary", "2", "--percent", "5", "--by", "ann").out
    assert "m: stable 1, canary 2 with 5% of the traffic" in out and "loaded m/2 in " in out
    watched = release("canary", "2", "--percent", "5", "--watch", "0.1", "--every", "1", "--guard", "true")
    assert (
        "canary 2 passed 1 checks" in watched.err and "canary 2 answers: golden 1, requests 4, errors 0" in watched.err
    )

    lines = [line.split() for line in release("list").out.splitlines()]
    assert [line[:3] for line in lines] == [
        ["model", "version", "is"],
        ["m", "4", "new"],
        ["m", "3", "new"],
        ["m", "2", "canary"],
        ["m", "1", "stable"],
    ]
    shown = json.loads(release("show", "--json").out)
    assert [view["verdict"] for view in shown["replicas"]] == ["in sync", "in sync"]
    assert shown["replicas"][0]["labels"] == {"m": {"stable": 1, "canary": 2}}
    assert shown["state"]["sets"]["m"]["canary"] == {"release": {"m": 2}, "percent": 5.0}

    release("promote", "2")
    failed = release("promote", "4", code=3)
    assert "promote 4 was withdrawn" in failed.err and "y[0] is 13 instead of 14" in failed.err
    assert "VERSION 4: was rejected" in release("canary", "4", "--percent", "1", code=2).err

    told = release("rollback", "--reason", "clicks fell")
    assert "rolling back from 2 to 1, which is loaded: this takes seconds" in told.err
    assert "rollback 1 is done in" in told.out and "m: stable 1" in told.out
    release("promote", "3")
    back = release("rollback", "2", "--reason", "3 is worse")
    assert "which is not loaded at 127.0.0.1" in back.err and "going by its last load" in back.err
    assert [serves(server) for server in servers] == [([2], {"stable": 2, "canary": 2})] * 2

    history = release("history", "--limit", "0", "--verbose").out
    assert "2 -> 1" in history and "clicks fell" in history and "ann" in history and "withdrawn" in history
    assert f"  {servers[0].target}: ok: m:canary = 1, m:stable = 1" in history
    events = json.loads(release("history", "--json", "--limit", "3").out)["events"]
    assert [(event["event"], event["kind"]) for event in events] == [
        ("loaded", "rollback"),
        ("moved", "rollback"),
        ("done", "rollback"),
    ]
    shown = release("show", "2").out
    assert "in  x float32 [?]" in shown and "out y float32 [?]" in shown and "kinds of ops" in shown


def test_upkeep(release, servers):
    release("promote", "3", "--force")
    assert "m 1: would be removed" in release("gc", "--keep", "0", "--dry-run").out
    release("pin", "1", "--reason", "for the lawyers")
    assert "m 4: removed" in release("gc", "--keep", "0").out
    assert (servers[0].root / MODEL / "1").is_dir() and not (servers[0].root / MODEL / "4").exists()
    assert "pinned" in release("list").out
    release("pin", "1", "--off")
    servers[1].stop()
    behind = release("reconcile", code=1)
    assert f"{servers[1].target}: DOWN: {servers[1].target}: nobody answers" in behind.out
    shown = release("show", code=1).out
    assert "Replicas that are not in sync: crossrec release reconcile" in shown
    servers[1].start()
    assert re.search(f"{servers[1].target}: .*: m:canary = 3, m:stable = 3", release("reconcile").out)
    assert f"{servers[1].target}: in sync: m:canary = 3, m:stable = 3" in release("reconcile").out


def test_diff(release):
    out = release("diff", "2", "3").out
    assert "m: 2 (" in out and "~ saved_model.pb" in out and "signatures: equal" in out and "ops: equal" in out
    # 3 is stable and 2 is kept loaded: both are asked, and x + 3 differs from x + 2 by one.
    assert "answers (live, 2 requests): y by at most 1" in out
    found = json.loads(release("diff", "3", "1", "--json").out)["models"][0]
    assert found["versions"] == [3, 1]
    assert found["answers"]["source"] == "recorded" and found["answers"]["largest_change"] == {"y": 2.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", "many"], "VERSION: 'many' is no version; give a number such as 7, or m=N"),
        (["promote", "77"], "m 77: .* holds no such version, only 1, 2, 3"),
        (["show", "--model", "shop"], "--model shop: no such model or set; the state knows m"),
        (["configure", "--replica", "nowhere"], "fleet.replicas: 'nowhere' is no address"),
        (["configure", "--memory-limit", "much"], "--memory-limit 'much': is no size"),
        (["configure", "--set", "a b"], "--set 'a b': give NAME=MODEL,MODEL"),
        (["configure", "--p99-ms", "fast"], "--p99-ms 'fast': is no number"),
        (["configure", "--set", "other=m"], "--set other: model m belongs to m already"),
        (["configure", "--other-models", "/nowhere"], "--other-models /nowhere: cannot be read"),
        (["gc", "--keep", "-1"], "--keep -1: give 0 or more"),
    ],
)
def test_wrong_usage_names_argument_value_and_mend(release, arguments, message):
    told = release(*arguments, code=2).err
    assert re.search(message, told), told


def test_errors_are_json_for_scripts(release):
    found = json.loads(release("promote", "77", "--json", code=2).out)
    assert found["kind"] == "UsageError" and found["exit_code"] == 2 and "holds no such version" in found["error"]


def test_a_missing_root_is_named(capsys, tmp_path):
    assert main(["release", "list", "--root", str(tmp_path / "none")]) == 2
    assert f"--root: {tmp_path / 'none' / 'serving'} is no directory" in capsys.readouterr().err


def test_the_command_needs_the_light_core_only():
    code = """
import sys
import crossrec.pipeline.cli.main
import pkgutil, importlib, crossrec.serving.releases as releases
for module in pkgutil.iter_modules(releases.__path__):
    importlib.import_module(f"crossrec.serving.releases.{module.name}")
heavy = {"tensorflow", "tensorflow_serving", "tfx", "pydantic", "pandas", "rich", "yaml", "kubernetes", "ml_metadata"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == "[]\n"
