"""Rows on their way to their partition, through files.

Beam's direct runner groups in memory, so that a GroupByKey of the rows would hold them all. Grouped are places in files
instead: each worker writes what it reads into one file, and a partition's rows are read when it is its turn.
"""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Generic, NamedTuple, TypeVar

import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

_RECORD = "record"
Key = TypeVar("Key", bound=Hashable)


class Place(NamedTuple):
    """Where some rows of one partition lie.

    Attributes:
        path: The file.
        pieces: Offset and length of each Arrow stream in it, bytes.
    """

    path: str
    pieces: tuple[tuple[int, int], ...]


class Spill(Generic[Key]):
    """One file with rows of many partitions, which are told apart by numbers or other keys."""

    def __init__(self, directory: str) -> None:
        """Begin without a file: it is made with the first rows.

        Args:
            directory: Where, reachable by all workers; the caller removes it after the run.
        """
        # A name of its own for each try: what a worker that failed has written is never read.
        self._path = posixpath.join(directory, uuid.uuid4().hex)
        self._sink: BinaryIO | None = None
        self._end = 0
        self._pieces: dict[Key, list[tuple[int, int]]] = {}

    def write(self, partition: Key, rows: pa.RecordBatch) -> None:
        """Append rows of a partition."""
        if self._sink is None:
            self._sink = FileSystems.create(self._path, compression_type=CompressionTypes.UNCOMPRESSED)
        packed = _pack(rows)
        self._sink.write(packed)
        self._pieces.setdefault(partition, []).append((self._end, len(packed)))
        self._end += len(packed)

    def write_records(self, partition: Key, records: Sequence[bytes]) -> None:
        """Append records of a partition, which are rows of one column."""
        self.write(partition, pa.record_batch([pa.array(records, pa.binary())], [_RECORD]))

    def close(self) -> Iterator[tuple[Key, Place]]:
        """End the file; each partition in it, and where its rows lie."""
        if self._sink is not None:
            self._sink.close()
        for partition, pieces in self._pieces.items():
            yield partition, Place(self._path, tuple(pieces))


def read_places(places: Iterable[Place]) -> pa.Table:
    """Read the rows of a partition, in any order."""
    tables = []
    for path, pieces in places:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
            for offset, length in pieces:
                stream.seek(offset)
                tables.append(pa.ipc.open_stream(stream.read(length)).read_all())
    return pa.concat_tables(tables).combine_chunks()


def read_records(places: Iterable[Place]) -> list[bytes]:
    """Read the records of a partition, in any order."""
    found: list[bytes] = read_places(places)[_RECORD].to_pylist()
    return found


def at_end_of_bundle(value: Any) -> WindowedValue:
    """A value as Beam wants it from ``finish_bundle``."""
    return WindowedValue(value, MIN_TIMESTAMP, [GlobalWindow()])


def _pack(batch: pa.RecordBatch) -> bytes:
    # An Arrow stream, not a pickle: that would carry the whole batch for every slice of it.
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(batch)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed
