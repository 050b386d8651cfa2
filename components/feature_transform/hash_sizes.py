"""``hash_buckets: auto``: the number of ids from the number of different values in the training data."""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping

import apache_beam as beam
import tensorflow as tf
from apache_beam.utils.windowed_value import WindowedValue
from tfx.dsl.io import fileio

from crossrec.components.feature_transform.distinct import DistinctCount
from crossrec.components.features import preprocessing
from crossrec.components.features.config import AUTO, Categorical, FeaturesConfig, Side, Text
from crossrec.components.features.examples import parsed_batches
from crossrec.components.features.spill import at_end_of_bundle
from crossrec.components.progress import progress

SHARE = 0.25
"""Of the values in training, at most so many share their id with another one."""

_MARGIN = 1.05
_LEAST, _MOST = 2**4, 2**30
_BATCH = 4096


def buckets_for(values: float) -> int:
    r"""Ids for a number of different values.

    Of :math:`n` values that are hashed to :math:`N` ids, the share that has an id with another one is on average
    :math:`1 - (1 - 1/N)^{n-1} \approx 1 - e^{-n/N}`. So :math:`N = n / -\ln(1 - s)` keeps it below :math:`s`; it is
    rounded up to a power of two, so that it stays the same from run to run while the data grow a little.

    Args:
        values: How many there are; an estimate may be a twentieth too low.

    Returns:
        From 16 to 2^30; beyond 294 million values, where that is not enough, more of them share ids.

    Example:
        >>> buckets_for(1_000), buckets_for(1_000_000)
        (4096, 4194304)
    """
    wanted = _MARGIN * values / -math.log(1.0 - SHARE)
    return min(max(1 << math.ceil(math.log2(max(wanted, 1.0))), _LEAST), _MOST)


def with_hash_sizes(
    features: FeaturesConfig, files: Mapping[Side, str], make_pipeline: Callable[[], beam.Pipeline], temporary: str
) -> FeaturesConfig:
    """The features with a number for each ``auto``.

    All texts with ``auto`` get the number that the largest of them needs, so that a word has the same id in each.

    Args:
        features: The features.
        files: Pattern of the training interactions, and of the items, as tf.Examples.
        make_pipeline: Makes a Beam pipeline; it is not called if nothing is ``auto``.
        temporary: Directory for the counts, reachable by all workers.
    """
    open_ones = {
        name: feature
        for name, _, feature in features.items()
        if isinstance(feature, (Categorical, Text)) and feature.hash_buckets == AUTO
    }
    if not open_ones:
        return features
    fileio.makedirs(temporary)
    out = posixpath.join(temporary, "distinct.jsonl")
    with make_pipeline() as pipeline:
        counts = []
        for side, pattern in files.items():
            wanted = {name: open_ones[name] for name in getattr(features, side) if name in open_ones}
            if wanted:
                counts.append(
                    pipeline
                    | f"Files[{side}]" >> beam.Create(sorted(fileio.glob(pattern)))
                    | f"Spread[{side}]" >> beam.Reshuffle()
                    | f"Count[{side}]" >> beam.ParDo(_Count(wanted))
                )
        (
            counts
            | "Flatten" >> beam.Flatten()
            | "Merge" >> beam.CombinePerKey(_merged)
            | "AsJson" >> beam.MapTuple(lambda name, count: json.dumps([name, count.estimate()]))
            | "Write" >> beam.io.WriteToText(out, shard_name_template="")
        )
    with fileio.open(out, "r") as file:
        found: dict[str, float] = dict(map(json.loads, file.read().splitlines()))
    sizes = {name: buckets_for(found.get(name, 0.0)) for name in open_ones}
    texts = [name for name, feature in open_ones.items() if isinstance(feature, Text)]
    sizes |= dict.fromkeys(texts, max((sizes[name] for name in texts), default=0))
    for name, size in sizes.items():
        progress(f"{name}: about {found.get(name, 0.0):,.0f} values, {size:,} hash buckets")
    sides = {
        side: {
            name: feature.model_copy(update={"hash_buckets": sizes[name]}) if name in sizes else feature
            for name, feature in getattr(features, side).items()
        }
        for side in ("query", "item")
    }
    return features.model_copy(update=sides)


def _merged(counts: Iterable[DistinctCount]) -> DistinctCount:
    total = DistinctCount()
    for count in counts:
        total.merge(count)
    return total


class _Count(beam.DoFn):
    """Files to one count per feature and bundle."""

    def __init__(self, features: Mapping[str, Categorical | Text]) -> None:
        self._features = dict(features)

    def start_bundle(self) -> None:
        """Starts empty."""
        self._counts = {name: DistinctCount() for name in self._features}

    def process(self, path: str) -> None:
        """Counts the values of a file."""
        columns = {feature.transform_column for feature in self._features.values()}
        spec = {column: tf.io.VarLenFeature(tf.string) for column in columns}
        for raw in parsed_batches(path, spec, _BATCH):
            for name, feature in self._features.items():
                values = preprocessing.hashed_values(raw[feature.transform_column], feature)
                self._counts[name].add(tf.strings.to_hash_bucket_fast(values, 2**62).numpy())

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Yields what was counted."""
        yield from map(at_end_of_bundle, self._counts.items())
