"""`crossrec serve`: which model, which server, and a clean end. Also `LocalServer`."""

import argparse
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

from crossrec.pipeline.cli import serve
from crossrec.serving.client import ClientConfig, RecommenderClient, UnavailableError
from crossrec.serving.launch.ports import free_port
from crossrec.serving.launch.process import STOP_SECONDS
from crossrec.serving.local_server import LocalServer, ServerStartError
from tests.unit.serving.make_models import copy_version, corrupt
from tests.unit.serving.serve_here import until

MAIN = """
import argparse, sys
from crossrec.pipeline.cli import serve
parser = argparse.ArgumentParser(prog="crossrec")
serve.add_parser(parser.add_subparsers())
args = parser.parse_args(["serve", *sys.argv[1:]])
sys.exit(args.run(args))
"""


def run(*arguments, capsys):
    parser = argparse.ArgumentParser(prog="crossrec")
    serve.add_parser(parser.add_subparsers())
    args = parser.parse_args(["serve", *map(str, arguments)])
    return args.run(args), capsys.readouterr().err


def make_version(root, model, version="1"):
    path = root / "serving" / model / version
    path.mkdir(parents=True)
    return path.parent


def test_the_only_model_is_found(tmp_path):
    base_path = make_version(tmp_path, "shop")
    (tmp_path / "serving" / "empty").mkdir()
    assert serve.find_model(tmp_path, None, None) == base_path
    assert serve.find_model(tmp_path, "shop", None) == base_path
    assert serve.find_model(tmp_path / "nowhere", None, base_path) == base_path


@pytest.mark.parametrize("kind", ["no root", "no serving", "no versions", "only names"])
def test_nothing_published_is_an_error_at_once(tmp_path, capsys, kind):
    root = tmp_path / "run"
    if kind != "no root":
        root.mkdir()
    if kind in ("no versions", "only names"):
        (root / "serving" / "shop").mkdir(parents=True)
    if kind == "only names":
        (root / "serving" / "shop" / "staging-1").mkdir()
    for arguments in (
        ["--root", root],
        ["--root", root, "--model", "shop"],
        ["--model-base-path", root / "serving" / "shop"],
    ):
        code, error = run(*arguments, capsys=capsys)
        assert code == 2
        assert str(root / "serving") in error
        assert "crossrec run" in error
        assert error.count("\n") == 1


def test_several_models_ask_for_a_choice(tmp_path, capsys):
    make_version(tmp_path, "a")
    make_version(tmp_path, "b")
    code, error = run("--root", tmp_path, capsys=capsys)
    assert code == 2
    assert "a, b" in error and "--model" in error


def test_a_wrong_port_is_refused(tmp_path, capsys):
    code, error = run("--port", "70000", capsys=capsys)
    assert (code, "--port=70000" in error) == (2, True)


def executable(folder, name, script):
    path = folder / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(("choice", "message"), [("binary", "not on PATH"), ("docker", "docker info")])
def test_a_server_that_is_not_there_is_named(tmp_path, monkeypatch, capsys, choice, message):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, error = run("--model-base-path", make_version(tmp_path, "a"), "--server", choice, capsys=capsys)
    assert code == 2
    assert message in error and "--server local" in error


def start(*arguments):
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_serves_says_so_and_stops_cleanly(bundle_path, tmp_path):
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "recommender").symlink_to(bundle_path)
    port = free_port()
    process = start("--root", tmp_path, "--port", port, "--server", "local")
    try:
        assert "with the local server" in process.stdout.readline()
        assert process.stdout.readline().startswith(f"Ready: recommender version 3 at 127.0.0.1:{port}.")
        with RecommenderClient(f"127.0.0.1:{port}") as client:
            assert client.recommend({"user_id": "u"}, deadline_seconds=30).model_version == 3
        # A second server on the same port gives up at once and names it; the first is not disturbed.
        second = start("--root", tmp_path, "--port", port, "--server", "local")
        out, err = second.communicate(timeout=180)
        assert (second.returncode, out) == (1, "")
        assert f"127.0.0.1:{port}" in err and "choose another --port" in err
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert out.endswith("Stopped.\n")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_an_interrupt_while_it_starts_ends_it_at_once(bundle_path):
    process = start("--model-base-path", bundle_path, "--port", free_port(), "--server", "local")
    process.stdout.readline()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert out.endswith("Stopped.\n")
    assert time.monotonic() - begin < STOP_SECONDS, "it needed no force"


