"""Where a pipeline finds its data and puts what it makes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Locations:
    """Where a pipeline reads and writes.

    Attributes:
        data: Directory that the spec's relative paths start from.
        root: The run root: artifacts, metadata, checkpoints, caches, releases and logs lie below it.
        data_is_here: Whether the pipeline runs on this machine, so that the data can be looked at while the graph is
            built, and ML Metadata kept in a file.
        cache: What later runs of any spec can use, such as vectors of texts, lies below it; below the root if left
            out.
    """

    data: str
    root: str
    data_is_here: bool = True
    cache: str = ""

    @property
    def artifacts(self) -> str:
        """Root of the artifacts."""
        return f"{self.root}/artifacts"

    @property
    def metadata(self) -> str:
        """The ML Metadata database."""
        return f"{self.root}/metadata.sqlite"

    @property
    def checkpoints(self) -> str:
        """Checkpoints of trainings that have not ended."""
        return f"{self.root}/checkpoints"

    @property
    def text_vectors(self) -> str:
        """Vectors of texts that earlier runs have embedded."""
        return f"{self.cache or f'{self.root}/cache'}/text_embeddings"

    @property
    def serving(self) -> str:
        """Root of the published models."""
        return f"{self.root}/serving"

    @property
    def logs(self) -> str:
        """Logs of the runs."""
        return f"{self.root}/logs"
