"""Models as artifacts: their configuration as JSON and their weights as a TensorFlow checkpoint."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import tensorflow as tf
from tfx.dsl.io import fileio

from crossrec.components.features.frozen import Frozen

Config = TypeVar("Config", bound=Frozen)


def save(directory: str, model: tf.keras.Model, config: Frozen, history: list[dict[str, float]]) -> None:
    """Writes configuration, training history and weights into a directory."""
    fileio.makedirs(directory)
    for name, text in (("config.json", config.model_dump_json(indent=1)), ("history.json", json.dumps(history))):
        with fileio.open(f"{directory}/{name}", "w") as file:
            file.write(text)
    model.save_weights(f"{directory}/weights")


def read_config(directory: str, kind: type[Config]) -> Config:
    """The configuration of a saved model."""
    with fileio.open(f"{directory}/config.json", "r") as file:
        return kind.model_validate_json(file.read())


def read_history(directory: str) -> list[dict[str, float]]:
    """The training history of a saved model: ``loss``, ``monitor``, ``seconds`` per epoch."""
    with fileio.open(f"{directory}/history.json", "r") as file:
        history: list[dict[str, float]] = json.loads(file.read())
    return history


def restore(directory: str, model: Any) -> None:
    """Loads the weights into a built model.

    Raises:
        AssertionError: A weight of the model is not in the checkpoint.
    """
    model.load_weights(f"{directory}/weights").assert_existing_objects_matched().expect_partial()
