"""ServingCheck and servers in processes of their own: crossrec's, and programs in the place of TensorFlow Serving."""

import os
import re
import shutil
import stat
import tempfile

import pytest
from tfx import types
from tfx.components.util import model_utils
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.types.standard_artifacts import InfraBlessing

from crossrec.components.artifacts import ServingBundle
from crossrec.components.blessing import blessing_message
from crossrec.components.errors import DataError
from crossrec.components.serving_check.component import ServingCheck
from crossrec.components.serving_check.config import ServingCheckConfig
from crossrec.components.serving_check.executor import LOG_FILE, Executor, trial_copy
from crossrec.components.serving_check.report import Report, count_refusals
from crossrec.pipeline.local_runner import run_pipeline
from crossrec.serving.launch.errors import LaunchError
from tests.unit.components.object_store import use_as_store
from tests.unit.components.serving_check.small_bundle import write_warmup
from tests.unit.serving.make_models import corrupt
from tests.unit.serving.serve_here import until


def artifact(kind, uri):
    made = kind()
    made.uri = str(uri)
    return made


def execute(bundle, out, **config):
    blessing = artifact(InfraBlessing, out)
    config = ServingCheckConfig(**{"requests": 4, **config})
    Executor().Do(
        {"bundle": [artifact(ServingBundle, bundle)]},
        {"blessing": [blessing]},
        {"config": config.model_dump_json(), "model_name": "shop", "code_digest": "", "refusals": 0},
    )
    return blessing, Report.read(str(out))


