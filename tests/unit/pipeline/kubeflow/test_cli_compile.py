"""`crossrec compile`: what it writes, what it tells, what it refuses."""

import pytest
import yaml

from crossrec.pipeline.cli.main import main
from crossrec.pipeline.kubeflow.validator import validate
from tests.unit.pipeline.kubeflow.compiled_marketplace import SECTION, spec_content


@pytest.fixture
def spec_file(tmp_path):
    def write(section=None, **changes):
        path = tmp_path / "shop.yaml"
        path.write_text(yaml.safe_dump(spec_content(section, **changes)), encoding="utf-8")
        return path

    return write


def run(capfd, *arguments):
    capfd.readouterr()
    code = main(["compile", *map(str, arguments)])
    out, error = capfd.readouterr()
    return code, out, error


def test_file_and_overview(spec_file, tmp_path, capfd, monkeypatch):
    output, current = tmp_path / "pipeline.yaml", tmp_path / "current"
    current.mkdir()
    monkeypatch.chdir(current)
    code, out, error = run(capfd, spec_file(), "--runner", "kubeflow", "-o", output, "--image", "other/crossrec:2")
    assert (code, error) == (0, "")
    spec, platform = yaml.safe_load_all(output.read_text(encoding="utf-8"))
    validate(spec, platform)
    executors = spec["deploymentSpec"]["executors"]
    assert executors["Evaluation_executor"]["container"]["image"] == "other/crossrec:2"
    assert executors["RankingTrainer_executor"]["container"]["image"] == SECTION["gpu_image"]
    lines = [line.strip() for line in out.splitlines()]
    assert lines == [
        f"{output}: pipeline 'marketplace', {len(executors)} nodes, for Kubeflow Pipelines",
        "image         other/crossrec:2",
        f"with a GPU    RankingTrainer (2 x nvidia.com/gpu): {SECTION['gpu_image']}",
        "data          gs://bucket/shop",
        "artifacts     gs://bucket/runs",
        "root          /mnt/crossrec/shop: checkpoints/, serving/",
        "never cached  InteractionsExampleGen, ItemsExampleGen, Publisher, ServingCheck",
        "released if   Evaluation and ServingCheck bless it",
        f"Next: crossrec submit {output} --endpoint http://HOST:PORT --wait",
    ]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert not list(current.iterdir())


def test_an_unknown_node_writes_nothing(spec_file, tmp_path, capfd):
    output = tmp_path / "pipeline.yaml"
    code, out, error = run(capfd, spec_file({**SECTION, "resources": {"Trainer": {"cpu": 1}}}), "-o", output)
    assert (code, out) == (2, "") and not output.exists()
    assert "kubeflow.resources: 'Trainer' is no node of this pipeline. Known: CandidateIndexer," in error


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({**SECTION, "resources": {"all": {"memory_gb": -1}}}, "kubeflow.resources.all.memory_gb: -1"),
        ({**SECTION, "gpu_image": ""}, "kubeflow: resources.RankingTrainer asks for a GPU"),
    ],
)
def test_a_bad_section(spec_file, tmp_path, capfd, section, message):
    code, _, error = run(capfd, spec_file(section), "-o", tmp_path / "pipeline.yaml")
    assert code == 2 and message in error


def test_files_that_kfp_does_not_read(spec_file, tmp_path, capfd):
    code, _, error = run(capfd, spec_file(), "-o", tmp_path / "pipeline.json")
    assert code == 2 and "KFP reads files that end in .yaml or .yml" in error


def test_a_file_that_cannot_be_written(spec_file, tmp_path, capfd):
    code, _, error = run(capfd, spec_file(), "-o", tmp_path / "missing" / "pipeline.yaml")
    assert code == 1 and "No such file or directory. Name a file that can be written" in error
