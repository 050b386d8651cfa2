"""What the devices of a training, on one machine or on several, do together; on one device all of it is nothing."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from crossrec.components.errors import DataError


def replicas() -> int:
    """How many devices compute the step that this is a part of; 1 outside of such a step."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else int(context.num_replicas_in_sync)


def sum_over_replicas(values: tf.Tensor) -> tf.Tensor:
    """The sum over all devices; the values themselves on one."""
    if replicas() == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def gather_replicas(values: tf.Tensor) -> tf.Tensor:
    """Rows of all devices one after the other, with gradients to all of them; the values themselves on one.

    Args:
        values: ``[B, ...]``; B may differ between devices.
    """
    if replicas() == 1:
        return values
    return tf.distribute.get_replica_context().all_gather(values, axis=0)


def share_out(strategy: tf.distribute.Strategy, batches: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Batches that ``fit`` divides among the devices, in the order of their rows.

    Every worker reads all batches and keeps its own part of each, so that a batch has the same rows on any number of
    workers; sharing out files instead would make other batches.

    Args:
        strategy: The devices.
        batches: All but the last of ``batch_size`` rows.
        batch_size: Rows of a batch.
    """
    if strategy.num_replicas_in_sync > 1:
        # Where TensorFlow cannot read the size from the dataset, as from a generator, it shares out whole batches.
        batches = batches.rebatch(batch_size)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.with_options(options)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes what all have made."""
    return bool(strategy.extended.should_checkpoint)


def chiefs_value(strategy: tf.distribute.Strategy, value: float) -> float:
    """The chief's value, in all processes; each waits here for the others."""
    if strategy.num_replicas_in_sync == 1:
        return value
    number = tf.constant(value if is_chief(strategy) else 0.0, tf.float64)
    return float(strategy.experimental_local_results(_send_first(strategy)(number))[0])


@functools.cache
def _send_first(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """The first device's number on all devices."""

    def of_replica(number: tf.Tensor) -> tf.Tensor:
        first = tf.equal(tf.distribute.get_replica_context().replica_id_in_sync_group, 0)
        return sum_over_replicas(tf.where(first, number, tf.zeros_like(number)))

    send: Callable[[tf.Tensor], tf.Tensor] = tf.function(
        lambda number: strategy.run(of_replica, (number,)), autograph=False
    )
    return send


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns when all processes have called it."""
    chiefs_value(strategy, 0.0)


def check_shared(strategy: tf.distribute.Strategy, directory: str) -> None:
    """Looks whether what the chief writes into a directory is there for all workers.

    Raises:
        DataError: It is not.
    """
    marker = Path(directory) / "chief"
    if is_chief(strategy):
        marker.touch()
    wait_for_all(strategy)
    if not marker.exists():
        raise DataError(
            "checkpoint_root", f"{directory} is not the same folder for all workers", "Put it on a volume of them all."
        )


@contextmanager
def written_by_chief(strategy: tf.distribute.Strategy, directory: str) -> Iterator[str]:
    """The directory for the chief, for other workers one that goes away.

    All must write, because it takes all of them to read a variable whose copies differ.

    Args:
        strategy: The strategy.
        directory: Where the chief writes.
    """
    if is_chief(strategy):
        yield directory
        return
    with tempfile.TemporaryDirectory() as aside:
        yield aside
