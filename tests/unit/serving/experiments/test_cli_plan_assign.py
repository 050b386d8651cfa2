"""`crossrec experiment plan` and `assign`, and how they read durations, times and shares."""

import argparse
import json

import pytest

from crossrec.pipeline.cli.experiment_options import duration, moment, shares


def test_durations_times_and_shares():
    assert [duration(text) for text in ("90s", "1.5h", "2d", "1w")] == [90, 5400, 172_800, 604_800]
    same = ("1760086400", "2025-10-10T08:53:20", "2025-10-10T08:53:20Z", "2025-10-10T10:53:20+02:00")
    assert {moment(text) for text in same} == {1_760_086_400}
    assert moment("2025-10-10") == 1_760_086_400 - (8 * 3600 + 53 * 60 + 20)
    assert shares("80,15,5") == pytest.approx((0.8, 0.15, 0.05))
    for read, text in (
        (duration, "0d"),
        (duration, "5"),
        (moment, "nan"),
        (shares, "1"),
        (shares, "1,-1"),
        (shares, "a,b"),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match="write"):
            read(text)


def test_plan(run):
    code, out, _ = run("plan", "--mean", 0.05, "--lift", 0.1, "--json")
    units = json.loads(out)["units"]
    assert code == 0 and units == pytest.approx(64_470, abs=2)
    code, out, _ = run("plan", "--mean", 0.05, "--lift", 0.1, "--shares", "90,10")
    assert out.startswith("1") and "--planned-units" in out
    code, out, _ = run("plan", "--mean", 0.05, "--units", units, "--json")
    assert json.loads(out)["lift"] == pytest.approx(0.1, rel=0.03)
    code, _, err = run("plan", "--mean", 2, "--lift", 0.1)
    assert code == 2 and "mean=2.0" in err


def test_assign(run, tmp_path):
    definition = tmp_path / "experiment.json"
    arms = {"arms": {"stable": 80, "canary": 20}, "labels": {"canary": "next"}, "overrides": {"t": "canary"}}
    definition.write_text(json.dumps({"name": "ranker-7", **arms}))
    assert run("assign", definition, "u1", "u5", "t") == (
        0, "u1: stable, label stable\nu5: canary, label next\nt: canary, label next (takes no part)\n", "",
    )  # fmt: skip
    traffic = tmp_path / "traffic.json"
    traffic.write_text('{"shop": {"stable": 80.0, "canary": 20.0}}')
    _, out, _ = run("assign", "--json", "--releases", "shop", "--name", "ranker-7", traffic, "u5")
    assert json.loads(out) == {
        "experiment": "ranker-7", "unit": "u5", "arm": "canary", "version_label": "canary", "exposed": True,
    }  # fmt: skip
    definition.write_text('{"name": "e"}')
    code, _, err = run("assign", definition, "u1")
    assert code == 2 and f"{definition}: arms: is missing" in err
    assert run("assign", tmp_path / "none.json", "u1")[0] == 2
