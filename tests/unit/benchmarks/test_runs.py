"""What benchmarks share: the loop over seeds, and its last line."""

import json

import pytest

from tests.benchmarks.runs import mean_and_sd, over_seeds


def lines(capsys, monkeypatch, arguments, **options):
    """What a benchmark that returns its seed prints."""
    monkeypatch.setattr("sys.argv", ["benchmark", *arguments])

    def compare(seed, rows, folder):
        assert folder.is_dir()
        return {"value": float(seed), "rows_seen": float(rows)}

    over_seeds(compare, (1000, 10), "What it does.", **options)
    return capsys.readouterr().out.splitlines()


def test_mean_and_sample_deviation_by_hand():
    assert mean_and_sd({"a": [1.0, 2.0, 6.0], "b": [4.0]}) == {"a": 3.0, "a_sd": 2.64575, "b": 4.0, "b_sd": 0.0}


def test_a_full_run_is_one_line_for_each_seed_and_json_at_last(capsys, monkeypatch):
    *seeds, last = lines(capsys, monkeypatch, ["--seeds", "3"])
    assert [line.split(":")[0] for line in seeds] == ["seed 0", "seed 1", "seed 2"]
    figures = json.loads(last)
    assert (figures["value"], figures["value_sd"]) == (1.0, 1.0)
    assert (figures["rows"], figures["rows_seen"], figures["seeds"]) == (1000, 1000, 3)


def test_a_small_run_is_one_seed_on_fewer_rows_whatever_else_is_asked(capsys, monkeypatch):
    figures = json.loads(lines(capsys, monkeypatch, ["--small", "--seeds", "5", "--rows", "77"])[-1])
    assert (figures["rows"], figures["rows_seen"], figures["seeds"]) == (10, 10, 1)


def test_conclusions_see_all_seeds(capsys, monkeypatch):
    last = lines(capsys, monkeypatch, ["--seeds", "4"], conclude=lambda figures: {"value_max": max(figures["value"])})[
        -1
    ]
    assert json.loads(last)["value_max"] == 3.0


def test_help_says_what_a_small_run_is(capsys, monkeypatch):
    with pytest.raises(SystemExit):
        lines(capsys, monkeypatch, ["--help"])
    assert "one seed, 10 rows" in " ".join(capsys.readouterr().out.split())
