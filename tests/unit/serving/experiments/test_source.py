"""An experiment in a file: read again when it changes, the last good one while it is broken."""

import json
import logging
import os
import time

import pytest

from crossrec.serving.experiments import Experiment, ExperimentError, WatchedExperiment
from crossrec.serving.releases.fleet import Fleet
from crossrec.serving.releases.release import Release
from crossrec.serving.releases.state import Canary, ReleaseSet, ReleaseState
from crossrec.serving.releases.store import FileStore


def write(path, percent, name="e"):
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"name": name, "arms": {"stable": 100 - percent, "canary": percent}}))
    os.replace(new, path)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "experiment.json"
    write(path, 5)
    return path


def percent(watched):
    return watched.current().arms["canary"]


def test_a_change_is_seen(path):
    watched = WatchedExperiment(path, check_seconds=0.0)
    assert percent(watched) == 5
    write(path, 20)
    assert percent(watched) == 20


def test_the_file_is_not_looked_at_more_often_than_allowed(path, monkeypatch):
    watched = WatchedExperiment(path, check_seconds=3600.0)
    write(path, 20)
    assert {percent(watched) for _ in range(1000)} == {5}
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 3601)
    assert percent(watched) == 20


@pytest.mark.parametrize("damage", ["broken", "gone", "wrong", "no text"])
def test_a_broken_file_leaves_the_last_good_definition_and_is_told_once(path, caplog, damage):
    watched = WatchedExperiment(path, check_seconds=0.0)
    caplog.set_level(logging.INFO, "crossrec.serving.experiments")
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"broken": b"{", "wrong": b'{"name": "e", "arms": {"a": -1}}', "no text": b"\xff{"}[damage])
    for _ in range(10):
        assert percent(watched) == 5
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert str(path) in caplog.text and "last good definition stays in force" in caplog.text
    write(path, 20)
    assert percent(watched) == 20
    assert caplog.records[-1].levelname == "INFO" and "in order again" in caplog.records[-1].message


def test_without_a_good_definition_there_is_no_start(tmp_path):
    with pytest.raises(ExperimentError, match="No such file"):
        WatchedExperiment(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ExperimentError, match="bad.json: it is no JSON"):
        WatchedExperiment(tmp_path / "bad.json")


def test_the_percent_of_a_canary_is_what_clients_follow(tmp_path):
    def released(canary):
        store.show(ReleaseState(Fleet(str(tmp_path)), {"shop": ReleaseSet(("shop",), Release.of({"shop": 1}), canary)}))

    store = FileStore(tmp_path)
    released(Canary(Release.of({"shop": 2}), 5.0))
    watched = WatchedExperiment.of_releases(tmp_path / ".releases" / "traffic.json", "shop", check_seconds=0.0)
    five = {unit for unit in map(str, range(4000)) if watched.current().assign(unit).version_label == "canary"}
    released(Canary(Release.of({"shop": 2}), 20.0))
    twenty = {unit for unit in map(str, range(4000)) if watched.current().assign(unit).version_label == "canary"}
    assert five < twenty and len(five) == pytest.approx(200, abs=50) and len(twenty) == pytest.approx(800, abs=90)
    released(None)
    assert watched.current().assign("1") == ("stable", "stable", False)
    assert watched.current() == Experiment("shop-canary", {"stable": 100.0, "canary": 0.0})
