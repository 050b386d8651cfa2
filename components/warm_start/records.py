"""What releases were made of: a small file for each, beside the model's versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import ValidationError
from tfx.dsl.io import fileio

from crossrec.components.features.frozen import Frozen
from crossrec.components.warm_start.config import WarmStartConfig

FOLDER = ".lineage"
"""Folder below the model's; servers look at folders that are called by a number only."""

PARTS = ("transform_graphs", "cross_set", "item_table", "retrieval_model", "ranking_model")
"""Artifacts that a bundle is made of; its custom properties of that name say where they lie."""

OF_TEXTS = ("text_encoders", "text_embeddings")
"""The same of bundles with encoders of texts."""


class ReleaseRecord(Frozen):
    """One release.

    Attributes:
        version: Its number.
        fingerprint: Of the data that it was made of; "" where it is not known.
        trained_until: Unix second before which all rows lie that its weights were trained on.
        artifacts: Where what it was made of lies, by name.
        models_from: The release whose models it has, with a newer catalogue; 0 where its models were trained for it.
        catalogue: Of the files of that catalogue; "" where its models were trained for it.
    """

    version: int
    fingerprint: str
    trained_until: int
    artifacts: Mapping[str, str]
    models_from: int = 0
    catalogue: str = ""


def write_record(record: ReleaseRecord, serving_root: str, model_name: str) -> None:
    """Writes what a release was made of."""
    folder = _folder(serving_root, model_name)
    fileio.makedirs(folder)
    with fileio.open(f"{folder}/{record.version}.json", "w") as file:
        file.write(record.model_dump_json(indent=1))


def read_records(serving_root: str, model_name: str) -> list[ReleaseRecord]:
    """The releases of a model whose record can be read, the newest first."""
    records = []
    for path in fileio.glob(f"{_folder(serving_root, model_name)}/*.json"):
        with fileio.open(path, "r") as file:
            try:
                records.append(ReleaseRecord.model_validate_json(file.read()))
            except ValidationError:
                continue  # Cut off by a kill, or of another version of this program: as good as none.
    return sorted(records, key=lambda record: -record.version)


def of_other_data(records: Iterable[ReleaseRecord], fingerprint: str) -> list[ReleaseRecord]:
    """The releases that were not made of these very data, so that running again does not train on and on.

    Args:
        records: The releases.
        fingerprint: Digest of the data, a hyphen, digest of the code that reads them; the first is empty where the
            data could not be seen when the graph was built, and then every release counts as one of other data.
    """
    unseen = not fingerprint or fingerprint.startswith("-")
    return [record for record in records if unseen or record.fingerprint != fingerprint]


def choose(records: Iterable[ReleaseRecord], config: WarmStartConfig, validation_from: int) -> ReleaseRecord | None:
    """The release to start from.

    Args:
        records: Those that there are, the newest first.
        config: Which is wanted.
        validation_from: First unix second of this run's validation split: a model that was trained on later rows
            would know what it is measured on.

    Returns:
        The release; None if none fits.
    """
    fitting = [record for record in records if record.trained_until <= validation_from]
    if config.release != "last":
        fitting = [record for record in fitting if record.version == config.release]
    return fitting[0] if fitting else None


def _folder(serving_root: str, model_name: str) -> str:
    return f"{serving_root}/{model_name}/{FOLDER}"
