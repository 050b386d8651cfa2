"""The texts that an encoder may learn from, as the Beam step leaves them in files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tfx.dsl.io import fileio


@dataclass(frozen=True)
class TextFiles:
    """Files of one encoder, a JSON value in each line; lines come in no order.

    Attributes:
        directory: Where they lie.
    """

    directory: str

    @property
    def words(self) -> str:
        """Normalised words, and how many different texts hold each."""
        return f"{self.directory}/words.jsonl"

    @property
    def catalogue(self) -> str:
        """A sample of the catalogue's texts."""
        return f"{self.directory}/catalogue.jsonl"

    @property
    def texts(self) -> str:
        """A sample of the texts of catalogue and training queries."""
        return f"{self.directory}/texts.jsonl"

    @property
    def pairs(self) -> str:
        """Texts that belong together, and how often they were seen so."""
        return f"{self.directory}/pairs.jsonl"


def read_lines(path: str) -> list[Any]:
    """The values of a file, in the order of their JSON."""
    with fileio.open(path, "r") as file:
        return [json.loads(line) for line in sorted(file.read().split("\n")) if line]
