"""A release: one version of each model of a set, which are served together or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossrec.serving.releases.errors import InvalidStateError, UsageError
from crossrec.serving.releases.versions import parse_version


@dataclass(frozen=True)
class Release:
    """Versions that move together. A bundle is one model, so its release is one number.

    Attributes:
      versions: Pairs of model name and version, by name.

    Example:
      >>> str(Release.of({"shop": 7})), str(Release.of({"retrieval": 5, "ranking": 7}))
      ('7', 'ranking=7,retrieval=5')
    """

    versions: tuple[tuple[str, int], ...]

    @staticmethod
    def of(versions: Mapping[str, int]) -> Release:
        """Make a release.

        Args:
          versions: Version by model name.

        Returns:
          The release.
        """
        return Release(tuple(sorted(versions.items())))

    def by_model(self) -> dict[str, int]:
        """Return the version by model name."""
        return dict(self.versions)

    def __str__(self) -> str:
        numbers = {version for _, version in self.versions}
        if len(numbers) == 1:
            return str(numbers.pop())
        return ",".join(f"{model}={version}" for model, version in self.versions)


def parse_release(text: str, models: Sequence[str], field: str = "VERSION") -> Release:
    """Read a release as an operator writes it.

    Args:
      text: A version that every model of the set has, or ``MODEL=VERSION,MODEL=VERSION``.
      models: The models of the set.
      field: What to call the text in an error.

    Returns:
      The release, with a version for each model.

    Raises:
      UsageError: If the text is neither, or if a model is missing, unknown or given twice.

    Example:
      >>> parse_release("retrieval=5,ranking=7", ["retrieval", "ranking"]).by_model()
      {'ranking': 7, 'retrieval': 5}
    """
    example = ",".join(f"{model}=N" for model in models)
    if "=" not in text:
        version = parse_version(text)
        if version is None:
            raise UsageError(f"{field}: {text!r} is no version; give a number such as 7, or {example}")
        return Release.of(dict.fromkeys(models, version))
    versions: dict[str, int] = {}
    for part in text.split(","):
        model, _, number = part.strip().partition("=")
        version = parse_version(number)
        if model not in models or version is None or model in versions:
            raise UsageError(
                f"{field}: {part.strip()!r} in {text!r} is unknown, no number or given twice; give {example}"
            )
        versions[model] = version
    missing = [model for model in models if model not in versions]
    if missing:
        raise UsageError(f"{field}: {text!r} leaves out {', '.join(missing)}; the set moves together: give {example}")
    return Release.of(versions)


def release_from_json(value: object, field: str) -> Release:
    """Read a release from the state file.

    Args:
      value: An object of version by model name.
      field: Dotted path, for the error.

    Returns:
      The release.

    Raises:
      InvalidStateError: If it is something else.
    """
    if isinstance(value, dict) and value and all(type(v) is int and v >= 0 for v in value.values()):
        return Release.of(value)
    raise InvalidStateError(f"{field}: {value!r} is no object of version numbers by model name")
