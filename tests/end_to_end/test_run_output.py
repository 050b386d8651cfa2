"""What a run shows and what it leaves."""

import re
from pathlib import Path

import pytest

from crossrec.components.cross_selector.report import SelectionReport
from crossrec.components.evaluation.report import Report
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.serving_check.report import Report as CheckReport
from crossrec.pipeline.spec.load import parse_spec
from crossrec.serving.contract.names import SIGNATURES
from tests.end_to_end.lineage import Lineage
from tests.end_to_end.marketplace import lines_of, read_interactions, spec_content

NODES = [
    "ItemsExampleGen",
    "InteractionsExampleGen",
    "ItemsStatisticsGen",
    "InteractionsStatisticsGen",
    "ItemsSchemaGen",
    "InteractionsSchemaGen",
    "ItemsExampleValidator",
    "InteractionsExampleValidator",
    "TextEncoder",
    "TextEmbedder",
    "FeatureTransform",
    "CrossSelector",
    "RetrievalTrainer",
    "CandidateIndexer",
    "RankingExamples",
    "RankingTrainer",
    "ServingBundle",
    "Evaluation",
    "ServingCheck",
    "Publisher",
]


@pytest.fixture(scope="module")
def lineage(marketplace_run):
    return Lineage.read(marketplace_run.root)


def test_every_node_says_what_it_does_and_how_long_it_took(marketplace_run):
    told = re.findall(
        r"^\[ ?(\d+)/(\d+)\] (\w+): \S.*(?:(?:\n {6}.*)*\n {4})?  (\d+\.\d) s$", marketplace_run.stdout, re.M
    )
    assert [(int(number), int(count), node) for number, count, node, _ in told] == [
        (place, len(NODES), node) for place, node in enumerate(NODES, 1)
    ]


def test_trainings_show_each_epoch(marketplace_run):
    told = lines_of(marketplace_run.stdout, "epoch")
    of_models = [line for line in told if re.search(r"epoch \d/\d: loss \d+\.\d+, validation .* \d", line)]
    of_encoder = [line for line in told if re.search(r"epoch \d of \d: loss \d+\.\d+, ", line)]
    assert len(of_models) == 3 and of_encoder and len(told) == len(of_models) + len(of_encoder)


def test_the_texts_are_told_of(marketplace_run):
    (line,) = lines_of(marketplace_run.stdout, "Texts")
    told = re.fullmatch(
        r"Texts     small encoder, 128 numbers, \d+\.\d MB: ([\d,]+) different texts, ([\d,]+) embedded in \d+\.\d s, "
        r"0 from the cache",
        line,
    )
    assert told and told[1] == told[2] and int(told[1].replace(",", "")) > 500


def test_the_libraries_are_silent_and_their_log_is_kept(marketplace_run):
    assert marketplace_run.stderr == ""
    noise = re.compile(
        r"WARNING|INFO|ERROR|Traceback|tensorflow(?! serving)|absl|apache_beam|keras|cuda|deprecat", re.I
    )
    assert [line for line in marketplace_run.stdout.splitlines() if noise.search(line)] == []
    (log,) = re.findall(r"Logs of the libraries: (\S+)$", marketplace_run.stdout, re.M)
    assert "INFO" in Path(log).read_text(encoding="utf-8")


def test_the_story_says_what_was_read(marketplace_run):
    frame = read_interactions(marketplace_run.data)
    (line,) = lines_of(marketplace_run.stdout, "Data ")
    assert f"{len(frame):,} interactions read, {len(frame):,} kept" in line
    assert f"{frame.user_id.nunique():,} users" in line
    rows = re.findall(r"^ +(train|validation|test) +([\d,]+) rows  (\S+) to (\S+)$", marketplace_run.stdout, re.M)
    assert [name for name, *_ in rows] == ["train", "validation", "test"]
    assert sum(int(count.replace(",", "")) for _, count, *_ in rows) == len(frame)
    days = [day for _, _, *span in rows for day in span]
    assert days == sorted(days)


def test_the_story_names_the_crosses_of_the_spec_and_those_that_were_found(marketplace_run):
    directory = marketplace_run.uris["CrossSelector"]["cross_set"]
    schema, selection = FeatureSchema.read(directory), SelectionReport.read(directory)
    found = [cross for cross in selection.crosses if not cross.explicit]
    assert found and {cross.name for cross in found} < {cross.name for cross in schema.crosses}
    for cross in schema.crosses:
        (line,) = lines_of(marketplace_run.stdout, f"{cross.name} ")
        assert ("the data" in line) == (cross.name in {one.name for one in found})
        # A similarity is a number, and has no combinations to count.
        assert f"{cross.distinct:,}" in line if cross.distinct else line.endswith("the spec")
    for cross in found:
        (line,) = lines_of(marketplace_run.stdout, f"{cross.name} ")
        assert f"{1e3 * cross.gain.mean:.2f} ± " in line
    explicit = {cross.name for cross in parse_spec(spec_content()).crosses.explicit}
    assert explicit == {cross.name for cross in schema.crosses} - {cross.name for cross in found}


