"""Several models, version policies, labels, and configurations that change while the server runs."""

import shutil
import threading
import time

import grpc
import numpy as np
import pytest
from google.protobuf import text_format

from crossrec.serving.contract import messages as wire
from tests.unit.serving.make_models import copy_version, corrupt
from tests.unit.serving.serve_here import PATIENCE, RunningServer, model, model_config, serve_here, until

Code = grpc.StatusCode
X = {"x": np.array([10.0], np.float32)}


@pytest.fixture
def base_path(adder_path, tmp_path):
    """Base path with versions 1, 2 and 3."""
    path = tmp_path / "m"
    path.mkdir()
    for version in (1, 2, 3):
        copy_version(adder_path / str(version), path, str(version))
    return path


@pytest.fixture
def server(base_path):
    """A server of versions 1 and 2, labelled stable and canary by a second reload."""
    with serve_here(base_path, model_config=model_config(model("m", base_path, versions=[1, 2]))) as running:
        caller = running.caller()
        caller.wait_for({2: "AVAILABLE", 1: "AVAILABLE"})
        caller.reload(model("m", base_path, versions=[1, 2], labels={"stable": 1, "canary": 2}))
        yield caller


def refused(call, *args, **kwargs):
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **kwargs)
    return caught.value.code(), caught.value.details()


def version_of(caller, **spec):
    return int(caller.outputs(X, **spec)["version"][0])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, {3}),
        ({"latest": 0}, {3}),
        ({"latest": 2}, {3, 2}),
        ({"latest": 9}, {3, 2, 1}),
        ({"all_versions": True}, {3, 2, 1}),
        ({"versions": [1, 3]}, {3, 1}),
    ],
)
def test_policies(base_path, policy, expected):
    with serve_here(base_path, model_config=model_config(model("m", base_path, **policy))) as running:
        caller = running.caller()
        caller.wait_for(dict.fromkeys(sorted(expected, reverse=True), "AVAILABLE"))
        assert version_of(caller) == max(expected)
        for version in expected:
            assert version_of(caller, version=version) == version


def test_a_change_of_policy_returns_at_once_and_happens_afterwards(server, base_path):
    server.reload(model("m", base_path, versions=[2, 3]))
    server.wait_for({3: "AVAILABLE", 2: "AVAILABLE", 1: "END"})
    assert version_of(server) == 3


def test_a_specific_version_that_does_not_exist_only_warns(server, base_path):
    server.reload(model("m", base_path, versions=[2, 9]))
    server.wait_for({2: "AVAILABLE", 1: "END"})
    assert version_of(server) == 2


def test_a_policy_that_names_nothing_that_exists_unloads_everything(server, base_path):
    server.reload(model("m", base_path, versions=[9]))
    server.wait_for({2: "END", 1: "END"})
    assert refused(server.predict, X) == (Code.NOT_FOUND, "Servable not found for request: Latest(m)")


def test_labels_choose_versions(server):
    assert (version_of(server, label="stable"), version_of(server, label="canary")) == (1, 2)
    assert refused(server.predict, X, label="other") == (
        Code.INVALID_ARGUMENT,
        "Unrecognized servable version label: other",
    )


def test_labels_choose_metadata_too(server):
    request = wire.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "m"
    request.model_spec.version_label = "stable"
    response = server.call(wire.GET_MODEL_METADATA_METHOD, request, wire.GetModelMetadataResponse)
    assert response.model_spec.version.value == 1


def test_status_ignores_labels(server):
    request = wire.GetModelStatusRequest()
    request.model_spec.name = "m"
    request.model_spec.version_label = "nonsense"
    response = server.call(wire.GET_MODEL_STATUS_METHOD, request, wire.GetModelStatusResponse)
    assert [one.version for one in response.model_version_status] == [2, 1]


def test_a_reload_without_labels_takes_them_away(server, base_path):
    server.reload(model("m", base_path, versions=[1, 2]))
    assert refused(server.predict, X, label="stable")[0] is Code.INVALID_ARGUMENT


def test_a_label_cannot_come_with_its_version(server, base_path):
    both = {"stable": 1, "canary": 3}
    assert refused(server.reload, model("m", base_path, versions=[1, 2, 3], labels=both)) == (
        Code.FAILED_PRECONDITION,
        "Request to assign label to version 3 of model m, which is not currently available for inference",
    )
    time.sleep(0.2)
    assert server.statuses() == {2: "AVAILABLE", 1: "AVAILABLE"}, "the policy of a refused reload must not count"
    assert (version_of(server, label="stable"), version_of(server, label="canary")) == (1, 2)
    # The safe order: load, wait, move.
    server.reload(model("m", base_path, versions=[1, 2, 3], labels={"stable": 1, "canary": 2}))
    server.wait_for(dict.fromkeys((3, 2, 1), "AVAILABLE"))
    server.reload(model("m", base_path, versions=[1, 2, 3], labels=both))
    assert version_of(server, label="canary") == 3


