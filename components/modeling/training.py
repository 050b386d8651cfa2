"""The training loop of both models: progress, early stopping, checkpoints to resume from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras
from pydantic import Field

from crossrec.components.features.config import Frozen
from crossrec.components.progress import progress


class TrainingConfig(Frozen):
    """How long and how fast a model learns.

    Attributes:
        epochs: Passes over the training split, at most.
        batch_size: Rows of one step, over all devices.
        learning_rate: Of Adam (Kingma and Ba, 2015).
        patience: Epochs without a better validation metric before training stops; 0 trains all epochs.
        shuffle_rows: Rows in the shuffle buffer.
        seed: Of initial weights, shuffling and dropout.
    """

    epochs: int = Field(default=10, ge=1, le=10_000)
    batch_size: int = Field(default=1024, ge=2, le=1_000_000)
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    patience: int = Field(default=2, ge=0)
    shuffle_rows: int = Field(default=200_000, ge=1)
    seed: int = 0


class TrainableModel(tfrs.Model):
    """A TFRS model whose training step also scales the loss where a mixed-precision optimizer asks for it."""

    # AutoGraph would convert every function below, for seconds, and there is no Python control flow to convert.
    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def train_step(self, inputs: Any) -> dict[str, Any]:
        """One step of gradient descent on ``compute_loss``."""
        with tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, training=True)
            scale = getattr(self.optimizer, "get_scaled_loss", None)
            scaled = scale(loss) if scale else loss
        gradients = tape.gradient(scaled, self.trainable_variables)
        if scale:
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return {**{metric.name: metric.result() for metric in self.metrics}, "loss": loss}


@dataclass(frozen=True)
class Monitor:
    """The number that decides which epoch is kept.

    Attributes:
        name: As it is shown.
        maximise: Whether more is better.
        measure: Computes it from the model as it stands.
    """

    name: str
    maximise: bool
    measure: Callable[[], float]


class EpochEnd(tf_keras.callbacks.Callback):
    """Measures, reports, keeps the best weights and stops early; all of it survives a restart.

    The state lies beside the checkpoint of ``BackupAndRestore``, so that a killed run goes on as if
    nothing had happened, the best epoch so far included.
    """

    def __init__(self, monitor: Monitor, config: TrainingConfig, directory: str):
        """Reads the state of an earlier, interrupted run from the directory, if there is one."""
        super().__init__()
        self._monitor, self._config = monitor, config
        self._state_file, self._best_file = Path(directory) / "state.json", str(Path(directory) / "best")
        self.history: list[dict[str, float]] = []
        if self._state_file.exists():
            self.history = json.loads(self._state_file.read_text(encoding="utf-8"))

    @property
    def best_epoch(self) -> int:
        """Number of the best epoch, from 0; -1 before the first."""
        values = [entry["monitor"] for entry in self.history]
        if not values:
            return -1
        return int(np.argmax(values) if self._monitor.maximise else np.argmin(values))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock; an epoch that is trained again replaces its entry."""
        del logs
        self.history = self.history[:epoch]
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measures, writes the state, decides whether to go on.

        Raises:
            FloatingPointError: The loss is no longer a number.
        """
        loss = float((logs or {}).get("loss", np.nan))
        value = self._monitor.measure()
        if not np.isfinite(loss) or not np.isfinite(value):
            raise FloatingPointError(
                f"training.learning_rate: at {self._config.learning_rate} the loss became {loss} and "
                f"{self._monitor.name} {value} in epoch {epoch + 1}. Lower the learning rate"
            )
        seconds = time.monotonic() - self._started
        self.history.append({"loss": loss, "monitor": value, "seconds": seconds})
        progress(
            f"epoch {epoch + 1}/{self._config.epochs}: loss {loss:.4f}, validation {self._monitor.name} {value:.4f}, "
            f"{seconds:.1f} s"
        )
        if self.best_epoch == epoch:
            self.model.save_weights(self._best_file)
        temporary = self._state_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.history), encoding="utf-8")
        temporary.replace(self._state_file)
        if self._config.patience and epoch - self.best_epoch >= self._config.patience:
            self.model.stop_training = True

    def restore_best(self) -> None:
        """Puts the best epoch's weights into the model."""
        self.model.load_weights(self._best_file).expect_partial()


def fit(
    model: TrainableModel, dataset: tf.data.Dataset, monitor: Monitor, config: TrainingConfig, directory: str
) -> list[dict[str, float]]:
    """Trains a compiled model and leaves it with the weights of its best epoch.

    Args:
        model: The model.
        dataset: Training batches, one pass.
        monitor: What is measured after each epoch.
        config: Epochs, patience.
        directory: For checkpoints; a run that finds some there goes on from them.

    Returns:
        One entry per epoch: ``loss``, ``monitor``, ``seconds``.
    """
    Path(directory).mkdir(parents=True, exist_ok=True)
    end = EpochEnd(monitor, config, directory)
    if end.history:
        progress(f"going on after epoch {len(end.history)} of an interrupted run")
    finished = len(end.history) - 1 - end.best_epoch >= config.patience > 0 or len(end.history) >= config.epochs
    end.set_model(model)
    # Without this the optimizer makes its variables in the first step, and the step is traced twice.
    model.optimizer.build(model.trainable_variables)
    if model.distribute_strategy.num_replicas_in_sync > 1:
        # The last, smaller batch of a pass may leave a device without rows, and a mean over none is no number.
        dataset = dataset.filter(lambda batch: tf.shape(next(iter(batch.values())))[0] == config.batch_size)
    if not (end.history and finished):
        # The state is written before the backup: an epoch may be trained twice, never skipped.
        backup = tf_keras.callbacks.BackupAndRestore(str(Path(directory) / "backup"), delete_checkpoint=False)
        for _ in end.history:
            # Each iterator draws the orders of its shuffles, that of the files at the first element: so the epochs
            # to come see the rows in the order in which they would have.
            next(iter(dataset), None)
        model.fit(dataset, epochs=config.epochs, callbacks=[end, backup], verbose=0)
    end.restore_best()
    return end.history
