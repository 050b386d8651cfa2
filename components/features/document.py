"""What a component writes beside its artifact's data, as JSON."""

from __future__ import annotations

from typing import ClassVar

from tfx.dsl.io import fileio
from typing_extensions import Self

from crossrec.components.features.frozen import Frozen


class Document(Frozen):
    """A configuration, or a report, that is one file of a directory; a subclass names the file in ``FILE``."""

    FILE: ClassVar[str]

    def write(self, directory: str) -> None:
        """Writes it into a directory, which is made if need be."""
        fileio.makedirs(directory)
        with fileio.open(f"{directory}/{self.FILE}", "w") as file:
            file.write(self.model_dump_json(indent=1))

    @classmethod
    def read(cls, directory: str) -> Self:
        """Reads that of a directory."""
        with fileio.open(f"{directory}/{cls.FILE}", "r") as file:
            return cls.model_validate_json(file.read())
