"""`crossrec run` with Beam in two processes, to a release: the same, to the last bit, as in one process."""

import filecmp
import json
from pathlib import Path

import numpy as np
import pytest

from crossrec.components.cross_selector.report import FILE as SELECTION
from crossrec.components.evaluation.report import Report
from crossrec.pipeline.spec.beam import ALL
from crossrec.serving.releases.versions import list_versions
from tests.end_to_end.lineage import Lineage
from tests.end_to_end.marketplace import command, write_spec
from tests.integration.engines import nodes
from tests.integration.engines.engines import PROCESSES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
# As little as still uses every node.
SHORT = {
    **nodes.SMALL,
    "ranking.training": {"epochs": 1, "patience": 0},
    "serving.check": {"requests": 10, "warm_up_requests": 1},
}
KINDS = {"one": {}, "two": {"beam": {ALL: list(PROCESSES)}}}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Roots of a run without the section of Beam, and of one with it."""
    folder = tmp_path_factory.mktemp("whole")
    nodes.make_marketplace(folder)
    for name, section in KINDS.items():
        spec = write_spec(folder / f"{name}.yaml", {**SHORT, **section})
        done = command("run", spec, "--data", folder / "data", "--root", folder / name, seconds=3600)
        assert done.returncode == 0, done.stdout + done.stderr
    return [folder / name for name in KINDS]


@pytest.fixture(scope="module")
def artifacts(roots):
    """URI by node and key of both runs."""
    return [Lineage.read(root).first_outputs() for root in roots]


def directories(artifacts, node, key):
    return [Path(found[node][key]) for found in artifacts]


def test_every_node_ran_and_a_release_is_there(roots, artifacts):
    assert len(artifacts[0]) == 20 and artifacts[0].keys() == artifacts[1].keys()
    for root in roots:
        assert list_versions(root / "serving" / "recommender") == [1]
        assert (root / "serving" / "recommender" / "1" / "saved_model.pb").is_file()


@pytest.mark.parametrize(("node", "key"), [("CrossSelector", "cross_set"), ("FeatureTransform", "item_table")])
def test_crosses_and_items_are_the_same_files(artifacts, node, key):
    one, two = directories(artifacts, node, key)
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    _, different, missing = filecmp.cmpfiles(one, two, names, shallow=False)
    assert names and not missing
    # The search says how long it took.
    assert not set(different) - {SELECTION}
    for name in different:
        reports = [json.loads((directory / name).read_text(encoding="utf-8")) for directory in (one, two)]
        assert {**reports[0], "seconds": 0} == {**reports[1], "seconds": 0}


def test_models_are_the_same(artifacts):
    one, two = (
        np.load(directory / "embeddings.npy")
        for directory in directories(artifacts, "CandidateIndexer", "candidate_index")
    )
    np.testing.assert_array_equal(two, one)


def test_figures_are_the_same(artifacts):
    one, two = (
        json.loads((directory / Report.FILE).read_text(encoding="utf-8"))
        for directory in directories(artifacts, "Evaluation", "report")
    )
    assert two == one and len(one["metrics"]) > 20
