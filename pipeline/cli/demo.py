"""`crossrec demo`."""

from typing import Any


def add_parser(subparsers: Any) -> None:
    """Registers the command."""