def test_local_server_serves_and_ends(bundle_path):
    with LocalServer(bundle_path, startup_seconds=600) as server, RecommenderClient(server.target) as client:
        assert server.log() == "", "libraries keep silent"
        pid = server.pid
        assert len(client.recommend({}, deadline_seconds=30)) == 5
        target = server.target
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with (
        RecommenderClient(target, config=ClientConfig(deadline_seconds=30)) as client,
        pytest.raises(UnavailableError),
    ):
        client.status()


def test_local_server_ends_with_its_parent(bundle_path):
    program = (
        "import sys, json, time\nfrom crossrec.serving.local_server import LocalServer\n"
        f"server = LocalServer({str(bundle_path)!r}, startup_seconds=600).start()\n"
        "print(json.dumps(server.pid), flush=True)\ntime.sleep(100)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pid = json.loads(parent.stdout.readline())
    parent.kill()
    parent.wait()

    def gone():
        try:
            with open(f"/proc/{pid}/stat") as stat_file:
                return stat_file.read().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    until(gone)


def test_local_server_says_why_it_did_not_start(adder_path, tmp_path):
    corrupt(copy_version(adder_path / "1", tmp_path, "1"))
    with pytest.raises(ServerStartError, match="DATA_LOSS") as caught:
        LocalServer(tmp_path, startup_seconds=600, flags=["--max_num_load_retries=0"]).start()
    assert str(tmp_path) in str(caught.value)
    start_time = time.monotonic()
    with pytest.raises(ServerStartError, match="not ready after 0.5 s"):
        LocalServer(tmp_path / "nowhere", startup_seconds=0.5).start()
    assert time.monotonic() - start_time < 60


@pytest.mark.parametrize("flag", ["--port=-1", "--grpc_max_threads=0", "--model_name=", "--nonsense=1"])
def test_a_wrong_flag_ends_the_server(tmp_path, flag):
    with pytest.raises(ServerStartError, match=flag.partition("=")[0]):
        LocalServer(tmp_path, startup_seconds=600, flags=[flag]).start()


def test_flags_are_handed_to_the_server(tmp_path, monkeypatch, capsys):
    executable(tmp_path, "tensorflow_model_server", f"echo \"$@\" > '{tmp_path / 'flags'}'; exit 7")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    base_path = make_version(tmp_path, "a")
    flags = ["--server-flag=--enable_batching", "--server-flag=--grpc_max_threads=3"]
    code, error = run(
        "--model-base-path", base_path, "--server", "binary", "--port", free_port(), *flags, capsys=capsys
    )
    assert (code, "the server ended with code 7" in error) == (7, True)
    given = (tmp_path / "flags").read_text().split()
    assert given[1:] == [
        "--model_name=a",
        f"--model_base_path={base_path}",
        "--enable_batching",
        "--grpc_max_threads=3",
    ]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("enable_batching", "is no flag"),
        ("--port=1", "Use --port"),
        ("--model_config_file=/c", "Use --model-config-file"),
        ("--ssl_config_file=/s", "without TLS"),
    ],
)
def test_flags_that_cannot_be_handed_over(tmp_path, monkeypatch, capsys, flag, message):
    executable(tmp_path, "tensorflow_model_server", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ["--model-base-path", make_version(tmp_path, "a"), "--server", "binary", f"--server-flag={flag}"]
    code, error = run(*arguments, capsys=capsys)
    assert code == 2
    assert f"--server-flag {flag}" in error and message in error
