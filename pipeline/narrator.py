"""A run told while it goes on: what each node does, how far it is, how long it took."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from crossrec.components.progress import LOGGER

if TYPE_CHECKING:
    from crossrec.pipeline.local_runner import NodeResult

_DOES = {
    "ItemsExampleGen": "reads and checks the items",
    "InteractionsExampleGen": "reads and checks the interactions, adds recent items, splits by time",
    "ItemsStatisticsGen": "describes the items in figures",
    "InteractionsStatisticsGen": "describes the interactions in figures",
    "ItemsSchemaGen": "infers or imports the items' schema",
    "InteractionsSchemaGen": "infers or imports the interactions' schema",
    "ItemsExampleValidator": "holds the items against their schema",
    "InteractionsExampleValidator": "holds the interactions against their schema",
    "TextEncoder": "makes the language models that turn texts into vectors",
    "TextEmbedder": "embeds each text once, and adds the vectors to the examples",
    "FeatureTransform": "turns raw values into features",
    "CrossSelector": "finds, fits and measures the crosses",
    "PreviousModel": "looks up the release to start from",
    "CatalogueUpdate": "reads and checks the catalogue, carries the models over to it",
    "RecallGate": "holds the index against its recall target",
    "RetrievalTrainer": "trains the two towers",
    "CandidateIndexer": "embeds the catalogue and arranges it for search",
    "RankingExamples": "adds the candidates that retrieval would have shown",
    "RankingTrainer": "trains the ranking model on features and crosses",
    "ServingBundle": "joins everything into one SavedModel",
    "Evaluation": "measures retrieval, ranking and the bundle on the test split",
    "ServingCheck": "loads the bundle into a server, asks it and measures it",
    "Publisher": "publishes the bundle if it is blessed",
}


class Narrator(logging.Handler):
    """Prints one line per node, and progress below it while the node is at work.

    On a terminal each line of progress replaces the one before. Use it as a context: only then it hears of progress.
    """

    def __init__(self, stream: TextIO, nodes: int):
        """Prints to a stream; ``nodes`` is how many there will be."""
        super().__init__()
        self._stream, self._nodes, self._number = stream, nodes, 0
        # What stands on the line that is not ended yet: "node", "progress" or "" for none.
        self._open = ""

    def __enter__(self) -> Narrator:
        """Begins to listen."""
        LOGGER.addHandler(self)
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the line and listens no more."""
        LOGGER.removeHandler(self)
        self._end_line()

    def start(self, node: str) -> None:
        """Says what the node does."""
        self._number += 1
        self._write(f"[{self._number:>2}/{self._nodes}] {node}: {_DOES.get(node, 'runs')}")
        self._open = "node"

    def end(self, result: NodeResult) -> None:
        """Says how long it took, behind the node's name or, after progress, on a line of its own."""
        took = "(unchanged, taken from the last run)" if result.cached else f"{result.seconds:.1f} s"
        if self._open != "node":
            self._end_line()
        self._write(f"{'  ' if self._open else '      '}{took}\n")
        self._open = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Says how far the node is."""
        if self._open != "progress":
            self._end_line()
        before = "\r\033[K" if self._open else ""
        self._write(f"{before}      {record.getMessage()}")
        self._open = "progress"
        if not self._stream.isatty():
            self._end_line()

    def _end_line(self) -> None:
        if self._open:
            self._write("\n")
            self._open = ""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
