"""What came out of a run, told to the person who started it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

from tfx.dsl.io import fileio

from crossrec.components.candidate_indexer.report import IndexReport
from crossrec.components.cross_selector.report import FILE as SELECTION
from crossrec.components.cross_selector.report import PICTURE, CrossReport, SelectionReport
from crossrec.components.evaluation.report import Report
from crossrec.components.example_gen.report import IngestReport, read_report
from crossrec.components.features.crosses import BM25Cross, HashedCross
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.publisher.executor import ALREADY_PUBLISHED
from crossrec.components.serving_check.report import Report as CheckReport
from crossrec.components.text.report import EncoderReport
from crossrec.components.text_embedder.report import EmbeddingReport
from crossrec.pipeline.local_runner import NodeResult

# The report has more; these two say whether the right items are there, and whether they are high up.
_SHOWN = ("recall@", "ndcg@")


def tell(results: Mapping[str, NodeResult]) -> str:
    """What was read, which crosses were used, how good it is, what a server showed, where the release lies."""
    data = read_report(results["InteractionsExampleGen"].outputs["examples"].uri)
    items = read_report(results["ItemsExampleGen"].outputs["examples"].uri)
    crosses = results["CrossSelector"].outputs["cross_set"].uri
    evaluated = results["Evaluation"].outputs["report"]
    report = Report.read(evaluated.uri)
    return "\n".join(
        [
            *_data(data, items),
            "",
            *_texts(results),
            *_crosses(FeatureSchema.read(crosses), crosses),
            "",
            *told_index(results),
            "",
            *_metrics(report, evaluated.uri),
            "",
            *told_check(results),
            "",
            *_release(results, report),
        ]
    )


def told_index(results: Mapping[str, NodeResult]) -> list[str]:
    """How the catalogue is searched, and what such a search finds."""
    return _index(IndexReport.read(results["CandidateIndexer"].outputs["candidate_index"].uri))


def told_check(results: Mapping[str, NodeResult]) -> list[str]:
    """What a server showed."""
    checked = results["ServingCheck"].outputs["blessing"].uri
    return _check(CheckReport.read(checked), checked)


def _data(data: IngestReport, items: IngestReport) -> list[str]:
    lines = [
        f"Data      {data.rows_read:,} interactions read, {data.rows_kept:,} kept; "
        f"{data.users or 0:,} users, {items.items or items.rows_kept:,} items"
    ]
    if data.window is not None:
        lines.append(f"          window {data.window}")
    lines += [f"          dropped {count:,}: {reason}" for reason, count in data.dropped.items() if count]
    for name, split in data.splits.items():
        span = f"{_day(split.first)} to {_day(split.last)}" if split.first is not None else ""
        lines.append(f"          {name:<11}{split.rows:>10,} rows  {span}".rstrip())
    return lines


def _day(seconds: int | None) -> str:
    return datetime.fromtimestamp(seconds or 0, timezone.utc).strftime("%Y-%m-%d")


def _texts(results: Mapping[str, NodeResult]) -> list[str]:
    if "TextEmbedder" not in results:
        return []
    report = EmbeddingReport.read(results["TextEmbedder"].outputs["text_embeddings"].uri)
    encoders = results["TextEncoder"].outputs["text_encoders"].uri
    lines = []
    for found in report.encoders:
        encoder = EncoderReport.read(f"{encoders}/{found.encoder}")
        took = f" in {found.seconds:.1f} s" if found.computed else ""
        damaged = f"; {found.damaged_files:,} damaged files made again" if found.damaged_files else ""
        lines.append(
            f"{encoder.kind} encoder, {encoder.dimension} numbers, {encoder.weight_bytes / 1e6:.1f} MB: "
            f"{found.texts:,} different texts, {found.computed:,} embedded{took}, "
            f"{found.from_cache:,} from the cache{damaged}"
        )
    return [*(f"{'Texts' if not place else '':<10}{line}" for place, line in enumerate(lines)), ""]


def _crosses(schema: FeatureSchema, directory: str) -> list[str]:
    if not schema.crosses:
        return ["Crosses   none"]
    selection = SelectionReport.read(directory) if fileio.exists(f"{directory}/{SELECTION}") else None
    measured = {cross.name: cross for cross in selection.crosses} if selection else {}
    width = max(len(cross.name) for cross in schema.crosses)
    searched = f"{'named by':>9}  {'gain':>13}  " if selection else ""
    lines = [f"Crosses   {'':<{width}}  {searched}{'combinations':>12}  {'share an id':>11}"]
    for cross in schema.crosses:
        found = measured.get(cross.name)
        told = f"{_source(found):>9}  {_gain(found):>13}  " if selection else ""
        distinct = f"{cross.distinct:,}" if cross.distinct else ""
        share = f"{100 * cross.collision_rate:.1f} %" if isinstance(cross.config, (BM25Cross, HashedCross)) else ""
        lines.append(f"          {cross.name:<{width}}  {told}{distinct:>12}  {share:>11}".rstrip())
    if selection:
        lines.append(
            "          gain: log loss saved on later rows, in millinats a row, with its 95 % confidence interval"
        )
        lines.append(f"          {selection.looked_at:,} crosses looked at; picture and tables: {directory}/{PICTURE}")
    return lines


def _index(index: IndexReport) -> list[str]:
    if index.type == "exact":
        return [f"Index     exact search of {index.items:,} items"]
    return [
        f"Index     {index.items:,} items in {index.partitions:,} partitions; a search looks at {index.probes:,}",
        f"          on average and finds {100 * index.recall:.1f} % of the {index.depth} best items, "
        f"on {index.queries:,} validation queries (wanted: {100 * index.recall_target:g} %)",
        f"          {index.seconds:.0f} s to build and measure; {index.bytes / 1e6:,.0f} MB",
    ]


def _source(cross: CrossReport | None) -> str:
    return "the data" if cross and not cross.explicit else "the spec"


def _gain(cross: CrossReport | None) -> str:
    if cross is None:
        return ""
    return f"{1e3 * cross.gain.mean:.2f} ± {5e2 * (cross.gain.high - cross.gain.low):.2f}"


def _metrics(report: Report, uri: str) -> list[str]:
    count = f"{report.counts['queries']:,} queries of the test split"
    lines = [f"Quality   {'on ' + count:<37}{'served':>9}{'retrieval':>11}{'popularity':>12}"]
    names = [name.partition("/")[2] for name in report.metrics if name.startswith("popularity/")]
    for name in names:
        if name.startswith(_SHOWN):
            cells = [report.metrics.get(f"{source}/{name}") for source in ("end_to_end", "retrieval", "popularity")]
            shown = [f"{value:.4f}" if value is not None else "" for value in cells]
            lines.append(f"          {name:<37}{shown[0]:>9}{shown[1]:>11}{shown[2]:>12}")
    lines.append("          served: retrieval, then ranking; popularity: the same most wanted items for everybody")
    deepest = max(int(name.partition("@")[2]) for name in report.metrics if name.startswith("retrieval/recall@"))
    found = report.metrics[f"retrieval/recall@{deepest}"]
    lines.append(f"          {100 * found:.1f} % of what was wanted is among the {deepest} candidates of retrieval")
    tasks = dict.fromkeys(name.split("/")[1] for name in report.metrics if name.startswith("ranking/"))
    for task in tasks:
        order = [name for name in report.metrics if name.startswith(f"ranking/{task}/ndcg@")]
        if order:
            told = ", ".join(f"NDCG@{name.partition('@')[2]} {report.metrics[name]:.4f}" for name in order)
            lines.append(f"          ranking by {task}: {told} of the lists with grades")
            continue
        auc, loss, ratio = (report.metrics[f"ranking/{task}/{name}"] for name in ("auc", "log_loss", "calibration"))
        lines.append(
            f"          ranking by {task}: AUC {auc:.4f}, log loss {loss:.4f}, predicted : observed {ratio:.2f}"
        )
    return [*lines, f"          all figures: {uri}/{Report.FILE}"]


def _check(report: CheckReport, uri: str) -> list[str]:
    lines = []
    if report.load_seconds is not None:
        lines.append(f"{report.server} loaded the bundle in {report.load_seconds:.1f} s")
    right = sum(not answer.problems for answer in report.golden)
    if report.golden:
        worst = report.worst_deviation
        told = "" if worst is None else f"; scores differ by {worst:.1e} at most" if worst else "; scores are the same"
        lines.append(f"{right} of {len(report.golden)} golden answers are right{told}")
    latency = report.latency
    if latency is not None and latency.p50_ms is not None and latency.p99_ms is not None:
        lines.append(
            f"p50 {latency.p50_ms:.1f} ms, p99 {latency.p99_ms:.1f} ms over {latency.requests:,} requests, "
            f"{report.config.concurrency} at a time"
        )
    lines += [f"not blessed: {failure}" for failure in report.failures]
    lines.append(f"all of it: {uri}/{report.FILE}")
    return [f"{'Server' if not place else '':<10}{line}" for place, line in enumerate(lines)]


def _release(results: Mapping[str, NodeResult], report: Report) -> list[str]:
    published = results["Publisher"].outputs["published"].properties
    if published.get("pushed") == 1:
        known = " (unchanged)" if published.get(ALREADY_PUBLISHED) else ""
        lines = [f"Release   version {published['pushed_version']} in {published['pushed_destination']}{known}"]
    else:
        lines = ["Release   none: the bundle is not blessed"]
    return lines + [
        f"          {v.metric} is {v.value:.4f}, must be {v.bound}: {'met' if v.passed else 'missed'}"
        for v in report.verdicts
    ]
