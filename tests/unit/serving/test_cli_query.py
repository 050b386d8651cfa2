"""`crossrec query`: the table, JSON, arguments and their errors."""

import argparse
import json

import pytest

from crossrec.pipeline.cli import query
from tests.unit.serving.make_models import LIST_SIZE


@pytest.fixture
def ask(bundle_server, capsys):
    parser = argparse.ArgumentParser(prog="crossrec")
    query.add_parser(parser.add_subparsers())

    def ask(*arguments, target=None):
        args = parser.parse_args(["query", "--target", target or bundle_server.target, *arguments])
        code = args.run(args)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return ask


def echo(document):
    return dict(part.partition("=")[::2] for part in document["items"][0]["echo"].split(";"))


def test_table(ask):
    code, out, err = ask("--user", "u1", "--k", "3")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == ["item", "echo", "title", "score"]
    assert lines[2].split()[:2] == ["1", "i0"]
    assert lines[2].endswith("0.0000")
    assert "Título i2" in lines[4]
    assert len({len(line) for line in lines[1:5]}) == 1, "columns are aligned"
    assert lines[-1].startswith("model recommender, version 3, answered in ")


def test_json_and_all_kinds_of_inputs(ask):
    code, out, _ = ask(
        "--json", "--user", "ü", "--feature", "price_max=9.5", "--feature", "timestamp=7", "--feature", "interests=a,b",
        "--feature", "interests=c", "--recent", "i5, i6", "--exclude", "i0,i1",
    )  # fmt: skip
    document = json.loads(out)
    assert code == 0
    assert (document["model"], document["model_version"]) == ("recommender", 3)
    assert document["latency_ms"] > 0
    assert [item["id"] for item in document["items"]] == ["i2", "i3", "i4", "i5", "i6"]
    assert document["items"][0]["score"] == -2.0
    assert echo(document) == {
        "user_id": "ü", "price_max": "9.500000", "timestamp": "7", "interests": "a|b|c", "recent_items": "i5|i6|",
    }  # fmt: skip


def test_rank(ask):
    code, out, _ = ask("--json", "--rank", "bb,a")
    items = json.loads(out)["items"]
    assert code == 0
    assert [(item["id"], item["score"]) for item in items] == [("bb", 2.0), ("a", 1.0)]
    assert 0 < items[0]["probability_click"] < 1


def test_nothing_found(ask):
    code, out, _ = ask("--exclude", ",".join(f"i{number}" for number in range(8)))
    assert code == 0
    assert "No items" in out


def test_more_than_there_are(ask):
    assert len(json.loads(ask("--json", "--k", "99")[1])["items"]) == LIST_SIZE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--query", "shoes"], "--query: the model has no input 'query'. Its inputs are exclude_items: string [?, ?];"),
        (["--feature", "colour=red"], "--feature colour: the model has no input 'colour'"),
        (["--feature", "interests"], "Write it as name=value"),
        (["--feature", "=x"], "Write it as name=value"),
        (["--feature", "price_max=cheap"], "--feature price_max='cheap': price_max: float32 [?] takes a number"),
        (["--feature", "timestamp=1.5"], "takes a number"),
        (["--feature", "user_id=a", "--feature", "user_id=b"], "takes one value"),
        (["--rank", ""], "candidate_items"),
        (["--recent", "a,b,c,d"], "the model takes 3"),
        (["--k", "0"], "--k=0: give 1 or more"),
        (["--deadline", "0"], "deadline_seconds=0.0"),
    ],
)
def test_a_wrong_argument_is_one_line_with_the_mend(ask, arguments, message):
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("crossrec query: ") and err.count("\n") == 1


def test_unreachable_server_and_unknown_model(ask):
    code, out, err = ask("--user", "u", target="127.0.0.1:1")
    assert (code, out) == (1, "")
    assert "127.0.0.1:1" in err and "crossrec serve" in err and err.count("\n") == 1
    code, _, err = ask("--model", "nope")
    assert code == 1
    assert "Servable not found for request: Latest(nope)" in err and err.count("\n") == 1


def test_control_characters_do_not_reach_the_terminal():
    assert "\x1b" not in query._text("a\x1b[31mb")
    assert len(query._text("x" * 500)) == 48
