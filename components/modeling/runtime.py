"""TensorFlow as the trainers need it: Keras 2, quick tracing, the devices of this machine."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf
import tf_keras

from crossrec.components.errors import DataError

_TRAINING_TASKS = ("chief", "worker")


def prepare() -> None:
    """Checks the Keras version and keeps AutoGraph away from Keras's own code.

    TensorFlow leaves ``keras`` out of AutoGraph but not ``tf_keras``, whose conversion costs some twenty
    seconds at the first ``fit``. The rule list is private, so its absence is no error.

    Raises:
        RuntimeError: ``tf.keras`` is Keras 3, which TensorFlow Recommenders refuses.
    """
    if tf.keras.Model is not tf_keras.Model:
        raise RuntimeError(
            f"tf.keras is Keras 3 (TF_USE_LEGACY_KERAS is {os.environ.get('TF_USE_LEGACY_KERAS')!r}). "
            "Set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported"
        )
    from tensorflow.python.autograph.core import config

    rules = getattr(config, "CONVERSION_RULES", None)
    if isinstance(rules, tuple) and not any("tf_keras" in str(getattr(r, "_prefix", "")) for r in rules):
        config.CONVERSION_RULES = (config.DoNotConvert("tf_keras"), *rules)


def strategy() -> tf.distribute.Strategy:
    """All devices of this machine, and of all workers where ``TF_CONFIG`` says that this process is one of several.

    With several workers it must be called before TensorFlow computes anything, and waits for the others.

    Raises:
        DataError: ``TF_CONFIG`` cannot be used.
    """
    if several_workers(os.environ.get("TF_CONFIG", "")):
        return _workers()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


@functools.cache
def _workers() -> tf.distribute.Strategy:
    # A process can join its cluster only once.
    return tf.distribute.MultiWorkerMirroredStrategy()


def several_workers(tf_config: str) -> bool:
    """Whether a ``TF_CONFIG``, as TensorFlow and Kubeflow's training operator write it, is of several workers.

    Args:
        tf_config: JSON, as in ``{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}``;
            "" on a machine alone.

    Raises:
        DataError: It is not JSON, or this task trains nothing, or it is none of the cluster's.
    """
    if not tf_config:
        return False
    try:
        content = json.loads(tf_config)
        cluster, task = content.get("cluster", {}), content.get("task", {})
        workers = sum(len(cluster.get(kind, ())) for kind in _TRAINING_TASKS)
        kind, index = task.get("type", "worker"), int(task.get("index", 0))
        others = cluster.get(kind, ())
    except (json.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
        raise DataError(
            "TF_CONFIG", f"{tf_config!r} cannot be read ({error})", "Give JSON with 'cluster' and 'task', or unset it."
        ) from error
    if workers <= 1:
        return False
    if kind not in _TRAINING_TASKS or not 0 <= index < len(others):
        raise DataError(
            "TF_CONFIG",
            f"task {kind!r} {index} is no worker of cluster {json.dumps(cluster)}",
            f"Give tasks of type {' or '.join(_TRAINING_TASKS)} only, counted from 0.",
        )
    return True


def mixed_precision_policy() -> str:
    """``mixed_float16`` on a GPU, ``float32`` elsewhere."""
    return "mixed_float16" if tf.config.list_physical_devices("GPU") else "float32"


@contextmanager
def mixed_precision(policy: str | None = None) -> Iterator[None]:
    """Within, layers are made with the policy, that of this machine if left out; behind it, as they were before."""
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy(policy or mixed_precision_policy())
    try:
        yield
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
