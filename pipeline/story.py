"""A run told to the person who started it: what each node does, what came out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TextIO

from crossrec.components.evaluation.report import Report
from crossrec.components.example_gen.report import IngestReport, read_report
from crossrec.components.features.schema import FeatureSchema
from crossrec.pipeline.local_runner import NodeResult

_DOES = {
    "ItemsExampleGen": "reads and checks the items",
    "InteractionsExampleGen": "reads and checks the interactions, adds recent items, splits by time",
    "ItemsStatisticsGen": "describes the items in figures",
    "InteractionsStatisticsGen": "describes the interactions in figures",
    "ItemsSchemaGen": "infers or imports the items' schema",
    "InteractionsSchemaGen": "infers or imports the interactions' schema",
    "ItemsExampleValidator": "holds the items against their schema",
    "InteractionsExampleValidator": "holds the interactions against their schema",
    "FeatureTransform": "turns raw values into features, measures the crosses",
    "RetrievalTrainer": "trains the two towers",
    "CandidateIndexer": "embeds the catalogue",
    "RankingExamples": "adds the candidates that retrieval would have shown",
    "RankingTrainer": "trains the ranking model on features and crosses",
    "ServingBundle": "joins everything into one SavedModel",
    "Evaluation": "measures retrieval, ranking and the bundle on the test split",
    "Publisher": "publishes the bundle if it is blessed",
}


class Narrator:
    """Prints one line per node."""

    def __init__(self, stream: TextIO, nodes: int):
        """Prints to a stream; ``nodes`` is how many there will be."""
        self._stream, self._nodes, self._number = stream, nodes, 0

    def start(self, node: str) -> None:
        """Says what the node does."""
        self._number += 1
        self._say(f"[{self._number:>2}/{self._nodes}] {node}: {_DOES.get(node, 'runs')}")

    def end(self, result: NodeResult) -> None:
        """Says how long it took."""
        self._say(f"      {'unchanged, taken from the last run' if result.cached else f'{result.seconds:.1f} s'}")

    def _say(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


def tell(results: Mapping[str, NodeResult]) -> str:
    """What was read, which crosses were used, how good the result is, where the release lies."""
    data = read_report(results["InteractionsExampleGen"].outputs["examples"].uri)
    items = read_report(results["ItemsExampleGen"].outputs["examples"].uri)
    schema = FeatureSchema.read(results["FeatureTransform"].outputs["transform_graphs"].uri)
    report = Report.read(results["Evaluation"].outputs["report"].uri)
    return "\n".join(
        [*_data(data, items), "", *_crosses(schema), "", *_metrics(report), "", *_release(results, report)]
    )


def _data(data: IngestReport, items: IngestReport) -> list[str]:
    lines = [
        f"Data      {data.rows_read:,} interactions read, {data.rows_kept:,} kept; "
        f"{data.users or 0:,} users, {items.items or items.rows_kept:,} items"
    ]
    lines += [f"          dropped {count:,}: {reason}" for reason, count in data.dropped.items() if count]
    for name, split in data.splits.items():
        span = f"{_day(split.first)} to {_day(split.last)}" if split.first is not None else ""
        lines.append(f"          {name:<11}{split.rows:>10,} rows  {span}")
    return lines


def _day(seconds: int | None) -> str:
    return datetime.fromtimestamp(seconds or 0, timezone.utc).strftime("%Y-%m-%d")


def _crosses(schema: FeatureSchema) -> list[str]:
    if not schema.crosses:
        return ["Crosses   none"]
    width = max(len(cross.name) for cross in schema.crosses)
    lines = [f"Crosses   {'':<{width}}  {'buckets':>9}  {'combinations':>12}  {'share an id':>11}"]
    for cross in schema.crosses:
        share = f"{100 * cross.collision_rate:.1f} %"
        lines.append(f"          {cross.name:<{width}}  {cross.buckets:>9,}  {cross.distinct:>12,}  {share:>11}")
    return lines


def _metrics(report: Report) -> list[str]:
    count = f"{report.counts['queries']:,} queries of the test split"
    lines = [f"Quality   on {count:<34}{'bundle':>9}{'retrieval':>11}{'popularity':>12}"]
    names = [name.partition("/")[2] for name in report.metrics if name.startswith("popularity/")]
    for name in names:
        cells = [report.metrics.get(f"{source}/{name}") for source in ("end_to_end", "retrieval", "popularity")]
        shown = [f"{value:.4f}" if value is not None else "" for value in cells]
        lines.append(f"          {name:<37}{shown[0]:>9}{shown[1]:>11}{shown[2]:>12}")
    lines += [
        f"          {name:<37}{value:>9.4f}"
        for name, value in report.metrics.items()
        if name.startswith("ranking/") or name == _depth(report)
    ]
    return lines


def _depth(report: Report) -> str:
    """The recall of all candidates that retrieval hands to ranking."""
    cuts = [int(name.partition("@")[2]) for name in report.metrics if name.startswith("retrieval/recall@")]
    return f"retrieval/recall@{max(cuts)}"


def _release(results: Mapping[str, NodeResult], report: Report) -> list[str]:
    published = results["Publisher"].outputs["published"].properties
    if published.get("pushed") == 1:
        return [f"Release   version {published['pushed_version']} in {published['pushed_destination']}"]
    lines = ["Release   none: the bundle is not blessed"]
    return lines + [
        f"          {v.metric} is {v.value:.4f}, must be {v.bound}" for v in report.verdicts if not v.passed
    ]
