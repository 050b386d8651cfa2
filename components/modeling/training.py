"""The training loop of both models: progress, early stopping, checkpoints to resume from."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras
from pydantic import Field

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.averaging import AveragingConfig, WeightAverages
from crossrec.components.modeling.replicas import (
    check_shared,
    chiefs_value,
    is_chief,
    share_out,
    wait_for_all,
    written_by_chief,
)
from crossrec.components.modeling.schedule import ScheduleConfig, share_of_epoch, warm_up_share
from crossrec.components.progress import progress

_WEIGHTS = "weights"


class TrainingConfig(Frozen):
    """How long and how fast a model learns.

    Attributes:
        epochs: Passes over the training split, at most.
        batch_size: Rows of one step, over all devices.
        learning_rate: Of Adam (Kingma and Ba, 2015).
        patience: Epochs without a better validation metric before training stops; 0 trains all epochs.
        shuffle_rows: Rows in the shuffle buffer.
        seed: Of initial weights, shuffling and dropout.
        schedule: How the learning rate changes.
        averaging: Which average of the weights is measured and kept; without, the weights as they are.
        workers: Processes that train together, each with all GPUs of its machine and its part of every batch; see
            launch.py.
    """

    epochs: int = Field(default=10, ge=1, le=10_000)
    batch_size: int = Field(default=1024, ge=2, le=1_000_000)
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    patience: int = Field(default=2, ge=0)
    shuffle_rows: int = Field(default=200_000, ge=1)
    seed: int = 0
    schedule: ScheduleConfig = ScheduleConfig()
    averaging: AveragingConfig | None = None
    workers: int = Field(default=1, ge=1, le=256)


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
        # A device's loss is its part of the whole batch's; Keras adds up those of all devices.
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
    """Sets the learning rate, averages, measures, keeps the best weights and stops early; all survives a restart.

    The history lies beside the checkpoint of ``BackupAndRestore``, which holds the averages, so that a killed run
    goes on as if nothing had happened, the best epoch so far included.
    """

    def __init__(self, model: TrainableModel, monitor: Monitor, config: TrainingConfig, directory: str):
        """Reads the history of an earlier, interrupted run from the directory, if there is one."""
        super().__init__()
        self.set_model(model)
        # Keras would otherwise wait for every step's loss.
        self._supports_tf_logs = True
        self._monitor, self._config, self._directory = monitor, config, Path(directory)
        self._strategy = model.distribute_strategy
        self._history_file = self._directory / "state.json"
        self._full_rate = float(model.optimizer.learning_rate.numpy())
        self._averages = WeightAverages(model, config.averaging) if config.averaging else None
        # The optimizer's state goes into the checkpoints, and is no part of what the model computes.
        model.optimizer.weight_averages = self._averages
        self.history: list[dict[str, float]] = []
        if self._history_file.exists():
            self.history = json.loads(self._history_file.read_text(encoding="utf-8"))

    @property
    def finished(self) -> bool:
        """Whether the history is that of a training that came to its end."""
        resting = len(self.history) - 1 - self.best_epoch
        return len(self.history) >= self._config.epochs or bool(self.history) and resting >= self._config.patience > 0

    @property
    def best_epoch(self) -> int:
        """Number of the best epoch, from 0; -1 before the first."""
        return int(np.argmin(self._losses())) if self.history else -1

    def _losses(self) -> list[float]:
        sign = -1.0 if self._monitor.maximise else 1.0
        return [sign * entry["monitor"] for entry in self.history]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the learning rate; an epoch that is trained again replaces its entry."""
        del logs
        self.history = self.history[:epoch]
        self._epoch, self._step = epoch, int(self.model.optimizer.iterations.numpy())
        self._rate = self._full_rate * share_of_epoch(self._config.schedule, self._losses(), self._config.epochs)
        self.model.optimizer.learning_rate.assign(self._rate)
        self._steps, self._total = 0, tf.constant(0.0, tf.float64)
        self._started = time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Warms up."""
        del batch, logs
        if self._step <= self._config.schedule.warm_up_steps:
            share = warm_up_share(self._config.schedule, self._step)
            self.model.optimizer.learning_rate.assign(self._rate * share)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Notes the loss and takes the weights into their averages."""
        del batch
        self._step += 1
        self._steps += 1
        self._total += tf.cast(logs["loss"], tf.float64)
        if self._averages is not None:
            self._averages.update(self._epoch, self._step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measures, writes the history, decides whether to go on.

        Raises:
            FloatingPointError: The loss is no longer a number.
        """
        del logs
        loss = float(self._total) / self._steps if self._steps else float("nan")
        with self._averages.in_place() if self._averages is not None else nullcontext():
            # All measure, because that may read variables that lie on all devices; all must also decide the same.
            value = chiefs_value(self._strategy, self._monitor.measure())
            if not np.isfinite(loss) or not np.isfinite(value):
                raise FloatingPointError(
                    f"training.learning_rate: at {self._config.learning_rate} the loss became {loss} and "
                    f"{self._monitor.name} {value} in epoch {epoch + 1}. Lower the learning rate"
                )
            seconds = time.monotonic() - self._started
            self.history.append({"loss": loss, "monitor": value, "seconds": seconds})
            if self.best_epoch == epoch:
                with written_by_chief(self._strategy, self._best_folder(epoch)) as folder:
                    self.model.save_weights(f"{folder}/{_WEIGHTS}")
        progress(
            f"epoch {epoch + 1}/{self._config.epochs}: loss {loss:.4f}, validation {self._monitor.name} {value:.4f}, "
            f"{seconds:.1f} s"
        )
        if is_chief(self._strategy):
            temporary = self._history_file.with_suffix(".tmp")
            temporary.write_text(json.dumps(self.history), encoding="utf-8")
            temporary.replace(self._history_file)
            self._remove_former_best()
        self.model.stop_training = self.finished

    def _best_folder(self, epoch: int) -> str:
        # One name per epoch: the history says which counts, so the two change in one step.
        return str(self._directory / f"best-{epoch}")

    def _remove_former_best(self) -> None:
        for folder in self._directory.glob("best-*"):
            if folder != Path(self._best_folder(self.best_epoch)):
                shutil.rmtree(folder)

    def restore_best(self) -> None:
        """Puts the best epoch's weights into the model and forgets the averages."""
        wait_for_all(self._strategy)
        self.model.load_weights(f"{self._best_folder(self.best_epoch)}/{_WEIGHTS}").expect_partial()
        self.model.optimizer.weight_averages = None


def fit(
    model: TrainableModel, dataset: tf.data.Dataset, monitor: Monitor, config: TrainingConfig, directory: str
) -> list[dict[str, float]]:
    """Trains a compiled model and leaves it with the weights of its best epoch.

    Args:
        model: The model; the schedule lowers the learning rate that its optimizer has.
        dataset: Training batches, one pass.
        monitor: What is measured after each epoch.
        config: Epochs, patience, learning rate, averaging.
        directory: For checkpoints; a run that finds some there goes on from them.

    Returns:
        One entry per epoch: ``loss``, the mean of its steps, ``monitor``, ``seconds``.
    """
    Path(directory).mkdir(parents=True, exist_ok=True)
    # Without this the optimizer makes its variables in the first step, and the step is traced twice.
    model.optimizer.build(model.trainable_variables)
    check_shared(model.distribute_strategy, directory)
    end = EpochEnd(model, monitor, config, directory)
    if end.history:
        progress(f"going on after epoch {len(end.history)} of an interrupted run")
    if not end.finished:
        # The history is written before the backup: an epoch may be trained twice, never skipped.
        backup = tf_keras.callbacks.BackupAndRestore(str(Path(directory) / "backup"), delete_checkpoint=False)
        for _ in end.history:
            # Each iterator draws the orders of its shuffles, that of the files at the first element: so the epochs
            # to come see the rows in the order in which they would have.
            next(iter(dataset), None)
        shared = share_out(model.distribute_strategy, dataset, config.batch_size)
        model.fit(shared, epochs=config.epochs, callbacks=[end, backup], verbose=0)
    end.restore_best()
    return end.history
