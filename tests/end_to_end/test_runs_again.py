"""The same root again: unchanged, changed, broken off, not good enough, without its release."""

import filecmp
import os
import re
import shutil
import signal
import subprocess
from collections import Counter

import pytest

from crossrec.serving.releases.versions import list_versions
from tests.end_to_end.lineage import Lineage
from tests.end_to_end.marketplace import COMMAND, command, here, lines_of, write_spec
from tests.end_to_end.test_run_output import NODES

AFTER_RANKING_EXAMPLES = ["RankingTrainer", "ServingBundle", "Evaluation", "ServingCheck", "Publisher"]


def arguments(run, spec=None):
    """The command on the same data and root."""
    return "run", spec or run.spec, "--data", run.data, "--root", run.root


def worked(stdout):
    """The nodes that were not taken from an earlier run."""
    told = re.split(r"^\[ ?\d+/\d+\] ", stdout.partition("\nData")[0], flags=re.M)[1:]
    assert [text.partition(":")[0] for text in told] == NODES[: len(told)]
    return [text.partition(":")[0] for text in told if "unchanged, taken from the last run" not in text]


def same_files(one, other):
    names = sorted(path.relative_to(one).as_posix() for path in one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(other).as_posix() for path in other.rglob("*") if path.is_file())
    different = filecmp.cmpfiles(one, other, names, shallow=False)
    return different[1:] == ([], [])


@pytest.fixture
def released(marketplace_run, tmp_path):
    """The first release, put back as it was after a test that takes it away."""
    kept = tmp_path / "serving"
    serving = marketplace_run.model.parent
    shutil.copytree(serving, kept, symlinks=True)
    yield marketplace_run
    shutil.rmtree(serving, ignore_errors=True)
    shutil.copytree(kept, serving, symlinks=True)


def test_unchanged_takes_seconds_and_publishes_nothing_new(marketplace_run):
    before = {path: path.stat().st_mtime_ns for path in marketplace_run.version.rglob("*")}
    done = command(*arguments(marketplace_run))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    # The publisher looks each time whether its release is still there.
    assert worked(done.stdout) == ["Publisher"]
    assert lines_of(done.stdout, "Release") == [f"Release   version 1 in {marketplace_run.version} (unchanged)"]
    assert list_versions(marketplace_run.model) == [1]
    assert {path: path.stat().st_mtime_ns for path in marketplace_run.version.rglob("*")} == before
    # Where this takes seconds, the first run took minutes.
    told = [re.search(r"^Done in (\d+) s", text, re.M) for text in (done.stdout, marketplace_run.stdout)]
    assert int(told[0][1]) <= int(told[1][1]) / 2
    # The figures are those of the first run.
    quality = [text[text.index("Quality") : text.index("Release")] for text in (done.stdout, marketplace_run.stdout)]
    assert quality[0] == quality[1]


def test_a_release_that_is_gone_is_published_again(released, capfd):
    shutil.rmtree(released.version)
    done = here(capfd, *arguments(released))
    assert done.returncode == 0, done.stdout + done.stderr
    assert worked(done.stdout) == ["Publisher"]
    # Its number was taken once, and does not come back.
    second = released.model / "2"
    assert lines_of(done.stdout, "Release") == [f"Release   version 2 in {second}"]
    assert list_versions(released.model) == [2]
    assert (second / "assets" / "model_version.txt").read_text() == "version\t2\n"


def test_a_serving_root_that_is_gone_is_made_again(released, tmp_path, capfd):
    shutil.move(released.model.parent, tmp_path / "aside")
    done = here(capfd, *arguments(released))
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines_of(done.stdout, "Release") == [f"Release   version 1 in {released.version}"]
    assert same_files(tmp_path / "aside" / "recommender" / "1", released.version)


def test_too_high_a_threshold_publishes_nothing_and_says_why(marketplace_run, tmp_path, capfd):
    versions = list_versions(marketplace_run.model)
    thresholds = [
        {"metric": "end_to_end/ndcg@10", "minimum": 0.99},
        {"metric": "ranking/click/log_loss", "maximum": 100},
    ]
    spec = write_spec(tmp_path / "spec.yaml", {"evaluation.thresholds": thresholds})
    done = here(capfd, *arguments(marketplace_run, spec))
    assert done.returncode == 3, done.stdout + done.stderr
    assert worked(done.stdout) == ["Evaluation", "Publisher"]
    (line,) = lines_of(done.stdout, "Release")
    assert "not blessed" in line
    (reason,) = lines_of(done.stdout, "end_to_end/ndcg@10 is")
    assert re.search(r"is 0\.\d{4}, must be at least 0\.99", reason)
    assert list_versions(marketplace_run.model) == versions
    (published,) = Lineage.read(marketplace_run.root).of("Publisher")[-1].outputs.values()
    assert published.custom_properties["pushed"].int_value == 0
    blessing = Lineage.read(marketplace_run.root).of("Evaluation")[-1].outputs["blessing"]
    assert blessing.custom_properties["blessed"].int_value == 0
    assert "ndcg@10" in blessing.custom_properties["blessing_message"].string_value