def test_the_selection_leaves_a_picture_and_tables(marketplace_run):
    directory = Path(marketplace_run.uris["CrossSelector"]["cross_set"])
    selection = SelectionReport.read(str(directory))
    assert (directory / "selection.png").read_bytes().startswith(b"\x89PNG\r\n")
    rows = (directory / "selection.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + len(selection.crosses) + len(selection.refused)
    assert len((directory / "pairs.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(selection.pairs)


def test_the_story_gives_the_report_s_figures(marketplace_run):
    report = Report.read(marketplace_run.uris["Evaluation"]["report"])
    (header,) = lines_of(marketplace_run.stdout, "Quality")
    assert f"{report.counts['queries']:,} queries" in header
    assert header.split()[-3:] == ["served", "retrieval", "popularity"]
    for name in ("recall@10", "ndcg@10", "recall@20", "ndcg@20"):
        (line,) = lines_of(marketplace_run.stdout, f"{name} ")
        shown = [report.metrics[f"{source}/{name}"] for source in ("end_to_end", "retrieval", "popularity")]
        assert line.split()[1:] == [f"{value:.4f}" for value in shown]
    (line,) = lines_of(marketplace_run.stdout, "ranking by click")
    assert f"AUC {report.metrics['ranking/click/auc']:.4f}" in line
    assert f"log loss {report.metrics['ranking/click/log_loss']:.4f}" in line
    (line,) = lines_of(marketplace_run.stdout, "all figures")
    assert line.split()[-1].startswith(marketplace_run.uris["Evaluation"]["report"])


def test_the_story_tells_what_a_server_made_of_the_bundle(marketplace_run):
    directory = marketplace_run.uris["ServingCheck"]["blessing"]
    report = CheckReport.read(directory)
    (line,) = lines_of(marketplace_run.stdout, "Server ")
    assert line == f"Server    {report.server} loaded the bundle in {report.load_seconds:.1f} s"
    signatures = [answer.signature for answer in report.golden]
    assert set(signatures) == {"serving_default", *SIGNATURES} and not any(one.problems for one in report.golden)
    assert lines_of(marketplace_run.stdout, f"{len(signatures)} of {len(signatures)} golden answers are right")
    latency = report.latency
    assert (latency.requests, latency.errors) == (report.config.requests, 0)
    assert lines_of(marketplace_run.stdout, f"p50 {latency.p50_ms:.1f} ms, p99 {latency.p99_ms:.1f} ms over 200 ")
    assert sorted(path.name for path in Path(directory).iterdir()) == [
        "INFRA_BLESSED",
        "server.log",
        "serving_check.json",
    ]


def test_the_story_ends_with_the_release_and_the_time(marketplace_run):
    assert lines_of(marketplace_run.stdout, "Release") == [f"Release   version 1 in {marketplace_run.version}"]
    assert re.fullmatch(r"Done in \d+ s\. .*", marketplace_run.stdout.splitlines()[-1])


def test_every_node_has_one_complete_execution_with_outputs(lineage):
    first = [lineage.of(node)[0] for node in NODES]
    assert [node.state for node in first] == ["COMPLETE"] * len(NODES)
    assert all(node.outputs for node in first)
    assert [node.id for node in first] == sorted(node.id for node in first)


def test_the_release_descends_from_everything_that_went_into_it(lineage):
    published = lineage.of("Publisher")[0].outputs["published"]
    ancestors = lineage.ancestors(published.id)
    for node, key in (
        ("InteractionsExampleGen", "examples"),
        ("ItemsExampleGen", "examples"),
        ("FeatureTransform", "transform_graphs"),
        ("FeatureTransform", "item_table"),
        ("CrossSelector", "cross_set"),
        ("RetrievalTrainer", "retrieval_model"),
        ("CandidateIndexer", "candidate_index"),
        ("RankingTrainer", "ranking_model"),
        ("ServingBundle", "bundle"),
        ("Evaluation", "blessing"),
        ("ServingCheck", "blessing"),
    ):
        assert lineage.of(node)[0].outputs[key].id in ancestors, (node, key)


def test_blessing_and_release_carry_the_properties_of_tfx(lineage, marketplace_run):
    blessing = lineage.of("Evaluation")[0].outputs["blessing"]
    assert blessing.type == "ModelBlessing"
    assert blessing.custom_properties["blessed"].int_value == 1
    infra = lineage.of("ServingCheck")[0].outputs["blessing"]
    assert infra.type == "InfraBlessing"
    assert infra.custom_properties["blessed"].int_value == 1
    published = lineage.of("Publisher")[0].outputs["published"]
    assert published.type == "PushedModel"
    assert published.custom_properties["pushed"].int_value == 1
    assert published.custom_properties["pushed_version"].string_value == "1"
    assert published.custom_properties["pushed_destination"].string_value == str(marketplace_run.version)


def test_checkpoints_of_finished_trainings_are_gone(marketplace_run):
    checkpoints = marketplace_run.root / "checkpoints"
    assert not checkpoints.exists() or not list(checkpoints.iterdir())
