"""The compiled pipeline, run task by task in processes of their own, gives what the local runner gives."""

import filecmp
import json

import numpy as np
import pytest
import tensorflow as tf
import yaml
from tfx.orchestration.kubeflow.v2 import compiler_utils

from crossrec.components.evaluation.report import Report
from crossrec.components.publisher.executor import RECORD_FILE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def metadata(runs, task, key):
    return runs.results[task].artifacts[key]["metadata"]


def versions(root):
    return sorted(path for path in (root / "serving" / "recommender").iterdir() if path.name.isdecimal())


def test_every_task_ran(runs):
    tasks = next(yaml.safe_load_all(runs.file.read_text(encoding="utf-8")))["root"]["dag"]["tasks"]
    assert set(runs.results) == set(tasks)
    assert {result.state for result in runs.results.values()} == {"succeeded"}


def test_a_release_lies_on_the_volume(runs):
    (version,) = versions(runs.root)
    assert (version / "saved_model.pb").is_file()
    released = metadata(runs, "Publisher", "published")
    assert released["pushed"] == 1 and released["pushed_version"] == version.name
    assert released["pushed_destination"] == str(version) and released["release_label"] == "first"
    written = json.loads((runs.directory("Publisher", "published") / RECORD_FILE).read_text())
    assert written == {name: value for name, value in released.items() if name != "tfx_version"}


def test_both_verdicts_were_given(runs):
    assert metadata(runs, "Evaluation", "blessing")["blessed"] == 1
    assert metadata(runs, "ServingCheck", "blessing")["blessed"] == 1


@pytest.mark.parametrize(
    ("task", "key"),
    [
        ("ItemsExampleGen", "examples"),
        ("InteractionsExampleGen", "examples"),
        ("FeatureTransform", "transformed_interactions"),
        ("RankingExamples", "ranking_examples"),
    ],
)
def test_the_same_rows_in_the_same_order(runs, task, key):
    here, there = runs.local_directory(task, key), runs.directory(task, key)
    splits = sorted(path.name for path in here.glob("Split-*"))
    assert splits
    for split in splits:
        assert rows(there / split) == rows(here / split)


def rows(directory):
    """Rows of a split in order, by name; the bytes of equal examples differ from process to process."""
    files = sorted(str(path) for path in directory.iterdir())
    records = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    parsed = map(tf.train.Example.FromString, records)
    return [{name: str(value) for name, value in example.features.feature.items()} for example in parsed]


def test_the_same_crosses_and_items(runs):
    for task, key in (("CrossSelector", "cross_set"), ("FeatureTransform", "item_table")):
        here, there = runs.local_directory(task, key), runs.directory(task, key)
        names = sorted(str(path.relative_to(here)) for path in here.rglob("*") if path.is_file())
        _, different, missing = filecmp.cmpfiles(here, there, names, shallow=False)
        assert names and not different and not missing


def test_the_same_retrieval_model(runs):
    here, there = (
        np.load(directory("CandidateIndexer", "candidate_index") / "embeddings.npy")
        for directory in (runs.local_directory, runs.directory)
    )
    np.testing.assert_array_equal(there, here)


def test_the_same_figures(runs):
    """To the last bit: rows come in one order, and sums are made of the same batches."""
    here, there = (
        json.loads((directory("Evaluation", "report") / Report.FILE).read_text(encoding="utf-8"))
        for directory in (runs.local_directory, runs.directory)
    )
    assert there["counts"] == here["counts"]
    assert there["metrics"] == here["metrics"] and len(here["metrics"]) > 20


def test_a_release_of_the_same_files(runs):
    ((here,), (there,)) = versions(runs.local), versions(runs.root)
    names, others = (
        sorted(path.relative_to(version) for path in version.rglob("*") if path.is_file()) for version in (here, there)
    )
    assert names == others


def test_nothing_is_left_but_artifacts_and_the_release(runs):
    assert {path.name for path in runs.root.iterdir()} == {"cache", "checkpoints", "serving"}
    assert not list((runs.root / "checkpoints").iterdir())
    assert not list(runs.cluster.work.iterdir())


def test_types_that_travel_are_importable(runs):
    for result in runs.results.values():
        for artifact in result.artifacts.values():
            title = yaml.safe_load(artifact["type"]["instanceSchema"])["title"]
            assert title in compiler_utils.TITLE_TO_CLASS_PATH or title.startswith("crossrec.")


def test_no_address_of_the_store_is_a_path(runs):
    for result in runs.results.values():
        assert all(artifact["uri"].startswith("minio://") for artifact in result.artifacts.values())
