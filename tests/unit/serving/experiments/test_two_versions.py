"""Two versions behind labels on a real server: who is in an arm gets that arm's version."""

import math
import shutil
import threading

import numpy as np
import pytest

from crossrec.serving.client import ClientConfig, NotFoundError, RecommenderClient, RequestRefusedError
from crossrec.serving.contract.prediction_logs import predict_request, prediction_log, write_prediction_logs
from crossrec.serving.experiments import Experiment, ExposureLog, LabelSplit, WatchedExperiment
from crossrec.serving.releases.commands import Options, canary, promote, rollback
from tests.unit.serving.faulty_server import TWINS, Connector
from tests.unit.serving.make_models import save_bundle
from tests.unit.serving.releases.serving_fleet import fleet, release
from tests.unit.serving.serve_here import model, serve_here

VERSIONS = {"stable": 3, "canary": 4}
SPLIT = Experiment("ranker-4", {"stable": 60, "canary": 40})


@pytest.fixture(scope="module")
def path(tensorflow, tmp_path_factory):
    """Base path with both versions."""
    path = tmp_path_factory.mktemp("two")
    for version in VERSIONS.values():
        save_bundle(path, version)
    return path


@pytest.fixture(scope="module")
def server(path):
    with serve_here(path, "m") as server:
        caller = server.caller()
        caller.reload(model("m", path, versions=[3, 4]))
        caller.wait_for({3: "AVAILABLE", 4: "AVAILABLE"})
        caller.reload(model("m", path, versions=[3, 4], labels=VERSIONS))
        yield server


def write_golden(folder, version):
    words = {"user_id": ["u"], "interests": [["a"]], "recent_items": [["", "", ""]], "candidate_items": [["ab"]]}
    inputs = {name: np.array(value, object) for name, value in words.items()}
    inputs |= {"price_max": np.ones(1, np.float32), "timestamp": np.ones(1, np.int64)}
    outputs = {
        "scores": np.array([[2.0]], np.float32),
        "probability_click": np.array([[1 / (1 + math.exp(-2))]], np.float32),
        "model_version": np.array([version]),
    }
    log = prediction_log(predict_request(inputs, "m", "rank"), outputs)
    write_prediction_logs(folder / "assets.extra" / "golden_requests", [log])


@pytest.mark.parametrize("kind", TWINS)
def test_the_version_that_answers_is_that_of_the_arm(server, kind):
    seen = []
    units = [f"u{number}" for number in range(60)]
    with ExposureLog(seen.extend, flush_seconds=3600) as log, Connector(kind) as connect:
        client = connect(server.target, traffic=LabelSplit(SPLIT, log))
        answers = client.recommend([{"user_id": unit} for unit in units])
        single = [client.recommend({"user_id": unit}) for unit in units[:10]]
    expected = [VERSIONS[SPLIT.assign(unit).arm] for unit in units]
    assert [answer.model_version for answer in answers] == expected
    assert [answer.model_version for answer in single] == expected[:10]
    # The model repeats what it was asked, so each answer shows whose it is.
    for unit, answer in zip(units, answers):
        assert answer.columns["echo"][0].startswith(f"user_id={unit};")
    assert {(one.unit, one.arm, one.model_version) for one in seen} == {
        (unit, SPLIT.assign(unit).arm, version) for unit, version in zip(units, expected)
    }
    assert len(seen) == 70


def test_a_label_that_is_not_there_is_an_error_of_that_arm_alone(server):
    seen = []
    lost = Experiment("lost", {"stable": 50, "gone": 50})
    with ExposureLog(seen.extend, flush_seconds=3600) as log, Connector("sync") as connect:
        client = connect(server.target, traffic=LabelSplit(lost, log))
        units = {arm: next(u for u in map(str, range(100)) if lost.assign(u).arm == arm) for arm in lost.arms}
        assert client.recommend({"user_id": units["stable"]}).model_version == 3
        with pytest.raises((NotFoundError, RequestRefusedError)) as caught:
            client.recommend({"user_id": units["gone"]})
    assert [(one.arm, one.model_version, one.error) for one in seen] == [
        ("stable", 3, ""),
        ("gone", 0, caught.value.code.name),
    ]


def test_many_threads_share_a_split(server):
    seen = []
    failures = []
    with ExposureLog(seen.extend, flush_seconds=0.01) as log:
        config = ClientConfig(deadline_seconds=30.0, traffic=LabelSplit(SPLIT, log))
        with RecommenderClient(server.target, "m", config) as client:

            def work(name):
                for number in range(20):
                    unit = f"{name}-{number}"
                    if client.recommend({"user_id": unit}).model_version != VERSIONS[SPLIT.assign(unit).arm]:
                        failures.append(unit)

            threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert failures == []
    assert len({one.unit for one in seen}) == len(seen) == 120
    assert all(one.model_version == VERSIONS[one.arm] for one in seen)


def test_clients_send_a_canary_the_percent_that_the_operator_says(path, tmp_path):
    root = tmp_path / "serving"
    shutil.copytree(path, root / "m")
    for version in VERSIONS.values():
        write_golden(root / "m" / str(version), version)
    traffic = root / ".releases" / "traffic.json"
    units = [f"u{number}" for number in range(200)]
    with fleet(root, count=1, first=3) as (context, (server,)), Connector("sync") as connect:
        promote(context, "m", release(3), Options())
        followed = WatchedExperiment.of_releases(traffic, "m", check_seconds=0.0)
        client = connect(server.target, traffic=LabelSplit(followed))

        def on_trial():
            versions = [one.model_version for one in client.recommend([{"user_id": unit} for unit in units])]
            assert set(versions) <= {3, 4}
            return {unit for unit, version in zip(units, versions) if version == 4}

        assert on_trial() == set()
        canary(context, "m", release(4), 10.0, Options())
        tenth = on_trial()
        canary(context, "m", release(4), 50.0, Options())
        half = on_trial()
        assert tenth < half
        assert abs(len(tenth) - 20) <= 4 * 18**0.5 and abs(len(half) - 100) <= 4 * 50**0.5
        rollback(context, "m", None, Options(reason="clicks fell"))
        assert on_trial() == set()
