"""Reading and checking a catalogue in one process, as ItemsExampleGen does on Beam."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from crossrec.components.errors import DataError
from crossrec.components.example_gen.config import ItemsTable, RawColumn
from crossrec.components.example_gen.files import locate
from crossrec.components.example_gen.finish import FinishItems
from crossrec.components.example_gen.prepare import prepare
from crossrec.components.example_gen.problems import join_errors
from crossrec.components.example_gen.reader import read_part, split_file
from crossrec.components.example_gen.summary import Summary
from crossrec.components.example_gen.table import items_plan
from crossrec.components.example_gen.verdict import judge_rows


def read_catalogue(table: ItemsTable, data_dir: str, columns: Sequence[RawColumn]) -> pa.Table:
    """Reads the newest catalogue: the same files, filters and checks as in a run.

    Args:
        table: The ``data.items`` part of the spec.
        data_dir: The directory that relative paths start from.
        columns: Columns that features, lists and filters need.

    Returns:
        One row per item, ordered by id.

    Raises:
        DataError: The table cannot be used.
    """
    plan, summary = items_plan(table, columns), Summary()
    batches = []
    for file in locate(table, data_dir, plan.field):
        try:
            for part in split_file(file, plan.field):
                for first_row, raw in read_part(part, plan.wanted):
                    batch = prepare(raw, first_row, file, plan, summary)
                    if batch is not None and batch.num_rows:
                        summary.count(batch, plan)
                        batches.append(batch)
        except DataError as error:
            summary.errors += (error,)
    errors = judge_rows(summary, plan)
    if errors:
        raise join_errors(errors)
    tables, tally = FinishItems(plan, table.duplicates)(pa.Table.from_batches(batches).combine_chunks(), summary)
    if tally.duplicates is not None:
        raise tally.duplicates.error()
    return tables["train"]
