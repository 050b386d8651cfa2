"""Two workers on loopback train what one trains with the same batches, also where one of them is killed meanwhile."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from tfx.types import standard_artifacts

from crossrec.components.errors import DataError
from crossrec.components.modeling import launch, runtime, training_job
from crossrec.components.modeling.training_job import TrainingJob
from tests.unit.components.modeling.multi_worker import CASES, SmallTrainer, write_data

# Three models are traced by two workers, and for some of them again after the kill.
slow = pytest.mark.slow
EXECUTOR = f"{SmallTrainer.__module__}.{SmallTrainer.__qualname__}"
NEVER = -1


def artifact(path):
    found = standard_artifacts.Model()
    found.uri = str(path)
    Path(path).mkdir(parents=True, exist_ok=True)
    return found


def run(root, **parameters):
    """One training with the executor's own way to its workers; its output artifact."""
    (root / "scratch").mkdir(parents=True)
    model = artifact(root / "model")
    inputs, outputs = {"examples": [artifact(root.parent / "data")]}, {"model": [model]}
    parameters = {
        "cases": list(CASES),
        "scratch": str(root / "scratch"),
        "checkpoint_root": str(root / "checkpoints"),
        "dies": NEVER,
        **parameters,
    }
    if not launch.on_workers(SmallTrainer(), inputs, outputs, parameters, 1 if parameters["dies"] == NEVER else 2):
        SmallTrainer().Do(inputs, outputs, parameters)
    return model


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("workers")
    write_data(root / "data")
    return root


@pytest.fixture(scope="module")
def alone(root):
    return json.loads(Path(run(root / "alone").uri, "found.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def together(root):
    """A training of two workers, of which the second is killed in the middle of it."""
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("crossrec.progress")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    model = run(root / "together", dies=1)
    logger.removeHandler(handler)
    logger.setLevel(level)
    return model, said


def losses(root, case, index):
    """The loss of each step as one worker saw it; of steps that were done again after the kill the later one."""
    lines = (root / "scratch" / f"{case}-{index}").read_text(encoding="utf-8").splitlines()
    return {tuple(line.split()[:3]): float(line.split()[3]) for line in lines}


@slow
@pytest.mark.parametrize("case", CASES)
def test_two_workers_one_of_them_killed_learn_what_one_learns(root, alone, together, case):
    of_one = losses(root / "alone", case, 0)
    # Adam makes much of what rounding leaves of a gradient that is zero; another batch has quite another loss.
    close = {"rtol": 5e-3, "atol": 1e-3}
    assert np.ptp(list(of_one.values())) > 0.05
    for index in (0, 1):
        of_worker = losses(root / "together", case, index)
        assert of_worker.keys() == of_one.keys()
        np.testing.assert_allclose([of_worker[step] for step in of_one], list(of_one.values()), **close)
    found, expected = json.loads(Path(together[0].uri, "found.json").read_text(encoding="utf-8"))[case], alone[case]
    np.testing.assert_allclose(found["history"], expected["history"], **close)
    for some, other in zip(found["scores"], expected["scores"], strict=True):
        np.testing.assert_allclose(some, other, **close)


@slow
def test_the_killed_training_went_on_from_its_checkpoint(root, together):
    _, said = together
    assert (root / "together" / "scratch" / "died").exists()
    (lost,) = [line for line in said if "lost" in line]
    # The one that was killed, and the one that noticed.
    assert "[138, -9]" in lost
    starts = (root / "together" / "scratch" / "starts").read_text(encoding="utf-8").split("\n")[:-1]
    first, again = sorted(starts[:2]), sorted(starts[2:])
    assert first == ["0 0", "1 0"]
    assert [line.split()[0] for line in again] == ["0", "1"] and all(int(line.split()[1]) > 0 for line in again)


@slow
def test_only_the_chief_writes_and_nothing_is_left_of_the_work(root, together):
    model, _ = together
    assert model.get_custom_property("written_by") == "0"
    assert [path.name for path in Path(model.uri).iterdir()] == ["found.json"]
    assert not list((root / "together" / "checkpoints").iterdir())


def test_a_job_comes_back_from_its_folder(tmp_path):
    model = artifact(tmp_path / "model")
    model.set_string_custom_property("a", "b")
    job = TrainingJob(EXECUTOR, {"examples": [artifact(tmp_path / "data")]}, {"model": [model]}, {"n": 1, "s": "x"})
    job.write(str(tmp_path / "job"))
    again = TrainingJob.read(str(tmp_path / "job"))
    assert again.parameters == {"n": 1, "s": "x"} and isinstance(again.make_executor(), SmallTrainer)
    assert again.outputs["model"][0].mlmd_artifact == model.mlmd_artifact
    assert type(again.inputs["examples"][0]) is standard_artifacts.Model


def test_a_worker_that_starts_after_the_end_does_nothing(tmp_path):
    TrainingJob("no.such.Executor", {}, {}, {}).write(str(tmp_path))
    training_job._write(f"{tmp_path}/outcome.json", {})
    assert training_job.main(["--job", str(tmp_path)]) == 0


def test_a_folder_without_a_job_is_named(tmp_path, capsys):
    assert training_job.main(["--job", str(tmp_path)]) == 2
    assert f"--job: there is no job.json in {tmp_path}. Name the folder" in capsys.readouterr().err


def test_a_worker_that_knows_of_no_others_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    TrainingJob(EXECUTOR, {}, {}, {}).write(str(tmp_path))
    assert training_job.main(["--job", str(tmp_path)]) == 2
    assert "TF_CONFIG: is not set. Name all workers in it" in capsys.readouterr().err


CLUSTER = {"worker": ["a:1", "b:1"]}


@pytest.mark.parametrize(
    ("content", "several"),
    [
        (None, False),
        ({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}, False),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": 1}}, True),
        ({"cluster": {"chief": ["c:1"], "worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}, True),
    ],
)
def test_the_cluster_says_whether_there_are_several_workers(content, several):
    assert runtime.several_workers(json.dumps(content) if content else "") is several


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"TF_CONFIG: '\{' cannot be read"),
        ("[1]", r"TF_CONFIG: '\[1\]' cannot be read"),
        (json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}), "task 'worker' 2 is no worker of"),
        (
            json.dumps({"cluster": CLUSTER, "task": {"type": "evaluator", "index": 0}}),
            "task 'evaluator' 0 is no worker",
        ),
    ],
)
def test_a_cluster_that_cannot_be_used_is_refused(content, message):
    with pytest.raises(DataError, match=message):
        runtime.several_workers(content)


def test_workers_here_know_of_each_other():
    first, second = map(json.loads, launch.cluster_of(2))
    assert first["cluster"] == second["cluster"] and len(set(first["cluster"]["worker"])) == 2
    assert [one["task"]["index"] for one in (first, second)] == [0, 1]
