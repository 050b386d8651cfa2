"""What crosses cover in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crossrec.components.features.crosses import cross_ids_numpy
from crossrec.components.features.examples import parsed_batches
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import ITEM_ROW, CrossOutput, FeatureSchema

_CROSS_ROWS = 1_000_000


def measure_crosses(schema: FeatureSchema, table: ItemTable, pattern: str, spec: Mapping[str, Any]) -> FeatureSchema:
    """Counts what each cross covers in training, on a million rows at most.

    The number of distinct combinations is estimated from the share of used ids by linear counting (Whang,
    Vander-Zanden, Taylor 1990); the collision rate is the share of combinations that share their id.

    Args:
        schema: The schema whose crosses are measured.
        table: The transformed catalogue.
        pattern: The transformed training interactions.
        spec: How to parse them.

    Returns:
        The schema with ``distinct`` and ``collision_rate`` filled in.
    """
    seen = {cross.name: np.zeros(cross.buckets + 1, bool) for cross in schema.crosses}
    rows = 0
    for batch in parsed_batches(pattern, spec, 16_384) if schema.crosses else ():
        item_rows = batch[ITEM_ROW].numpy()[:, 0]
        for cross in schema.crosses:
            inputs = [
                batch[name].numpy() if schema.feature(name).side == "query" else table.features[name][item_rows]
                for name in cross.inputs
            ]
            ids = cross_ids_numpy(inputs, cross.name, cross.buckets)
            seen[cross.name][ids[ids > 0]] = True
        rows += len(item_rows)
        if rows >= _CROSS_ROWS:
            break
    return schema.model_copy(
        update={"crosses": tuple(_with_coverage(cross, int(seen[cross.name].sum())) for cross in schema.crosses)}
    )


def _with_coverage(cross: CrossOutput, used: int) -> CrossOutput:
    free = max(1.0 - used / cross.buckets, 0.5 / cross.buckets)
    distinct = max(used, round(-cross.buckets * float(np.log(free))))
    rate = 1.0 - used / distinct if distinct else 0.0
    return cross.model_copy(update={"distinct": distinct, "collision_rate": round(rate, 6)})
