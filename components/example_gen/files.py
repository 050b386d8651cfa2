"""Where a table's files are: on any file system that Beam can open."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import posixpath
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from crossrec.components.errors import DataError
from crossrec.components.example_gen.config import DataConfig, ItemsTable, TableConfig
from crossrec.components.example_gen.spans import SpanPattern, SpanRange, choose
from crossrec.components.example_gen.window import Window

EXTENSIONS = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
}
"""File extensions and the format that they say."""


_KINDS = {"csv": "CSV", "parquet": "Parquet", "jsonl": "JSON lines"}


class DataFile(NamedTuple):
    """One file of a table.

    Attributes:
        path: Where it lies.
        name: What messages call it: the path relative to the data directory.
        order: Its place in the table; rows of a lower place come first.
        format: ``csv``, ``parquet`` or ``jsonl``.
        size: In bytes.
    """

    path: str
    name: str
    order: int
    format: str
    size: int


def locate(table: TableConfig, data_dir: str, field: str) -> list[DataFile]:
    """List the files of a table, those in its window, in a fixed order.

    Args:
        table: The table.
        data_dir: The directory that relative paths start from.
        field: Dotted path of the table in the spec, for messages.

    Returns:
        At least one file, ordered by span and path.

    Raises:
        DataError: If there is none, one is empty, or the format is not known.
    """
    found, _ = _select(table, data_dir, field)
    files = []
    for index, metadata in enumerate(found):
        name = _relative(metadata.path, data_dir)
        if metadata.size_in_bytes == 0:
            raise DataError(f"{field}.path", f"{name} is an empty file", "Write the table again, or leave it out.")
        files.append(DataFile(metadata.path, name, index, _format(table, name, field), metadata.size_in_bytes))
    formats = {file.format: file.name for file in files}
    if len(formats) > 1:
        kinds = " and ".join(_KINDS[kind] for kind in sorted(formats))
        raise DataError(
            f"{field}.path",
            f"{table.path!r} holds {kinds} files (such as {' and '.join(formats[kind] for kind in sorted(formats))})",
            "Name one kind with a glob such as '*.parquet'.",
        )
    return files


def span_range(table: TableConfig, data_dir: str, field: str) -> SpanRange | None:
    """Which spans of a table lie in its window.

    Args:
        table: The table.
        data_dir: The directory that relative paths start from.
        field: Dotted path of the table in the spec, for messages.

    Returns:
        The spans; None where the table's path has no placeholder.

    Raises:
        DataError: If there is none.
    """
    return _select(table, data_dir, field)[1]


def fingerprint(config: DataConfig | TableConfig, data_dir: str) -> str:
    """Digest of the input files' paths, sizes and times of change: it differs when the input does.

    Files outside a table's window have no part in it.

    Args:
        config: The whole ``data`` part, or one table of it.
        data_dir: The directory that relative paths start from.

    Returns:
        A hexadecimal digest.

    Raises:
        DataError: If a table has no files.
    """
    if isinstance(config, DataConfig):
        tables: dict[str, TableConfig] = {
            "data.interactions": config.interactions,
            "data.items": config.items,
        }
    else:
        tables = {"data": config}
    digest = hashlib.sha256()
    for field, table in tables.items():
        for metadata in _select(table, data_dir, field)[0]:
            facts = (
                _relative(metadata.path, data_dir),
                metadata.size_in_bytes,
                metadata.last_updated_in_seconds,
            )
            digest.update(repr(facts).encode("utf-8"))
        if table.window is not None and table.span_pattern is None:
            # The files are the same, whatever the window; their rows are not.
            digest.update(table.window.model_dump_json().encode("utf-8"))
    return digest.hexdigest()


@contextlib.contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """Open a file for reading, decompressed where its name ends in ``.gz``.

    Args:
        path: The file.

    Yields:
        A stream of bytes.
    """
    # Not Beam's own decompression: its files say that they are closed, and Arrow believes them.
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        if path.lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=stream) as decompressed:
                yield cast(BinaryIO, decompressed)
        else:
            yield stream


def write_file(path: str, content: bytes | BinaryIO) -> None:
    """Write a file whole: it appears under its name when all of it is there.

    Args:
        path: Where to; a file of that name is replaced.
        content: What to write, as it is, also where the extension names a compression.
    """
    partial = f"{path}.partial"
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    with FileSystems.create(partial, compression_type=CompressionTypes.UNCOMPRESSED) as sink:
        while block := source.read(1 << 22):
            sink.write(block)
    FileSystems.rename([partial], [path])


def _select(table: TableConfig, data_dir: str, field: str) -> tuple[list[FileMetadata], SpanRange | None]:
    """The files of the table, and the spans that they are."""
    pattern = table.span_pattern
    if pattern is None:
        return _matches(table.path, data_dir, f"{field}.path"), None
    spans: dict[int, list[FileMetadata]] = {}
    for metadata in _of_pattern(table.path, pattern, data_dir, f"{field}.path"):
        span = pattern.span_of(_relative(metadata.path, data_dir))
        if span is not None:
            spans.setdefault(span, []).append(metadata)
    if not spans:
        raise DataError(
            f"{field}.path",
            f"no file or folder matches {table.path!r} in {data_dir}",
            f"Mend the pattern or the data directory; files in folders end in {', '.join(EXTENSIONS)}.",
        )
    chosen = choose(spans, _newest(table.window) if isinstance(table, ItemsTable) else table.window, pattern, field)
    return [metadata for span in chosen.numbers for metadata in spans[span]], chosen


def _newest(window: Window | None) -> Window:
    """A catalogue is read as its newest snapshot says, not as all that there ever were, unless the window asks."""
    if window is None:
        return Window(spans=1)
    if window.days is None and window.spans is None and window.since is None:
        return Window(spans=1, until=window.until)
    return window


def _of_pattern(path: str, pattern: SpanPattern, data_dir: str, field: str) -> list[FileMetadata]:
    """Files that match, and data files in folders that do."""
    located = _located(pattern.glob, data_dir)
    whole = _find([located], field)
    inside = [file for file in _find([f"{located.rstrip('/')}/*"], field) if _is_data(file)]
    return sorted({file.path: file for file in (*whole, *inside)}.values(), key=lambda file: file.path)


def _matches(path: str, data_dir: str, field: str) -> list[FileMetadata]:
    located = _located(path, data_dir)
    patterns = [located]
    if not any(sign in path for sign in "*?["):
        # A directory: its files. On object stores only its children exist at all.
        patterns.append(located.rstrip("/") + "/*")
    files = _find(patterns, field)
    if len(patterns) > 1 and located not in {file.path for file in files}:
        files = [file for file in files if _is_data(file)]
    if not files:
        if len(patterns) == 1:
            raise DataError(field, f"no file matches {path!r} in {data_dir}", "Mend the pattern or the data directory.")
        raise DataError(
            field,
            f"{path!r} is neither a file nor a directory with data files in {data_dir}",
            f"Mend the path or the data directory; data files end in {', '.join(EXTENSIONS)}.",
        )
    return files


def _find(patterns: list[str], field: str) -> list[FileMetadata]:
    """Files that match any of the patterns, without hidden ones, ordered by path."""
    found: dict[str, FileMetadata] = {}
    for pattern in patterns:
        try:
            found.update((file.path, file) for file in FileSystems.match([pattern])[0].metadata_list)
        except (BeamIOError, OSError, ValueError) as error:
            raise DataError(
                field, f"{patterns[0]!r} cannot be read: {error}", "Check the path and the access."
            ) from error
    for directory in _directories(found):
        del found[directory]
    return [file for _, file in sorted(found.items()) if not posixpath.basename(file.path).startswith(("_", "."))]


def _is_data(file: FileMetadata) -> bool:
    return bool(file.path.lower().endswith(tuple(EXTENSIONS)))


def _located(path: str, data_dir: str) -> str:
    return path if _is_absolute(path) else str(FileSystems.join(data_dir, path))


def _directories(found: dict[str, FileMetadata]) -> list[str]:
    local = [path for path in found if FileSystems.get_scheme(path) is None]
    return [path for path in local if FileSystems.match([path.rstrip("/") + "/"])[0].metadata_list]


def _is_absolute(path: str) -> bool:
    return path.startswith("/") or FileSystems.get_scheme(path) is not None


def _relative(path: str, data_dir: str) -> str:
    root = data_dir.rstrip("/") + "/"
    return path[len(root) :] if path.startswith(root) else path


def _format(table: TableConfig, name: str, field: str) -> str:
    if table.format is not None:
        return table.format
    for extension, kind in EXTENSIONS.items():
        if name.lower().endswith(extension):
            return kind
    raise DataError(
        f"{field}.format",
        f"missing, and the name of {name} does not say",
        f"Write format: csv, parquet or jsonl, or name the file with one of {', '.join(EXTENSIONS)}.",
    )
