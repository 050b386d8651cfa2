"""Version numbers of a model directory, and the rule that none is ever given twice."""

from __future__ import annotations

from pathlib import Path

from crossrec.serving.releases.durable import write_file
from crossrec.serving.releases.errors import ReleaseError

HIGH_WATER_MARK = ".highest_version"
_LARGEST = 2**63 - 1


def parse_version(name: str) -> int | None:
    """Read a directory name as TensorFlow Serving does.

    Args:
      name: Name of an entry of the model directory.

    Returns:
      The version (``007`` is 7), or None for a name that the server ignores.

    Example:
      >>> parse_version("007"), parse_version(".staging-1"), parse_version("7a")
      (7, None, None)
    """
    if not (name.isascii() and name.isdigit()):
        return None
    number = int(name)
    return number if number <= _LARGEST else None


def list_versions(model_dir: Path) -> list[int]:
    """List the versions that lie in a model directory.

    Args:
      model_dir: ``<serving root>/<model name>``.

    Returns:
      Version numbers in ascending order, each once.
    """
    return sorted({v for path in model_dir.iterdir() if (v := parse_version(path.name)) is not None})


def find_version(model_dir: Path, version: int) -> Path | None:
    """Find the directory of a version.

    Args:
      model_dir: ``<serving root>/<model name>``.
      version: The number; its directory may have leading zeros.

    Returns:
      The directory, or None if there is none.
    """
    plain = model_dir / str(version)
    if plain.is_dir():
        return plain
    others = model_dir.iterdir() if model_dir.is_dir() else ()
    return next((path for path in others if parse_version(path.name) == version and path.is_dir()), None)


def next_version(model_dir: Path) -> int:
    """Compute the number after the highest that this model directory holds or ever held.

    Args:
      model_dir: ``<serving root>/<model name>``.

    Returns:
      The next version number, at least 1.

    Raises:
      ReleaseError: If the recorded highest version is unreadable, or if the numbers are used up.
    """
    version = max([_read_high_water_mark(model_dir), *list_versions(model_dir)]) + 1
    if version > _LARGEST:
        raise ReleaseError(
            f"{model_dir}: version {_LARGEST} is the largest that TensorFlow Serving can read, so there is "
            "no next one; publish under another model name, or remove that version and correct "
            f"{model_dir / HIGH_WATER_MARK}"
        )
    return version


def record_version(model_dir: Path, version: int) -> None:
    """Write down durably that ``version`` is taken, so that it stays taken after its directory is gone.

    Args:
      model_dir: ``<serving root>/<model name>``; the caller holds its lock.
      version: The number, higher than every one before.
    """
    write_file(model_dir / HIGH_WATER_MARK, f"{version}\n")


def _read_high_water_mark(model_dir: Path) -> int:
    path = model_dir / HIGH_WATER_MARK
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return 0
    version = parse_version(text)
    if version is None:
        raise ReleaseError(
            f"{path}: holds {text[:40]!r} instead of the highest version published so far; "
            "write that number into it (a number that was served before must not come back)"
        )
    return version
