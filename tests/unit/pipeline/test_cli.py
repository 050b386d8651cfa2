"""The command line as a whole: help, wrong usage, exit codes, and a light core that says what it lacks."""

import argparse
import importlib.util
import re
import shlex
import subprocess
import sys

import pytest

import crossrec
from crossrec.pipeline.cli import demo, extras, main, query
from crossrec.pipeline.simulation import SimulationConfig, simulate

COMMANDS = ("simulate", "run", "serve", "query", "demo", "compile", "submit", "backfill", "reindex")


def crossrec_in(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "crossrec.pipeline.cli.main", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )


def help_of(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main.main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_leads_a_newcomer_through_every_command(capsys):
    text = help_of(capsys)
    for command in COMMANDS:
        assert f"crossrec {command}" in text
    assert "Exit codes" in text and "pip install 'crossrec[pipeline]'" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example_that_parses(capsys, command):
    text = help_of(capsys, command)
    example = re.search(rf"Example: crossrec ({command} [^\n]*(?:\n[^\n]+)*)", text)
    assert example, text
    words = shlex.split(example[1].split(", or:")[0])
    # An option that the example names but the command does not know would end here.
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    getattr(main, command).add_parser(commands)
    assert parser.parse_args(words).run


def test_help_explains_every_option(capsys):
    for command in COMMANDS:
        for line in help_of(capsys, command).splitlines():
            assert not re.fullmatch(r"\s+--[a-z-]+( [A-Z]+)?", line) or len(line) > 20, f"{command}: {line}"


def test_examples_of_the_main_help_share_their_default_folder():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    main.run.add_parser(commands)
    main.serve.add_parser(commands)
    ran, served = parser.parse_args(["run", "marketplace"]), parser.parse_args(["serve"])
    assert str(ran.root) == str(served.root)


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.split() == ["crossrec", crossrec.__version__]


@pytest.mark.parametrize(
    "arguments",
    [[], ["recommend"], ["run"], ["simulate"], ["demo", "--rows", "many"], ["serve", "--server", "cloud"]],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_and_names_what_is_wrong(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main.main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "usage: crossrec" in error
    assert (arguments[-1] if len(arguments) > 1 or arguments == ["recommend"] else "required") in error


@pytest.mark.parametrize("command, module", [("run", "tfx"), ("demo", "tfx"), ("simulate", "pyarrow")])
def test_a_light_core_names_the_extra_in_one_line(capsys, monkeypatch, command, module):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == module else found(name, *rest))
    arguments = {"run": ["marketplace"], "demo": [], "simulate": ["out"]}[command]
    assert main.main([command, *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert f"crossrec {command} needs {module}" in said.err and "pip install 'crossrec[pipeline]'" in said.err


def test_the_extra_needs_another_python_and_says_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    monkeypatch.setattr(extras.sys, "version_info", (3, 13, 0))
    assert "in Python 3.10 (this is 3.13)" in extras.missing_extra("run")
    assert extras.missing_extra("query") == ""


def test_a_missing_spec_and_missing_data_are_told_without_a_traceback(tmp_path):
    nothing = crossrec_in(tmp_path, "run", "nowhere.yaml")
    assert nothing.returncode == 2
    assert "nowhere.yaml" in nothing.stderr and "marketplace" in nothing.stderr
    no_data = crossrec_in(tmp_path, "run", "marketplace", "--data", "empty")
    assert no_data.returncode == 2
    assert "interactions" in no_data.stderr
    for done in (nothing, no_data):
        assert "Traceback" not in done.stdout + done.stderr


def test_demo_refuses_a_size_that_cannot_be_simulated(tmp_path):
    done = crossrec_in(tmp_path, "demo", "--rows", 5)
    assert done.returncode == 2
    assert "rows" in done.stderr and "5" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "demo").exists()


def test_demo_does_not_replace_what_is_no_simulation(tmp_path):
    (tmp_path / "demo" / "data").mkdir(parents=True)
    precious = tmp_path / "demo" / "data" / "thesis.txt"
    precious.write_text("years of work")
    done = crossrec_in(tmp_path, "demo", "--rows", 2000)
    assert done.returncode == 1
    assert "thesis.txt" in done.stderr
    assert precious.read_text() == "years of work"


def test_demo_simulates_once(tmp_path, capsys):
    data = tmp_path / "data"
    assert demo._simulate(data, 2000) == 0
    assert "simulated" in capsys.readouterr().out
    files = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    assert demo._simulate(data, 2000) == 0
    assert "already" in capsys.readouterr().out
    assert files == {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    # Another size, a lost part and another seed are all another simulation.
    assert demo._simulate(data, 3000) == 0
    assert "simulated" in capsys.readouterr().out
    next((data / "interactions").glob("*.parquet")).unlink()
    assert not demo._is_there(data, SimulationConfig(rows=3000))
    simulate(SimulationConfig(rows=3000, seed=1), data, overwrite=True)
    assert not demo._is_there(data, SimulationConfig(rows=3000))
    assert demo._is_there(data, SimulationConfig(rows=3000, seed=1))


@pytest.fixture(scope="module")
def visitors(tmp_path_factory):
    from crossrec.pipeline.cli.demo_visitors import choose_visitors

    data = tmp_path_factory.mktemp("market") / "data"
    simulate(SimulationConfig(rows=20_000), data)
    return choose_visitors(data), data


def test_visitors_are_three_kinds_of_people(visitors):
    import pyarrow.parquet as pq

    (searching, browsing, newcomer), data = visitors
    rows = pq.read_table(data / "interactions").to_pandas()
    assert searching.inputs["query"] and "recent_items" not in searching.inputs
    assert "query" not in browsing.inputs
    assert set(newcomer.inputs) == {"user_id", "query"}
    assert newcomer.inputs["user_id"] not in set(rows["user_id"])
    mine = rows[(rows["user_id"] == browsing.inputs["user_id"]) & (rows["clicked"] == 1)]
    clicks = mine.set_index("item_id")["timestamp"]
    times = [clicks[[item]].max() for item in browsing.inputs["recent_items"]]
    assert times and all(time < browsing.inputs["timestamp"] for time in times)
    assert times == sorted(times, reverse=True)


def test_printed_arguments_of_query_say_what_was_sent(visitors):
    for visitor in visitors[0]:
        parser = argparse.ArgumentParser()
        query.add_parser(parser.add_subparsers())
        args = parser.parse_args(["query", *shlex.split(demo.query_arguments(visitor.inputs))])
        sent = {name: value for name, value in visitor.inputs.items()}
        features = {name: values for name, values in query._features(args.feature).items()}
        assert args.user == sent.pop("user_id")
        assert args.query == sent.pop("query", None)
        assert (args.recent or "").split(",") == list(sent.pop("recent_items", [""]))
        assert features == {
            name: [",".join(value) if isinstance(value, list) else str(value)] for name, value in sent.items()
        }