def test_a_label_outlives_its_version(server, base_path):
    server.reload(model("m", base_path, versions=[2], labels={"stable": 1, "canary": 2}))
    server.wait_for({2: "AVAILABLE", 1: "END"})
    assert refused(server.predict, X, label="stable") == (
        Code.NOT_FOUND,
        "Servable not found for request: Specific(m, 1)",
    )


def test_a_label_at_the_start_ends_the_server(base_path, capfd):
    config = model_config(model("m", base_path, labels={"stable": 3}))
    running = RunningServer(base_path, model_config=config)
    assert running.ready.wait(PATIENCE)
    assert (running.target, running.exit_code) == ("", 255)
    assert "FAILED_PRECONDITION: Request to assign label to version 3 of model m" in capfd.readouterr().err


def test_new_labels_may_name_unavailable_versions_where_allowed(base_path):
    config = model_config(model("m", base_path, versions=[1], labels={"stable": 1, "next": 2}))
    with serve_here(base_path, model_config=config, labels_for_unavailable=True) as running:
        caller = running.caller()
        assert version_of(caller, label="stable") == 1
        assert refused(caller.predict, X, label="next")[0] is Code.NOT_FOUND
        caller.reload(model("m", base_path, versions=[1], labels={"stable": 1, "next": 2, "third": 3}))
        assert refused(caller.predict, X, label="third")[0] is Code.NOT_FOUND
        # A label that exists moves to an available version only.
        code, details = refused(caller.reload, model("m", base_path, versions=[1, 2], labels={"stable": 2}))
        assert (code, "version 2 of model m" in details) == (Code.FAILED_PRECONDITION, True)
        assert version_of(caller, label="stable") == 1


