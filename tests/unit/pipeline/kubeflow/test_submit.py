"""`crossrec submit` against a server that speaks KFP's REST calls, over the SDK of the lock file."""

import pytest
import yaml

from crossrec.pipeline.cli.main import main
from tests.unit.pipeline.kubeflow.compiled_marketplace import marketplace
from tests.unit.pipeline.kubeflow.kfp_server import KfpServer, serving

RUNNING = ("RUNNING", {"ItemsExampleGen-driver": "SUCCEEDED", "ItemsExampleGen": "RUNNING"})
DONE = {"ItemsExampleGen": "SUCCEEDED", "Publisher": "SUCCEEDED"}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("submit") / "pipeline.yaml"
    path.write_text(yaml.safe_dump_all(marketplace()), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch, tmp_path):
    """The SDK keeps a context in the home directory, and reads variables."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "KF_PIPELINES_DEFAULT_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


def submit(capfd, *arguments):
    """Exit code, output and errors."""
    capfd.readouterr()
    code = main(["submit", *map(str, arguments)])
    out, error = capfd.readouterr()
    return code, out, error


def test_a_run_is_what_was_compiled(file, capfd):
    server = KfpServer()
    with serving(server) as address:
        code, out, _ = submit(
            capfd,
            file,
            "--endpoint",
            address,
            "--param",
            "seed=7",
            "--param",
            "release_label=autumn=1",
            "--name",
            "one",
        )
    ((key, run),) = server.runs.items()
    spec, platform = marketplace()
    assert code == 0 and f"{address}/#/runs/details/{key}" in out
    assert run["display_name"] == "one" and server.experiments[run["experiment_id"]] == "marketplace"
    assert run["runtime_config"]["parameters"] == {"seed": "7", "release_label": "autumn=1"}
    assert run["pipeline_spec"]["platform_spec"] == platform
    sent = run["pipeline_spec"]["pipeline_spec"]
    assert sent["deploymentSpec"] == spec["deploymentSpec"]
    assert sent["root"]["dag"]["tasks"]["Publisher"] == spec["root"]["dag"]["tasks"]["Publisher"]
    assert not [request for request in server.requests if request.startswith("GET /runs/")]


def test_an_experiment_is_made_once(file, capfd):
    server = KfpServer()
    with serving(server) as address:
        for _ in range(2):
            assert submit(capfd, file, "--endpoint", address, "--experiment", "mine")[0] == 0
    assert list(server.experiments.values()) == ["mine"] and len(server.runs) == 2


def test_waiting_tells_of_each_change_once(file, capfd):
    server = KfpServer([("PENDING", {}), RUNNING, RUNNING, ("SUCCEEDED", DONE)])
    with serving(server) as address:
        code, out, _ = submit(capfd, file, "--endpoint", address, "--wait", "--poll", 0.01)
    told = [line.split()[1:] for line in out.splitlines() if line.startswith("  ")]
    assert told == [["ItemsExampleGen", "running"], ["ItemsExampleGen", "succeeded"], ["Publisher", "succeeded"]]
    assert code == 0 and "a model was published" in out


@pytest.mark.parametrize("skipped", [{"Publisher": "SKIPPED"}, {}])
def test_a_release_that_was_not_blessed(file, capfd, skipped):
    server = KfpServer([("SUCCEEDED", {"Evaluation": "SUCCEEDED", **skipped})])
    with serving(server) as address:
        code, out, _ = submit(capfd, file, "--endpoint", address, "--wait", "--poll", 0.01)
    assert code == 3 and "Nothing was published" in out


def test_a_server_without_tasks(file, capfd):
    with serving(KfpServer()) as address:
        code, out, _ = submit(capfd, file, "--endpoint", address, "--wait", "--poll", 0.01)
    assert code == 0 and "tells nothing of its tasks" in out


@pytest.mark.parametrize("state", ["FAILED", "CANCELED"])
def test_a_run_that_did_not_succeed(file, capfd, state):
    server = KfpServer([RUNNING, (state, {"ItemsExampleGen": "FAILED", "Evaluation": "SUCCEEDED"})])
    with serving(server) as address:
        code, _, error = submit(capfd, file, "--endpoint", address, "--wait", "--poll", 0.01)
    assert code == 1 and f"ended as {state.lower()}: ItemsExampleGen. Their logs" in error


def test_patience_ends_and_the_run_does_not(file, capfd):
    with serving(KfpServer([RUNNING])) as address:
        code, _, error = submit(capfd, file, "--endpoint", address, "--wait", "--poll", 0.01, "--timeout", 0.05)
    assert code == 1 and "has not ended within 0.05 s; it goes on. Its state is RUNNING" in error


def test_caching_is_switched_off_and_never_on(file, capfd):
    server = KfpServer()
    with serving(server) as address:
        assert submit(capfd, file, "--endpoint", address)[0] == 0
        assert submit(capfd, file, "--endpoint", address, "--no-cache")[0] == 0

    def cached(run):
        tasks = run["pipeline_spec"]["pipeline_spec"]["root"]["dag"]["tasks"]
        return {name for name, task in tasks.items() if task.get("cachingOptions", {}).get("enableCache")}

    with_cache, without = (cached(run) for run in server.runs.values())
    assert "RankingTrainer" in with_cache and "Publisher" not in with_cache
    assert without == set()


def test_a_token(file, capfd, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    with serving(KfpServer(token="secret")) as address:
        assert submit(capfd, file, "--endpoint", address, "--token-file", token)[0] == 0
        code, _, error = submit(capfd, file, "--endpoint", address)
        assert code == 1 and "refused it (401)" in error and "Give a token with --token-file" in error
        code, _, error = submit(capfd, file, "--endpoint", address, "--token-file", tmp_path / "none")
        assert code == 1 and "Name a file that can be read" in error


def test_nobody_answers(file, capfd):
    with serving(KfpServer()) as address:
        pass
    code, _, error = submit(capfd, file, "--endpoint", address)
    assert code == 1 and f"--endpoint {address}: no answer" in error and "port-forward" in error


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            ["label=x"],
            "--param label: the pipeline has no such parameter. Known: data, data_version,",
        ),
        (["seed=seven"], "--param seed: 'seven' is no whole number"),
        (["root=gs://bucket/x"], "--param root: 'gs://bucket/x' is on no volume. Give a path below: /mnt/crossrec"),
        (["data=/home/me"], "--param data: '/home/me' is on no volume nor on gs://"),
        (["seed"], "--param seed: is not NAME=VALUE"),
    ],
)
def test_parameters_that_cannot_work(file, capfd, parameters, message):
    options = [part for parameter in parameters for part in ("--param", parameter)]
    code, _, error = submit(capfd, file, "--endpoint", "http://127.0.0.1:1", *options)
    assert code == 2 and message in error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: x\n", "is no compiled pipeline. Make one with: crossrec compile"),
        ("a: [", "is not YAML"),
        ("", "is no compiled pipeline"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_something_else(tmp_path, capfd, content, message):
    path = tmp_path / "other.yaml"
    if content is not None:
        path.write_text(content)
    code, _, error = submit(capfd, path, "--endpoint", "http://127.0.0.1:1")
    assert code == 2 and message in error


def test_a_file_with_a_dangling_reference(tmp_path, capfd):
    spec, platform = marketplace()
    spec["root"]["dag"]["tasks"]["Publisher"]["componentRef"]["name"] = "Pusher"
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump_all([spec, platform]))
    code, _, error = submit(capfd, path, "--endpoint", "http://127.0.0.1:1")
    assert code == 2 and "1 problem\n  Publisher: component 'Pusher' is not defined" in error


@pytest.mark.parametrize(("endpoint", "message"), [("localhost:8888", "is no URL"), ("", "missing")])
def test_an_endpoint_that_is_none(file, capfd, endpoint, message):
    code, _, error = submit(capfd, file, "--endpoint", endpoint)
    assert code == 2 and message in error
