"""What can be refused within seconds, before a pipeline starts."""

from __future__ import annotations

from collections.abc import Sequence

from crossrec.components.errors import DataError
from crossrec.components.example_gen.config import DataConfig, InteractionsTable, RawColumn
from crossrec.components.example_gen.files import DataFile, locate
from crossrec.components.example_gen.prepare import prepare
from crossrec.components.example_gen.problems import join_errors
from crossrec.components.example_gen.reader import check_columns, read_part, split_file
from crossrec.components.example_gen.summary import Summary
from crossrec.components.example_gen.table import TablePlan, interactions_plan, items_plan
from crossrec.components.example_gen.verdict import judge_rows

_FIRST_ROWS = 1_000
_FILES = 20


def check_inputs(
    config: DataConfig,
    data_dir: str,
    item_columns: Sequence[RawColumn] = (),
    interaction_columns: Sequence[RawColumn] = (),
) -> None:
    """Check that files and columns exist and that the first rows can be read as the spec says.

    Of a table of many files only some are opened; the components check everything.

    Args:
        config: The ``data`` part of the spec.
        data_dir: The directory that relative paths start from.
        item_columns: Columns of the items that features need.
        interaction_columns: Columns of the interactions that features need.

    Raises:
        DataError: If a table cannot be used; it tells of both tables if both are bad.
    """
    errors = []
    for table, columns in ((config.interactions, interaction_columns), (config.items, item_columns)):
        try:
            if isinstance(table, InteractionsTable):
                plan = interactions_plan(table, columns)
            else:
                plan = items_plan(table, columns)
            _check_table(locate(table, data_dir, plan.field), plan)
        except DataError as error:
            errors.append(error)
    if errors:
        raise join_errors(errors)


def _check_table(files: list[DataFile], plan: TablePlan) -> None:
    for file in {*files[: _FILES - 1], files[-1]}:
        check_columns(file, plan.wanted)
    for file in files[:_FILES]:
        summary = _first_rows(file, plan)
        if summary.rows_read:
            errors = [problem.error() for problem in summary.problems.values()]
            if errors:
                raise join_errors(errors)
            return
    if len(files) <= _FILES:
        raise judge_rows(Summary(), plan)[0]


def _first_rows(file: DataFile, plan: TablePlan) -> Summary:
    summary = Summary()
    for part in split_file(file, plan.field):
        for first_row, batch in read_part(part, plan.wanted):
            prepare(batch.slice(0, _FIRST_ROWS), first_row, file, plan, summary)
            return summary
    return summary
