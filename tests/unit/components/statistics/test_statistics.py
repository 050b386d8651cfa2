"""Statistics made file by file, against those of TensorFlow Data Validation's own Beam step."""

import pickle

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_data_validation as tfdv
from tfx.types import standard_artifacts
from tfx_bsl.public import tfxio

from crossrec.components.statistics.executor import Executor
from crossrec.components.statistics.files import OfFiles, add_statistics
from tests.unit.components.records import write_records


def make_rows(count, seed=0, users=300):
    rng = np.random.default_rng(seed)
    return [
        {
            "user": f"user {rng.zipf(1.5) % users}",
            "device": None if rng.random() < 0.2 else str(rng.choice(["pc", "tv", "phone"])),
            "likes": [f"tag {tag}" for tag in rng.integers(0, 30, rng.integers(0, 4))],
            "time": int(rng.integers(0, 10**9)),
            "price": float(np.round(rng.exponential(), 3)),
        }
        for _ in range(count)
    ]


def paths_of(pattern):
    folder = pattern.removesuffix("/*")
    return [f"{folder}/data_tfrecord-{shard:05d}-of-{SHARDS:05d}.gz" for shard in range(SHARDS)]


SHARDS = 5


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Statistics of the same rows by this project and by TensorFlow Data Validation."""
    folder = tmp_path_factory.mktemp("statistics")
    pattern = write_records(folder / "rows", make_rows(4_000), SHARDS)
    with beam.Pipeline() as pipeline:
        add_statistics(pipeline, "train", paths_of(pattern), str(folder / "own"))
        (
            pipeline
            | tfxio.TFExampleRecord(pattern).BeamSource()
            | tfdv.GenerateStatistics(tfdv.StatsOptions())
            | tfdv.WriteStatisticsToBinaryFile(str(folder / "other"))
        )
    return tuple(tfdv.load_stats_binary(str(folder / name)) for name in ("own", "other"))


def features(statistics):
    (dataset,) = statistics.datasets
    return {feature.path.step[0]: feature for feature in dataset.features}


def test_counts_and_values_of_texts_are_the_same(made):
    own, other = map(features, made)
    assert own.keys() == other.keys() == {"user", "device", "likes", "time", "price"}
    assert made[0].datasets[0].num_examples == made[1].datasets[0].num_examples == 4_000
    for name in ("user", "device", "likes"):
        found, expected = own[name].string_stats, other[name].string_stats
        assert found.unique == expected.unique > 1
        buckets = [{(b.label, b.sample_count) for b in each.rank_histogram.buckets} for each in (found, expected)]
        assert buckets[0] == buckets[1]
        assert found.common_stats.num_missing == expected.common_stats.num_missing
        assert found.common_stats.tot_num_values == expected.common_stats.tot_num_values
    assert own["device"].string_stats.common_stats.num_missing > 0


def test_numbers_are_the_same(made):
    own, other = map(features, made)
    for name in ("time", "price"):
        found, expected = own[name].num_stats, other[name].num_stats
        assert (found.min, found.max, found.num_zeros) == (expected.min, expected.max, expected.num_zeros)
        assert found.mean == pytest.approx(expected.mean, rel=1e-9)
        assert found.std_dev == pytest.approx(expected.std_dev, rel=1e-9)
        assert found.median == pytest.approx(expected.median, rel=0.05)


def test_the_schema_is_the_same_and_finds_nothing_in_its_own_data(made):
    schemas = [tfdv.infer_schema(statistics, infer_feature_shape=True) for statistics in made]
    assert schemas[0] == schemas[1]
    assert {domain.name for domain in schemas[0].string_domain} == {"device", "likes"}
    assert not tfdv.validate_statistics(made[0], schemas[1]).anomaly_info


def accumulated(files, parts=1):
    combine = OfFiles()
    combine.setup()
    accumulators = []
    for part in range(parts):
        accumulator = combine.create_accumulator()
        for path in files[part::parts]:
            accumulator = combine.add_input(accumulator, path)
        # As it goes from one worker to another.
        accumulators.append(pickle.loads(pickle.dumps(accumulator)))
    return combine, combine.merge_accumulators(accumulators)


def test_workers_find_together_what_one_finds(tmp_path):
    files = paths_of(write_records(tmp_path, make_rows(1_000, seed=1), SHARDS))
    found = []
    for parts in (1, 3):
        combine, accumulator = accumulated(files, parts)
        of = features(combine.extract_output(accumulator))
        values = {
            name: sorted((b.label, b.sample_count) for b in of[name].string_stats.rank_histogram.buckets)
            for name in ("user", "device", "likes")
        }
        found.append((values, of["price"].num_stats.mean, of["time"].num_stats.max))
    assert found[0][0] == found[1][0] and found[0][2] == found[1][2]
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-12)


def test_memory_does_not_grow_with_the_rows_and_counts_are_still_nearly_right(tmp_path):
    sizes = []
    for count in (20_000, 60_000):
        rows = [{"request": f"request {number}", "price": number / 7} for number in range(count)]
        files = paths_of(write_records(tmp_path / str(count), rows, SHARDS))
        combine, accumulator = accumulated(files)
        sizes.append(len(pickle.dumps(accumulator)))
        of = features(combine.extract_output(accumulator))
        assert of["request"].string_stats.unique == pytest.approx(count, rel=0.03)
        assert of["price"].num_stats.common_stats.num_non_missing == count
    # Those of quantiles grow with the logarithm of the rows.
    assert sizes[1] < 1.3 * sizes[0]


def test_the_artifact_is_that_of_tfx(tmp_path):
    examples, statistics = standard_artifacts.Examples(), standard_artifacts.ExampleStatistics()
    examples.uri, statistics.uri = str(tmp_path / "examples"), str(tmp_path / "statistics")
    examples.split_names, examples.span = '["train", "test"]', 7
    counts = {"train": 30, "test": 11}
    for split, count in counts.items():
        write_records(tmp_path / "examples" / f"Split-{split}", make_rows(count), 2)
    Executor(Executor.Context(beam_pipeline_args=[], tmp_dir=str(tmp_path / "tmp"), unique_id="1")).Do(
        {"examples": [examples]}, {"statistics": [statistics]}, {}
    )
    assert (statistics.split_names, statistics.span) == (examples.split_names, 7)
    for split, count in counts.items():
        found = tfdv.load_stats_binary(str(tmp_path / "statistics" / f"Split-{split}" / "FeatureStats.pb"))
        assert found.datasets[0].num_examples == count