def test_a_reload_waits_for_a_new_model_and_drops_the_old_one(server, base_path, adder_path, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    copy_version(adder_path / "4", other, "7")
    server.reload(model("other", other))
    assert server.of("other").outputs(X)["y"].tolist() == [14.0], "available when the call returns"
    server.wait_for({2: "END", 1: "END"})
    assert refused(server.predict, X) == (Code.NOT_FOUND, "Servable not found for request: Latest(m)")
    # And back again.
    server.reload(model("m", base_path), model("other", other))
    assert version_of(server) == 3
    assert version_of(server.of("other")) == 4


def test_a_corrupt_new_model(server, base_path, adder_path, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    corrupt(copy_version(adder_path / "1", tmp_path, "staging").rename(bad / "1"))
    code, details = refused(server.reload, model("m", base_path, versions=[1, 2]), model("bad", bad))
    assert code is Code.UNKNOWN
    assert details.startswith("1 model(s) did not become available: {{{name: bad version: 1} due to error: DATA_LOSS: ")
    assert details.endswith("}, }")
    assert version_of(server, version=1) == 1


def test_a_missing_base_path_of_a_new_model_hangs_the_reload_and_the_next(server, base_path, adder_path, tmp_path):
    later = tmp_path / "later"
    known = model("m", base_path, versions=[1, 2], labels={"stable": 1})
    answers = []
    first = threading.Thread(target=lambda: answers.append(server.reload(known, model("later", later), timeout=300)))
    first.start()
    # A reload that overtook the first is answered; none is once the first has come.
    until(lambda: not _answers(server, known))
    assert version_of(server, label="stable") == 1, "requests go on"
    # One missing base path freezes the polling for all models.
    shutil.rmtree(base_path / "2")
    time.sleep(0.2)
    assert server.statuses() == {2: "AVAILABLE", 1: "AVAILABLE"}
    assert answers == []
    later.mkdir()
    copy_version(adder_path / "2", later, "1")
    server.wait_for({2: "END", 1: "AVAILABLE"})
    until(lambda: _answers(server, known))
    first.join(PATIENCE)
    assert [answer.status.error_code for answer in answers] == [0]


def _answers(caller, *models):
    try:
        caller.reload(*models, timeout=1)
    except grpc.RpcError as error:
        assert error.code() is Code.DEADLINE_EXCEEDED
        return False
    return True


def refused_configs(base_path):
    def without_list():
        return wire.ReloadConfigRequest()

    def listed(*models):
        request = wire.ReloadConfigRequest()
        request.config.CopyFrom(model_config(*models))
        return request

    def typed(**fields):
        entry = model("m", base_path, **({"platform": ""} if "model_platform" not in fields else {}))
        for name, value in fields.items():
            setattr(entry, name, value)
        return listed(entry)

    known = model("m", base_path)
    yield "empty", without_list(), "ServerModelConfig type not supported by HandleReloadConfigRequest"
    yield (
        "relative",
        listed(model("m", "models/m")),
        "Expected model m to have an absolute path or URI; got base_path()=",
    )
    yield "twice", listed(known, known), "Illegal to list model m multiple times in config list"
    yield "no platform", listed(model("m", base_path, platform="")), "Illegal setting neither"
    yield "new, no platform", listed(known, model("n", base_path, platform="")), "Illegal setting neither"
    yield (
        "changed",
        listed(model("m", base_path, platform="other")),
        "Illegal to change a model's platform. For model m platform was tensorflow and new platform requested is other",
    )
    yield "unknown", listed(known, model("n", base_path, platform="x")), "Model n requests unsupported platform x"
    yield "other type", typed(model_type=2), "ModelServerConfig::model_type choice 2 not supported."
    yield "both", typed(model_type=1, model_platform="tensorflow"), "Illegal setting both"


def test_bad_configurations_change_nothing(server, base_path):
    for name, request, message in refused_configs(base_path):
        code, details = refused(server.call, wire.RELOAD_CONFIG_METHOD, request, wire.ReloadConfigResponse)
        assert (code, details[: len(message)]) == (Code.INVALID_ARGUMENT, message), name
    time.sleep(0.2)
    assert server.statuses() == {2: "AVAILABLE", 1: "AVAILABLE"}
    assert (version_of(server, label="stable"), version_of(server, label="canary")) == (1, 2)


def test_an_empty_list_unloads_everything(server):
    server.reload()
    server.wait_for({2: "END", 1: "END"})


def test_the_answer_holds_an_ok_status(server, base_path):
    answer = server.reload(model("m", base_path, versions=[1, 2]))
    assert answer.HasField("status")
    assert (answer.status.error_code, answer.status.error_message) == (0, "")


def test_the_config_file_is_read_again_and_wins(base_path, tmp_path):
    file = tmp_path / "models.config"

    def write(**policy):
        file.write_text(text_format.MessageToString(model_config(model("m", base_path, **policy))))

    write(versions=[1])
    settings = {"model_config": model_config(model("m", base_path, versions=[1])), "model_config_file": file}
    with serve_here(base_path, model_config_poll_seconds=0.1, **settings) as running:
        caller = running.caller()
        write(versions=[1, 2], labels={})
        caller.wait_for({2: "AVAILABLE", 1: "AVAILABLE"})
        write(versions=[1, 2], labels={"stable": 1})
        until(lambda: _labelled(caller, "stable") == 1)
        # What a call sets lasts until the next read of the file.
        caller.reload(model("m", base_path, versions=[1, 2], labels={"stable": 2}))
        until(lambda: _labelled(caller, "stable") == 1)
        # A file that is broken, or gone, leaves everything as it was.
        file.write_text("model_config_list { config {")
        time.sleep(0.3)
        file.unlink()
        time.sleep(0.3)
        assert _labelled(caller, "stable") == 1
        write(versions=[2])
        caller.wait_for({2: "AVAILABLE", 1: "END"})


def _labelled(caller, label):
    try:
        return version_of(caller, label=label)
    except grpc.RpcError:
        return None


def test_swaps_and_labels_move_under_load_without_a_failure(adder_path, tmp_path):
    base_path = tmp_path / "m"
    base_path.mkdir()
    # Versions 1 to 20; version n is a copy of adder 1 + n % 4, which says so in its answer.
    copy_version(adder_path / "2", base_path, "1")
    stopping, problems, answers = threading.Event(), [], {}

    def ask(caller, label):
        while not stopping.is_set():
            try:
                response = caller.predict(X, label=label)
            except grpc.RpcError as error:
                problems.append(error)
                return
            named = response.model_spec.version.value
            added = 1 + named % 4
            if list(response.outputs["y"].float_val) != [10.0 + added]:
                problems.append(response)
            answers[label, named] = answers.get((label, named), 0) + 1

    config = model_config(model("m", base_path, versions=[1]))
    with serve_here(base_path, model_config=config, poll_seconds=0.02) as running:
        caller = running.caller()
        caller.reload(model("m", base_path, versions=[1], labels={"stable": 1}))
        threads = [
            threading.Thread(target=ask, args=(running.caller(), label)) for label in (None, None, "stable", "stable")
        ]
        for thread in threads:
            thread.start()
        for number in range(2, 12):
            copy_version(adder_path / str(1 + number % 4), base_path, str(number))
            old = {"stable": number - 1}
            caller.reload(model("m", base_path, versions=[number - 1, number], labels=old))
            until(lambda number=number: caller.statuses().get(number) == "AVAILABLE")
            if number % 5 == 0:  # a release that is refused changes nothing for those who ask
                wrong = {"stable": number + 1}
                code = refused(caller.reload, model("m", base_path, versions=[number], labels=wrong))[0]
                assert code is Code.FAILED_PRECONDITION
            caller.reload(model("m", base_path, versions=[number - 1, number], labels={"stable": number}))
            asked = {("stable", number), (None, number)}
            until(lambda: problems or asked <= answers.keys())  # noqa: B023 - called at once
            caller.reload(model("m", base_path, versions=[number], labels={"stable": number}))
            until(lambda number=number: caller.statuses().get(number - 1) == "END")
        stopping.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert answers.keys() >= {(label, version) for label in (None, "stable") for version in range(2, 12)}
