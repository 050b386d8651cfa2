"""A failed node, explained to the person who started the run."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from crossrec.components.errors import DataError
from crossrec.serving.releases.errors import ReleaseError

_LENGTH = 1000


class Failure(NamedTuple):
    """What the user is told.

    Attributes:
        code: Exit code: 2 where data or spec must be mended, 1 otherwise.
        message: What is wrong and what to do.
    """

    code: int
    message: str


def explain(error: BaseException, log: Path) -> Failure:
    """Find the cause that says most to the user.

    Args:
        error: What ended the run; its causes are looked through.
        log: Where the libraries wrote.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, DataError):
            return Failure(2, f"{error}.\n{cause}")
    # A refusal to publish names the path and the mend; the operating system's error below it does not.
    for cause in causes:
        if isinstance(cause, ReleaseError):
            return Failure(1, f"{error}.\n{cause}")
    if len(causes) == 1:
        return Failure(1, f"{error}.\nThe whole story is in {log}")
    reason = traceback.format_exception_only(type(causes[-1]), causes[-1])[-1].strip()
    return Failure(1, f"{error}: {reason[:_LENGTH]}\nThe whole story is in {log}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from, as Python would print them."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
