"""A backfill of two days that starts warm, and what the command says when it is given again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from crossrec.components.example_gen.report import read_report
from crossrec.components.modeling import saving
from crossrec.pipeline.backfill import Entry, read_entries
from crossrec.serving.releases.versions import list_versions
from tests.end_to_end.lineage import Lineage
from tests.end_to_end.marketplace import command, here, write_spec

DAYS = ("2025-06-28", "2025-06-29")
CHANGES = {
    "data.interactions.path": "interactions/{date}",
    "data.interactions.window": {"days": 8},
    "data.split": {"validation_days": 1, "test_days": 1},
    "crosses.auto": None,
    "warm_start": {"epochs": 1},
    "retrieval.training": {"epochs": 3, "batch_size": 256, "learning_rate": 0.003, "patience": 0},
    "ranking.training": {"epochs": 2, "batch_size": 256, "patience": 0},
}


@dataclass(frozen=True)
class Backfill:
    """Two days, each with a run of its own."""

    root: Path
    spec: Path
    stdout: str
    entries: list[Entry]

    @property
    def arguments(self) -> list[object]:
        places = ["--data", self.root / "data", "--root", self.root / "run"]
        return ["backfill", self.spec, *places, "--from", DAYS[0], "--to", DAYS[1], "--publish"]


@pytest.fixture(scope="module")
def backfill(tmp_path_factory) -> Backfill:
    root = tmp_path_factory.mktemp("freshness")
    simulated = command("simulate", root / "data", "--rows", 8000, "--days", 10, "--by-day")
    assert simulated.returncode == 0, simulated.stderr
    made = Backfill(root, write_spec(root / "spec.yaml", CHANGES), "", [])
    done = command(*made.arguments, seconds=3000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return Backfill(root, made.spec, done.stdout, read_entries(root / "run" / "backfill.json"))


def test_each_date_reads_its_window_and_publishes_its_model(backfill):
    assert [(entry.until, entry.version) for entry in backfill.entries] == [(DAYS[0], 1), (DAYS[1], 2)]
    assert list_versions(backfill.root / "run" / "serving" / "recommender") == [1, 2]
    runs = Lineage.read(backfill.root / "run").of("InteractionsExampleGen")
    windows = [read_report(run.outputs["examples"].uri).window for run in runs]
    assert [(window.first, window.last, window.spans) for window in windows] == [
        ("2025-06-21", "2025-06-28", 8),
        ("2025-06-22", "2025-06-29", 8),
    ]
    properties = [run.outputs["examples"].custom_properties for run in runs]
    assert [found["last_span"].string_value for found in properties] == list(DAYS)
    table = backfill.stdout.splitlines()[-5:]
    assert [line.split()[0] for line in table[1:3]] == list(DAYS)


def test_the_second_date_starts_from_the_release_of_the_first(backfill):
    assert backfill.entries[0].warm_start == ""
    assert backfill.entries[1].warm_start.startswith("warm start from version 1: ")
    assert "cold start: nothing was published yet" in backfill.stdout
    lineage = Lineage.read(backfill.root / "run")
    looked_up = [run.outputs["previous_model"] for run in lineage.of("PreviousModel")]
    assert [found.custom_properties["version"].int_value for found in looked_up] == [0, 1]
    for node, output, epochs in (("RetrievalTrainer", "retrieval_model", 3), ("RankingTrainer", "ranking_model", 2)):
        trainings = lineage.of(node)
        for training, previous in zip(trainings, looked_up):
            assert previous.id in training.inputs
        histories = [saving.read_history(training.outputs[output].uri) for training in trainings]
        assert [len(history) for history in histories] == [epochs, 1]
        report = json.loads((Path(trainings[1].outputs[output].uri) / "warm_start.json").read_text())
        assert report["version"] == 1
        # The encoder of texts is that of the first date too: an earlier model knows its vectors.
        assert report["reason"] == ""
        assert report["weights_taken"] == report["weights"] > 0
        assert 0.5 * report["rows"] < report["rows_taken"] <= report["rows"]


def test_finished_dates_are_not_run_again(backfill, capfd):
    executions = len(Lineage.read(backfill.root / "run").nodes)
    before = (backfill.root / "run" / "backfill.json").read_bytes()
    done = here(capfd, *backfill.arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("finished before, not run again") == 2
    assert len(Lineage.read(backfill.root / "run").nodes) == executions
    assert (backfill.root / "run" / "backfill.json").read_bytes() == before
    assert done.stdout.splitlines()[-5:] == backfill.stdout.splitlines()[-5:]


def test_the_same_data_again_take_everything_from_the_cache_though_there_is_a_new_release(backfill, capfd):
    places = ("--data", backfill.root / "data", "--root", backfill.root / "run")
    done = here(capfd, "run", backfill.spec, *places, "--until", DAYS[1])
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.partition("\nData")[0]
    nodes = told.count("] ")
    assert told.count("unchanged, taken from the last run") == nodes - 1
    worked = [node.name for node in Lineage.read(backfill.root / "run").nodes[-nodes:] if node.state == "COMPLETE"]
    assert worked == ["Publisher"]
    assert list_versions(backfill.root / "run" / "serving" / "recommender") == [1, 2]
