from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from crossrec.pipeline.cli import simulate as command
from crossrec.pipeline.simulation import SimulationConfig, load_truth


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="crossrec")
    command.add_parser(parser.add_subparsers())
    return parser.parse_args(["simulate", *arguments])


def test_the_command_writes_and_sums_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = parse(str(tmp_path / "out"), "--rows", "2000", "--users", "50", "--seed", "3", "--days", "10")
    assert args.run(args) == 0
    shown = capsys.readouterr()
    assert "2,000 impressions" in shown.out
    assert str(tmp_path / "out") in shown.out
    assert "7 planted crosses" in shown.out
    assert shown.err == ""
    config = load_truth(tmp_path / "out").config
    assert (config["rows"], config["users"], config["seed"], config["days"]) == (2_000, 50, 3, 10)


def test_without_options_the_defaults_of_the_configuration_hold(tmp_path: Path) -> None:
    args = parse(str(tmp_path / "out"))
    assert args.run(args) == 0
    defaults = SimulationConfig()
    wanted = defaults.model_dump() | {"users": defaults.user_count, "items": defaults.item_count}
    assert load_truth(tmp_path / "out").config == wanted


def test_the_help_states_the_true_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    defaults = SimulationConfig()
    for name in ("rows", "seed", "days", "format"):
        assert f"(default: {getattr(defaults, name)})" in text
    assert "ends on 2025-06-30" in text
    assert defaults.end == 1_751_241_600


def test_bad_options_and_bad_folders_end_with_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = parse(str(tmp_path / "out"), "--rows", "5")
    assert args.run(args) == 2
    assert "error: rows = 5: must lie between 100" in capsys.readouterr().err
    (tmp_path / "file").touch()
    args = parse(str(tmp_path), "--rows", "500")
    assert args.run(args) == 1
    assert f"error: {tmp_path}: is not empty; pass --overwrite" in capsys.readouterr().err


def test_registering_the_command_imports_nothing_heavy() -> None:
    heavy = {"numpy", "pyarrow", "pydantic", "tensorflow"}
    code = f"import sys, crossrec.pipeline.cli.simulate; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.strip() == "set()"
