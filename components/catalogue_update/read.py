"""Reading and checking a catalogue in one process, as ItemsExampleGen does on Beam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.encodings import encodings
from crossrec.components.text_embedder.table import with_encoded_columns


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


def with_texts(items: pa.Table, features: FeaturesConfig, artifacts: Mapping[str, str], cache_root: str) -> pa.Table:
    """Adds what encoders make of the items' texts; most of it lies in the cache of the run.

    Args:
        items: The raw catalogue.
        features: Those of the run.
        artifacts: Directories of its ``text_encoders`` and ``text_embeddings``, where it has them.
        cache_root: Where the run keeps vectors of texts.
    """
    of_items = [encoding for encoding in encodings(features) if encoding.side == "item"]
    return with_encoded_columns(items, of_items, artifacts, cache_root) if of_items else items
