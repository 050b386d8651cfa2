"""Progress of long work, said to the person who waits for it.

Components say what they do on one logger of their own; a command line shows that logger on the terminal
and leaves the libraries' logs to a file.
"""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("crossrec.progress")


def progress(message: str) -> None:
    """Says what is being done, in one short line without a full stop."""
    LOGGER.info(message)
