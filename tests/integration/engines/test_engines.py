"""The data nodes give the same on every engine that runs here, wherever its workers are."""

import os

import pytest

from tests.integration.engines import nodes
from tests.integration.engines.engines import PROCESSES, as_another_user, job_service, portable, workers

# Each engine starts workers for a dozen pipelines.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
ENGINES = ("processes", "loopback", "external")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    # access(2), which TensorFlow asks, knows no capabilities: another user must see the way to the files. Where several
    # processes run the tests, each has a folder of its own in what pytest has made.
    base = tmp_path_factory.getbasetemp()
    made = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    for above in (folder, base, made, made.parent):
        above.chmod(above.stat().st_mode | 0o055)
    return folder


@pytest.fixture(scope="module")
def reference(folder):
    """All nodes in one process."""
    spec = nodes.make_marketplace(folder)
    return spec, nodes.run_nodes(spec, folder, "direct", ())


@pytest.fixture(scope="module", params=ENGINES)
def on_engine(request, folder, reference):
    """The same nodes on an engine; retrieval, which is no Beam, is the reference's."""
    spec, given = reference
    place = folder / f"{request.param}-engine"
    place.mkdir()
    if request.param == "processes":
        return nodes.run_nodes(spec, folder, request.param, PROCESSES, given)
    with job_service(place) as service:
        if request.param == "loopback":
            return nodes.run_nodes(spec, folder, request.param, portable(service, "LOOPBACK"), given)
        with workers(place / "elsewhere") as pool:
            return nodes.run_nodes(spec, folder, request.param, portable(service, "EXTERNAL", pool), given)


@pytest.mark.parametrize(
    ("node", "key"),
    [
        ("ItemsExampleGen", "examples"),
        ("InteractionsExampleGen", "examples"),
        ("TextEmbedder", "embedded_items"),
        ("TextEmbedder", "embedded_interactions"),
        ("FeatureTransform", "transformed_interactions"),
        ("RankingExamples", "ranking_examples"),
    ],
)
def test_rows_are_the_same_and_in_the_same_order(reference, on_engine, node, key):
    expected = nodes.rows_of(reference[1], node, key)
    assert len(expected["train"]) > 100
    assert nodes.rows_of(on_engine, node, key) == expected


def test_vocabularies_and_counts_are_the_same(reference, on_engine):
    expected = nodes.vocabularies(reference[1])
    assert len(expected) > 4
    assert nodes.vocabularies(on_engine) == expected
    assert nodes.item_counts(on_engine) == nodes.item_counts(reference[1])


def test_statistics_are_the_same(reference, on_engine):
    expected = nodes.statistics(reference[1])
    assert set(expected) == {"Split-train", "Split-validation", "Split-test"}
    assert nodes.statistics(on_engine) == expected


def test_encoders_of_texts_learn_the_same_to_the_last_bit(reference, on_engine):
    expected = nodes.encoders(reference[1])
    (report,) = expected.values()
    assert report.training["pairs/pairs"] > 100
    assert nodes.encoders(on_engine) == expected, "the digest is that of the weights"
    assert len(nodes.centres(reference[1])) == 1
    assert nodes.centres(on_engine) == nodes.centres(reference[1])


def test_crosses_are_the_same(reference, on_engine):
    expected, found = nodes.crosses(reference[1]), nodes.crosses(on_engine)
    assert len(expected.tables.arrays) == 2, "those that are fitted"
    assert [cross.name for cross in found.crosses] == [cross.name for cross in expected.crosses]
    assert nodes.same_tables(found, expected)


def test_the_planted_cross_is_found(reference, on_engine):
    for done in (reference[1], on_engine):
        assert ("user_segment", "category") in nodes.chosen(done)
    assert nodes.chosen(on_engine) == nodes.chosen(reference[1])


def test_external_workers_write_as_themselves(folder, on_engine):
    if not on_engine.uri("ItemsExampleGen", "examples").startswith(str(folder / "external")) or not as_another_user():
        pytest.skip("only where the workers are of another user")
    written = list((folder / "external" / "InteractionsExampleGen" / "examples").rglob("*.gz"))
    assert written and all(file.stat().st_uid != os.geteuid() for file in written)
