"""`crossrec query` and the client's further settings: version, label, several targets, TLS. Needs no TensorFlow."""

import argparse
import json

import grpc
import pytest

from crossrec.pipeline.cli import query
from tests.unit.serving.faulty_server import ITEMS, FaultyServer
from tests.unit.serving.test_client_security import Authority


@pytest.fixture
def serve():
    servers = []

    def serve(credentials=None):
        servers.append(FaultyServer(credentials))
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


@pytest.fixture
def ask(capsys):
    parser = argparse.ArgumentParser(prog="crossrec")
    query.add_parser(parser.add_subparsers())

    def ask(*arguments):
        args = parser.parse_args(["query", "--json", "--deadline", "30", *map(str, arguments)])
        code = args.run(args)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return ask


def test_version_and_label(serve, ask):
    server = serve()
    assert ask("--target", server.target, "--version", 7)[0] == 0
    assert ask("--target", server.target, "--label", "canary")[0] == 0
    assert ask("--target", server.target)[0] == 0
    specs = [one.request().model_spec for one in server.predicts]
    assert [(one.version.value, one.version_label) for one in specs] == [(7, ""), (0, "canary"), (0, "")]
    with pytest.raises(SystemExit) as caught:
        ask("--target", server.target, "--version", 7, "--label", "canary")
    assert caught.value.code == 2
    code, _, err = ask("--target", server.target, "--label", "")
    assert code == 2 and "version_label=''" in err


def test_several_targets(serve, ask):
    servers = [serve(), serve()]
    servers[0].stop()
    for _ in range(4):
        code, out, _ = ask("--target", servers[0].target, "--target", servers[1].target)
        assert code == 0
        assert [item["id"] for item in json.loads(out)["items"]] == list(ITEMS)


def test_mutual_tls(serve, ask, tmp_path):
    ours = Authority("ours")
    credentials = grpc.ssl_server_credentials([ours.issue("127.0.0.1")], ours.pem, require_client_auth=True)
    server = serve(credentials)
    key, chain = ours.issue("client")
    for name, content in (("key", key), ("chain", chain), ("root", ours.pem)):
        (tmp_path / name).write_bytes(content)
    root = ("--target", server.target, "--ca", tmp_path / "root")
    assert ask(*root, "--cert", tmp_path / "chain", "--key", tmp_path / "key")[0] == 0
    assert ask(*root)[0] == 1
    assert ask("--target", server.target, "--tls")[0] == 1
    code, _, err = ask(*root, "--cert", tmp_path / "chain")
    assert code == 2 and "private_key" in err
    code, _, err = ask("--target", server.target, "--ca", tmp_path / "absent")
    assert code == 2 and "absent" in err and "readable" in err
