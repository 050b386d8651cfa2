"""The different texts of the examples, by encoder and hash, through files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.utils.windowed_value import WindowedValue
from tfx.dsl.io import fileio

from crossrec.components.features.encodings import Encoding, columns_by_encoder
from crossrec.components.features.examples import parsed_batches
from crossrec.components.features.spill import Place, Spill, at_end_of_bundle, read_records
from crossrec.components.text_embedder.cache import prefix_of

ITEM, TRAIN = 1, 2
"""Where a text stands: in the catalogue, in the training split of the interactions. Other texts have 0."""

_BATCH = 2048
_MOST_IN_MEMORY = 500_000


class Examples:
    """Files of one split of the items or of the interactions.

    Attributes:
        side: ``item`` or ``query``.
        mark: ``ITEM``, ``TRAIN`` or 0.
        files: Paths of gzipped TFRecord files of tf.Examples.
    """

    def __init__(self, side: Any, mark: int, files: Sequence[str]):
        """Keeps them."""
        self.side, self.mark, self.files = side, mark, tuple(files)


def distinct_texts(
    pipeline: beam.Pipeline, examples: Iterable[Examples], encodings: Sequence[Encoding], place: tuple[int, str]
) -> beam.PCollection:
    """Adds the steps to a Beam pipeline.

    Args:
        pipeline: The pipeline.
        examples: All of them.
        encodings: What is made of which column.
        place: By how many hexadecimal digits of the hash the texts are divided, and the directory for the files,
            reachable by all workers; the caller removes it after the run.

    Returns:
        Key of the encoder and the digits, and what ``read_texts`` takes.
    """
    files = [(path, part.side, part.mark) for part in examples for path in part.files]
    columns = {side: columns_by_encoder(encodings, side) for side in ("query", "item")}
    return (
        pipeline
        | "Files" >> beam.Create(files)
        | "SpreadFiles" >> beam.Reshuffle()
        | "ReadTexts" >> beam.ParDo(_ReadTexts(columns, *place))
        | "GroupTexts" >> beam.GroupByKey()
    )


def read_texts(places: Iterable[Place]) -> dict[bytes, int]:
    """The different texts that lie in some places, and where each stands."""
    found: dict[bytes, int] = {}
    for record in read_records(places):
        found[record[1:]] = found.get(record[1:], 0) | record[0]
    return found


class _ReadTexts(beam.DoFn):
    """Texts of files of examples to a file of texts; gives key, digits and place of each group."""

    def __init__(self, columns: Mapping[str, Mapping[str, tuple[str, ...]]], digits: int, directory: str):
        self._columns, self._digits, self._directory = columns, digits, directory

    def setup(self) -> None:
        """Makes the directory."""
        fileio.makedirs(self._directory)

    def start_bundle(self) -> None:
        """Begins a new file: that of a bundle that failed is never read."""
        self._spill: Spill[tuple[str, str]] = Spill(self._directory)

    def process(self, element: tuple[str, str, int]) -> None:
        """Reads a file."""
        path, side, mark = element
        columns = self._columns[side]
        names = sorted({name for group in columns.values() for name in group})
        found: dict[str, set[bytes]] = {key: set() for key in columns}
        for batch in read_strings(path, names) if names else ():
            values = {name: set(batch[name].flat_values.numpy()) for name in names}
            for key, group in columns.items():
                found[key].update(*(values[name] for name in group))
            if sum(map(len, found.values())) > _MOST_IN_MEMORY:
                self._write(found, mark)
                found = {key: set() for key in columns}
        self._write(found, mark)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Closes the file."""
        yield from map(at_end_of_bundle, self._spill.close())

    def _write(self, found: Mapping[str, set[bytes]], mark: int) -> None:
        for key, texts in found.items():
            by_prefix: dict[str, list[bytes]] = {}
            for text in texts:
                prefix = prefix_of(hashlib.sha256(text).digest(), self._digits)
                by_prefix.setdefault(prefix, []).append(text)
            for prefix, members in by_prefix.items():
                self._spill.write_records((key, prefix), [bytes([mark]) + text for text in members])


def read_strings(path: str, names: Sequence[str]) -> Iterator[dict[str, tf.RaggedTensor]]:
    """Some columns of texts of a file, batch after batch."""
    spec = {name: tf.io.RaggedFeature(tf.string) for name in names}
    yield from parsed_batches(path, spec, _BATCH)
