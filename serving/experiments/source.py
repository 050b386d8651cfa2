"""An experiment that is read from a file, again whenever the file changes."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from crossrec.serving.contract import names
from crossrec.serving.experiments.experiment import (
    Experiment,
    ExperimentError,
    parse_experiment,
    parse_release_traffic,
)

_LOG = logging.getLogger("crossrec.serving.experiments")
_CHECK_SECONDS = 5.0


class WatchedExperiment:
    """The experiment that a file defines now.

    The file is looked at no more often than every `check_seconds`, and read only when it has changed. What cannot be
    read leaves the last good definition in force and is logged once.

    Args:
        path: The file.
        parse: Makes an experiment of its text; raises `ExperimentError` where it cannot.
        check_seconds: Time between two looks.

    Raises:
        ExperimentError: The file is not there or wrong: there is no good definition yet.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        parse: Callable[[str], Experiment] = parse_experiment,
        check_seconds: float = _CHECK_SECONDS,
    ) -> None:
        self._path = Path(path)
        self._parse = parse
        self._check_seconds = check_seconds
        self._lock = threading.Lock()
        self._seen = self._fingerprint()
        self._told = ""
        self._experiment = self._read()
        self._next_look = time.monotonic() + check_seconds

    @classmethod
    def of_releases(
        cls,
        path: str | os.PathLike[str],
        model_name: str = names.DEFAULT_MODEL_NAME,
        name: str = "",
        check_seconds: float = _CHECK_SECONDS,
    ) -> WatchedExperiment:
        """Follow the shares that `crossrec release canary VERSION --percent P` writes.

        Args:
            path: ``<serving root>/.releases/traffic.json``.
            model_name: The model.
            name: Name of the experiment; ``<model name>-canary`` if empty.
            check_seconds: Time between two looks.

        Returns:
            The experiment of that model, with its labels as arms.

        Raises:
            ExperimentError: The file is not there or wrong, or the model is not in it.
        """
        return cls(path, lambda text: parse_release_traffic(text, model_name, name), check_seconds)

    def current(self) -> Experiment:
        """Return the last good definition."""
        if time.monotonic() >= self._next_look and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._experiment

    def _look(self) -> None:
        self._next_look = time.monotonic() + self._check_seconds
        try:
            seen = self._fingerprint()
            if seen == self._seen:
                return
            self._experiment = self._read()
            self._seen = seen
            if self._told:
                _LOG.info("%s is in order again", self._path)
            self._told = ""
        except ExperimentError as error:
            if str(error) != self._told:
                _LOG.error("%s. The last good definition stays in force: %s", error, self._experiment)
            self._told = str(error)

    def _fingerprint(self) -> tuple[int, int, int]:
        try:
            status = os.stat(self._path)
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> Experiment:
        try:
            return self._parse(self._path.read_text(encoding="utf-8"))
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error
        except ValueError as error:  # ExperimentError is one, UnicodeDecodeError another
            raise self._error(str(error)) from error

    def _error(self, problem: str) -> ExperimentError:
        return ExperimentError(f"{self._path}: {problem}")
