r"""Combinations of ids: a salted, ordered mix in 64-bit integer arithmetic.

For ids :math:`i_1 … i_n` of the inputs and a salt from the cross's name,

.. math:: h_0 = salt, \quad h_j = mix(h_{j-1} \cdot \phi + i_j), \quad key = h_n \bmod 2^{63}, \quad
    id = 1 + key \bmod buckets

with ``mix`` the finaliser of SplitMix64 (Steele, Lea, Flood 2014) and all arithmetic modulo :math:`2^{64}`.
Multiplication, exclusive or and shifts of int64 are exact on every device, so a cross has one value in the
pipeline, in training and in the serving graph, and can be computed in any language. Order counts, equal
values do not cancel, and two crosses of the same ids differ by their salts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

Array = np.ndarray[Any, Any]

PADDING = -1
_PHI, _M1, _M2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_SHIFTS = (30, 27, 31)
_POSITIVE = 2**63 - 1


def default_buckets(cardinalities: Sequence[int], limit: int = 2**18) -> int:
    """Ids for a cross: four for every possible combination as a power of two, ``limit`` at most."""
    combinations = float(np.prod([float(c) for c in cardinalities]))
    return int(min(limit, 2 ** int(np.ceil(np.log2(max(4.0 * combinations, 2.0))))))


def salt_of(name: str) -> int:
    """The salt of a cross: 64 bits of the SHA-256 of its name."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "little")


def cross_keys_numpy(ids: Sequence[Array], name: str) -> Array:
    """The whole 63 bits of every combination, as the reference implementation.

    Args:
        ids: One int64 array ``[..., width_j]`` per input; leading dimensions are broadcast; -1 is padding.
        name: The cross's name, its salt.

    Returns:
        int64 ``[..., prod(width_j)]`` of 0 and more, or -1 where any input is padding.
    """
    with np.errstate(over="ignore"):
        state = np.full((1,), salt_of(name), np.uint64)
        valid = np.ones((1,), bool)
        for values in ids:
            values = np.asarray(values, np.int64)
            mixed = state[..., :, None] * np.uint64(_PHI) + values.astype(np.uint64)[..., None, :]
            for shift, factor in zip(_SHIFTS, (_M1, _M2, None)):
                mixed = mixed ^ (mixed >> np.uint64(shift))
                mixed = mixed * np.uint64(factor) if factor is not None else mixed
            valid = valid[..., :, None] & (values != PADDING)[..., None, :]
            state = mixed.reshape(*mixed.shape[:-2], mixed.shape[-2] * mixed.shape[-1])
            valid = np.broadcast_to(valid, mixed.shape).reshape(state.shape)
    return np.where(valid, (state & np.uint64(_POSITIVE)).astype(np.int64), PADDING)


def cross_ids_numpy(ids: Sequence[Array], name: str, buckets: int) -> Array:
    """The ids of every combination, for data steps outside TensorFlow.

    Args:
        ids: As of :func:`cross_keys_numpy`.
        name: The cross's name, its salt.
        buckets: Number of ids.

    Returns:
        int64 ``[..., prod(width_j)]`` in 1…buckets, or -1 where any input is padding.
    """
    keys = cross_keys_numpy(ids, name)
    return np.where(keys < 0, PADDING, 1 + keys % buckets)


def cross_keys(ids: Sequence[tf.Tensor], name: str) -> tf.Tensor:
    """The whole 63 bits of every combination in the TensorFlow graph; as :func:`cross_keys_numpy`.

    Args:
        ids: One int64 tensor ``[..., width_j]`` per input, all of one rank; leading dimensions are
            broadcast (so a query's ``[B, 1, width]`` meets its candidates' ``[B, C, width]``); -1 is padding.
        name: The cross's name, its salt.

    Returns:
        int64 ``[..., prod(width_j)]`` of 0 and more, or -1 where any input is padding.
    """
    import tensorflow as tf

    rank = len(ids[0].shape)
    state = tf.constant(_signed(salt_of(name)), tf.int64, [1] * rank)
    valid = tf.constant(True, tf.bool, [1] * rank)
    for values in ids:
        mixed = state[..., :, None] * _signed(_PHI) + values[..., None, :]
        for shift, factor in zip(_SHIFTS, (_M1, _M2, None)):
            # A right shift of int64 copies the sign; the mask makes it the shift of an unsigned number.
            moved = tf.bitwise.right_shift(mixed, tf.constant(shift, tf.int64)) & ((1 << (64 - shift)) - 1)
            mixed = tf.bitwise.bitwise_xor(mixed, moved)
            mixed = mixed * _signed(factor) if factor is not None else mixed
        both = tf.logical_and(valid[..., :, None], (values != PADDING)[..., None, :])
        shape = tf.concat([tf.shape(mixed)[:-2], [mixed.shape[-2] * mixed.shape[-1]]], 0)
        valid = tf.reshape(tf.broadcast_to(both, tf.shape(mixed)), shape)
        state = tf.reshape(mixed, shape)
    keys = tf.bitwise.bitwise_and(state, tf.constant(_POSITIVE, tf.int64))
    return tf.where(valid, keys, tf.constant(PADDING, tf.int64))


def cross_ids(ids: Sequence[tf.Tensor], name: str, buckets: int) -> tf.Tensor:
    """The ids of every combination in the TensorFlow graph; the same values as :func:`cross_ids_numpy`.

    Args:
        ids: As of :func:`cross_keys`.
        name: The cross's name, its salt.
        buckets: Number of ids.

    Returns:
        int64 ``[..., prod(width_j)]`` in 1…buckets, or -1 where any input is padding.
    """
    import tensorflow as tf

    keys = cross_keys(ids, name)
    return tf.where(
        keys < 0, tf.constant(PADDING, tf.int64), 1 + tf.math.floormod(keys, tf.constant(buckets, tf.int64))
    )


def _signed(value: int) -> int:
    """The int64 with the same bits."""
    return value - 2**64 if value >= 2**63 else value
