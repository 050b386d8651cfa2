"""TensorFlow as the trainers need it: Keras 2, quick tracing, the devices of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf
import tf_keras


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
    """MirroredStrategy where there are several GPUs, else the default strategy."""
    return (
        tf.distribute.MirroredStrategy()
        if len(tf.config.list_physical_devices("GPU")) > 1
        else (tf.distribute.get_strategy())
    )


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
