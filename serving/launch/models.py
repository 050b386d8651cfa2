"""What a server is to serve: one directory of versions, or the models of a configuration file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crossrec.serving.launch.errors import LaunchError
from crossrec.serving.releases.state import STABLE


@dataclass(frozen=True)
class ServedModel:
    """A model of a server.

    Attributes:
      name: The name that clients ask for.
      path: Directory of its versions on this machine.
      seen_as: The same directory as the server is told.
      label: Label that has to answer before the model counts as ready; empty where any version will do.
    """

    name: str
    path: Path
    seen_as: str
    label: str = ""


@dataclass(frozen=True)
class Served:
    """Everything that a server serves.

    Attributes:
      models: The models, at least one.
      config_file: The models.config that names them; None for one model without such a file.
    """

    models: tuple[ServedModel, ...]
    config_file: Path | None = None


def one_model(name: str, path: Path) -> Served:
    """Serve the versions in a directory, as the server itself chooses among them.

    Args:
      name: The name that clients ask for.
      path: Directory of the versions.

    Returns:
      What to serve.
    """
    return Served((ServedModel(name, path.absolute(), str(path.absolute())),))


def configured_models(config_file: Path) -> Served:
    """Serve what a configuration file of TensorFlow Serving says.

    A model whose base path is not on this machine is looked for beside the file: that is where it lies when servers
    in containers see the models under another path.

    Args:
      config_file: A models.config, ModelServerConfig as text.

    Returns:
      What to serve; a model that the file gives the label "stable" is ready when that label answers.

    Raises:
      LaunchError: If the file cannot be read, or names no model.
    """
    from google.protobuf import text_format

    from crossrec.serving.contract.messages import ModelServerConfig

    file = config_file.absolute()
    config = ModelServerConfig()
    try:
        text_format.Parse(file.read_text(encoding="utf-8"), config)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise LaunchError(f"{file}: cannot be read: {reason}", "Correct the path") from error
    except text_format.ParseError as error:
        raise LaunchError(f"{file}: is no model configuration: {error}", "Correct that line") from error
    entries = config.model_config_list.config
    if not entries:
        raise LaunchError(
            f"{file}: names no model",
            "If `crossrec release` wrote it, nothing is released yet: run `crossrec release promote VERSION`",
        )
    return Served(tuple(_model(entry, file) for entry in entries), file)


def _model(entry: object, file: Path) -> ServedModel:
    name, base_path = str(getattr(entry, "name", "")), str(getattr(entry, "base_path", ""))
    path, beside = Path(base_path), file.parent / name
    label = STABLE if STABLE in getattr(entry, "version_labels", {}) else ""
    return ServedModel(name, path if path.is_dir() or not beside.is_dir() else beside, base_path, label)
