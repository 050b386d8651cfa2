"""Versions that are bad, disks that are full, memory that is short: withdrawn, told, and no request fails."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from crossrec.serving.contract.prediction_logs import predict_request, prediction_log, write_prediction_logs
from crossrec.serving.releases.commands import Options, canary, promote
from crossrec.serving.releases.configure import configure
from crossrec.serving.releases.context import Context
from crossrec.serving.releases.errors import ReleaseError, UsageError, WithdrawnError
from crossrec.serving.releases.reconcile import reconcile
from crossrec.serving.releases.watch import Watch, watch_canary
from tests.unit.serving.make_models import corrupt
from tests.unit.serving.releases.serving_fleet import (
    MODEL,
    SET,
    Traffic,
    X,
    fleet,
    publish,
    release,
    serves,
    write_golden,
)


@pytest.fixture
def root(adder_path, tmp_path):
    for version in (1, 2):
        publish(adder_path, tmp_path / "serving", version)
    return tmp_path / "serving"


@pytest.fixture
def watched(root):
    """Servers, a context, and traffic that must not notice anything."""
    with fleet(root) as (context, servers):
        promote(context, SET, release(1), Options())
        with Traffic([server.target for server in servers]) as traffic:
            yield context, servers
            traffic.wait_for(20)
        assert traffic.failures == []


def assert_as_before(context, servers):
    for server in servers:
        assert serves(server) == ([1], {"stable": 1, "canary": 1})
    state = context.store.read()
    assert state.operation is None
    assert (state.sets[SET].stable, state.sets[SET].canary) == (release(1), None)


def damage_graph(path):
    corrupt(path)


def rename_op(path):
    """The graph needs an op that no binary has."""
    file = path / "saved_model.pb"
    graph = file.read_bytes()
    assert b"AddV2" in graph
    file.write_bytes(graph.replace(b"AddV2", b"AddV9"))


def lose_golden(path):
    (path / "assets.extra" / "golden_requests").unlink()


def damage_golden(path):
    file = path / "assets.extra" / "golden_requests"
    file.write_bytes(file.read_bytes()[:-3])


def other_golden(path):
    write_golden(path, 5)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (damage_graph, "could not load m 2 .*DATA_LOSS.*publish it again"),
        (rename_op, "Op type not registered.*AddV9"),
        (lose_golden, "golden requests cannot be read.*publish a version that has them"),
        (damage_golden, "golden requests cannot be read.*truncated record"),
        (other_golden, r"m 2 gives wrong answers: golden request 1: .*y\[0\] is 12 instead of 15 \(2 of 2 differ\)"),
    ],
)
def test_a_bad_version_is_withdrawn_and_the_reason_recorded(watched, root, harm, reason):
    context, servers = watched
    harm(root / MODEL / "2")
    with pytest.raises(WithdrawnError, match=f"(?s)canary 2 was withdrawn.*{reason}.*All labels are as they were"):
        canary(context, SET, release(2), 5.0, Options())
    assert_as_before(context, servers)
    assert context.store.read().sets[SET].rejection(release(2)) is not None
    last = context.ledger.events()[-1]
    assert last["event"] == "withdrawn" and last["to"] == {MODEL: 2} and last["failure"]
    assert [answer["outcome"] for answer in last["replicas"]] == ["ok", "ok"]
    with pytest.raises(UsageError, match="was rejected"):
        promote(context, SET, release(2), Options())


def test_a_version_that_loads_but_cannot_answer_is_withdrawn(tensorflow, watched, root):
    """As with an op that is not linked: AVAILABLE, and every Predict fails."""
    tf = tensorflow

    class Calls(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def call(self, x):
            y = tf.numpy_function(lambda values: values, [x], tf.float32)
            return {"y": tf.ensure_shape(y, [None]), "version": tf.fill(tf.shape(x), tf.constant(3, tf.int64))}

    path, model = root / MODEL / ".staged", Calls()
    tf.saved_model.save(model, str(path), signatures={"serving_default": model.call})
    file = path / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"pyfunc_", b"nofunc_"))
    write_golden(path, 3)
    path.rename(root / MODEL / "3")
    context, servers = watched
    with pytest.raises(WithdrawnError, match="m 3 gives wrong answers: golden request 1: .*nofunc_"):
        canary(context, SET, release(3), 5.0, Options())
    assert_as_before(context, servers)


def test_a_slow_version_is_withdrawn(watched):
    context, servers = watched
    configure(context, {}, {}, {"p99_ms": 0.001})
    with pytest.raises(
        WithdrawnError, match=r"m 2 is too slow: p99 [\d.]+ ms over 10 requests; the limit p99_ms is 0.001"
    ):
        canary(context, SET, release(2), 5.0, Options())
    assert_as_before(context, servers)


def test_the_error_rate_of_recorded_requests_decides(watched, tmp_path):
    context, servers = watched
    good = predict_request({"x": X}, MODEL)
    wrong = predict_request({"a": np.zeros((1, 3), np.float32), "b": np.zeros((1, 2), np.float32)}, MODEL, "matrix")
    elsewhere = predict_request({"x": X}, "another")
    recorded = tmp_path / "recorded"
    write_prediction_logs(recorded, [prediction_log(one) for one in (wrong, elsewhere, wrong, good)])
    # Asked in turn: one golden request, then wrong, wrong, good; so 5 of 10 fail.
    options = Options(requests=recorded, force=True)
    configure(context, {}, {}, {"error_rate": 0.4})
    with pytest.raises(WithdrawnError, match=r"m 2 fails 5 of 10 requests, 50.00%; the limit error_rate is 40.00%"):
        canary(context, SET, release(2), 5.0, options)
    assert_as_before(context, servers)
    configure(context, {}, {}, {"error_rate": 0.5})
    outcome = canary(context, SET, release(2), 5.0, options)
    assert [answer.checks["m/2"].errors for answer in outcome.answers] == [5, 5]
    with pytest.raises(UsageError, match=f"--requests {tmp_path / 'none'}"):
        canary(context, SET, release(2), 5.0, Options(requests=tmp_path / "none"))


def test_a_canary_that_turns_bad_is_withdrawn_while_it_is_watched(watched, root):
    context, servers = watched
    canary(context, SET, release(2), 5.0, Options())
    looks = []

    def turn_bad(seconds):
        looks.append(seconds)
        write_golden(root / MODEL / "2", 7)

    with pytest.raises(WithdrawnError, match="(?s)canary 2 of m was withdrawn: .*wrong answers.*stable release 1 now"):
        watch_canary(context, SET, release(2), Watch(60.0, 3.0), Options(), sleep=turn_bad)
    assert looks == [3.0]
    assert_as_before(context, servers)
    last = context.ledger.events()[-1]
    assert (last["kind"], last["event"]) == ("withdraw", "done") and "wrong answers" in last["failure"]


def test_a_guard_withdraws_a_canary(watched):
    context, servers = watched
    canary(context, SET, release(2), 5.0, Options())
    assert watch_canary(context, SET, release(2), Watch(0.0, guard="true"), Options()) == 1
    guard = Watch(60.0, guard="echo clicks are down; exit 4")
    with pytest.raises(WithdrawnError, match="ended with code 4: clicks are down"):
        watch_canary(context, SET, release(2), guard, Options())
    assert_as_before(context, servers)
    assert watch_canary(context, SET, release(2), guard, Options()) == 0, "the watch of a canary that is gone ends"


def test_what_does_not_fit_into_memory_is_not_loaded(watched):
    context, servers = watched
    configure(context, {}, {"memory_limit_bytes": 300 * 2**20}, {})
    before = context.store.read()
    with pytest.raises(
        ReleaseError, match=r"do not fit into memory together: about 30[1-9] MiB .*of 300 MiB.*--memory-limit"
    ):
        promote(context, SET, release(2), Options())
    assert context.store.read() == before
    assert_as_before(context, servers)
    promote(context, SET, release(2), Options(ignore_memory=True))


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    mount = shutil.which("mount")
    result = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], capture_output=True)
    if not result or result.returncode != 0:
        pytest.skip("cannot mount a small file system")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def test_a_disk_that_is_full_at_any_step_fails_no_request(adder_path, small_disk):
    root = small_disk / "serving"
    for version in (1, 2):
        publish(adder_path, root, version)
    filler = small_disk / "filler"

    def fill():
        with pytest.raises(OSError), filler.open("wb", buffering=0) as file:
            while True:
                assert file.write(b"x" * 4096)

    with fleet(root) as (context, servers):
        promote(context, SET, release(1), Options())
        steps = []
        probe = Context.for_root(root, on_step=steps.append)
        promote(probe, SET, release(2), Options())
        promote(context, SET, release(1), Options())
        with Traffic([server.target for server in servers]) as traffic:
            for step in [None, *(one for one in steps if " " not in one)]:

                def fill_at(name, step=step):
                    if name == step:
                        fill()

                if step is None:
                    fill()
                with pytest.raises(ReleaseError, match="No space left on device.*free space on that file system"):
                    promote(Context.for_root(root, on_step=fill_at), SET, release(2), Options())
                filler.unlink()
                assert reconcile(context).behind == []
                now = context.store.read().sets[SET].stable
                assert now == (release(1) if step in (None, "started", "claimed") else release(2)), step
                for server in servers:
                    assert serves(server)[1]["stable"] == now.by_model()[MODEL], step
                if now == release(2):
                    promote(context, SET, release(1), Options())
        assert traffic.failures == []
    assert {"started", "claimed", "committed", "settling", "recorded"} <= set(steps)


def test_models_of_a_set_move_together_or_not_at_all(adder_path, tmp_path):
    from crossrec.serving.releases.release import parse_release
    from tests.unit.serving.releases.serving_fleet import LIMITS, Server, bare_config

    root = tmp_path / "serving"
    for version in (1, 2):
        publish(adder_path, root, version, "retrieval")
        publish(adder_path, root, version, "ranking")
    publish(adder_path, root, 3, "retrieval")
    other_golden(publish(adder_path, root, 3, "ranking"))
    server = Server(root)
    server.start(bare_config(root, [1], "ranking"))
    try:
        context = Context.for_root(root)
        models = ["retrieval", "ranking"]
        configure(context, {"shop": models}, {"replicas": (server.target,)}, LIMITS)
        promote(context, "shop", parse_release("1", models), Options())
        promote(context, "shop", parse_release("ranking=2,retrieval=1", models), Options())
        with pytest.raises(WithdrawnError, match="ranking 3 gives wrong answers"):
            promote(context, "shop", parse_release("3", models), Options())
        assert labels(server) == {"retrieval": 1, "ranking": 2}
        with pytest.raises(UsageError, match="'ranking=2' leaves out retrieval; the set moves together"):
            parse_release("ranking=2", models)
    finally:
        server.stop()


def labels(server):
    from crossrec.serving.releases.replica import Replica

    with Replica(server.target, 30.0) as replica:
        return {model: replica.labelled_version(model, "stable") for model in ("retrieval", "ranking")}


def test_a_version_that_servers_do_not_find_is_told(root, tmp_path):
    shutil.copytree(root, tmp_path / "elsewhere", ignore=shutil.ignore_patterns(".*"))
    shutil.rmtree(tmp_path / "elsewhere" / MODEL / "2")
    with fleet(root) as (context, servers):
        promote(context, SET, release(1), Options())
        configure(context, {}, {"server_root": str(tmp_path / "elsewhere")}, {"load_timeout_seconds": 2.0})
        with pytest.raises(ReleaseError, match=r"m 2 is not AVAILABLE after 2 s \(not found by the server\); see that"):
            promote(context, SET, release(2), Options())
        assert_as_before(context, servers)
        assert context.store.read().sets[SET].rejected == (), "a version that was not seen is not to blame"
        assert Path(context.store.models_config).read_text().count("versions: 1") == 1
