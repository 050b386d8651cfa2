"""Executors of the two ingestion components."""

from __future__ import annotations

import dataclasses
import json
import posixpath
from collections.abc import Sequence
from typing import Any

from apache_beam.io.filesystems import FileSystems
from pydantic import TypeAdapter
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from crossrec.components.errors import DataError
from crossrec.components.example_gen.config import DataConfig, ItemsTable, RawColumn, TableConfig
from crossrec.components.example_gen.files import DataFile, locate, span_range
from crossrec.components.example_gen.finish import Finish, FinishInteractions, FinishItems
from crossrec.components.example_gen.ingest import OUTCOME_FILE, PARTITION_ROWS, Ingestion, ingest, outcome
from crossrec.components.example_gen.newest import newest_second
from crossrec.components.example_gen.pin import catalogue_until, with_window
from crossrec.components.example_gen.reader import estimate_rows
from crossrec.components.example_gen.records import record_files
from crossrec.components.example_gen.report import WindowReport, write_report
from crossrec.components.example_gen.table import TablePlan, interactions_plan, items_plan
from crossrec.components.example_gen.window import DAY, day_name, moments_of
from crossrec.components.progress import progress
from crossrec.components.properties import INPUT_FINGERPRINT, TRAINED_UNTIL

COLUMNS = "columns"
CONFIG = "config"
DATA_DIR = "data_dir"
EXAMPLES = "examples"
ITEMS = "items"
SINCE, UNTIL = "since", "until"
_MOST_MISSING = 1_000

_RawColumns = TypeAdapter(tuple[RawColumn, ...])


class ItemsExampleGenExecutor(base_beam_executor.BaseBeamExecutor):
    """Reads the item catalogue into one split, ``train``."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Run the ingestion.

        Args:
            input_dict: Empty.
            output_dict: ``examples``: the Examples artifact to write.
            exec_properties: ``data_dir``, ``config`` (an `ItemsTable`), ``columns`` (a list of `RawColumn`), and
                perhaps ``until``.

        Raises:
            DataError: If the table cannot be used.
        """
        table = ItemsTable.model_validate(_decoded(exec_properties[CONFIG]))
        if exec_properties.get(UNTIL):
            table = catalogue_until(table, exec_properties[UNTIL])
        plan = items_plan(table, _columns(exec_properties))
        finish = FinishItems(plan, table.duplicates)
        job = _Job(self, exec_properties, output_dict)
        job.run(table, plan, finish)


class InteractionsExampleGenExecutor(base_beam_executor.BaseBeamExecutor):
    """Reads the interactions into the splits ``train``, ``validation`` and ``test``."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Run the ingestion.

        Args:
            input_dict: ``items``: the Examples artifact of the item catalogue.
            output_dict: ``examples``: the Examples artifact to write.
            exec_properties: ``data_dir``, ``config`` (a `DataConfig`), ``columns`` (a list of `RawColumn`), and
                perhaps ``since`` and ``until``.

        Raises:
            DataError: If the table cannot be used.
        """
        config = DataConfig.model_validate(_decoded(exec_properties[CONFIG]))
        config = with_window(config, exec_properties.get(SINCE) or None, exec_properties.get(UNTIL) or None)
        plan = interactions_plan(config.interactions, _columns(exec_properties))
        finish = FinishInteractions(
            plan, config.split, config.history, config.history_label, config.interactions.repeats == "first"
        )
        items = artifact_utils.get_single_instance(input_dict[ITEMS])
        item_files = [
            path
            for split in artifact_utils.decode_split_names(items.split_names)
            for path in record_files(artifact_utils.get_split_uri([items], split))
        ]
        job = _Job(self, exec_properties, output_dict)
        job.run(config.interactions, plan, finish, (config.items.item, item_files), config.unknown_items == "drop")


