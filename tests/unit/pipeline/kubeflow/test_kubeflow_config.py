"""The ``kubeflow`` section: what cannot work is refused with field, value and mend."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from crossrec.pipeline.kubeflow import config
from crossrec.pipeline.kubeflow.config import KubeflowConfig
from crossrec.pipeline.spec.errors import SpecError, describe

SECTION = {
    "image": "registry.example.com/crossrec:0.1.0",
    "root": "/mnt/crossrec",
    "data": "gs://bucket/data",
    "volumes": [{"claim": "crossrec", "path": "/mnt/crossrec"}],
}


def refused(**changes):
    with pytest.raises(ValidationError) as caught:
        KubeflowConfig.model_validate({**SECTION, **changes})
    return str(SpecError("spec", describe(caught.value, KubeflowConfig)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root": "gs://bucket/root"}, "root 'gs://bucket/root' is no directory on a volume"),
        ({"root": "/mnt/crossrec2"}, "root '/mnt/crossrec2' is no directory on a volume.*Mounted: /mnt/crossrec$"),
        ({"volumes": []}, r"Mounted: \(none\)"),
        ({"data": "s3://bucket/data"}, "data 's3://bucket/data' is neither on gs:// nor on a volume"),
        ({"data": "data"}, "data 'data' is neither on gs:// nor on a volume"),
        ({"pipeline_root": "hdfs://x"}, "pipeline_root 'hdfs://x' cannot hold artifacts. Give gs://, s3://, minio://"),
        ({"pipeline_root": "/tmp/x"}, "pipeline_root '/tmp/x' cannot hold artifacts"),
        ({"resources": {"RankingTrainer": {"gpu": {}}}}, "resources.RankingTrainer asks for a GPU.*Name the image"),
        ({"resources": {"RankingTrainer": {"cpu": 0}}}, "resources.RankingTrainer.cpu: 0"),
        ({"resources": {"RankingTrainer": {"gpu": {"count": 0}}}}, "resources.RankingTrainer.gpu.count: 0"),
        ({"resources": {"RankingTrainer": {"gpus": 1}}}, "gpus: unknown key. Did you mean 'gpu'"),
        (
            {"beam": {"RankingTrainer": ["--runner=DirectRunner"]}},
            "beam.RankingTrainer: no node of that name",
        ),
        ({"beam": {"all": ["runner=DirectRunner"]}}, "beam.all.0"),
        ({"image": "has space"}, "image: 'has space'"),
        ({"retries": -1}, "retries: -1"),
        ({"volumes": [{"claim": "Upper", "path": "/mnt/crossrec"}]}, "volumes.0.claim: 'Upper'"),
        ({"volumes": [{"claim": "x", "path": "/mnt/crossrec/"}]}, "volumes.0.path"),
    ],
)
def test_refusals(changes, message):
    assert re.search(message, refused(**changes), re.M), refused(**changes)


@pytest.mark.parametrize("pipeline_root", ["", "gs://b/x", "s3://b/x", "minio://b/x", "/mnt/crossrec/artifacts"])
def test_roots_of_artifacts(pipeline_root):
    assert KubeflowConfig.model_validate({**SECTION, "pipeline_root": pipeline_root}).pipeline_root == pipeline_root


def test_what_all_says_holds_where_nothing_else_is_said():
    section = KubeflowConfig.model_validate(
        {
            **SECTION,
            "gpu_image": "cuda:1",
            "resources": {"all": {"cpu": 2}, "RankingTrainer": {"memory_gb": 8, "gpu": {"count": 2}}},
        }
    )
    assert section.resources_of("Evaluation").cpu == 2
    assert section.resources_of("RankingTrainer").cpu is None
    assert (section.image_of("Evaluation"), section.image_of("RankingTrainer")) == (SECTION["image"], "cuda:1")


def test_text_and_back():
    section = KubeflowConfig.model_validate(SECTION)
    assert KubeflowConfig.model_validate_json(section.model_dump_json()) == section


def test_the_documented_sections_are_valid():
    document = Path(config.__file__).with_name("README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", document, re.M | re.S)
    blocks += re.findall(r"<<END\n(.*?)^END", document, re.M | re.S)
    assert len(blocks) == 3
    for block in blocks:
        KubeflowConfig.model_validate(yaml.safe_load(block)["kubeflow"])
