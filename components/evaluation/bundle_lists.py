"""The lists that a bundle itself answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from crossrec.components.evaluation.queries import Queries
from crossrec.components.features.item_table import Array
from crossrec.serving.contract import names

_BATCH = 64


def ask(bundle: Any, signature: str, queries: Queries, items: Array) -> Array:
    """Asks a loaded SavedModel for a list for every query.

    Args:
        bundle: What ``tf.saved_model.load`` gave.
        signature: ``recommend`` or ``retrieve``.
        queries: The queries.
        items: Item ids in the order of the item table.

    Returns:
        int64 ``[Q, N]`` rows of the item table, best first, -1 where a list is short.
    """
    rows = {item.encode("utf-8"): row for row, item in enumerate(items)}
    call = bundle.signatures[signature]
    # What the search may be told, and is not: its inputs have to be sent all the same.
    known = (*queries.inputs, names.EXCLUDE_ITEMS)
    specs = call.structured_input_signature[1]
    further = {name: spec for name, spec in specs.items() if name not in known}
    lists = []
    for start in range(0, len(queries), _BATCH):
        stop = min(start + _BATCH, len(queries))
        excluded = [
            queries.excluded.items[a:b]
            for a, b in zip(queries.excluded.offsets[start:stop], queries.excluded.offsets[start + 1 : stop + 1])
        ]
        exclude = np.full((stop - start, max(map(len, excluded))), b"", object)
        for place, row in enumerate(excluded):
            exclude[place, : len(row)] = items[row]
        inputs = {name: tf.constant(values[start:stop]) for name, values in queries.inputs.items()}
        inputs[names.EXCLUDE_ITEMS] = tf.constant(exclude, tf.string)
        for name, spec in further.items():
            inputs[name] = tf.zeros([stop - start] + [0] * (spec.shape.rank - 1), spec.dtype)
        answer = call(**inputs)[names.ITEM_IDS].numpy()
        lists.append(np.array([[rows.get(item, -1) for item in line] for line in answer], np.int64))
    return np.concatenate(lists)
