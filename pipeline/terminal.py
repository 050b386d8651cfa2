"""The terminal belongs to the project's own words; the libraries' logs go to a file."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from crossrec.components.progress import LOGGER


class _Lines(logging.Handler):
    """Writes progress as indented lines."""

    def __init__(self, stream: TextIO):
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line."""
        self._stream.write(f"      {record.getMessage()}\n")
        self._stream.flush()


@contextmanager
def quiet_libraries(log_file: str, verbose: bool = False) -> Iterator[TextIO]:
    """Sends everything that libraries print, from Python or from C++, to a file.

    Args:
        log_file: The file; its folder is made.
        verbose: Leaves the libraries on the terminal instead.

    Yields:
        A stream to the terminal.
    """
    if verbose:
        with _progress_on(sys.stdout):
            yield sys.stdout
        return
    Path(log_file).parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved_out, saved_error = os.dup(1), os.dup(2)
    terminal = os.fdopen(os.dup(saved_out), "w", encoding="utf-8")
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        logging.getLogger().setLevel(logging.INFO)
        with _progress_on(terminal):
            yield terminal
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved_out, 1)
        os.dup2(saved_error, 2)
        for descriptor in (saved_out, saved_error, log):
            os.close(descriptor)
        terminal.close()


@contextmanager
def _progress_on(stream: TextIO) -> Iterator[None]:
    handler = _Lines(stream)
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