def test_a_server_that_is_too_slow_publishes_nothing_says_why_and_is_asked_again(marketplace_run, tmp_path, capfd):
    versions = list_versions(marketplace_run.model)
    spec = write_spec(tmp_path / "spec.yaml", {"serving.check": {"requests": 20, "p99_ms": 0.001}})
    for _ in range(2):
        # A refusal is not taken from the last run: the machine may have been busy.
        done = here(capfd, *arguments(marketplace_run, spec))
        assert done.returncode == 3, done.stdout + done.stderr
        assert worked(done.stdout) == ["ServingCheck", "Publisher"]
        (reason,) = lines_of(done.stdout, "not blessed: ")
        assert re.search(r"p99 is \d+\.\d ms over 20 requests; the limit serving.check.p99_ms is 0.001$", reason)
        assert lines_of(done.stdout, "Release") == ["Release   none: the bundle is not blessed"]
        assert list_versions(marketplace_run.model) == versions
    (published,) = Lineage.read(marketplace_run.root).of("Publisher")[-1].outputs.values()
    assert published.custom_properties["pushed"].int_value == 0
    blessing = Lineage.read(marketplace_run.root).of("ServingCheck")[-1].outputs["blessing"]
    assert blessing.custom_properties["blessed"].int_value == 0
    assert "p99 is" in blessing.custom_properties["blessing_message"].string_value


def stop_in_training(run, spec, line):
    """Start the command, stop it when it has printed a line, and kill it in the end; what it printed."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments(run, spec))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    printed = []
    try:
        for text in process.stdout:
            printed.append(text)
            if line in text:
                # Or it might come to its end while others look.
                os.killpg(process.pid, signal.SIGSTOP)
                yield "".join(printed)
                break
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_a_changed_training_is_killed_and_goes_on_where_it_was(marketplace_run, tmp_path, capfd):
    versions = list_versions(marketplace_run.model)
    training = {"epochs": 6, "patience": 0, "learning_rate": 0.0005}
    spec = write_spec(tmp_path / "spec.yaml", {"ranking.training": training})
    before = Counter((node.name, node.state) for node in Lineage.read(marketplace_run.root).nodes)
    running = stop_in_training(marketplace_run, spec, "epoch 3/6")
    first = next(running)
    # While it trains, nobody else may use the root.
    other = here(capfd, *arguments(marketplace_run))
    assert other.returncode == 2, other.stdout + other.stderr
    assert "is in use by process" in other.stderr and "--root" in other.stderr
    assert "[ 1/" not in other.stdout
    running.close()

    assert worked(first) == ["RankingTrainer"]
    assert list_versions(marketplace_run.model) == versions
    assert not list(marketplace_run.model.glob(".staging*"))
    (checkpoint,) = (marketplace_run.root / "checkpoints").iterdir()
    assert checkpoint.name.startswith("ranking-")

    done = command(*arguments(marketplace_run, spec))
    assert done.returncode == 0, done.stdout + done.stderr
    assert worked(done.stdout) == AFTER_RANKING_EXAMPLES
    (resumed,) = lines_of(done.stdout, "going on after epoch")
    epochs = [int(re.match(r"epoch (\d+)/6", line)[1]) for line in lines_of(done.stdout, "epoch")]
    known = int(re.search(r"after epoch (\d+)", resumed)[1])
    assert known >= 2
    # An epoch may be trained again whose checkpoint was not whole; none is left out.
    assert epochs == list(range(epochs[0], 7)) and known <= epochs[0] <= known + 1
    version = versions[-1] + 1
    assert lines_of(done.stdout, "Release") == [
        f"Release   version {version} in {marketplace_run.model / str(version)}"
    ]
    assert list_versions(marketplace_run.model) == [*versions, version]
    assert not list((marketplace_run.root / "checkpoints").iterdir())
    after = Counter((node.name, node.state) for node in Lineage.read(marketplace_run.root).nodes)
    made = {node for (node, state), count in (after - before).items() if state == "COMPLETE"}
    assert made == set(AFTER_RANKING_EXAMPLES)


def test_back_to_an_earlier_spec_its_release_becomes_the_latest_again(marketplace_run, capfd):
    """Servers load the highest number, so what a run says is released must have it."""
    versions = list_versions(marketplace_run.model)
    assert versions[-1] > 1, "runs after the changed training"
    done = here(capfd, *arguments(marketplace_run))
    assert done.returncode == 0, done.stdout + done.stderr
    # The bundle is checked again if any bundle was refused since.
    assert worked(done.stdout)[-1] == "Publisher" and set(worked(done.stdout)) <= {"ServingCheck", "Publisher"}
    latest = marketplace_run.model / str(versions[-1] + 1)
    assert lines_of(done.stdout, "Release") == [f"Release   version {latest.name} in {latest}"]
    (latest / "assets" / "model_version.txt").write_text("version\t1\n")
    assert same_files(latest, marketplace_run.version)