class _Job:
    """Runs one ingestion into an Examples artifact."""

    def __init__(
        self,
        executor: base_beam_executor.BaseBeamExecutor,
        exec_properties: dict[str, Any],
        output_dict: dict[str, list[Any]],
    ) -> None:
        self._executor = executor
        self._data_dir = str(exec_properties[DATA_DIR])
        ends = [str(exec_properties.get(name) or "") for name in (SINCE, UNTIL)]
        self._fingerprint = str(exec_properties.get(INPUT_FINGERPRINT) or "") + ("..".join(ends) if any(ends) else "")
        self._examples = artifact_utils.get_single_instance(output_dict[EXAMPLES])

    def run(
        self,
        table: TableConfig,
        plan: TablePlan,
        finish: Finish,
        item_files: tuple[str, Sequence[str]] | None = None,
        drop_unknown: bool = False,
    ) -> None:
        files = locate(table, self._data_dir, plan.field)
        window = self._window(table, plan.field)
        if table.window is not None and window is None:
            plan, window = self._moments(table, plan, files)
        if window is not None:
            progress(str(window))
        partitions = -(-estimate_rows(files, plan.wanted) // PARTITION_ROWS)
        uri = self._examples.uri
        job = Ingestion(plan, finish, uri, partitions, drop_unknown)
        try:
            with self._executor._make_beam_pipeline() as pipeline:
                ingest(pipeline, job, files, item_files)
        finally:
            if FileSystems.exists(job.spilled):
                FileSystems.delete([job.spilled])
        report = outcome(uri).model_copy(update={"window": window, "files": tuple(file.name for file in files)})
        write_report(report, uri)
        FileSystems.delete([posixpath.join(uri, OUTCOME_FILE)])
        self._examples.split_names = artifact_utils.encode_split_names(list(finish.splits))
        examples_utils.set_payload_format(self._examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(self._examples, "tfrecords_gzip")
        _record_window(self._examples, window, len(files))
        if report.cuts is not None:
            # What a later run must know to start from a model that was trained on these.
            self._examples.set_int_custom_property(TRAINED_UNTIL, report.cuts[0])
            self._examples.set_string_custom_property(INPUT_FINGERPRINT, self._fingerprint)

    def _window(self, table: TableConfig, field: str) -> WindowReport | None:
        """The spans of a table whose path tells them."""
        spans = span_range(table, self._data_dir, field)
        if spans is None:
            return None
        return WindowReport(first=spans.first, last=spans.last, spans=len(spans.numbers), missing=spans.missing)

    def _moments(
        self, table: TableConfig, plan: TablePlan, files: Sequence[DataFile]
    ) -> tuple[TablePlan, WindowReport | None]:
        """The plan of a table whose rows' times say whether they lie in the window."""
        if table.window is None:
            return plan, None
        newest = 0
        if table.window.until is None:
            newest = newest_second(self._executor._make_beam_pipeline, plan, files, self._examples.uri)
        moments = moments_of(table.window, newest)
        window = WindowReport(first=day_name(moments[0] // DAY), last=day_name(moments[1] // DAY - 1))
        return dataclasses.replace(plan, moments=moments), window


def _record_window(examples: Any, window: WindowReport | None, files: int) -> None:
    """Writes into the artifact which part of the data it holds, for those who look through the lineage."""
    examples.set_int_custom_property("files", files)
    if window is not None:
        examples.set_string_custom_property("first_span", window.first)
        examples.set_string_custom_property("last_span", window.last)
        examples.set_string_custom_property("missing_spans", ",".join(window.missing[:_MOST_MISSING]))


def _columns(exec_properties: dict[str, Any]) -> tuple[RawColumn, ...]:
    return _RawColumns.validate_python(_decoded(exec_properties.get(COLUMNS) or "[]"))


def _decoded(value: Any) -> Any:
    """Decode a property that is JSON text on one runner and already decoded on another."""
    if not isinstance(value, (str, bytes)):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise DataError("execution properties", f"{value!r:.80} is not JSON", "Pass the model's JSON.") from error
