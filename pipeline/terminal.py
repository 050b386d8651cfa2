"""The terminal belongs to the project's own words; the libraries' logs go to a file."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO


class Terminal(NamedTuple):
    """Streams to the terminal.

    Attributes:
        out: Standard output.
        error: Standard error.
    """

    out: TextIO
    error: TextIO


@contextmanager
def quiet_libraries(log_file: str, verbose: bool = False) -> Iterator[Terminal]:
    """Sends everything that libraries print, from Python or from C++, to a file.

    Args:
        log_file: The file; its folder is made.
        verbose: Leaves the libraries on the terminal instead.

    Yields:
        Streams to the terminal.
    """
    if verbose:
        yield Terminal(sys.stdout, sys.stderr)
        return
    Path(log_file).parent.mkdir(parents=True, exist_ok=True)
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    out, error = (os.fdopen(os.dup(descriptor), "w", encoding="utf-8") for descriptor in saved)
    root = logging.getLogger()
    level = root.level
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        root.setLevel(logging.INFO)
        yield Terminal(out, error)
    finally:
        root.setLevel(level)
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (*saved, log):
            os.close(descriptor)
        out.close()
        error.close()
