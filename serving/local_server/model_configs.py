"""A ModelServerConfig checked and turned into models to serve, with TensorFlow Serving's refusals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc

from crossrec.serving.local_server.policies import VersionPolicy, all_versions, latest, specific
from crossrec.serving.local_server.sources import ModelSource
from crossrec.serving.local_server.statuses import StatusError, invalid_argument

TENSORFLOW = "tensorflow"
_TENSORFLOW_TYPE = 1


def check_model_config(config: Any, platforms: Mapping[str, str]) -> dict[str, str]:
    """Check a configuration before anything of it takes effect.

    Args:
        config: ModelServerConfig with a model_config_list.
        platforms: Platform by name of the models that are configured now.

    Returns:
        Platform by name of the models in the new configuration.

    Raises:
        StatusError: FAILED_PRECONDITION, it is no list of models; INVALID_ARGUMENT, a model is listed twice,
            has a relative base path, has no platform or an unknown one, or changes its platform.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise StatusError(
            grpc.StatusCode.FAILED_PRECONDITION,
            "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to "
            "another.",
        )
    models = config.model_config_list.config
    names: set[str] = set()
    for model in models:
        if model.name in names:
            raise invalid_argument(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
    for model in models:
        if not Path(model.base_path).is_absolute():
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )
    chosen = {model.name: _platform(model) for model in models}
    for name, platform in chosen.items():
        if platforms.get(name, platform) != platform:
            raise invalid_argument(
                f"Illegal to change a model's platform. For model {name} platform was {platforms[name]} and new "
                f"platform requested is {platform}"
            )
    for name, platform in chosen.items():
        if platform != TENSORFLOW:
            raise invalid_argument(f"Model {name} requests unsupported platform {platform}")
    return chosen


def model_sources(config: Any) -> tuple[ModelSource, ...]:
    """Turn a checked configuration into models to serve.

    Args:
        config: ModelServerConfig, see `check_model_config`.

    Returns:
        The models in the order of the configuration.
    """
    return tuple(
        ModelSource(model.name, Path(model.base_path), _policy(model.model_version_policy), dict(model.version_labels))
        for model in config.model_config_list.config
    )


def single_model_config(name: str, base_path: Path) -> Any:
    """Make the configuration that ``--model_name`` and ``--model_base_path`` stand for.

    Args:
        name: Name under which the model is served.
        base_path: Absolute path of the directory with its versions.

    Returns:
        ModelServerConfig.
    """
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=str(base_path), model_platform=TENSORFLOW)
    return config


def _platform(model: Any) -> str:
    if model.model_type:
        if model.model_platform:
            raise invalid_argument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
            )
        if model.model_type != _TENSORFLOW_TYPE:
            raise invalid_argument(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
        return TENSORFLOW
    if not model.model_platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform."
        )
    return str(model.model_platform)


def _policy(policy: Any) -> VersionPolicy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return all_versions()
    if choice == "specific":
        return specific(policy.specific.versions)
    return latest(policy.latest.num_versions)
