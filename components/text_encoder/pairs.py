"""Which texts belong together, by what people did: counted on Beam, in the training split only."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
from tensorflow_transform.tf_metadata import schema_utils
from tfx_bsl.tfxio.tf_example_record import TFExampleRecord

from crossrec.components.text.vocabulary import MOST_WORDS, PADDING_PIECE, UNKNOWN_PIECE
from crossrec.components.text.wordpiece import WordPieceTokenizer
from crossrec.components.text_encoder.config import EncoderUse, TextEncodersConfig
from crossrec.components.text_encoder.texts import TextFiles

CATALOGUE_SAMPLE = 20_000
"""Texts of the catalogue that principal components are found in."""

Pair = tuple[str, str]


def add_texts(
    pipeline: beam.Pipeline, config: TextEncodersConfig, interactions: str, items: str, files: Mapping[str, TextFiles]
) -> None:
    """Adds the steps to a Beam pipeline.

    Pairs are a query's text and the text of a positively labelled item; where an encoder has no column of the
    query, the texts of two items that one user took one after the other.

    Args:
        pipeline: The pipeline.
        config: What is wanted.
        interactions: File pattern of the training split.
        items: File pattern of the items.
        files: Where to write, by the encoder's key.
    """
    item_columns = sorted({column for use in config.uses for column in use.item})
    query_columns = sorted({column for use in config.uses for column in use.query})
    texts_of_items = _read(pipeline, items, [config.item_column, *item_columns]) | "ItemTexts" >> beam.FlatMap(
        _item_texts, config.item_column, item_columns
    )
    roles = [config.interaction_item_column, config.user_column]
    rows = _read(
        pipeline, interactions, [*query_columns, *roles], {config.timestamp_column: tf.int64, config.label: tf.float32}
    )
    by_query = (
        rows
        | "CountQueries" >> beam.FlatMap(_texts_and_items, config, query_columns)
        | "SumQueries" >> beam.CombinePerKey(sum)
        | "ByItem" >> beam.Map(_by_item)
    )
    for use in config.uses:
        key = use.encoder.key
        catalogue = (
            texts_of_items
            | f"Columns[{key}]" >> beam.FlatMap(_of_columns, use.item)
            | f"Distinct[{key}]" >> beam.Distinct()
        )
        queries = rows | f"Queries[{key}]" >> beam.FlatMap(_texts_of, use.query)
        texts = (catalogue, queries) | f"Both[{key}]" >> beam.Flatten() | f"DistinctOfBoth[{key}]" >> beam.Distinct()
        _write(catalogue, CATALOGUE_SAMPLE, _by_hash, files[key].catalogue, f"Catalogue[{key}]")
        most = use.training.pairs
        _write(texts, most, _by_hash, files[key].texts, f"Texts[{key}]")
        if not use.encoder.path:
            words = (
                texts
                | f"BatchTexts[{key}]" >> beam.BatchElements(min_batch_size=256, max_batch_size=4096)
                | f"Words[{key}]" >> beam.ParDo(_Words())
                | f"CountWords[{key}]" >> beam.CombinePerKey(sum)
            )
            _write(words, MOST_WORDS, _most_first, files[key].words, f"Vocabulary[{key}]")
        if use.learns_pairs:
            pairs = (
                _query_pairs(use, by_query, texts_of_items)
                if use.query
                else _item_pairs(use, rows | f"Taken[{key}]" >> beam.FlatMap(_taken, config), texts_of_items)
            ) | f"CountPairs[{key}]" >> beam.CombinePerKey(sum)
            _write(pairs, most, _most_first, files[key].pairs, f"Pairs[{key}]")


def _query_pairs(use: EncoderUse, by_query: beam.PCollection, texts_of_items: beam.PCollection) -> beam.PCollection:
    """((text of the query, text of the item), times)."""
    key = use.encoder.key
    joined = {"items": texts_of_items, "queries": by_query} | f"JoinQueries[{key}]" >> beam.CoGroupByKey()
    return joined | f"QueryPairs[{key}]" >> beam.FlatMap(_pairs_of_item, use.query, use.item)


def _item_pairs(use: EncoderUse, taken: beam.PCollection, texts_of_items: beam.PCollection) -> beam.PCollection:
    """((one item's text, another's), times)."""
    key = use.encoder.key
    joined = {"items": texts_of_items, "taken": taken} | f"JoinTaken[{key}]" >> beam.CoGroupByKey()
    return (
        joined
        | f"ByUser[{key}]" >> beam.FlatMap(_by_user, use.item)
        | f"GroupByUser[{key}]" >> beam.GroupByKey()
        | f"ItemPairs[{key}]" >> beam.FlatMap(_one_after_the_other)
    )


def _read(
    pipeline: beam.Pipeline, pattern: str, columns: Iterable[str], numbers: Mapping[str, tf.DType] | None = None
) -> beam.PCollection:
    """Record batches of text columns and columns of numbers."""
    kinds = {**dict.fromkeys(columns, tf.string), **(numbers or {})}
    schema = schema_utils.schema_from_feature_spec({name: tf.io.VarLenFeature(kind) for name, kind in kinds.items()})
    reader = TFExampleRecord(pattern, schema=schema, telemetry_descriptors=["crossrec"])
    return pipeline | f"Read[{'interactions' if numbers else 'items'}]" >> reader.BeamSource()


def _values(batch: pa.RecordBatch, name: str) -> list[Any]:
    """The first value of each row, None where there is none."""
    column = batch.column(batch.schema.get_field_index(name))
    return [values[0] if values else None for values in column.to_pylist()]


def _texts(batch: pa.RecordBatch, name: str) -> list[str]:
    """The text of each row without white space at its ends, "" where there is none."""
    return [(value or b"").decode("utf-8", "replace").strip() for value in _values(batch, name)]


def _item_texts(batch: pa.RecordBatch, item: str, columns: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    texts = [_texts(batch, column) for column in columns]
    for name, *values in zip(_texts(batch, item), *texts, strict=True):
        yield name, dict(zip(columns, values, strict=True))


def _of_columns(item: tuple[str, dict[str, str]], columns: tuple[str, ...]) -> Iterator[str]:
    return (item[1][column] for column in columns if item[1][column])


def _texts_of(batch: pa.RecordBatch, columns: tuple[str, ...]) -> set[str]:
    return {text for column in columns for text in _texts(batch, column) if text}


def _positive(batch: pa.RecordBatch, label: str) -> list[bool]:
    return [(value or 0) > 0 for value in _values(batch, label)]


def _texts_and_items(
    batch: pa.RecordBatch, config: TextEncodersConfig, columns: list[str]
) -> Iterator[tuple[tuple[str, str, str], int]]:
    """((item, column, text), times) of the positives of a batch."""
    positive, items = _positive(batch, config.label), _texts(batch, config.interaction_item_column)
    counts: Counter[tuple[str, str, str]] = Counter()
    for column in columns:
        for chosen, item, text in zip(positive, items, _texts(batch, column), strict=True):
            if chosen and text:
                counts[item, column, text] += 1
    yield from counts.items()


def _by_item(counted: tuple[tuple[str, str, str], int]) -> tuple[str, tuple[str, str, int]]:
    (item, column, text), times = counted
    return item, (column, text, times)


def _pairs_of_item(
    joined: tuple[str, Mapping[str, Iterable[Any]]], query: tuple[str, ...], item: tuple[str, ...]
) -> Iterator[tuple[Pair, int]]:
    titles = {texts[column] for texts in joined[1]["items"] for column in item if texts[column]}
    for column, text, times in joined[1]["queries"]:
        if column in query:
            for title in titles:
                yield (text, title), times


def _taken(batch: pa.RecordBatch, config: TextEncodersConfig) -> Iterator[tuple[str, tuple[str, int]]]:
    """(item, (user, second)) of the positives of a batch."""
    names = config.interaction_item_column, config.user_column
    items, users = (_texts(batch, name) for name in names)
    seconds, positive = _values(batch, config.timestamp_column), _positive(batch, config.label)
    for item, user, second, chosen in zip(items, users, seconds, positive, strict=True):
        if chosen and user:
            yield item, (user, second or 0)


def _by_user(
    joined: tuple[str, Mapping[str, Iterable[Any]]], columns: tuple[str, ...]
) -> Iterator[tuple[str, tuple[int, str, dict[str, str]]]]:
    for texts in joined[1]["items"]:
        kept = {column: texts[column] for column in columns if texts[column]}
        for user, second in joined[1]["taken"]:
            # Items of one moment, such as those of a basket, have no order; that of their ids would pair neighbours
            # of the assortment.
            place = hashlib.blake2b(f"{user}\0{second}\0{joined[0]}".encode(), digest_size=8).hexdigest()
            yield user, (second, place, kept)


def _one_after_the_other(group: tuple[str, Iterable[tuple[int, str, dict[str, str]]]]) -> Iterator[tuple[Pair, int]]:
    taken = [texts for *_, texts in sorted(group[1], key=lambda row: row[:2])]
    for one, next_one in itertools.pairwise(taken):
        for column in one.keys() & next_one.keys():
            if one[column] != next_one[column]:
                first, second = sorted((one[column], next_one[column]))
                yield (first, second), 1


class _Words(beam.DoFn):
    """Texts to (normalised word, texts of the batch that hold it)."""

    def setup(self) -> None:
        """Makes the tokenizer, which cannot be pickled."""
        self._tokenizer = WordPieceTokenizer([PADDING_PIECE, UNKNOWN_PIECE], UNKNOWN_PIECE)

    def process(self, texts: list[str]) -> Iterator[tuple[str, int]]:
        """Counts the words of a batch."""
        counts: Counter[str] = Counter()
        for text in self._tokenizer.normalize(tf.constant(texts)).numpy():
            counts.update(set(text.decode("utf-8").split(" ")) - {""})
        yield from counts.items()


def _by_hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()


def _most_first(counted: tuple[Any, int]) -> tuple[int, Any]:
    return -counted[1], counted[0]


def _each(values: list[Any]) -> list[Any]:
    return values


def _write(values: beam.PCollection, most: int, order: Any, path: str, name: str) -> None:
    """Writes the first values of an order that depends on nothing but them."""
    (
        values
        | f"First{name}" >> beam.combiners.Top.Smallest(most, key=order)
        | f"Each{name}" >> beam.FlatMap(_each)
        | f"Json{name}" >> beam.Map(json.dumps)
        | f"Write{name}" >> beam.io.WriteToText(path, shard_name_template="")
    )