def processes_with(text):
    """Ids of the processes whose command line holds a text."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read()
        except OSError:
            continue
        if text.encode() in command and int(pid) != os.getpid():
            found.append(int(pid))
    return found


def files_of(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_weights_are_linked_and_all_else_is_copied(bundle, tmp_path):
    trial_copy(str(bundle), tmp_path / "linked")
    assert files_of(tmp_path / "linked") == files_of(bundle)
    linked = {file.parts[0] for file in files_of(bundle) if (tmp_path / "linked" / file).samefile(bundle / file)}
    assert linked == {"variables"}


def test_weights_are_copied_where_there_are_no_links(bundle, tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    trial_copy(str(bundle), tmp_path / "copied")
    for file in files_of(bundle):
        assert (tmp_path / "copied" / file).read_bytes() == (bundle / file).read_bytes()
        assert not (tmp_path / "copied" / file).samefile(bundle / file)


def test_a_check_leaves_the_bundle_as_it_is(bundle, tmp_path):
    before = {file: ((bundle / file).stat()[:4], (bundle / file).read_bytes()) for file in files_of(bundle)}
    assert execute(bundle, tmp_path / "out", server="local")[1].blessed
    assert before == {file: ((bundle / file).stat()[:4], (bundle / file).read_bytes()) for file in files_of(bundle)}


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Makes a `tensorflow_model_server` of a few lines of shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(script, interpreter="/bin/sh"):
        path = folder / "tensorflow_model_server"
        path.write_text(f"#!{interpreter}\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return make


@pytest.fixture(scope="module")
def run(small_bundle, tmp_path_factory):
    """The component in a pipeline: what became of it, run twice with the same bundle."""
    root = tmp_path_factory.mktemp("pipeline")
    bundle = shutil.copytree(small_bundle, root / "bundle")

    def once():
        imported = Importer(source_uri=str(bundle), artifact_type=ServingBundle).with_id("bundle")
        check = ServingCheck(
            imported.outputs["result"],
            ServingCheckConfig(server="local", requests=20, p99_ms=60_000),
            model_name="shop",
            code_digest="1",
            refusals=count_refusals(str(root / "artifacts")),
        )
        pipeline = Pipeline(
            pipeline_name="checking",
            pipeline_root=str(root / "artifacts"),
            components=[imported, check],
            enable_cache=True,
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite")),
        )
        return run_pipeline(pipeline, lambda node: None, lambda result: None)["ServingCheck"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(root))
        return once(), once(), bundle


def test_a_good_bundle_is_blessed_by_the_local_server(run):
    first, again, bundle = run
    blessing = first.outputs["blessing"]
    report = Report.read(blessing.uri)
    assert not first.cached and report.blessed
    assert report.server.startswith("the local server") and report.load_seconds < first.seconds
    assert (report.latency.requests, report.latency.errors) == (20, 0)
    assert blessing.properties["blessed"] == 1
    assert blessing.properties["server"] == report.server
    assert blessing.properties["checked_version"] == 1 and blessing.properties["failures"] == 0
    assert blessing.properties["p50_ms"] == report.latency.p50_ms <= blessing.properties["p99_ms"]
    assert sorted(os.listdir(blessing.uri)) == ["INFRA_BLESSED", "server.log", "serving_check.json"]
    assert (bundle / "assets" / "model_version.txt").read_text() == "version\t0\n", "the bundle is as it was"


def test_an_unchanged_bundle_is_not_checked_again(run):
    first, again, _ = run
    assert again.cached and again.outputs["blessing"].uri == first.outputs["blessing"].uri


def test_nothing_of_it_goes_on(run):
    until(lambda: processes_with(str(run[2].parent)) == [])
    assert list(run[2].parent.glob("crossrec-serving-check-*")) == []


def test_a_corrupt_graph_is_refused_by_the_local_server(bundle, tmp_path):
    corrupt(bundle)
    blessing, report = execute(bundle, tmp_path / "out", server="local")
    assert not model_utils.is_infra_validated(blessing)
    (failure,) = report.failures
    assert failure.startswith("the server ended with code 255 while it loaded the model: ")
    assert "DATA_LOSS: Can't parse" in failure and "as binary proto" in failure
    assert blessing_message(blessing) == failure
    assert "INFRA_NOT_BLESSED" in os.listdir(tmp_path / "out")
    assert "DATA_LOSS" in (tmp_path / "out" / LOG_FILE).read_text()
    assert report.server == "the local server" == blessing.get_string_custom_property("server")
    assert report.load_seconds is None and report.golden == () and report.latency is None


def test_a_warm_up_that_hangs_is_given_up_and_its_server_killed(run, bundle, tmp_path):
    write_warmup(bundle, loops=10**15)
    seconds = 2 * Report.read(run[0].outputs["blessing"].uri).load_seconds
    blessing, report = execute(bundle, tmp_path / "out", server="local", load_timeout_seconds=seconds)
    assert report.failures[0].startswith(f"the server has not loaded the model after {seconds:g} s")
    assert not model_utils.is_infra_validated(blessing)
    until(lambda: processes_with(str(tmp_path)) == [])


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Failed to start server. Error: no memory' >&2; exit 255", "ended with code 255 while .* no memory"),
        ("echo loading; kill -SEGV $$", "was ended by SIGSEGV while it loaded the model: loading"),
        ("kill -KILL $$", "was ended by SIGKILL while it loaded the model: it wrote nothing"),
    ],
)
def test_a_server_that_dies_while_it_loads_is_the_bundle_s_fault(bundle, program, tmp_path, script, reason):
    program(script)
    _, report = execute(bundle, tmp_path / "out", server="binary")
    (failure,) = report.failures
    assert re.match(f"the server {reason}", failure), failure


def test_a_server_that_hangs_goes_with_all_that_it_has_started(bundle, program, tmp_path):
    own = 10**7 + os.getpid()
    program(f"trap '' TERM; sleep {own} & sleep {own}")
    _, report = execute(bundle, tmp_path / "out", load_timeout_seconds=0.5)
    assert report.failures[0].startswith("the server has not loaded the model after 0.5 s")
    until(lambda: processes_with(str(own)) == [])
    assert list(tmp_path.glob("crossrec-serving-check-*")) == []


@pytest.mark.parametrize(
    ("script", "interpreter", "reason"),
    [
        ("echo 'unknown flag: --port' >&2; exit 1", "/bin/sh", "ended with code 1 at its start: unknown flag: --port"),
        ("", "/nowhere", "cannot be started: No such file or directory"),
    ],
)
def test_a_server_that_cannot_start_is_an_error_and_no_verdict(bundle, program, tmp_path, script, interpreter, reason):
    program(script, interpreter)
    with pytest.raises(LaunchError, match=reason):
        execute(bundle, tmp_path / "out", server="binary")
    assert not (tmp_path / "out").exists()


def test_a_server_that_is_not_there_is_an_error_of_the_spec(bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError) as caught:
        execute(bundle, tmp_path / "out", server="binary")
    assert str(caught.value) == (
        "serving.check.server: 'binary': tensorflow_model_server is not on PATH. Install it, or choose another."
    )


@pytest.mark.parametrize("lost", ["saved_model.pb", "assets/model_version.txt", "assets.extra/golden_requests"])
def test_an_incomplete_bundle_is_refused_without_a_server(bundle, program, tmp_path, lost):
    program("touch started")
    (bundle / lost).unlink()
    _, report = execute(bundle, tmp_path / "out")
    (failure,) = report.failures
    assert lost.rpartition("/")[2] in failure and str(tmp_path) not in failure
    assert report.server == ""


def test_the_root_may_be_an_object_store(bundle, program, tmp_path, monkeypatch):
    use_as_store(tmp_path, monkeypatch)
    program('cd "${3#--model_base_path=}/1"; cat assets/model_version.txt; echo $(ls); exit 255')
    _, report = execute("store://bundle", "store://out", server="binary")
    assert "assets assets.extra fingerprint.pb saved_model.pb variables" in report.failures[0]
    assert sorted(os.listdir(tmp_path / "out")) == ["INFRA_NOT_BLESSED", LOG_FILE, "serving_check.json"]
    log = (tmp_path / "out" / LOG_FILE).read_text()
    assert log.startswith("version\t1\n"), "the server saw the bundle as version 1"
    assert (bundle / "assets" / "model_version.txt").read_text() == "version\t0\n"


def test_each_refusal_makes_the_next_check_a_new_one(tmp_path):
    assert count_refusals(str(tmp_path)) == 0
    for number, verdict in enumerate(["INFRA_NOT_BLESSED", "INFRA_BLESSED", "INFRA_NOT_BLESSED"]):
        folder = tmp_path / "ServingCheck" / "blessing" / str(number)
        folder.mkdir(parents=True)
        (folder / verdict).write_text("")
    assert count_refusals(str(tmp_path)) == 2


def test_the_component_declares_a_blessing_of_tfx():
    component = ServingCheck(
        types.Channel(type=ServingBundle), ServingCheckConfig(p99_ms=50), model_name="shop", code_digest="d", refusals=3
    )
    assert component.outputs["blessing"].type is InfraBlessing
    assert ServingCheckConfig.model_validate_json(component.exec_properties["config"]).p99_ms == 50
    assert component.exec_properties["refusals"] == 3
