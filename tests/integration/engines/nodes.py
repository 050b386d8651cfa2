"""The data nodes of a small marketplace's pipeline, run one after the other with some options of Beam."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.types import artifact_utils

from crossrec.components.features.schema import FeatureSchema
from crossrec.components.text.report import EncoderReport
from crossrec.pipeline.dag import build
from crossrec.pipeline.locations import Locations
from crossrec.pipeline.simulation import SimulationConfig, simulate
from crossrec.pipeline.spec.beam import ALL
from crossrec.pipeline.spec.load import parse_spec
from crossrec.pipeline.spec.spec import Spec
from tests.end_to_end.marketplace import spec_content

NODES = (
    "ItemsExampleGen",
    "InteractionsExampleGen",
    "InteractionsStatisticsGen",
    "TextEncoder",
    "TextEmbedder",
    "FeatureTransform",
    "CrossSelector",
    "RankingExamples",
)
# What RankingExamples needs beside; trained and embedded once.
BETWEEN = ("RetrievalTrainer", "CandidateIndexer")
TEXT = {"type": "text", "encoder": {"dimension": 4, "small": {"width": 8, "vocabulary_size": 300}}}
# Whoever gives an image for the workers has crossrec and TFX in it, and nothing is packed and sent to them.
IN_IMAGE = "--sdk_container_image=unused"
SMALL = {
    "features": {
        "query": {
            "user_id": {"type": "categorical", "vocabulary": {"min_count": 2}},
            "user_segment": {"type": "categorical"},
            "interests": {"type": "categorical", "multi_valued": True, "max_length": 2},
            "device": {"type": "categorical", "hash_buckets": "auto"},
            "price_max": {"type": "numeric", "impute": "median", "log": True},
            "recent_items": {"type": "recent_items", "max_length": 3},
            "query_vector": {**TEXT, "column": "query"},
        },
        "item": {
            "item_id": {"type": "categorical"},
            "category": {"type": "categorical"},
            "price_band": {"type": "buckets", "column": "price", "count": 5},
            "title_group": {**TEXT, "column": "title", "clusters": 5},
        },
    },
    "crosses": {
        "explicit": [
            {"inputs": ["device", "category"], "buckets": 256},
            {"type": "statistics", "inputs": ["user_segment", "category"]},
            {"type": "vocabulary", "inputs": ["interests", "price_band"], "min_count": 3, "pairs": "any"},
        ],
        "auto": {
            "features": ["user_segment", "category", "price_band"],
            "max_order": 2,
            "min_gain": 1e-9,
            "false_discovery_rate": 0.9,
        },
    },
    "retrieval": {
        "query": {"features": ["user_id", "recent_items"], "hidden_layers": []},
        "item": {"features": ["item_id", "category"], "hidden_layers": []},
        "label": "clicked",
        "embedding_dimension": 4,
        "dimension": 4,
        "training": {"epochs": 1, "patience": 0},
    },
    "ranking.features": ["user_segment", "device", "category", "price_band"],
    "ranking.negatives": {"retrieved": 2, "from_top": 20},
    "evaluation.slices": [],
}


def make_marketplace(folder: Path) -> Spec:
    """Writes the data of a small marketplace into a folder, and gives its spec."""
    data = folder / "data"
    simulate(SimulationConfig(rows=3_000, days=30), data)
    segments: dict[str, int] = {}
    items = pd.read_parquet(data / "items.parquet").set_index("item_id")
    categories = pd.Series(pd.factorize(items["category"])[0], items.index)
    rng = np.random.default_rng(0)
    for file in sorted((data / "interactions").glob("*.parquet")):
        rows = pd.read_parquet(file)
        segment = rows["user_segment"].map(lambda name: segments.setdefault(name, len(segments)))
        # A cross that a few hundred rows show: which half of the categories a segment likes.
        liked = (segment + rows["item_id"].map(categories)) % 2 == 1
        rows["clicked"] = (rng.random(len(rows)) < np.where(liked, 0.5, 0.05)).astype(rows["clicked"].dtype)
        rows["purchased"] = rows["clicked"] * (rng.random(len(rows)) < 0.3).astype(rows["purchased"].dtype)
        rows.to_parquet(file)
    return parse_spec(spec_content(SMALL))


@dataclass
class Done:
    """What some nodes made: artifacts by node and key, and the seconds that each took."""

    artifacts: dict[tuple[str, str], Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def uri(self, node: str, key: str) -> str:
        return str(self.artifacts[node, key].uri)


def run_nodes(spec: Spec, folder: Path, name: str, beam: Sequence[str], given: Done | None = None) -> Done:
    """Runs the nodes that use Beam; what lies between them too, unless it is given.

    Args:
        spec: The marketplace's.
        folder: Holds its data.
        name: Folder of the outputs.
        beam: Options of Beam for the spec.
        given: What nodes in between made before.
    """
    root = folder / name
    spec = spec.model_copy(update={"beam": {ALL: (*beam, IN_IMAGE)}})
    done = Done(dict(given.artifacts) if given else {})
    wanted = NODES if given else (*NODES, *BETWEEN)
    for node in build(spec, Locations(str(folder / "data"), str(root))).components:
        if node.id in wanted:
            started = time.monotonic()
            _run_node(node, root, done)
            done.seconds[node.id] = time.monotonic() - started
    print(name, {node: round(seconds, 1) for node, seconds in done.seconds.items()})
    return done


def _run_node(node: BaseNode, root: Path, done: Done) -> None:
    inputs = {
        name: [done.artifacts[channel.producer_component_id, channel.output_key]]
        for name, channel in node.inputs.items()
    }
    outputs = {}
    for name, channel in node.outputs.items():
        artifact = channel.type()
        artifact.uri = str(root / node.id / name)
        Path(artifact.uri).mkdir(parents=True)
        outputs[name] = [artifact]
        done.artifacts[node.id, name] = artifact
    executor = node.executor_spec.executor_class
    options = {"tmp_dir": str(root / node.id), "unique_id": "1"}
    if isinstance(node, BaseBeamComponent):
        options["beam_pipeline_args"] = node.executor_spec.beam_pipeline_args
    executor(executor.Context(**options)).Do(inputs, outputs, dict(node.exec_properties))


def rows_of(done: Done, node: str, key: str) -> Mapping[str, list[Any]]:
    """The rows of each split in the order of the files' names; floats to five digits."""
    examples = done.artifacts[node, key]
    found = {}
    for split in artifact_utils.decode_split_names(examples.split_names):
        files = sorted(Path(artifact_utils.get_split_uri([examples], split)).iterdir())
        records = tf.data.TFRecordDataset([str(file) for file in files], "GZIP").as_numpy_iterator()
        found[split] = [_row(record) for record in records]
    return found


def _row(record: bytes) -> Any:
    row = []
    for name, feature in sorted(tf.train.Example.FromString(record).features.feature.items()):
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        row.append((name, *(f"{value:.5g}" if isinstance(value, float) else value for value in values)))
    return tuple(row)


def vocabularies(done: Done) -> Mapping[str, str]:
    """The text of every vocabulary of the transform graphs, by path."""
    graphs = Path(done.uri("FeatureTransform", "transform_graphs"))
    files = sorted(graphs.glob("*/transform_fn/assets/*"))
    assert files
    return {
        str(file.relative_to(graphs)): file.read_text(encoding="utf-8") for file in [*files, graphs / "item_ids.txt"]
    }


def item_counts(done: Done) -> list[str]:
    text = Path(done.uri("FeatureTransform", "transform_graphs"), "item_counts.jsonl").read_text(encoding="utf-8")
    return sorted(text.splitlines())


def statistics(done: Done) -> Mapping[str, Any]:
    """What is counted of each column, by split; quantiles, which are estimates, are left out."""
    root = Path(done.uri("InteractionsStatisticsGen", "statistics"))
    found = {}
    for path in sorted(root.glob("Split-*/FeatureStats.pb")):
        (dataset,) = tfdv.load_stats_binary(str(path)).datasets
        found[path.parent.name] = (
            dataset.num_examples,
            {column.path.step[0]: _counted(column) for column in dataset.features},
        )
    return found


def _counted(column: Any) -> Any:
    if column.HasField("num_stats"):
        numbers = column.num_stats
        return numbers.min, numbers.max, f"{numbers.mean:.9g}", numbers.common_stats.num_missing
    texts = column.string_stats
    values = sorted((bucket.label, bucket.sample_count) for bucket in texts.rank_histogram.buckets)
    return texts.unique, values, texts.common_stats.num_missing


def encoders(done: Done) -> Mapping[str, EncoderReport]:
    """What was learnt by each encoder of texts, and the digest of all that it computes."""
    directories = Path(done.uri("TextEncoder", "text_encoders")).iterdir()
    return {directory.name: EncoderReport.read(str(directory)) for directory in directories}


def centres(done: Done) -> Mapping[str, list[Any]]:
    """Centres of the clusters of texts, by file."""
    root = Path(done.uri("TextEmbedder", "text_embeddings"))
    return {str(path.relative_to(root)): np.load(path).tolist() for path in root.glob("*/centroids_*.npy")}


def crosses(done: Done) -> FeatureSchema:
    """The schema with what was chosen and fitted."""
    return FeatureSchema.read(done.uri("CrossSelector", "cross_set"))


def chosen(done: Done) -> list[tuple[str, ...]]:
    """The inputs of the crosses that the data spoke for."""
    return [cross.config.inputs for cross in crosses(done).crosses if cross.found]


def same_tables(one: FeatureSchema, other: FeatureSchema) -> bool:
    left, right = one.tables.arrays, other.tables.arrays
    return left.keys() == right.keys() and all(
        left[cross].keys() == right[cross].keys()
        and all(np.allclose(left[cross][key], right[cross][key]) for key in left[cross])
        for cross in left
    )
